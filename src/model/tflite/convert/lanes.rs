//! Which channels are stored twice, so that their weights fit signed bytes without a zero point.
//!
//! A quantised file's weights, less their zero point, reach from -255 to 255, though only one or two
//! weights of a layer leave the signed byte. ONNX Runtime's fast kernels for convolutions of few input channels
//! want signed bytes with zero point zero; with another, such a layer takes up to four times as long. So where
//! a weight is 138, its input channel is made twice: one copy is weighted 127, the other 11, and the sum
//! of the products is the same to the last bit. Making a channel twice is one more row of
//! weights in the layer before.
//!
//! Depthwise convolutions and residual additions hand channels through one by one, so the tensors
//! around them have the same copies: they are one class here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::encoding_of;
use crate::model::tflite::error::Fault;
use crate::model::tflite::schema::{Kind, Model, Operator};

const ADD: i32 = 0;
const CONV_2D: i32 = 3;
const DEPTHWISE_CONV_2D: i32 = 4;

/// With more input channels than this, ONNX Runtime's kernels that take a zero point are faster.
pub(super) const FAN_IN_MAX: usize = 128;
/// More copies than this would cost more than they save.
const COPIES_MAX: usize = 16;

/// The copies in each tensor, behind its own channels: which channel each of them repeats.
pub(super) type Copies = HashMap<usize, Vec<usize>>;

/// How many further copies of its input a weight needs: each takes -128 to 127 of it.
pub(super) fn copies_for(weight: i32) -> usize {
    let one = if weight < 0 { 128 } else { 127 };
    usize::try_from((weight.abs() - 1).max(0) / one).expect("not negative")
}

/// Tensors that have the same copies: each points towards the one that stands for its class.
struct Classes {
    parents: BTreeMap<usize, usize>,
}

impl Classes {
    fn of(&mut self, tensor: usize) -> usize {
        let mut at = tensor;
        while let Some(&parent) = self.parents.get(&at).filter(|&&parent| parent != at) {
            at = parent;
        }
        self.parents.insert(tensor, at);
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.parents.insert(a, b);
    }
}

/// What the classes have been seen to need and to be.
struct Plan<'m> {
    model: &'m Model<'m>,
    classes: Classes,
    /// Channels to be repeated, by tensor; a channel may be listed several times.
    wanted: Vec<(usize, Vec<usize>)>,
    /// Tensors that must stay as they are.
    fixed: BTreeSet<usize>,
    /// Tensors that some operator here makes.
    made: BTreeSet<usize>,
    /// Inputs of depthwise convolutions.
    depthwise: BTreeSet<usize>,
}

/// Plans the copies in the tensors between the operators `needed`; `heads` stay as they are.
pub(super) fn plan(model: &Model<'_>, needed: &[usize], heads: &[usize]) -> Result<Copies, Fault> {
    let mut plan = Plan {
        model,
        classes: Classes {
            parents: BTreeMap::new(),
        },
        wanted: Vec::new(),
        fixed: heads.iter().copied().collect(),
        made: BTreeSet::new(),
        depthwise: BTreeSet::new(),
    };
    for &index in needed {
        plan.look_at(&model.operator(index)?)?;
    }
    plan.copies()
}

impl Plan<'_> {
    fn look_at(&mut self, op: &Operator<'_>) -> Result<(), Fault> {
        let output = op.output()?;
        let quantized = |tensor: usize| -> Result<bool, Fault> {
            let facts = self.model.tensor(tensor)?;
            let bytes = matches!(facts.kind, Kind::U8 | Kind::I8);
            Ok(bytes && facts.data.is_none() && encoding_of(&facts)?.is_some())
        };
        let known = match op.code {
            ADD => {
                let (a, b) = (op.input(0)?, op.input(1)?);
                let shape = |tensor| Ok::<_, Fault>(self.model.tensor(tensor)?.shape);
                let alike = shape(a)? == shape(b)? && shape(a)?.len() == 4;
                if alike && quantized(a)? && quantized(b)? && quantized(output)? {
                    self.classes.join(a, b);
                    self.classes.join(a, output);
                    true
                } else {
                    false
                }
            }
            CONV_2D if quantized(op.input(0)?)? && quantized(output)? => self.convolution(op)?,
            DEPTHWISE_CONV_2D if quantized(op.input(0)?)? && quantized(output)? => {
                let weights = self.model.tensor(op.input(1)?)?;
                let channels = self.model.tensor(op.input(0)?)?.shape;
                // Each channel by itself, and no other form of depthwise convolution.
                let alike = weights.shape.last() == channels.last() && channels.len() == 4;
                if alike {
                    self.classes.join(op.input(0)?, output);
                    self.depthwise.insert(op.input(0)?);
                }
                alike
            }
            _ => false,
        };
        self.made.insert(output);
        if !known {
            self.fixed.insert(output);
            let inputs = op.inputs.iter().filter_map(|&i| usize::try_from(i).ok());
            self.fixed.extend(inputs);
        }
        Ok(())
    }

    /// Notes the inputs of outlying weights; whether copies of input channels can be weighted at all.
    fn convolution(&mut self, op: &Operator<'_>) -> Result<bool, Fault> {
        let (input, output) = (op.input(0)?, op.output()?);
        let weights = self.model.tensor(op.input(1)?)?;
        let channels = self.model.tensor(input)?.shape.last().copied();
        let (&[_, _, _, fan_in], Some(data)) = (&weights.shape[..], weights.data) else {
            return Ok(false);
        };
        if Some(fan_in) != channels || fan_in == 0 {
            return Ok(false);
        }
        // Even a tensor that gets no copies is a class of its own.
        self.classes.of(output);
        let fan_in = fan_in as usize;
        let zeros = weights.quantization.map(|own| own.zeros);
        let zero = zeros.and_then(|zeros| zeros.i64s().next()).unwrap_or(0);
        if weights.kind != Kind::U8 || fan_in > FAN_IN_MAX || !(0..=255).contains(&zero) {
            return Ok(true);
        }
        let zero = zero as i32;
        let mut counts = BTreeMap::new();
        for row in data.chunks_exact(fan_in) {
            for (channel, &byte) in row.iter().enumerate() {
                let copies = copies_for(i32::from(byte) - zero);
                if copies > 0 {
                    let most = counts.entry(channel).or_insert(0);
                    *most = copies.max(*most);
                }
            }
        }
        let repeated = counts
            .into_iter()
            .flat_map(|(channel, count)| std::iter::repeat_n(channel, count));
        self.wanted.push((input, repeated.collect()));
        Ok(true)
    }

    fn copies(mut self) -> Result<Copies, Fault> {
        let members: Vec<usize> = self.classes.parents.keys().copied().collect();
        let mut fixed = BTreeSet::new();
        for &tensor in members.iter().chain(&self.fixed.clone()) {
            if self.fixed.contains(&tensor) || !self.made.contains(&tensor) {
                fixed.insert(self.classes.of(tensor));
            }
        }
        let depthwise: BTreeSet<usize> = std::mem::take(&mut self.depthwise)
            .into_iter()
            .map(|tensor| self.classes.of(tensor))
            .collect();
        let mut wanted: BTreeMap<usize, BTreeMap<usize, usize>> = BTreeMap::new();
        for (tensor, channels) in std::mem::take(&mut self.wanted) {
            let of_class = wanted.entry(self.classes.of(tensor)).or_default();
            let mut own = BTreeMap::new();
            for channel in channels {
                *own.entry(channel).or_insert(0) += 1;
            }
            for (channel, count) in own {
                let most = of_class.entry(channel).or_insert(0);
                *most = count.max(*most);
            }
        }
        let mut copies = Copies::new();
        for &tensor in &members {
            let class = self.classes.of(tensor);
            let repeated: Vec<usize> = wanted
                .get(&class)
                .into_iter()
                .flatten()
                .flat_map(|(&channel, &count)| std::iter::repeat_n(channel, count))
                .collect();
            if fixed.contains(&class) || repeated.is_empty() || repeated.len() > COPIES_MAX {
                continue;
            }
            let channels = self
                .model
                .tensor(tensor)?
                .shape
                .last()
                .copied()
                .unwrap_or(0);
            let step = if depthwise.contains(&class) { 8 } else { 4 };
            copies.insert(tensor, filled_up(repeated, channels as usize, step));
        }
        Ok(copies)
    }
}

/// The fast kernels take input channels by fours, and the depthwise one by eights.
fn filled_up(mut repeated: Vec<usize>, channels: usize, step: usize) -> Vec<usize> {
    let first = repeated[0];
    while !(channels + repeated.len()).is_multiple_of(step) {
        repeated.push(first);
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_needs_a_copy_for_each_byte_that_it_exceeds() {
        for (weight, copies) in [
            (0, 0),
            (127, 0),
            (-128, 0),
            (128, 1),
            (-129, 1),
            (254, 1),
            (255, 2),
            (-255, 1),
        ] {
            assert_eq!(copies_for(weight), copies, "{weight}");
        }
    }

    #[test]
    fn channels_with_copies_fill_the_kernels_steps() {
        for (channels, step) in (1..40).flat_map(|channels| [(channels, 4), (channels, 8)]) {
            let filled = filled_up(vec![0, 3], channels, step);
            assert_eq!((channels + filled.len()) % step, 0);
            assert!(filled.len() < 2 + step);
        }
    }
}
