//! Operators that move elements: what is quantised stays as it is stored.

use super::constants::signed;
use super::{encoding_of, misfit, Activation, Converted, Converter, Layout, Tensor};
use crate::model::onnx::builder::{int, ints};
use crate::model::tflite::error::Reason;
use crate::model::tflite::schema::Operator;

impl Converter<'_> {
    /// `tensor` in the order of its TFLite shape, as `shape`.
    pub(in super::super) fn reshape_to(
        &mut self,
        stem: &str,
        tensor: &Tensor,
        shape: Vec<i64>,
    ) -> Tensor {
        let input = self.laid(tensor, Layout::Tflite);
        // Zero keeps the length of the batch.
        let target: Vec<i64> = std::iter::once(0)
            .chain(shape[1..].iter().copied())
            .collect();
        let target = self.builder.i64_constant(&format!("{stem}/shape"), &target);
        let name = self
            .builder
            .node("Reshape", stem, &[&input, &target], Vec::new());
        Tensor {
            name,
            shape,
            layout: Layout::Tflite,
            encoding: tensor.encoding,
            copies: Vec::new(),
        }
    }
}

/// `RESHAPE`, `SQUEEZE` and `EXPAND_DIMS`, to the shape that the file says.
pub(super) fn reshape(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let shape = converter.model.tensor(op.output()?)?.shape;
    let elements = |shape: &[i64]| shape.iter().product::<i64>();
    if shape.first() != Some(&1) || elements(&shape) != elements(&tensor.shape) {
        return Err(misfit(op, format!("{:?} to {shape:?}", tensor.shape)));
    }
    if shape == tensor.shape {
        return converter.keep(op, tensor);
    }
    let made = converter.reshape_to(&op.makes, &tensor, shape);
    converter.keep(op, made)
}

pub(super) fn transpose(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let tensor = converter.tensor(op, 0)?;
    let perm = converter.integers(op, 1)?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    let axes: Vec<i64> = (0..).take(tensor.shape.len()).collect();
    if sorted != axes || perm.first() != Some(&0) {
        return Err(op.unsupported(Reason::Input {
            index: 1,
            expected: "an order of the axes with the batch first",
        }));
    }
    let input = converter.laid(&tensor, Layout::Tflite);
    let builder = &mut converter.builder;
    let name = builder.node("Transpose", &op.makes, &[&input], vec![ints("perm", &perm)]);
    // Every axis was found among those of the tensor.
    let shape = perm
        .iter()
        .map(|&axis| tensor.shape[axis as usize])
        .collect();
    let made = Tensor {
        name,
        shape,
        layout: Layout::Tflite,
        encoding: tensor.encoding,
        copies: Vec::new(),
    };
    converter.keep(op, made)
}

/// Parts of other encodings are rounded to that of the whole, as TFLite does.
pub(super) fn concatenate(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 1)?;
    let mut parts = Vec::with_capacity(op.inputs.len());
    for index in 0..op.inputs.len() {
        parts.push(converter.tensor(op, index)?);
    }
    let Some(first) = parts.first() else {
        return Err(op.unsupported(Reason::Missing {
            role: "input",
            index: 0,
        }));
    };
    let rank = first.shape.len();
    let axis = i64::from(op.option_i32(0, 0)?);
    let axis = if axis < 0 { axis + signed(rank) } else { axis };
    let axis = usize::try_from(axis).unwrap_or(usize::MAX);
    let mut shape = first.shape.clone();
    let fits = |part: &Tensor| {
        let pairs = part.shape.iter().zip(&shape).enumerate();
        part.shape.len() == rank && pairs.into_iter().all(|(i, (a, b))| i == axis || a == b)
    };
    if !(1..rank).contains(&axis) || !parts.iter().all(fits) {
        let shapes: Vec<&[i64]> = parts.iter().map(|part| &part.shape[..]).collect();
        return Err(misfit(op, format!("{shapes:?} along axis {axis}")));
    }
    shape[axis] = parts
        .iter()
        .fold(0, |sum: i64, part| sum.saturating_add(part.shape[axis]));
    let layout = if parts.iter().all(|p| p.layout == Layout::ChannelsFirst) {
        Layout::ChannelsFirst
    } else {
        Layout::Tflite
    };
    let axis = match (layout, axis) {
        (Layout::Tflite, axis) => signed(axis),
        (Layout::ChannelsFirst, 3) => 1,
        (Layout::ChannelsFirst, axis) => signed(axis) + 1,
    };
    let encoding = converter.stored_encoding(op)?;
    let mut names = Vec::with_capacity(parts.len());
    for part in &parts {
        names.push(if part.encoding == encoding {
            converter.laid(part, layout)
        } else {
            let name = converter.float(part, layout);
            let floats = Tensor {
                name,
                layout,
                encoding: None,
                ..part.clone()
            };
            match encoding {
                Some(encoding) => {
                    let stem = format!("{}/part", op.makes);
                    converter.quantized(&stem, &floats, encoding).name
                }
                None => floats.name,
            }
        });
    }
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let builder = &mut converter.builder;
    let name = builder.node("Concat", &op.makes, &inputs, vec![int("axis", axis)]);
    let made = Tensor {
        name,
        shape,
        layout,
        encoding,
        copies: Vec::new(),
    };
    converter.finish_moved(op, made, activation)
}

/// Parts of one shape beside each other along a new axis.
pub(super) fn pack(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let first = converter.tensor(op, 0)?;
    let rank = first.shape.len();
    let axis = i64::from(op.option_i32(1, 0)?);
    let axis = if axis < 0 {
        axis + signed(rank) + 1
    } else {
        axis
    };
    let axis = usize::try_from(axis).unwrap_or(usize::MAX);
    if !(1..=rank).contains(&axis) {
        return Err(misfit(op, format!("{:?} along a new axis", first.shape)));
    }
    let output = encoding_of(&converter.model.tensor(op.output()?)?)?;
    let mut names = Vec::with_capacity(op.inputs.len());
    let mut shape = first.shape.clone();
    shape.insert(axis, 1);
    for index in 0..op.inputs.len() {
        let part = converter.tensor(op, index)?;
        if part.shape != first.shape || part.encoding != first.encoding {
            return Err(misfit(
                op,
                format!("{:?} and {:?}", first.shape, part.shape),
            ));
        }
        let stem = format!("{}/part", op.makes);
        names.push(converter.reshape_to(&stem, &part, shape.clone()).name);
    }
    if first.encoding.is_some() && first.encoding != output {
        return Err(op.unsupported(Reason::Variant {
            what: "packing with another encoding",
        }));
    }
    shape[axis] = signed(names.len());
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let builder = &mut converter.builder;
    let attributes = vec![int("axis", signed(axis))];
    let name = builder.node("Concat", &op.makes, &inputs, attributes);
    let made = Tensor {
        name,
        shape,
        layout: Layout::Tflite,
        encoding: first.encoding,
        copies: Vec::new(),
    };
    converter.keep(op, made)
}
