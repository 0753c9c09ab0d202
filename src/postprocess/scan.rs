//! The best number of each row of a score head: the one pass that sees every score.
//!
//! Most of what post-processing costs at a usual threshold is this pass. The loops are plain; `pulp` compiles them for
//! the instruction sets of this machine as well as for the oldest, and takes the widest at run time.

#![allow(clippy::inline_always)] // What is not inlined is not compiled for the instruction set.

use pulp::{Arch, Simd, WithSimd};

/// Numbers compared at once.
const LANES: usize = 16;

/// The largest number of a row; NaN is passed over, and `-inf` comes out when nothing else is there.
#[inline(always)]
pub fn best_of(row: &[f32]) -> f32 {
    let Some(tail) = row.last_chunk::<LANES>() else {
        return row.iter().fold(f32::NEG_INFINITY, |a, &b| greater(a, b));
    };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        raise(&mut lanes, chunk);
    }
    // The last chunk may share columns with the one before: a maximum does not mind.
    raise(&mut lanes, tail);
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = greater(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// As [`best_of`], but NaN when there is nothing but NaN: such a row has no best class.
#[inline(always)]
pub fn best_or_nan(row: &[f32]) -> f32 {
    let best = best_of(row);
    if best == f32::NEG_INFINITY && row.iter().all(|raw| raw.is_nan()) {
        return f32::NAN;
    }
    best
}

/// Replaces `best` with [`best_or_nan`] of the classes of each row.
///
/// *Shape*: `raw` is `[rows, columns]`; the classes of a row are its columns from `first` on.
///
/// # Panics
/// When `columns` is zero, or less than `first`.
pub fn best_of_rows(raw: &[f32], columns: usize, first: usize, best: &mut Vec<f32>) {
    best.clear();
    best.resize(raw.len() / columns, f32::NAN);
    Arch::new().dispatch(Rows {
        raw,
        columns,
        first,
        best,
    });
}

/// The arguments of [`best_of_rows`].
struct Rows<'a> {
    raw: &'a [f32],
    columns: usize,
    first: usize,
    best: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.raw.chunks_exact(self.columns);
        for (row, best) in rows.zip(self.best) {
            *best = best_or_nan(&row[self.first..]);
        }
    }
}

#[inline(always)]
fn raise(lanes: &mut [f32; LANES], chunk: &[f32; LANES]) {
    for lane in 0..LANES {
        lanes[lane] = greater(lanes[lane], chunk[lane]);
    }
}

/// `b` if it is the greater, else `a`; NaN is never the greater.
#[inline(always)]
pub fn greater(a: f32, b: f32) -> f32 {
    if b > a {
        b
    } else {
        a
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Exact equality is what is promised.
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious way.
    fn maximum(row: &[f32]) -> f32 {
        row.iter()
            .copied()
            .filter(|value| !value.is_nan())
            .fold(f32::NEG_INFINITY, f32::max)
    }

    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![6 => -2.0f32..2.0, 1 => Just(f32::NAN), 1 => Just(f32::NEG_INFINITY)]
    }

    #[test]
    fn a_row_of_nothing_but_nan_has_no_best_class() {
        let raw = [7.0, f32::NAN, f32::NAN, 7.0, f32::NEG_INFINITY, f32::NAN];
        let mut best = Vec::new();
        best_of_rows(&raw, 3, 1, &mut best);
        assert!(best[0].is_nan());
        assert_eq!(best[1].to_bits(), f32::NEG_INFINITY.to_bits());
    }

    proptest! {
        #[test]
        fn the_best_of_a_row_is_its_maximum(row in prop::collection::vec(number(), 0..120)) {
            prop_assert_eq!(best_of(&row), maximum(&row));
        }

        #[test]
        fn the_best_of_rows_leaves_the_first_columns_out(
            (columns, first, raw) in (1usize..40, 0usize..2).prop_flat_map(|(columns, first)| {
                (Just(columns), Just(first.min(columns - 1)), prop::collection::vec(number(), columns * 7))
            })
        ) {
            let mut best = Vec::new();
            best_of_rows(&raw, columns, first, &mut best);
            for (row, &best) in raw.chunks(columns).zip(&best) {
                let classes = &row[first..];
                if classes.iter().all(|value| value.is_nan()) {
                    prop_assert!(best.is_nan());
                } else {
                    prop_assert_eq!(best, maximum(classes));
                }
            }
        }
    }
}
