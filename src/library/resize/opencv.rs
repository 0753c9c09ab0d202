//! `OpenCV`'s `INTER_LINEAR` for 8-bit pictures (4.x, generic code path).
//!
//! Two taps for each axis at half-pixel centres, weights with 11 fractional bits. The vertical sum
//! drops low bits in three places, which is part of the result. Halving both axes exactly is done
//! by averaging four pixels, as `OpenCV` switches to `INTER_AREA` there.

/// One in weights.
const ONE: f32 = 2048.0;

#[derive(Debug, Clone)]
pub(super) struct Kernel {
    from: (usize, usize),
    halves: bool,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// Two source rows after the horizontal pass, each with 11 fractional bits.
    upper: Vec<i32>,
    lower: Vec<i32>,
}

/// An output position's two source positions and their weights, which sum to 2048.
#[derive(Debug, Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weights: [i32; 2],
}

impl Tap {
    /// The taps of a column: outside the picture the edge counts wholly.
    fn column(x: u32, from: u32, to: u32) -> Self {
        let (position, fraction) = position(x, from, to);
        let last = i64::from(from) - 1;
        if position < 0 {
            Self::new(0, 0, 0.0)
        } else if position >= last {
            Self::new(last, last, 0.0)
        } else {
            Self::new(position, position + 1, fraction)
        }
    }

    /// The taps of a row: outside the picture the edge row is read twice, with the weights split
    /// as they are, whose lost bits differ from reading it once.
    fn row(y: u32, from: u32, to: u32) -> Self {
        let (position, fraction) = position(y, from, to);
        let last = i64::from(from) - 1;
        Self::new(
            position.clamp(0, last),
            (position + 1).clamp(0, last),
            fraction,
        )
    }

    fn new(first: i64, second: i64, fraction: f32) -> Self {
        let weight = |share: f32| (share * ONE).round_ties_even() as i32;
        Self {
            // Clamped into the picture by the callers.
            first: first as usize,
            second: second as usize,
            weights: [weight(1.0 - fraction), weight(fraction)],
        }
    }
}

/// Source position of the first tap and the share of the second, in f32 as `OpenCV` keeps them.
fn position(x: u32, from: u32, to: u32) -> (i64, f32) {
    let inverse = f64::from(to) / f64::from(from);
    let scale = 1.0 / inverse;
    let center = ((f64::from(x) + 0.5) * scale - 0.5) as f32;
    let floor = center.floor();
    (floor as i64, center - floor)
}

impl Kernel {
    pub(super) fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        Self {
            from: (from.0 as usize, from.1 as usize),
            halves: from == (to.0 * 2, to.1 * 2),
            columns: (0..to.0).map(|x| Tap::column(x, from.0, to.0)).collect(),
            rows: (0..to.1).map(|y| Tap::row(y, from.1, to.1)).collect(),
            upper: Vec::new(),
            lower: Vec::new(),
        }
    }

    pub(super) fn resize(&mut self, source: &[u8], out: &mut Vec<u8>) {
        let row_bytes = self.from.0 * 3;
        let out_row = self.columns.len() * 3;
        out.resize(self.rows.len() * out_row, 0);
        if self.halves {
            halve(source, row_bytes, out, out_row);
            return;
        }
        self.upper.resize(out_row, 0);
        self.lower.resize(out_row, 0);
        let (mut in_upper, mut in_lower) = (usize::MAX, usize::MAX);
        for (tap, out) in self.rows.iter().zip(out.chunks_exact_mut(out_row)) {
            if in_lower == tap.first && in_upper != tap.first {
                std::mem::swap(&mut self.upper, &mut self.lower);
                std::mem::swap(&mut in_upper, &mut in_lower);
            }
            if in_upper != tap.first {
                let row = &source[tap.first * row_bytes..][..row_bytes];
                narrow(&self.columns, row, &mut self.upper);
                in_upper = tap.first;
            }
            if in_lower != tap.second {
                let row = &source[tap.second * row_bytes..][..row_bytes];
                narrow(&self.columns, row, &mut self.lower);
                in_lower = tap.second;
            }
            let [b0, b1] = tap.weights;
            let pairs = self.upper.iter().zip(&self.lower);
            for (out, (&upper, &lower)) in out.iter_mut().zip(pairs) {
                let sum = ((b0 * (upper >> 4)) >> 16) + ((b1 * (lower >> 4)) >> 16);
                *out = ((sum + 2) >> 2).clamp(0, 255) as u8;
            }
        }
    }
}

fn narrow(columns: &[Tap], row: &[u8], out: &mut [i32]) {
    for (tap, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
        let first = &row[tap.first * 3..][..3];
        let second = &row[tap.second * 3..][..3];
        for channel in 0..3 {
            out[channel] = i32::from(first[channel]) * tap.weights[0]
                + i32::from(second[channel]) * tap.weights[1];
        }
    }
}

fn halve(source: &[u8], row_bytes: usize, out: &mut [u8], out_row: usize) {
    let pairs = source.chunks_exact(2 * row_bytes);
    for (pair, out) in pairs.zip(out.chunks_exact_mut(out_row)) {
        let (upper, lower) = pair.split_at(row_bytes);
        for (position, out) in out.iter_mut().enumerate() {
            let left = position / 3 * 6 + position % 3;
            let taps = [upper[left], upper[left + 3], lower[left], lower[left + 3]];
            let sum: u16 = taps.into_iter().map(u16::from).sum();
            // A quarter of four bytes fits a byte.
            *out = ((sum + 2) >> 2) as u8;
        }
    }
}
