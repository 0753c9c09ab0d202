//! Operators that work on each element by itself.

use super::constants::{channels_first, Floats, Form};
use super::{misfit, Activation, Converted, Converter, Layout, Tensor};
use crate::model::onnx::builder::{float, int};
use crate::model::onnx::proto::AttributeProto;
use crate::model::tflite::error::{Fault, Reason};
use crate::model::tflite::residual;
use crate::model::tflite::schema::Operator;

pub(super) fn add(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 0)?;
    if let Some(made) = exact_sum(converter, op)? {
        return converter.finish(op, made, activation);
    }
    binary(converter, op, "Add", activation)
}

pub(super) fn subtract(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 0)?;
    binary(converter, op, "Sub", activation)
}

pub(super) fn multiply(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 0)?;
    binary(converter, op, "Mul", activation)
}

pub(super) fn divide(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 0)?;
    binary(converter, op, "Div", activation)
}

pub(super) fn maximum(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    binary(converter, op, "Max", Activation::None)
}

pub(super) fn minimum(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    binary(converter, op, "Min", Activation::None)
}

/// The sum of two quantised tensors of one shape, with scales that make it `LiteRT`'s.
fn exact_sum(converter: &mut Converter<'_>, op: &Operator<'_>) -> Result<Option<Tensor>, Fault> {
    if converter.is_constant(op, 0)? || converter.is_constant(op, 1)? {
        return Ok(None);
    }
    let operands = [converter.tensor(op, 0)?, converter.tensor(op, 1)?];
    let [a, b] = &operands;
    let (Some(own_a), Some(own_b), Some(out)) =
        (a.encoding, b.encoding, converter.encoding_of_output(op)?)
    else {
        return Ok(None);
    };
    let scales = residual::exact_scales(own_a, own_b, out);
    let Some(scales) = scales.filter(|_| a.shape == b.shape) else {
        return Ok(None);
    };
    let layout = joint_layout(a, b);
    let mut names = Vec::with_capacity(2);
    for (operand, scale) in operands.iter().zip(scales) {
        let stored = converter.laid(operand, layout);
        let encoding = operand.encoding.expect("looked at above");
        let [_, zero] = converter.encoding_names(encoding);
        let scale = converter.scalar(scale);
        let stem = format!("{stored}/addend");
        let inputs = [&stored, &scale, &zero].map(String::as_str);
        let builder = &mut converter.builder;
        names.push(builder.node("DequantizeLinear", &stem, &inputs, Vec::new()));
    }
    // Not `Add`: ONNX Runtime would join that to an integer kernel with a rounding of its own.
    let stem = format!("{}/sum", op.makes);
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = converter.builder.node("Sum", &stem, &inputs, Vec::new());
    Ok(Some(Tensor {
        name,
        shape: a.shape.clone(),
        layout,
        encoding: None,
        copies: a.copies.clone(),
    }))
}

/// Channels first when either operand lies so.
fn joint_layout(a: &Tensor, b: &Tensor) -> Layout {
    if a.layout == b.layout {
        a.layout
    } else {
        Layout::ChannelsFirst
    }
}

fn binary(
    converter: &mut Converter<'_>,
    op: &Operator<'_>,
    onnx: &str,
    activation: Activation,
) -> Converted {
    let constants = [converter.is_constant(op, 0)?, converter.is_constant(op, 1)?];
    let (names, shape, layout, copies) = match constants {
        [false, false] => {
            let (a, b) = (converter.tensor(op, 0)?, converter.tensor(op, 1)?);
            let shape = broadcast(op, &a.shape, &b.shape)?;
            let layout = joint_layout(&a, &b);
            let names = [converter.float(&a, layout), converter.float(&b, layout)];
            (names, shape, layout, a.copies)
        }
        [true, true] => {
            return Err(op.unsupported(Reason::Variant {
                what: "arithmetic between constants",
            }))
        }
        [first, _] => {
            let (constant, computed) = if first { (0, 1) } else { (1, 0) };
            let tensor = converter.tensor(op, computed)?;
            let floats = converter.floats(op, constant)?;
            let constant = operand(converter, op, constant, &floats, &tensor)?;
            let own = converter.float(&tensor, tensor.layout);
            let names = if first {
                [constant, own]
            } else {
                [own, constant]
            };
            (names, tensor.shape, tensor.layout, tensor.copies)
        }
    };
    let inputs = names.each_ref().map(String::as_str);
    let stem = format!("{}/{onnx}", op.makes);
    let name = converter.builder.node(onnx, &stem, &inputs, Vec::new());
    let made = Tensor {
        name,
        shape,
        layout,
        encoding: None,
        copies,
    };
    converter.finish(op, made, activation)
}

fn broadcast(op: &Operator<'_>, a: &[i64], b: &[i64]) -> Result<Vec<i64>, Fault> {
    let fit = |(&a, &b): (&i64, &i64)| match (a, b) {
        _ if a == b => Some(a),
        (1, other) | (other, 1) => Some(other),
        _ => None,
    };
    let shape: Option<Vec<i64>> = a.iter().zip(b).map(fit).collect();
    shape
        .filter(|_| a.len() == b.len())
        .ok_or_else(|| misfit(op, format!("{a:?} and {b:?}")))
}

/// Writes the constant input number `index` so that it broadcasts against `tensor` as it lies.
fn operand(
    converter: &mut Converter<'_>,
    op: &Operator<'_>,
    index: usize,
    floats: &Floats,
    tensor: &Tensor,
) -> Result<String, Fault> {
    if let [value] = floats.values[..] {
        return Ok(converter.scalar(value));
    }
    let lead = tensor.shape.len().checked_sub(floats.shape.len());
    let fits = lead.is_some_and(|lead| {
        let pairs = floats.shape.iter().zip(&tensor.shape[lead..]);
        pairs
            .into_iter()
            .all(|(&own, &length)| own == 1 || i64::try_from(own) == Ok(length))
    });
    if !fits {
        let found = format!("{:?} and {:?}", tensor.shape, floats.shape);
        return Err(misfit(op, found));
    }
    let index = op.input(index)?;
    Ok(match tensor.layout {
        Layout::Tflite => converter.write_floats(index, Form::Plain, &floats.shape, &floats.values),
        Layout::ChannelsFirst => {
            let mut shape = [1; 4];
            shape[4 - floats.shape.len()..].copy_from_slice(&floats.shape);
            let [batch, height, width, channels] = shape;
            let values = channels_first(&floats.values, batch, height * width, channels);
            let dims = [batch, channels, height, width];
            converter.write_floats(index, Form::ChannelsFirst, &dims, &values)
        }
    })
}

/// One node between an input and an output, each stored as the file says.
fn unary(
    converter: &mut Converter<'_>,
    op: &Operator<'_>,
    onnx: &str,
    attributes: Vec<AttributeProto>,
) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let tensor = converter.floated(&tensor);
    let stem = format!("{}/{onnx}", op.makes);
    let builder = &mut converter.builder;
    let name = builder.node(onnx, &stem, &[&tensor.name], attributes);
    converter.finish(op, Tensor { name, ..tensor }, Activation::None)
}

pub(super) fn logistic(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    unary(converter, op, "Sigmoid", Vec::new())
}

pub(super) fn tanh(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    unary(converter, op, "Tanh", Vec::new())
}

pub(super) fn leaky_relu(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let alpha = op.option_f32(0, 0.0)?;
    unary(converter, op, "LeakyRelu", vec![float("alpha", alpha)])
}

/// `x * min(max(x / 6 + 0.5, 0), 1)`.
pub(super) fn hard_swish(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let tensor = converter.floated(&tensor);
    let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
    let stem = format!("{}/gate", op.makes);
    let builder = &mut converter.builder;
    let gate = builder.node("HardSigmoid", &stem, &[&tensor.name], attributes);
    let stem = format!("{}/gated", op.makes);
    let name = builder.node("Mul", &stem, &[&tensor.name, &gate], Vec::new());
    converter.finish(op, Tensor { name, ..tensor }, Activation::None)
}

/// One slope a channel.
pub(super) fn prelu(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let slopes = converter.floats(op, 1)?;
    let slopes = operand(converter, op, 1, &slopes, &tensor)?;
    let tensor = converter.floated(&tensor);
    let stem = format!("{}/PRelu", op.makes);
    let builder = &mut converter.builder;
    let name = builder.node("PRelu", &stem, &[&tensor.name, &slopes], Vec::new());
    converter.finish(op, Tensor { name, ..tensor }, Activation::None)
}

pub(super) fn relu(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    bounded(converter, op, Activation::Relu)
}

pub(super) fn relu_one(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    bounded(converter, op, Activation::ReluOne)
}

pub(super) fn relu_six(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    bounded(converter, op, Activation::ReluSix)
}

fn bounded(converter: &mut Converter<'_>, op: &Operator<'_>, activation: Activation) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    converter.finish_moved(op, tensor, activation)
}

/// `QUANTIZE`, which may also change the encoding, and `DEQUANTIZE`, also of half-precision weights.
pub(super) fn requantize(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    if converter.is_constant(op, 0)? {
        converter.fold(op)
    } else {
        bounded(converter, op, Activation::None)
    }
}

pub(super) fn softmax(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let beta = op.option_f32(0, 0.0)?;
    let mut input = converter.float(&tensor, Layout::Tflite);
    if (beta - 1.0).abs() > f32::EPSILON {
        let beta = converter.scalar(beta);
        let stem = format!("{}/beta", op.makes);
        let builder = &mut converter.builder;
        input = builder.node("Mul", &stem, &[&input, &beta], Vec::new());
    }
    let stem = format!("{}/Softmax", op.makes);
    let attributes = vec![int("axis", -1)];
    let name = converter
        .builder
        .node("Softmax", &stem, &[&input], attributes);
    let made = Tensor {
        name,
        layout: Layout::Tflite,
        encoding: None,
        ..tensor
    };
    converter.finish(op, made, Activation::None)
}
