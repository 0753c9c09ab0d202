//! Constants of the file -> constants of the graph.

use super::{encoding_of, lanes, Converter, Encoding};
use crate::model::half;
use crate::model::onnx::builder::int;
use crate::model::onnx::proto::{element_type, AttributeProto};
use crate::model::tflite::error::{Fault, Reason};
use crate::model::tflite::schema::{Kind, Operator, Quantization, TensorFacts};

/// How a constant is written into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Form {
    /// f32, as it lies.
    Plain,
    /// f32, for arithmetic with a tensor whose channels come first.
    ChannelsFirst,
    /// f32 `[out, height, width, in]` as `[out, in, height, width]`.
    Kernel,
}

/// A constant whose numbers are known now.
#[derive(Debug, Clone)]
pub(super) struct Floats {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Converter<'_> {
    /// The constant behind tensor `index`, also through a `DEQUANTIZE`; `None` when it is computed.
    pub(super) fn constant(&self, index: usize) -> Result<Option<TensorFacts<'_>>, Fault> {
        let source = self.folded.get(&index).copied().unwrap_or(index);
        let facts = self.model.tensor(source)?;
        Ok(facts.data.is_some().then_some(facts))
    }

    /// Input number `index` of `op`, which must be a constant.
    fn constant_input(&self, op: &Operator<'_>, index: usize) -> Result<TensorFacts<'_>, Fault> {
        self.constant(op.input(index)?)?.ok_or_else(|| {
            op.unsupported(Reason::Input {
                index,
                expected: "a constant",
            })
        })
    }

    /// Whether input number `index` of `op` is a constant.
    pub(super) fn is_constant(&self, op: &Operator<'_>, index: usize) -> Result<bool, Fault> {
        Ok(self.constant(op.input(index)?)?.is_some())
    }

    /// Input number `index` of `op`: a constant of numbers, which are f32, f16 or quantised.
    pub(super) fn floats(&mut self, op: &Operator<'_>, index: usize) -> Result<Floats, Fault> {
        let facts = self.constant_input(op, index)?;
        let elements = facts.shape.iter().product::<i64>();
        let cost = usize::try_from(elements)
            .unwrap_or(usize::MAX)
            .saturating_mul(4);
        let values = real_values(&facts);
        let shape = lengths(&facts.shape);
        let values = values.ok_or_else(|| {
            op.unsupported(Reason::Input {
                index,
                expected: "a constant of f32, f16 or quantised numbers",
            })
        });
        self.spend(cost)?;
        Ok(Floats {
            shape,
            values: values?,
        })
    }

    /// Input number `index` of `op`: constant whole numbers.
    pub(super) fn integers(&self, op: &Operator<'_>, index: usize) -> Result<Vec<i64>, Fault> {
        let facts = self.constant_input(op, index)?;
        let data = facts.data.unwrap_or_default();
        // Longer lists are no shapes, axes or paddings.
        let short = data.len() <= 8 * 16;
        match facts.kind {
            Kind::I32 if short => Ok(words(data)
                .map(|w| i64::from(i32::from_le_bytes(w)))
                .collect()),
            Kind::I64 if short => Ok(words(data).map(i64::from_le_bytes).collect()),
            _ => Err(op.unsupported(Reason::Input {
                index,
                expected: "a few constant whole numbers",
            })),
        }
    }

    /// Takes `bytes` from what constants may take in all.
    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(Fault::TooMany {
                what: "bytes of constants, which share their places",
                found: bytes,
                most: self.budget,
            }),
        }
    }

    /// A constant without axes, shared by all who need the same number.
    pub(super) fn scalar(&mut self, value: f32) -> String {
        if let Some(known) = self.scalars.get(&value.to_bits()) {
            return known.clone();
        }
        let name = self
            .builder
            .f32_constant(&format!("scalar/{value}"), &[], &[value]);
        self.scalars.insert(value.to_bits(), name.clone());
        name
    }

    /// The constants of `encoding`: scale and zero point.
    pub(super) fn encoding_names(&mut self, encoding: Encoding) -> [String; 2] {
        let Encoding { scale, zero } = encoding;
        let key = (scale.to_bits(), zero);
        if let Some(known) = self.encodings.get(&key) {
            return known.clone();
        }
        let names = [
            self.scalar(scale),
            self.builder.constant(
                &format!("zero/{zero}"),
                &[],
                element_type::UINT8,
                vec![zero],
            ),
        ];
        self.encodings.insert(key, names.clone());
        names
    }

    /// Writes `floats`, which come from tensor `index`, once in each form.
    pub(super) fn write_floats(
        &mut self,
        index: usize,
        form: Form,
        dims: &[usize],
        values: &[f32],
    ) -> String {
        if let Some(known) = self.written.get(&(index, form)) {
            return known.clone();
        }
        let stem = self.model.tensor_name(i32::try_from(index).unwrap_or(-1));
        let name = self.builder.f32_constant(&stem, dims, values);
        self.written.insert((index, form), name.clone());
        name
    }

    /// The 8-bit weights in input 1 of `op` as signed bytes behind a `DequantizeLinear`, for an input and
    /// an output with these copies of channels; also their scales, one or one for each output.
    ///
    /// Unsigned weights and their zero point are both moved down by 128, or the zero point is
    /// taken away where what is left fits: the same values in forms for which processors have
    /// instructions (`u8` activations times `i8` weights).
    pub(super) fn quantized_kernel(
        &mut self,
        op: &Operator<'_>,
        kernel: &Kernel,
        input_copies: &[usize],
        output_copies: &[usize],
    ) -> Result<(String, Vec<f32>), Fault> {
        let index = op.input(1)?;
        let key = (index, input_copies.to_vec(), output_copies.to_vec());
        if let Some(known) = self.kernels.get(&key) {
            return Ok(known.clone());
        }
        let facts = self.constant_input(op, 1)?;
        let wrong = |expected| Fault::Tensor {
            tensor: facts.name.clone(),
            found: format!("{} {:?}", facts.kind.name(), facts.shape),
            expected,
        };
        let lowest = match facts.kind {
            Kind::I8 => -128,
            Kind::U8 => 0,
            _ => return Err(wrong("u8 or i8, as the data that it is convolved with")),
        };
        let own = facts.quantization.ok_or_else(|| wrong("a scale"))?;
        let per_output = along_outputs(own, kernel).filter(|(_, zeros)| {
            let within = |zero: &i32| (lowest..lowest + 256).contains(zero);
            zeros.iter().all(within)
        });
        let (mut scales, mut zeros) = per_output.ok_or_else(|| {
            wrong("one scale above zero, or one for each output, and zero points within 8 bits")
        })?;
        let bytes = kernel.outputs_first(facts.data.unwrap_or_default());
        let stem = facts.name.clone();
        let weights = Weights {
            kernel,
            lowest,
            bytes: &bytes,
            zeros: &zeros,
        };
        let mut dims = kernel.dims();
        let mut data = if let Some(data) = weights.without_zero(input_copies) {
            zeros.fill(0);
            data
        } else {
            let data = weights.with_zero(input_copies);
            // To signed bytes.
            for zero in &mut zeros {
                *zero -= lowest + 128;
            }
            data
        };
        if !kernel.depthwise {
            dims[1] += input_copies.len();
        }
        repeat_rows(&mut data, dims[1] * dims[2] * dims[3], output_copies);
        dims[0] += output_copies.len();
        if scales.len() > 1 {
            repeat_rows(&mut scales, 1, output_copies);
            repeat_rows(&mut zeros, 1, output_copies);
        }
        self.spend(data.len())?;
        let builder = &mut self.builder;
        let bytes = |values: &[i8]| values.iter().map(|value| value.cast_unsigned()).collect();
        let weights = builder.constant(&stem, &dims, element_type::INT8, bytes(&data));
        let (dims, attributes) = one_or_each(scales.len());
        let scale = builder.f32_constant(&format!("{stem}/scale"), &dims, &scales);
        let zeros: Vec<i8> = zeros.iter().map(|&zero| zero as i8).collect();
        let zero = format!("{stem}/zero");
        let zero = builder.constant(&zero, &dims, element_type::INT8, bytes(&zeros));
        let inputs = [&weights, &scale, &zero].map(String::as_str);
        let stem = format!("{stem}/f32");
        let name = builder.node("DequantizeLinear", &stem, &inputs, attributes);
        self.kernels.insert(key, (name.clone(), scales.clone()));
        Ok((name, scales))
    }

    /// The bias in input 2 of `op` in f32. One of whole numbers has the scale of the products that it is
    /// added to, whatever the file says of it.
    pub(super) fn float_bias(
        &mut self,
        op: &Operator<'_>,
        kernel: &Kernel,
    ) -> Result<Vec<f32>, Fault> {
        let facts = self.constant_input(op, 2)?;
        let misfit = Fault::Tensor {
            tensor: facts.name.clone(),
            found: format!("{} {:?}", facts.kind.name(), facts.shape),
            expected: "one number for each output",
        };
        if lengths(&facts.shape) != [kernel.outputs] {
            return Err(misfit);
        }
        if facts.kind != Kind::I32 {
            return Ok(self.floats(op, 2)?.values);
        }
        let data = encoding_of(&self.model.tensor(op.input(0)?)?)?;
        let weights = self.constant_input(op, 1)?.quantization;
        let scales = weights.and_then(|own| along_outputs(own, kernel));
        let (Some(data), Some((scales, _))) = (data, scales) else {
            return Err(misfit);
        };
        let stored = words(facts.data.unwrap_or_default()).map(i32::from_le_bytes);
        let products = scales.iter().map(|scale| scale * data.scale).cycle();
        let values = stored
            .zip(products)
            .map(|(bias, scale)| bias as f32 * scale);
        Ok(values.collect())
    }

    /// The 32-bit bias in input 2 of `op` behind a `DequantizeLinear`, with the scale of the
    /// products that it is added to, for an output with these copies.
    pub(super) fn quantized_bias(
        &mut self,
        op: &Operator<'_>,
        kernel: &Kernel,
        scale: f32,
        weights: &[f32],
        copies: &[usize],
    ) -> Result<String, Fault> {
        let facts = self.constant_input(op, 2)?;
        let data = facts.data.unwrap_or_default();
        if facts.kind != Kind::I32 || data.len() != 4 * kernel.outputs {
            return Err(Fault::Tensor {
                tensor: facts.name.clone(),
                found: format!("{} {:?}", facts.kind.name(), facts.shape),
                expected: "i32, one for each output",
            });
        }
        let stem = facts.name.clone();
        let mut data = data.to_vec();
        repeat_rows(&mut data, 4, copies);
        self.spend(data.len())?;
        let scales: Vec<f32> = weights.iter().map(|weight| weight * scale).collect();
        let builder = &mut self.builder;
        let bias = builder.constant(&stem, &[data.len() / 4], element_type::INT32, data);
        let (dims, attributes) = one_or_each(scales.len());
        let scale = builder.f32_constant(&format!("{stem}/scale"), &dims, &scales);
        let stem = format!("{stem}/f32");
        Ok(builder.node("DequantizeLinear", &stem, &[&bias, &scale], attributes))
    }
}

/// The shape of scales and the attributes of their node: one for all, or one for each output.
fn one_or_each(count: usize) -> (Vec<usize>, Vec<AttributeProto>) {
    match count {
        1 => (vec![], vec![]),
        count => (vec![count], vec![int("axis", 0)]),
    }
}

/// Appends the rows `which`, of `length` elements each, of `values` to them.
fn repeat_rows<T: Copy>(values: &mut Vec<T>, length: usize, which: &[usize]) {
    for &row in which {
        values.extend_from_within(row * length..(row + 1) * length);
    }
}

/// 8-bit weights in the order of [`Kernel::dims`].
struct Weights<'a> {
    kernel: &'a Kernel,
    /// The least number that a byte stores: 0 or -128.
    lowest: i32,
    bytes: &'a [u8],
    /// One, or one for each output.
    zeros: &'a [i32],
}

impl Weights<'_> {
    /// Output `row`'s weights less their zero point.
    fn row(&self, row: usize) -> impl ExactSizeIterator<Item = i32> + '_ {
        let length = self.bytes.len() / self.kernel.outputs;
        let zero = self.zeros[row % self.zeros.len()];
        let signed = self.lowest < 0;
        self.bytes[row * length..][..length]
            .iter()
            .map(move |&byte| {
                let value = if signed {
                    i32::from(byte.cast_signed())
                } else {
                    i32::from(byte)
                };
                value - zero
            })
    }

    /// As signed bytes with zero point zero, shared among a channel's copies; `None` where they do not fit,
    /// and where ONNX Runtime has no faster kernels for them.
    fn without_zero(&self, copies: &[usize]) -> Option<Vec<i8>> {
        let kernel = self.kernel;
        let small = kernel.depthwise || kernel.fan_in <= lanes::FAN_IN_MAX;
        if !small && self.zeros.iter().any(|&zero| zero != 0) {
            return None;
        }
        let positions = kernel.sides[0] * kernel.sides[1];
        let copies = if kernel.depthwise { &[] } else { copies };
        let mut data = Vec::with_capacity(self.bytes.len());
        for row in 0..kernel.outputs {
            let start = data.len();
            data.resize(start + (kernel.fan_in + copies.len()) * positions, 0);
            for (at, weight) in self.row(row).enumerate() {
                let (channel, position) = (at / positions, at % positions);
                let repeats = (0..copies.len()).filter(|&copy| copies[copy] == channel);
                let mut places =
                    std::iter::once(channel).chain(repeats.map(|copy| kernel.fan_in + copy));
                let mut left = weight;
                while left != 0 {
                    let part = left.clamp(-128, 127);
                    data[start + places.next()? * positions + position] = part as i8;
                    left -= part;
                }
            }
        }
        Some(data)
    }

    /// As signed bytes around the zero point; copies of channels have no weight.
    fn with_zero(&self, copies: &[usize]) -> Vec<i8> {
        let kernel = self.kernel;
        let positions = kernel.sides[0] * kernel.sides[1];
        let copies = if kernel.depthwise { 0 } else { copies.len() };
        let mut data = Vec::with_capacity(self.bytes.len());
        for row in 0..kernel.outputs {
            let zero = self.zeros[row % self.zeros.len()] - self.lowest - 128;
            data.extend(self.row(row).map(|weight| (weight + zero) as i8));
            data.extend(std::iter::repeat_n(zero as i8, copies * positions));
        }
        data
    }
}

/// The shape of a convolution's weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    pub(super) outputs: usize,
    /// Height and width.
    pub(super) sides: [usize; 2],
    /// Input channels of one output: 1 where each channel is convolved by itself.
    pub(super) fan_in: usize,
    /// Whether TFLite keeps `[1, height, width, outputs]`, and not `[outputs, height, width, fan_in]`.
    pub(super) depthwise: bool,
}

impl Kernel {
    /// `[outputs, fan_in, height, width]`.
    pub(super) fn dims(&self) -> [usize; 4] {
        [self.outputs, self.fan_in, self.sides[0], self.sides[1]]
    }

    /// The elements in the order of [`Self::dims`].
    pub(super) fn outputs_first<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let positions = self.sides[0] * self.sides[1];
        if self.depthwise {
            channels_first(values, 1, positions, self.outputs)
        } else {
            channels_first(values, self.outputs, positions, self.fan_in)
        }
    }
}

/// `[outer, positions, channels]` as `[outer, channels, positions]`.
pub(super) fn channels_first<T: Copy>(
    values: &[T],
    outer: usize,
    positions: usize,
    channels: usize,
) -> Vec<T> {
    let mut moved = Vec::with_capacity(values.len());
    for block in values
        .chunks_exact((positions * channels).max(1))
        .take(outer)
    {
        for channel in 0..channels {
            moved.extend(block[channel..].iter().step_by(channels));
        }
    }
    moved
}

/// The scales and zero points of a kernel, when they fit it.
fn along_outputs(own: Quantization<'_>, kernel: &Kernel) -> Option<(Vec<f32>, Vec<i32>)> {
    let axis = if kernel.depthwise { 3 } else { 0 };
    let count = own.scales.len();
    let fits = count == 1 || (count == kernel.outputs && own.axis == axis);
    let sane = |scale: f32| scale.is_normal() && scale > 0.0;
    if !fits || !own.scales.f32s().all(sane) {
        return None;
    }
    let zeros = match own.zeros.len() {
        0 => vec![0; count],
        1 => vec![own.zeros.i64s().next()?; count],
        len if len == count => own.zeros.i64s().collect(),
        _ => return None,
    };
    let zeros: Option<Vec<i32>> = zeros
        .into_iter()
        .map(|zero| i32::try_from(zero).ok())
        .collect();
    Some((own.scales.f32s().collect(), zeros?))
}

/// The numbers that a constant stands for.
pub(in super::super) fn real_values(facts: &TensorFacts<'_>) -> Option<Vec<f32>> {
    let data = facts.data?;
    Some(match facts.kind {
        Kind::F32 => words(data).map(f32::from_le_bytes).collect(),
        Kind::F16 => words(data)
            .map(|word| half::to_f32(u16::from_le_bytes(word)))
            .collect(),
        Kind::U8 => dequantized(facts, data.iter().map(|&byte| i64::from(byte)))?,
        Kind::I8 => dequantized(
            facts,
            data.iter().map(|&byte| i64::from(byte.cast_signed())),
        )?,
        Kind::I32 => dequantized(
            facts,
            words(data).map(|word| i64::from(i32::from_le_bytes(word))),
        )?,
        Kind::I64 | Kind::Other(_) => return None,
    })
}

fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks().0.iter().copied()
}

/// `scale * (stored - zero)`, along one axis when there are several scales.
fn dequantized(facts: &TensorFacts<'_>, stored: impl Iterator<Item = i64>) -> Option<Vec<f32>> {
    let own = facts.quantization?;
    let scales: Vec<f32> = own.scales.f32s().collect();
    let zeros: Vec<i64> = own.zeros.i64s().collect();
    let axis = usize::try_from(own.axis).ok()?;
    // How many neighbours share a scale.
    let run = match scales.len() {
        1 => 1,
        count => {
            let length = facts.shape.get(axis).copied();
            if length.and_then(|length| usize::try_from(length).ok()) != Some(count) {
                return None;
            }
            let behind = facts.shape[axis + 1..].iter().product::<i64>();
            usize::try_from(behind).ok()?.max(1)
        }
    };
    let real = |(position, value): (usize, i64)| {
        let index = position / run % scales.len();
        let zero = match zeros.len() {
            0 => 0,
            1 => zeros[0],
            _ => *zeros.get(index)?,
        };
        Some(scales[index] * value.checked_sub(zero)? as f32)
    };
    stored.enumerate().map(real).collect()
}

/// A count as ONNX writes it.
pub(super) fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("counts of a file in memory fit i64")
}

/// The lengths of a shape's axes.
pub(super) fn lengths(shape: &[i64]) -> Vec<usize> {
    shape
        .iter()
        .map(|&length| usize::try_from(length).expect("shapes were checked when they were read"))
        .collect()
}
