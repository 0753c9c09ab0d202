//! Scales with which f32 arithmetic adds two quantised tensors as `LiteRT` does.
//!
//! `LiteRT`'s default kernels (XNNPACK) add in whole numbers: each operand is multiplied by its scale
//! over that of the result, rounded to 21 bits, and the sum is rounded half up. ONNX Runtime can
//! dequantise, add and quantise in f32, which rounds half to even and differs where the exact sum
//! lies within 1e-5 of a half: a few of the 65 536 pairs of operands. One step of difference in an
//! early residual addition grows to a fifth of all logits at the heads.
//!
//! The f32 arithmetic is IEEE's, the same on every machine, and the pairs can all be tried. So the
//! operands' scales are moved by units in the last place until each pair comes out right.

use super::convert::Encoding;

/// How far scales are moved, in units in the last place.
const REACH: i32 = 12;
/// Pairs whose sum is further from a half than this, in steps of the result, come out right with
/// any scales within reach: the largest sum is 510 steps, and f32 has 24 bits.
const NEAR: f64 = 1e-2;

/// Scales for both operands so that `round_half_even((scale_a * (a - zero_a) + scale_b * (b -
/// zero_b)) / scale_out) + zero_out`, in f32 and clamped to `0..=255`, is the sum of `LiteRT` for all
/// `a` and `b`; `None` when there are none within reach.
pub(super) fn exact_scales(a: Encoding, b: Encoding, out: Encoding) -> Option<[f32; 2]> {
    let sum = IntegerSum::new(a, b, out)?;
    let near = sum.near_halves();
    let start = [sum.multipliers[0], sum.multipliers[1]]
        .map(|m| (m as f64 * sum.step() * f64::from(out.scale)) as f32);
    let mut moves: Vec<[i32; 2]> = (-REACH..=REACH)
        .flat_map(|i| (-REACH..=REACH).map(move |j| [i, j]))
        .collect();
    moves.sort_by_key(|[i, j]| i.abs() + j.abs());
    moves.into_iter().find_map(|[i, j]| {
        let scales = [moved(start[0], i), moved(start[1], j)];
        let right = |&[x, y]: &[u8; 2]| float_sum(scales, [a, b], out, [x, y]) == sum.of(x, y);
        near.iter().all(right).then_some(scales)
    })
}

fn moved(scale: f32, units: i32) -> f32 {
    f32::from_bits(scale.to_bits().saturating_add_signed(units))
}

/// What ONNX Runtime computes, operation by operation.
fn float_sum(scales: [f32; 2], operands: [Encoding; 2], out: Encoding, values: [u8; 2]) -> u8 {
    let real = |i: usize| (f32::from(values[i]) - f32::from(operands[i].zero)) * scales[i];
    let steps = ((real(0) + real(1)) / out.scale).round_ties_even();
    (steps + f32::from(out.zero)).clamp(0.0, 255.0) as u8
}

/// XNNPACK's addition.
struct IntegerSum {
    multipliers: [i64; 2],
    zeros: [i64; 2],
    shift: u32,
    zero_out: i64,
}

impl IntegerSum {
    fn new(a: Encoding, b: Encoding, out: Encoding) -> Option<Self> {
        let ratios = [a.scale / out.scale, b.scale / out.scale];
        let largest = ratios[0].max(ratios[1]);
        // XNNPACK's own bounds on the larger ratio are narrower.
        if !(1e-4..1e4).contains(&largest) {
            return None;
        }
        // The larger multiplier has 21 bits.
        let exponent = (largest.to_bits() >> 23).cast_signed() - 127;
        let shift = u32::try_from(20 - exponent).ok()?;
        let multiplier =
            |ratio: f32| (f64::from(ratio) * f64::from(shift).exp2()).round_ties_even() as i64;
        Some(Self {
            multipliers: ratios.map(multiplier),
            zeros: [i64::from(a.zero), i64::from(b.zero)],
            shift,
            zero_out: i64::from(out.zero),
        })
    }

    /// What one unit of the accumulator is, in steps of the result.
    fn step(&self) -> f64 {
        (-f64::from(self.shift)).exp2()
    }

    fn accumulate(&self, a: u8, b: u8) -> i64 {
        self.multipliers[0] * (i64::from(a) - self.zeros[0])
            + self.multipliers[1] * (i64::from(b) - self.zeros[1])
    }

    fn of(&self, a: u8, b: u8) -> u8 {
        let half = 1_i64 << (self.shift - 1);
        let sum = ((self.accumulate(a, b) + half) >> self.shift) + self.zero_out;
        sum.clamp(0, 255) as u8
    }

    /// The pairs whose sum is so near to a half that its rounding depends on the last digits.
    fn near_halves(&self) -> Vec<[u8; 2]> {
        let one = 1_i64 << self.shift;
        let reach = (NEAR * one as f64) as i64;
        let pairs = (0..=255_u8).flat_map(|a| (0..=255_u8).map(move |b| [a, b]));
        pairs
            .filter(|&[a, b]| {
                let behind_half = self.accumulate(a, b).rem_euclid(one) - one / 2;
                behind_half.abs() <= reach
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(scale: f32, zero: u8) -> Encoding {
        Encoding { scale, zero }
    }

    /// Of SSD-MobileNet v2's first residual addition, and others of all sizes.
    fn cases() -> Vec<[Encoding; 3]> {
        let mut cases = vec![[
            encoding(0.353_605, 121),
            encoding(0.211_528_57, 123),
            encoding(0.381_571_2, 122),
        ]];
        // Knuth's generator: any spread of scales will do.
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0
        };
        for _ in 0..24 {
            cases.push([0; 3].map(|_| {
                let zero = (next() * 255.0) as u8;
                encoding(0.02 + next() * 0.4, zero)
            }));
        }
        cases
    }

    #[test]
    fn all_pairs_of_operands_add_up_as_in_litert() {
        let mut plain_differs = 0;
        for [a, b, out] in cases() {
            let scales = exact_scales(a, b, out).expect("scales within reach");
            let sum = IntegerSum::new(a, b, out).unwrap();
            for x in 0..=255 {
                for y in 0..=255 {
                    let made = float_sum(scales, [a, b], out, [x, y]);
                    assert_eq!(made, sum.of(x, y), "{a:?} {b:?} {out:?} {x} {y}");
                    let plain = float_sum([a.scale, b.scale], [a, b], out, [x, y]);
                    plain_differs += usize::from(plain != made);
                }
            }
            for (moved, own) in scales.iter().zip([a.scale, b.scale]) {
                assert!((moved / own - 1.0).abs() < 1e-4, "{moved} for {own}");
            }
        }
        assert!(plain_differs > 0, "the stored scales do not give the same");
    }

    #[test]
    fn scales_that_no_kernel_takes_are_left_alone() {
        let one = encoding(1.0, 0);
        assert_eq!(exact_scales(encoding(1e9, 0), one, one), None);
        assert_eq!(exact_scales(one, one, encoding(1e-30, 0)), None);
    }
}
