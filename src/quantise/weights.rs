//! Step 5: the weights of a convolution -> signed bytes, its bias -> 32-bit integers, and what rounding took away.

use super::graph::FloatTensor;
use super::Granularity;

/// Greatest weight level on processors that add products of bytes without saturating.
pub const LEVEL_MAX: i8 = 127;
/// The same where sums of two products saturate at 16 bits (no VNNI): 255 * (64 + 64) is still below 2^15.
pub const LEVEL_MAX_REDUCED: i8 = 63;

/// Steps are stored in f32, and so is their product with the input's: a little more keeps the bias within its bounds.
const GUARD_MARGIN: f64 = 1.0001;

/// Weights in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedWeights {
    /// The levels, as the weights lie.
    pub levels: Vec<i8>,
    /// Steps: one for each output channel, or one.
    pub scales: Vec<f32>,
    /// Output channels whose step was raised so that the bias fits 32 bits.
    pub guarded: usize,
}

impl QuantisedWeights {
    /// The step of a channel.
    pub fn scale(&self, channel: usize) -> f32 {
        self.scales[channel.min(self.scales.len() - 1)]
    }
}

/// Rounds the weights `[channels, …]`, symmetric about zero.
///
/// A nearly dead channel has a step so small that its bias, counted in steps of `input_scale * step`, leaves 32 bits;
/// such steps are raised.
///
/// # Panics
/// When `bias` has not one element for each output channel.
pub fn quantise_weights(
    weights: &FloatTensor,
    bias: &[f64],
    input_scale: f32,
    granularity: Granularity,
    level_max: i8,
) -> QuantisedWeights {
    let channels = weights.dims[0];
    assert_eq!(bias.len(), channels, "a bias for each channel");
    let each = weights.data.len() / channels.max(1);
    let greatest = |values: &[f32]| {
        let greatest = values
            .iter()
            .fold(0.0_f64, |most, value| most.max(f64::from(value.abs())));
        // A channel of zeros has any step.
        if greatest == 0.0 {
            1.0
        } else {
            greatest
        }
    };
    let step = |greatest: f64| (greatest / f64::from(level_max)) as f32;
    let floor = |bias: f64| {
        let least = 2.0 * bias.abs() / (f64::from(input_scale) * f64::from(i32::MAX));
        (least * GUARD_MARGIN) as f32
    };
    let mut guarded = 0;
    let mut guard = |scale: f32, least: f32| {
        if scale < least {
            guarded += 1;
            least
        } else {
            scale
        }
    };
    let scales: Vec<f32> = match granularity {
        Granularity::PerChannel => weights
            .data
            .chunks_exact(each)
            .zip(bias)
            .map(|(own, bias)| guard(step(greatest(own)), floor(*bias)))
            .collect(),
        Granularity::PerTensor => {
            let most = bias.iter().fold(0.0_f64, |most, bias| most.max(bias.abs()));
            vec![guard(step(greatest(&weights.data)), floor(most))]
        }
    };
    let mut levels = Vec::with_capacity(weights.data.len());
    for (channel, own) in weights.data.chunks_exact(each).enumerate() {
        let scale = f64::from(scales[channel.min(scales.len() - 1)]);
        let limit = f64::from(level_max);
        levels.extend(own.iter().map(|value| {
            (f64::from(*value) / scale)
                .round_ties_even()
                .clamp(-limit, limit) as i8
        }));
    }
    QuantisedWeights {
        levels,
        scales,
        guarded,
    }
}

/// What the rounded weights take from each output channel's mean, given the mean of each input channel: added
/// to the bias, it makes the channel's mean right again.
///
/// # Panics
/// When `input_means` does not fit the weights `[out, in / groups, …]`.
pub fn bias_correction(
    weights: &FloatTensor,
    quantised: &QuantisedWeights,
    input_means: &[f64],
    groups: usize,
) -> Vec<f64> {
    let (outputs, inputs) = (weights.dims[0], weights.dims[1]);
    assert_eq!(
        input_means.len(),
        inputs * groups,
        "a mean for each input channel"
    );
    let kernel = weights.data.len() / (outputs * inputs).max(1);
    let per_group = outputs / groups.max(1);
    (0..outputs)
        .map(|output| {
            let scale = f64::from(quantised.scale(output));
            let group = output / per_group.max(1);
            (0..inputs)
                .map(|input| {
                    let begin = (output * inputs + input) * kernel;
                    let lost: f64 = (begin..begin + kernel)
                        .map(|at| {
                            f64::from(weights.data[at]) - scale * f64::from(quantised.levels[at])
                        })
                        .sum();
                    input_means[group * inputs + input] * lost
                })
                .sum()
        })
        .collect()
}

/// The bias in steps of `input_scale * weight step`, and those steps.
pub fn quantise_bias(
    bias: &[f64],
    input_scale: f32,
    weights: &QuantisedWeights,
) -> (Vec<i32>, Vec<f32>) {
    let limits = (f64::from(i32::MIN), f64::from(i32::MAX));
    let steps = bias.iter().enumerate().map(|(channel, bias)| {
        let scale = (f64::from(input_scale) * f64::from(weights.scale(channel))) as f32;
        let level = (bias / f64::from(scale)).round_ties_even();
        (level.clamp(limits.0, limits.1) as i32, scale)
    });
    steps.unzip()
}

/// How many output channels hold neighbouring weights whose products with 255 would saturate 16 bits, as processors
/// without VNNI add them.
pub fn saturating_channels(weights: &QuantisedWeights, channels: usize) -> usize {
    let each = weights.levels.len() / channels.max(1);
    let saturates = |own: &[i8]| {
        own.windows(2).any(|pair| {
            let sum = 255 * (i32::from(pair[0]) + i32::from(pair[1]));
            sum > i32::from(i16::MAX) || sum < i32::from(i16::MIN)
        })
    };
    weights
        .levels
        .chunks_exact(each.max(1))
        .filter(|own| saturates(own))
        .count()
}
