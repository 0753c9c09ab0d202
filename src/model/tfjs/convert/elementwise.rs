//! Operators that work on each element by itself.

use std::rc::Rc;

use super::{describe, shape_items, Converter, Extent, Form, Layout, Tensor, Value};
use crate::model::onnx::builder::{float, int};
use crate::model::tfjs::error::{ImportError, Reason};
use crate::model::tfjs::topology::Node;
use crate::model::tfjs::weights::Constant;

type Converted = Result<Value, ImportError>;

pub(super) fn add<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Add", i64::checked_add)
}

pub(super) fn subtract<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Sub", i64::checked_sub)
}

pub(super) fn multiply<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Mul", i64::checked_mul)
}

pub(super) fn divide<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Div", i64::checked_div)
}

pub(super) fn maximum<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Max", |left, right| Some(left.max(right)))
}

pub(super) fn minimum<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    binary(converter, node, "Min", |left, right| Some(left.min(right)))
}

/// One slope a channel.
pub(super) fn prelu<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let slopes = converter.floats(node, 1)?;
    let slopes = converter.operand(node, 1, &slopes, &tensor)?;
    Ok(Value::Tensor(converter.map(
        "PRelu",
        &node.name,
        tensor,
        &[&slopes],
    )))
}

/// `on_shapes` computes with elements of shapes, when both operands are such.
fn binary<'g>(
    converter: &mut Converter<'g>,
    node: &'g Node,
    op: &str,
    on_shapes: fn(i64, i64) -> Option<i64>,
) -> Converted {
    let (left, right) = (converter.input(node, 0)?, converter.input(node, 1)?);
    let (names, shape, layout) = match (&left, &right) {
        (Value::Tensor(left), Value::Tensor(right)) => {
            let shape = broadcast(node, &left.shape, &right.shape)?;
            let (left, right, layout) = converter.same_layout(left, right);
            ([left, right], shape, layout)
        }
        (Value::Tensor(tensor), Value::Constant(constant)) => {
            let constant = converter.operand(node, 1, constant, tensor)?;
            let names = [tensor.name.clone(), constant];
            (names, tensor.shape.clone(), tensor.layout)
        }
        (Value::Constant(constant), Value::Tensor(tensor)) => {
            let constant = converter.operand(node, 0, constant, tensor)?;
            let names = [constant, tensor.name.clone()];
            (names, tensor.shape.clone(), tensor.layout)
        }
        _ => return shape_arithmetic(node, &left, &right, on_shapes),
    };
    let inputs = names.each_ref().map(String::as_str);
    let name = converter.builder.node(op, &node.name, &inputs, Vec::new());
    Ok(Value::Tensor(Tensor {
        name,
        shape,
        layout,
    }))
}

fn shape_arithmetic(
    node: &Node,
    left: &Value,
    right: &Value,
    compute: fn(i64, i64) -> Option<i64>,
) -> Converted {
    let items = shape_items(left).zip(shape_items(right));
    match items.as_ref().map(|(left, right)| (&left[..], &right[..])) {
        Some((&[Extent::Fixed(left)], &[Extent::Fixed(right)])) => {
            let result = compute(left, right).ok_or_else(|| {
                node.unsupported(Reason::Variant {
                    what: "arithmetic that overflows",
                })
            })?;
            Ok(Value::Shape(vec![Extent::Fixed(result)]))
        }
        _ => Err(node.unsupported(Reason::Variant {
            what: "arithmetic between constants",
        })),
    }
}

fn broadcast(node: &Node, left: &[Extent], right: &[Extent]) -> Result<Vec<Extent>, ImportError> {
    let misfit = || {
        node.unsupported(Reason::Shape {
            found: format!("{} and {}", describe(left), describe(right)),
        })
    };
    if left.len() != right.len() {
        return Err(misfit());
    }
    let pairs = left.iter().zip(right);
    pairs
        .map(|(&left, &right)| match (left, right) {
            _ if left == right => Ok(left),
            (Extent::Fixed(1), other) | (other, Extent::Fixed(1)) => Ok(other),
            _ => Err(misfit()),
        })
        .collect()
}

impl<'g> Converter<'g> {
    /// Brings two tensors of the same rank to one layout, channels first when either has it.
    fn same_layout(&mut self, left: &Tensor, right: &Tensor) -> (String, String, Layout) {
        if left.layout == right.layout {
            (left.name.clone(), right.name.clone(), left.layout)
        } else {
            let left = self.channels_first(left);
            let right = self.channels_first(right);
            (left, right, Layout::ChannelsFirst)
        }
    }

    /// Writes the constant input number `index` so that it broadcasts against `tensor` as it lies.
    fn operand(
        &mut self,
        node: &'g Node,
        index: usize,
        constant: &Rc<Constant>,
        tensor: &Tensor,
    ) -> Result<String, ImportError> {
        let Some(values) = constant.floats() else {
            return Err(node.unsupported(Reason::Input {
                index,
                expected: "a constant of floats",
            }));
        };
        if let [value] = values {
            return Ok(self.scalar(*value));
        }
        let rank = tensor.shape.len();
        let lead = rank.checked_sub(constant.shape.len());
        let fits = lead.is_some_and(|lead| {
            let pairs = constant.shape.iter().zip(&tensor.shape[lead..]);
            pairs.into_iter().all(|(&own, &extent)| {
                own == 1 || i64::try_from(own).is_ok_and(|own| extent == Extent::Fixed(own))
            })
        });
        if !fits {
            return Err(node.unsupported(Reason::Shape {
                found: format!("{} and {:?}", describe(&tensor.shape), constant.shape),
            }));
        }
        let stem = self.source_name(node, index);
        Ok(match tensor.layout {
            Layout::TensorFlow => self.write_constant(stem, constant, Form::Plain, plain),
            Layout::ChannelsFirst => {
                self.write_constant(stem, constant, Form::ChannelsFirst, channels_first)
            }
        })
    }

    /// A one-input, one-output node that leaves shape and layout alone.
    pub(super) fn map(&mut self, op: &str, stem: &str, tensor: Tensor, more: &[&str]) -> Tensor {
        let inputs: Vec<&str> = [tensor.name.as_str()]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let name = self.builder.node(op, stem, &inputs, Vec::new());
        Tensor { name, ..tensor }
    }

    /// `min(max(x, 0), 6)`.
    pub(super) fn clip_to_six(&mut self, stem: &str, tensor: Tensor) -> Tensor {
        let (low, high) = (self.scalar(0.0), self.scalar(6.0));
        self.map("Clip", stem, tensor, &[&low, &high])
    }

    /// Adds the constant input number `index` of `node`.
    pub(super) fn add_constant(
        &mut self,
        node: &'g Node,
        index: usize,
        stem: &str,
        tensor: Tensor,
    ) -> Result<Tensor, ImportError> {
        let constant = self.floats(node, index)?;
        let constant = self.operand(node, index, &constant, &tensor)?;
        Ok(self.map("Add", stem, tensor, &[&constant]))
    }
}

fn plain(constant: &Constant) -> (Vec<usize>, Vec<f32>) {
    let values = constant.floats().expect("checked by the caller");
    (constant.shape.clone(), values.to_vec())
}

/// `[.., height, width, channels]` as `[.., channels, height, width]`; a vector of channels
/// becomes `[channels, 1, 1]`.
fn channels_first(constant: &Constant) -> (Vec<usize>, Vec<f32>) {
    let values = constant.floats().expect("checked by the caller");
    let mut shape = [1_usize; 4];
    shape[4 - constant.shape.len()..].copy_from_slice(&constant.shape);
    let [batch, height, width, channels] = shape;
    let mut data = Vec::with_capacity(values.len());
    for b in 0..batch {
        for c in 0..channels {
            for position in 0..height * width {
                data.push(values[(b * height * width + position) * channels + c]);
            }
        }
    }
    let dims = [batch, channels, height, width];
    let lead = usize::from(batch == 1);
    (dims[lead..].to_vec(), data)
}

pub(super) fn add_all<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let mut sum = converter.tensor(node, 0)?;
    for index in 1..node.inputs.len() {
        let next = converter.tensor(node, index)?;
        if next.shape != sum.shape {
            return Err(node.unsupported(Reason::Shape {
                found: format!("{} and {}", describe(&sum.shape), describe(&next.shape)),
            }));
        }
        // ONNX Runtime joins an `Add` of two to the convolution before it, but not a `Sum`.
        let (left, right, layout) = converter.same_layout(&sum, &next);
        let builder = &mut converter.builder;
        sum.name = builder.node("Add", &node.name, &[&left, &right], Vec::new());
        sum.layout = layout;
    }
    Ok(Value::Tensor(sum))
}

pub(super) fn batch_norm<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let (tensor, [.., channels]) = converter.feature_map(node, 0)?;
    if node.flag("is_training")? {
        return Err(node.unsupported(Reason::Variant {
            what: "batch normalisation in training mode",
        }));
    }
    let mut names = vec![converter.channels_first(&tensor)];
    for index in 1..=4 {
        let constant = converter.floats(node, index)?;
        if i64::try_from(constant.shape.iter().product::<usize>()) != Ok(channels) {
            return Err(node.unsupported(Reason::Shape {
                found: format!("{} and {:?}", describe(&tensor.shape), constant.shape),
            }));
        }
        let stem = converter.source_name(node, index);
        names.push(converter.write_constant(stem, &constant, Form::Plain, plain));
    }
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    // TensorFlow's default.
    let epsilon = node.float("epsilon")?.unwrap_or(1e-4);
    let attributes = vec![float("epsilon", epsilon)];
    let builder = &mut converter.builder;
    let name = builder.node("BatchNormalization", &node.name, &inputs, attributes);
    Ok(Value::Tensor(Tensor {
        name,
        layout: Layout::ChannelsFirst,
        ..tensor
    }))
}

pub(super) fn relu<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    Ok(Value::Tensor(converter.map(
        "Relu",
        &node.name,
        tensor,
        &[],
    )))
}

pub(super) fn relu6<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    Ok(Value::Tensor(converter.clip_to_six(&node.name, tensor)))
}

pub(super) fn sigmoid<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let tensor = converter.map("Sigmoid", &node.name, tensor, &[]);
    Ok(Value::Tensor(tensor))
}

pub(super) fn tanh<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    Ok(Value::Tensor(converter.map(
        "Tanh",
        &node.name,
        tensor,
        &[],
    )))
}

pub(super) fn leaky_relu<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    // TensorFlow's default.
    let alpha = node.float("alpha")?.unwrap_or(0.2);
    let attributes = vec![float("alpha", alpha)];
    let builder = &mut converter.builder;
    let name = builder.node("LeakyRelu", &node.name, &[&tensor.name], attributes);
    Ok(Value::Tensor(Tensor { name, ..tensor }))
}

pub(super) fn softmax<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let input = converter.tensorflow_order(&tensor);
    let builder = &mut converter.builder;
    let name = builder.node("Softmax", &node.name, &[&input], vec![int("axis", -1)]);
    Ok(Value::Tensor(Tensor {
        name,
        layout: Layout::TensorFlow,
        ..tensor
    }))
}

/// A cast to f32 changes nothing: the picture is fed as f32, and so is all that follows from it.
/// Computed shapes have no element type.
pub(super) fn cast<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let value = converter.input(node, 0)?;
    match &value {
        Value::Tensor(_) if node.is_float("DstT")? => Ok(value),
        Value::Shape(_) => Ok(value),
        Value::Tensor(_) | Value::Constant(_) => Err(node.unsupported(Reason::Variant {
            what: "a cast other than to f32, or of a constant",
        })),
    }
}

pub(super) fn identity<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    converter.input(node, 0)
}
