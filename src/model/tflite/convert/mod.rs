//! TFLite operators -> ONNX nodes, each through the table in [`handler`].
//!
//! Activations of 8 bits stay `u8` in the ONNX file; signed ones are moved up by 128, which changes
//! no value. Each operator is written in f32 between a `DequantizeLinear` and a `QuantizeLinear`, the
//! form that ONNX Runtime joins to integer kernels. What only moves elements works on the bytes. With `dequantize`
//! the same code writes f32 throughout.
//!
//! TFLite keeps pictures as `[1, height, width, channels]`, ONNX convolutions want channels first; a
//! [`Tensor`] remembers its TFLite shape and how it really lies.

mod constants;
mod elementwise;
mod lanes;
mod reshaping;
mod resize;
mod window;

use std::collections::{HashMap, HashSet};

pub(super) use constants::real_values;

use super::error::{Fault, Reason};
use super::schema::{Kind, Model, Operator, TensorFacts};
use super::{RAW_BOXES, RAW_SCORES};
use crate::model::onnx::builder::{ints, Axis};
use crate::model::onnx::proto::element_type;
use crate::model::onnx::GraphBuilder;

/// Name of the graph's input.
pub(super) const PICTURE: &str = "image";
/// Name of the length of the first axis of every input and output.
pub(super) const BATCH: &str = "batch";
/// The largest picture side that is believed.
const PICTURE_SIDE_MAX: i64 = 16_384;

/// The numbers of TFLite's operators that are known here.
pub(super) mod builtin {
    pub(in super::super) const LOGISTIC: i32 = 14;
    pub(in super::super) const SOFTMAX: i32 = 25;
    pub(in super::super) const CUSTOM: i32 = 32;
    pub(in super::super) const DEQUANTIZE: i32 = 6;
    pub(in super::super) const QUANTIZE: i32 = 114;
}

type Converted = Result<(), Fault>;
type Handler = fn(&mut Converter<'_>, &Operator<'_>) -> Converted;

/// The operators that can be converted.
fn handler(code: i32) -> Option<Handler> {
    Some(match code {
        0 => elementwise::add,
        1 => window::average_pool,
        2 => reshaping::concatenate,
        3 => window::convolution,
        4 => window::depthwise_convolution,
        builtin::DEQUANTIZE | builtin::QUANTIZE => elementwise::requantize,
        builtin::LOGISTIC => elementwise::logistic,
        17 => window::max_pool,
        18 => elementwise::multiply,
        19 => elementwise::relu,
        20 => elementwise::relu_one,
        21 => elementwise::relu_six,
        22 | 43 | 70 => reshaping::reshape,
        23 => resize::bilinear,
        builtin::SOFTMAX => elementwise::softmax,
        28 => elementwise::tanh,
        34 | 60 => window::pad,
        39 => reshaping::transpose,
        40 => window::mean,
        41 => elementwise::subtract,
        42 => elementwise::divide,
        54 => elementwise::prelu,
        55 => elementwise::maximum,
        57 => elementwise::minimum,
        83 => reshaping::pack,
        97 => resize::nearest,
        98 => elementwise::leaky_relu,
        117 => elementwise::hard_swish,
        _ => return None,
    })
}

/// `real = scale * (stored - zero)`, stored as `u8`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Encoding {
    pub(super) scale: f32,
    pub(super) zero: u8,
}

impl Encoding {
    /// The stored number nearest to `real`.
    fn stored(self, real: f32) -> u8 {
        // A cast saturates.
        ((real / self.scale).round_ties_even() + f32::from(self.zero)) as u8
    }
}

/// How a tensor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the order of its TFLite shape.
    Tflite,
    /// Four axes, the last of the TFLite shape in second place.
    ChannelsFirst,
}

/// A tensor computed by the ONNX graph.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// Its name there.
    pub(super) name: String,
    /// Its TFLite shape; the first axis is the batch and 1 here.
    pub(super) shape: Vec<i64>,
    /// How it lies.
    pub(super) layout: Layout,
    /// How its numbers are stored, when they are `u8` and not f32.
    pub(super) encoding: Option<Encoding>,
    /// Channels that follow the tensor's own once more: which each of them repeats ([`lanes`]).
    pub(super) copies: Vec<usize>,
}

/// What is applied to an operator's result inside the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    None,
    Relu,
    /// To `-1..=1`.
    ReluOne,
    /// To `0..=6`.
    ReluSix,
}

impl Activation {
    /// Option `id` of `op`.
    fn of(op: &Operator<'_>, id: usize) -> Result<Self, Fault> {
        Ok(match op.option_byte(id)? {
            0 => Self::None,
            1 => Self::Relu,
            2 => Self::ReluOne,
            3 => Self::ReluSix,
            other => {
                return Err(op.unsupported(Reason::Option {
                    key: "fused_activation_function",
                    found: i64::from(other),
                }))
            }
        })
    }

    /// The least and the greatest value that it lets through.
    const fn bounds(self) -> (Option<f32>, Option<f32>) {
        match self {
            Self::None => (None, None),
            Self::Relu => (Some(0.0), None),
            Self::ReluOne => (Some(-1.0), Some(1.0)),
            Self::ReluSix => (Some(0.0), Some(6.0)),
        }
    }
}

/// A tensor of weights, and the copies in the input and the output of its convolution.
type KernelKey = (usize, Vec<usize>, Vec<usize>);

/// Converts the operators that the heads need, in the order of the file.
pub(super) struct Converter<'m> {
    pub(super) model: &'m Model<'m>,
    /// Everything in f32.
    dequantize: bool,
    pub(super) builder: GraphBuilder,
    values: HashMap<usize, Tensor>,
    /// What `DEQUANTIZE` makes of constants, by what it makes.
    folded: HashMap<usize, usize>,
    /// Tensors that lie in another order too, by name and that order's permutation.
    transposed: HashMap<(String, [i64; 4]), String>,
    /// The f32 form of `u8` tensors, by name.
    dequantized: HashMap<String, String>,
    /// Scale and zero point constants.
    encodings: HashMap<(u32, u8), [String; 2]>,
    written: HashMap<(usize, constants::Form), String>,
    /// 8-bit weights and their scales, by tensor and by the copies in their input and output.
    kernels: HashMap<KernelKey, (String, Vec<f32>)>,
    /// The copies planned for each tensor.
    copies: lanes::Copies,
    scalars: HashMap<u32, String>,
    /// How many bytes of constants may still be written.
    budget: usize,
    /// Height and width of the input.
    pub(super) picture: [u32; 2],
    /// What is stored in the pixels, when the input is quantised.
    pub(super) picture_encoding: Option<Encoding>,
}

/// The operators that make the tensors `heads`, in the order of the file.
fn needed(model: &Model<'_>, heads: &[usize]) -> Result<Vec<usize>, Fault> {
    let mut makers = vec![None; model.tensor_count()];
    let mut inputs = Vec::with_capacity(model.operator_count());
    for index in 0..model.operator_count() {
        let op = model.operator(index)?;
        for &output in &op.outputs {
            let slot = usize::try_from(output)
                .ok()
                .and_then(|output| makers.get_mut(output));
            let slot = slot.ok_or_else(|| Fault::Dangling {
                referrer: format!("operator {index}"),
                what: "tensor",
                index: i64::from(output),
            })?;
            if slot.replace(index).is_some() {
                return Err(Fault::Order {
                    tensor: model.tensor_name(output),
                });
            }
        }
        inputs.push(op.inputs);
    }
    let mut wanted = HashSet::new();
    let mut stack = heads.to_vec();
    while let Some(tensor) = stack.pop() {
        let maker = makers.get(tensor).copied().flatten();
        if let Some(maker) = maker.filter(|&maker| wanted.insert(maker)) {
            stack.extend(
                inputs[maker]
                    .iter()
                    .filter_map(|&i| usize::try_from(i).ok()),
            );
        }
    }
    let mut wanted: Vec<usize> = wanted.into_iter().collect();
    wanted.sort_unstable();
    Ok(wanted)
}

impl<'m> Converter<'m> {
    /// A converter whose graph takes the model's picture.
    pub(super) fn new(model: &'m Model<'m>, dequantize: bool) -> Result<Self, Fault> {
        let mut converter = Self {
            model,
            dequantize,
            builder: GraphBuilder::new("detector", &[PICTURE, RAW_BOXES, RAW_SCORES]),
            values: HashMap::new(),
            folded: HashMap::new(),
            transposed: HashMap::new(),
            dequantized: HashMap::new(),
            encodings: HashMap::new(),
            written: HashMap::new(),
            kernels: HashMap::new(),
            copies: lanes::Copies::new(),
            scalars: HashMap::new(),
            // Half and 8-bit numbers grow to f32, and a constant may be needed in two orders.
            budget: model.size_bytes().saturating_mul(16),
            picture: [0; 2],
            picture_encoding: None,
        };
        converter.take_picture()?;
        Ok(converter)
    }

    /// Declares the input.
    fn take_picture(&mut self) -> Result<(), Fault> {
        let inputs = self.model.inputs();
        let [input] = inputs[..] else {
            return Err(Fault::Input {
                found: format!("{} inputs", inputs.len()),
            });
        };
        let index = usize::try_from(input).unwrap_or(usize::MAX);
        let facts = self.model.tensor(index)?;
        let sides = 1..=PICTURE_SIDE_MAX;
        let [1, height, width, 3] = facts.shape[..] else {
            return Err(not_a_picture(&facts));
        };
        let fits = sides.contains(&height) && sides.contains(&width) && facts.data.is_none();
        if !fits || !matches!(facts.kind, Kind::F32 | Kind::U8 | Kind::I8) {
            return Err(not_a_picture(&facts));
        }
        let encoding = encoding_of(&facts)?;
        let axes = [
            Axis::Symbol(BATCH),
            Axis::Fixed(height as usize),
            Axis::Fixed(width as usize),
            Axis::Fixed(3),
        ];
        let element = match encoding {
            Some(_) => element_type::UINT8,
            None => element_type::FLOAT,
        };
        self.builder.typed_input(PICTURE, element, &axes);
        self.picture = [height as u32, width as u32];
        self.picture_encoding = encoding;
        let mut picture = Tensor {
            name: PICTURE.to_owned(),
            shape: facts.shape,
            layout: Layout::Tflite,
            encoding,
            copies: Vec::new(),
        };
        if self.dequantize && encoding.is_some() {
            picture.name = self.float(&picture, Layout::Tflite);
            picture.encoding = None;
        }
        self.values.insert(index, picture);
        Ok(())
    }

    /// Converts the operators that make `heads`.
    pub(super) fn convert_for(&mut self, heads: &[usize]) -> Converted {
        let needed = needed(self.model, heads)?;
        if !self.dequantize {
            self.copies = lanes::plan(self.model, &needed, heads)?;
        }
        for index in needed {
            self.convert(&self.model.operator(index)?)?;
        }
        Ok(())
    }

    /// Converts operator `op`.
    fn convert(&mut self, op: &Operator<'_>) -> Converted {
        let known = if op.code == builtin::CUSTOM {
            None
        } else {
            handler(op.code)
        };
        known.ok_or_else(|| op.unknown())?(self, op)
    }

    /// The computed tensor `index`, if it is one and was made already.
    pub(super) fn computed(&self, index: usize) -> Option<&Tensor> {
        self.values.get(&index)
    }

    /// Input number `index` of `op`, which must be computed from the picture.
    fn tensor(&self, op: &Operator<'_>, index: usize) -> Result<Tensor, Fault> {
        match self.values.get(&op.input(index)?) {
            Some(tensor) => Ok(tensor.clone()),
            None => Err(op.unsupported(Reason::Input {
                index,
                expected: "computed from the picture before it",
            })),
        }
    }

    /// As [`Self::tensor`], with four axes: also height, width and channels.
    fn feature_map(&self, op: &Operator<'_>, index: usize) -> Result<(Tensor, [i64; 3]), Fault> {
        let tensor = self.tensor(op, index)?;
        match tensor.shape[..] {
            [1, height, width, channels] if height > 0 && width > 0 && channels > 0 => {
                Ok((tensor, [height, width, channels]))
            }
            _ => Err(misfit(op, format!("{:?}", tensor.shape))),
        }
    }

    /// How the output of `op` is stored; `None` when it is f32.
    fn encoding_of_output(&self, op: &Operator<'_>) -> Result<Option<Encoding>, Fault> {
        encoding_of(&self.model.tensor(op.output()?)?)
    }

    /// Keeps `tensor` as the output of `op`.
    fn keep(&mut self, op: &Operator<'_>, tensor: Tensor) -> Converted {
        let index = op.output()?;
        let facts = self.model.tensor(index)?;
        // Outputs of custom operators have no shape in the file, and neither have some others.
        if !facts.shape.is_empty() && facts.shape != tensor.shape {
            return Err(misfit(
                op,
                format!(
                    "it makes {:?}, but the file says {:?}",
                    tensor.shape, facts.shape
                ),
            ));
        }
        if tensor.shape.first() != Some(&1) {
            return Err(misfit(
                op,
                format!("{:?}, whose first axis is not the batch", tensor.shape),
            ));
        }
        if self.values.insert(index, tensor).is_some() {
            return Err(Fault::Order { tensor: facts.name });
        }
        Ok(())
    }

    /// Keeps the f32 tensor `made` as the output of `op`: stored as the file says, and with the
    /// activation.
    fn finish(&mut self, op: &Operator<'_>, made: Tensor, activation: Activation) -> Converted {
        let stored = self.encoding_of_output(op)?;
        let tensor = match stored {
            Some(encoding) if !self.dequantize => {
                let quantized = self.quantized(&op.makes, &made, encoding);
                self.clamped(&op.makes, quantized, activation)
            }
            _ => self.clipped(&op.makes, made, bounds_in_floats(activation, stored)),
        };
        self.keep(op, tensor)
    }

    /// As [`Self::finish`], for `moved` that may be stored already: bytes of the right encoding stay.
    fn finish_moved(
        &mut self,
        op: &Operator<'_>,
        moved: Tensor,
        activation: Activation,
    ) -> Converted {
        let stored = self.stored_encoding(op)?;
        if moved.encoding.is_some() && moved.encoding == stored {
            let tensor = self.clamped(&op.makes, moved, activation);
            return self.keep(op, tensor);
        }
        let floats = self.floated(&moved);
        self.finish(op, floats, activation)
    }

    /// How the output of `op` will be stored in the graph.
    fn stored_encoding(&self, op: &Operator<'_>) -> Result<Option<Encoding>, Fault> {
        let stored = self.encoding_of_output(op)?;
        Ok(stored.filter(|_| !self.dequantize))
    }

    /// The output of `op` is a constant: input 0 in another form.
    fn fold(&mut self, op: &Operator<'_>) -> Converted {
        let input = op.input(0)?;
        let source = self.folded.get(&input).copied().unwrap_or(input);
        self.folded.insert(op.output()?, source);
        Ok(())
    }

    /// `made` rounded to `encoding`.
    fn quantized(&mut self, stem: &str, made: &Tensor, encoding: Encoding) -> Tensor {
        let [scale, zero] = self.encoding_names(encoding);
        let name = self.builder.node(
            "QuantizeLinear",
            stem,
            &[&made.name, &scale, &zero],
            Vec::new(),
        );
        Tensor {
            name,
            encoding: Some(encoding),
            ..made.clone()
        }
    }

    /// The stored numbers within what `activation` lets through; most ranges end there anyway.
    fn clamped(&mut self, stem: &str, tensor: Tensor, activation: Activation) -> Tensor {
        let encoding = tensor.encoding.expect("only stored tensors are clamped");
        let (low, high) = activation.bounds();
        let low = low.map_or(0, |low| encoding.stored(low));
        let high = high.map_or(255, |high| encoding.stored(high));
        if low == 0 && high == 255 {
            return tensor;
        }
        let [low, high] = [low, high].map(|bound| {
            self.builder
                .constant("bound", &[], element_type::UINT8, vec![bound])
        });
        let name = self
            .builder
            .node("Clip", stem, &[&tensor.name, &low, &high], Vec::new());
        Tensor { name, ..tensor }
    }

    /// The f32 tensor within bounds.
    fn clipped(
        &mut self,
        stem: &str,
        tensor: Tensor,
        (low, high): (Option<f32>, Option<f32>),
    ) -> Tensor {
        let name = match (low, high) {
            (None, None) => return tensor,
            (Some(0.0), None) => self.builder.node("Relu", stem, &[&tensor.name], Vec::new()),
            _ => {
                let [low, high] = [low, high].map(|bound| match bound {
                    Some(bound) => self.scalar(bound),
                    None => String::new(),
                });
                self.builder
                    .node("Clip", stem, &[&tensor.name, &low, &high], Vec::new())
            }
        };
        Tensor { name, ..tensor }
    }

    /// `tensor`'s name in `layout`, as it is stored.
    pub(super) fn laid(&mut self, tensor: &Tensor, layout: Layout) -> String {
        match (tensor.layout, layout) {
            (Layout::Tflite, Layout::ChannelsFirst) => {
                self.transposed(&tensor.name, "nchw", [0, 3, 1, 2])
            }
            (Layout::ChannelsFirst, Layout::Tflite) => {
                self.transposed(&tensor.name, "nhwc", [0, 2, 3, 1])
            }
            _ => tensor.name.clone(),
        }
    }

    /// `tensor`'s name in `layout`, in f32.
    pub(super) fn float(&mut self, tensor: &Tensor, layout: Layout) -> String {
        let name = self.laid(tensor, layout);
        let Some(encoding) = tensor.encoding else {
            return name;
        };
        if let Some(known) = self.dequantized.get(&name) {
            return known.clone();
        }
        let [scale, zero] = self.encoding_names(encoding);
        let stem = format!("{name}/f32");
        let made = self.builder.node(
            "DequantizeLinear",
            &stem,
            &[&name, &scale, &zero],
            Vec::new(),
        );
        self.dequantized.insert(name, made.clone());
        made
    }

    /// `tensor` in f32, as it lies.
    fn floated(&mut self, tensor: &Tensor) -> Tensor {
        Tensor {
            name: self.float(tensor, tensor.layout),
            encoding: None,
            ..tensor.clone()
        }
    }

    fn transposed(&mut self, name: &str, suffix: &str, perm: [i64; 4]) -> String {
        let key = (name.to_owned(), perm);
        if let Some(known) = self.transposed.get(&key) {
            return known.clone();
        }
        let stem = format!("{name}/{suffix}");
        let made = self
            .builder
            .node("Transpose", &stem, &[name], vec![ints("perm", &perm)]);
        self.transposed.insert(key, made.clone());
        made
    }
}

/// What a float twin has in the place of an activation: where the range of the stored numbers begins
/// at zero, it stood for a `ReLU`, with its upper end for the cap.
fn bounds_in_floats(
    activation: Activation,
    stored: Option<Encoding>,
) -> (Option<f32>, Option<f32>) {
    match (activation, stored) {
        (Activation::None, Some(encoding)) if encoding.zero == 0 => {
            let high = encoding.scale * 255.0;
            // The range 0..=6 is rarely met exactly.
            let high = if (high - 6.0).abs() < encoding.scale {
                6.0
            } else {
                high
            };
            (Some(0.0), Some(high))
        }
        _ => activation.bounds(),
    }
}

fn not_a_picture(facts: &TensorFacts<'_>) -> Fault {
    Fault::Input {
        found: format!("`{}` {} {:?}", facts.name, facts.kind.name(), facts.shape),
    }
}

fn misfit(op: &Operator<'_>, found: String) -> Fault {
    op.unsupported(Reason::Shape { found })
}

/// How `facts` is stored; `None` when it is f32.
pub(super) fn encoding_of(facts: &TensorFacts<'_>) -> Result<Option<Encoding>, Fault> {
    let wrong = |expected| Fault::Tensor {
        tensor: facts.name.clone(),
        found: format!("{} {:?}", facts.kind.name(), facts.shape),
        expected,
    };
    let offset = match facts.kind {
        Kind::F32 => return Ok(None),
        Kind::U8 => 0,
        Kind::I8 => 128,
        _ => return Err(wrong("f32, u8 or i8")),
    };
    let own = facts
        .quantization
        .ok_or_else(|| wrong("one scale and one zero point"))?;
    let mut scales = own.scales.f32s();
    let (Some(scale), None) = (scales.next(), scales.next()) else {
        return Err(wrong("one scale for the whole tensor"));
    };
    let zero = own.zeros.i64s().next().unwrap_or(0);
    let zero = zero
        .checked_add(offset)
        .and_then(|zero| u8::try_from(zero).ok());
    match zero {
        Some(zero) if scale.is_normal() && scale > 0.0 => Ok(Some(Encoding { scale, zero })),
        _ => Err(wrong("a scale above zero and a zero point within 8 bits")),
    }
}
