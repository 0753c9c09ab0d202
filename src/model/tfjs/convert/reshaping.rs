//! Operators that move elements, and the shape arithmetic that tells them where.

use super::{describe, Converter, Extent, Layout, Tensor, Value};
use crate::model::onnx::builder::{int, ints};
use crate::model::tfjs::error::{ImportError, Reason};
use crate::model::tfjs::topology::Node;

/// More items than any shape of a detector has.
pub(super) const SHAPE_ITEMS_MAX: usize = 16;

type Converted = Result<Value, ImportError>;

pub(super) fn shape_of<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let items = match converter.input(node, 0)? {
        Value::Tensor(tensor) => tensor.shape,
        Value::Constant(constant) => constant
            .shape
            .iter()
            .map(|&length| Extent::Fixed(i64::try_from(length).unwrap_or(i64::MAX)))
            .collect(),
        Value::Shape(_) => {
            return Err(node.unsupported(Reason::Variant {
                what: "the shape of a shape",
            }))
        }
    };
    Ok(Value::Shape(items))
}

/// `shape[begin:end:step]`, or one element of a shape.
pub(super) fn strided_slice<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    if let Value::Tensor(_) = converter.input(node, 0)? {
        return Err(node.unsupported(Reason::Variant {
            what: "slicing of a tensor (only of shapes)",
        }));
    }
    let items = converter.integers(node, 0)?;
    for key in ["ellipsis_mask", "new_axis_mask"] {
        if node.int(key)?.unwrap_or(0) != 0 {
            return Err(node.unsupported(Reason::Attribute { key, expected: "0" }));
        }
    }
    let single = |index| match converter.fixed_integers(node, index)?[..] {
        [value] => Ok(value),
        _ => Err(node.unsupported(Reason::Input {
            index,
            expected: "a vector of one whole number",
        })),
    };
    let (begin, end, step) = (single(1)?, single(2)?, single(3)?);
    let length = signed(items.len());
    let masked = |key| Ok::<_, ImportError>(node.int(key)?.unwrap_or(0) & 1 == 1);
    let from_end = |position: i64| {
        if position < 0 {
            position + length
        } else {
            position
        }
    };
    let begin = if masked("begin_mask")? {
        0
    } else {
        from_end(begin)
    };
    let end = if masked("end_mask")? {
        length
    } else {
        from_end(end)
    };
    let out_of_range = || {
        node.unsupported(Reason::Shape {
            found: format!(
                "{} sliced from {begin} to {end} by {step}",
                describe(&items)
            ),
        })
    };
    if masked("shrink_axis_mask")? {
        let position = usize::try_from(begin).ok();
        let item = position.and_then(|position| items.get(position));
        return Ok(Value::Shape(vec![*item.ok_or_else(out_of_range)?]));
    }
    let (Ok(begin), Ok(step)) = (usize::try_from(begin), usize::try_from(step)) else {
        return Err(out_of_range());
    };
    let end = usize::try_from(end.min(length)).unwrap_or(0);
    if step == 0 || begin > end {
        return Err(out_of_range());
    }
    let items = items[begin..end].iter().copied().step_by(step).collect();
    Ok(Value::Shape(items))
}

/// Elements of shapes -> a shape.
pub(super) fn pack<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let mut items = Vec::new();
    for index in 0..node.inputs.len() {
        match converter.integers(node, index)?[..] {
            [item] if items.len() < SHAPE_ITEMS_MAX => items.push(item),
            _ => {
                return Err(node.unsupported(Reason::Input {
                    index,
                    expected: "one element of a shape",
                }))
            }
        }
    }
    Ok(Value::Shape(items))
}

pub(super) fn reshape<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let target = converter.integers(node, 1)?;
    let shape = reshaped(&tensor.shape, &target).ok_or_else(|| {
        node.unsupported(Reason::Shape {
            found: format!("{} to {}", describe(&tensor.shape), describe(&target)),
        })
    })?;
    Ok(Value::Tensor(
        converter.reshape_to(&node.name, &tensor, shape),
    ))
}

/// The shape that `target` means for a tensor of `shape`; `None` when they do not fit.
///
/// The batch stays the first axis. A graph may say so by `-1`, by the batch computed from
/// another tensor, or by a 1 that was baked in when it was exported for single pictures.
fn reshaped(shape: &[Extent], target: &[Extent]) -> Option<Vec<Extent>> {
    let (&Extent::Batch, rest) = shape.split_first()? else {
        return None;
    };
    let elements = product(rest)?;
    let (&first, target) = target.split_first()?;
    let unknown = |extent: &&Extent| matches!(extent, Extent::Fixed(length) if *length < 0);
    match first {
        Extent::Batch | Extent::Fixed(1) => {}
        Extent::Fixed(length) if length < 0 && !target.iter().any(|e| unknown(&e)) => {}
        Extent::Fixed(_) => return None,
    }
    let known: Vec<Extent> = target.iter().filter(|e| !unknown(e)).copied().collect();
    let known_product = product(&known)?;
    let missing = match target.len() - known.len() {
        0 if known_product == elements => 1,
        1 if known_product > 0 && elements % known_product == 0 => elements / known_product,
        _ => return None,
    };
    let filled = target.iter().map(|extent| match extent {
        extent if unknown(&extent) => Extent::Fixed(missing),
        extent => *extent,
    });
    Some([Extent::Batch].into_iter().chain(filled).collect())
}

fn product(shape: &[Extent]) -> Option<i64> {
    shape
        .iter()
        .try_fold(1_i64, |product, extent| match extent {
            Extent::Batch => None,
            Extent::Fixed(length) => product.checked_mul(*length),
        })
}

impl Converter<'_> {
    /// Reshapes to `shape`, whose first axis is the batch as the tensor's is.
    pub(in crate::model::tfjs) fn reshape_to(
        &mut self,
        stem: &str,
        tensor: &Tensor,
        shape: Vec<Extent>,
    ) -> Tensor {
        let input = self.tensorflow_order(tensor);
        let target: Vec<i64> = shape
            .iter()
            .map(|extent| match extent {
                // For ONNX a zero copies the input's length.
                Extent::Batch => 0,
                Extent::Fixed(length) => *length,
            })
            .collect();
        let target = self.builder.i64_constant(&format!("{stem}/shape"), &target);
        let name = self
            .builder
            .node("Reshape", stem, &[&input, &target], Vec::new());
        Tensor {
            name,
            shape,
            layout: Layout::TensorFlow,
        }
    }
}

pub(super) fn squeeze<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let rank = tensor.shape.len();
    let axes = match node.ints("squeeze_dims")? {
        Some(axes) if !axes.is_empty() => axes,
        _ => node.ints("axis")?.unwrap_or_default(),
    };
    let mut removed = vec![false; rank];
    if axes.is_empty() {
        for (flag, extent) in removed.iter_mut().zip(&tensor.shape) {
            *flag = *extent == Extent::Fixed(1);
        }
    }
    for axis in axes {
        removed[position(node, axis, &tensor)?] = true;
    }
    let mut shape = Vec::with_capacity(rank);
    for (&extent, removed) in tensor.shape.iter().zip(removed) {
        if !removed {
            shape.push(extent);
        } else if extent != Extent::Fixed(1) {
            return Err(node.unsupported(Reason::Shape {
                found: format!("{} has no axis of length 1 there", describe(&tensor.shape)),
            }));
        }
    }
    Ok(Value::Tensor(
        converter.reshape_to(&node.name, &tensor, shape),
    ))
}

pub(super) fn expand_dims<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let rank = signed(tensor.shape.len());
    let axis = match converter.fixed_integers(node, 1)?[..] {
        [axis] if axis < 0 => axis + rank + 1,
        [axis] => axis,
        _ => -1,
    };
    if !(1..=rank).contains(&axis) {
        return Err(node.unsupported(Reason::Input {
            index: 1,
            expected: "one axis behind the batch",
        }));
    }
    let mut shape = tensor.shape.clone();
    shape.insert(axis as usize, Extent::Fixed(1));
    Ok(Value::Tensor(
        converter.reshape_to(&node.name, &tensor, shape),
    ))
}

pub(super) fn concat<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let Some(count) = node.inputs.len().checked_sub(1).filter(|&count| count > 0) else {
        return Err(node.unsupported(Reason::MissingInput { index: 1 }));
    };
    let parts: Result<Vec<Tensor>, _> = (0..count).map(|i| converter.tensor(node, i)).collect();
    let parts = parts?;
    let axis = match converter.fixed_integers(node, count)?[..] {
        [axis] => position(node, axis, &parts[0])?,
        _ => {
            return Err(node.unsupported(Reason::Input {
                index: count,
                expected: "one axis",
            }))
        }
    };
    let shape = joined(&parts, axis).ok_or_else(|| {
        let shapes: Vec<String> = parts.iter().map(|part| describe(&part.shape)).collect();
        node.unsupported(Reason::Shape {
            found: shapes.join(" and "),
        })
    })?;
    let first = parts
        .iter()
        .all(|part| part.layout == Layout::ChannelsFirst);
    let (layout, axis) = if first {
        (Layout::ChannelsFirst, [0, 2, 3, 1][axis])
    } else {
        (Layout::TensorFlow, axis)
    };
    let names: Vec<String> = parts
        .iter()
        .map(|part| match layout {
            Layout::ChannelsFirst => part.name.clone(),
            Layout::TensorFlow => converter.tensorflow_order(part),
        })
        .collect();
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let attributes = vec![int("axis", signed(axis))];
    let builder = &mut converter.builder;
    let name = builder.node("Concat", &node.name, &inputs, attributes);
    Ok(Value::Tensor(Tensor {
        name,
        shape,
        layout,
    }))
}

/// The shape of `parts` one behind the other; `None` when they do not fit.
fn joined(parts: &[Tensor], axis: usize) -> Option<Vec<Extent>> {
    let mut shape = parts[0].shape.clone();
    for part in &parts[1..] {
        if part.shape.len() != shape.len() {
            return None;
        }
        for (index, (total, &own)) in shape.iter_mut().zip(&part.shape).enumerate() {
            *total = match (*total, own) {
                (Extent::Fixed(total), Extent::Fixed(own)) if index == axis => {
                    Extent::Fixed(total.checked_add(own)?)
                }
                (total, own) if index != axis && total == own => total,
                _ => return None,
            };
        }
    }
    Some(shape)
}

pub(super) fn transpose<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let tensor = converter.tensor(node, 0)?;
    let perm = converter.fixed_integers(node, 1)?;
    let rank = tensor.shape.len();
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    let all: Vec<i64> = (0..signed(rank)).collect();
    if sorted != all || perm.first() != Some(&0) {
        return Err(node.unsupported(Reason::Input {
            index: 1,
            expected: "a permutation that leaves the batch first",
        }));
    }
    let shape = perm
        .iter()
        .map(|&axis| tensor.shape[axis as usize])
        .collect();
    let input = converter.tensorflow_order(&tensor);
    let attributes = vec![ints("perm", &perm)];
    let builder = &mut converter.builder;
    let name = builder.node("Transpose", &node.name, &[&input], attributes);
    Ok(Value::Tensor(Tensor {
        name,
        shape,
        layout: Layout::TensorFlow,
    }))
}

/// A rank or an axis: never more than a handful.
fn signed(small: usize) -> i64 {
    i64::try_from(small).unwrap_or(i64::MAX)
}

/// The place of `axis`, which may count from the end, behind the batch.
fn position(node: &Node, axis: i64, tensor: &Tensor) -> Result<usize, ImportError> {
    let rank = signed(tensor.shape.len());
    let place = if axis < 0 {
        axis.saturating_add(rank)
    } else {
        axis
    };
    if (1..rank).contains(&place) {
        Ok(place as usize)
    } else {
        Err(node.unsupported(Reason::Shape {
            found: format!("axis {axis} of {}", describe(&tensor.shape)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Extent::{Batch, Fixed};

    #[test]
    fn a_reshape_keeps_the_batch_however_the_graph_says_it() {
        let map = [Batch, Fixed(19), Fixed(19), Fixed(12)];
        let boxes = Some(vec![Batch, Fixed(1083), Fixed(1), Fixed(4)]);
        for target in [
            [Batch, Fixed(-1), Fixed(1), Fixed(4)],
            [Fixed(-1), Fixed(1083), Fixed(1), Fixed(4)],
            [Fixed(1), Fixed(-1), Fixed(1), Fixed(4)],
            [Batch, Fixed(1083), Fixed(-1), Fixed(4)],
        ] {
            assert_eq!(reshaped(&map, &target), boxes, "{target:?}");
        }
    }

    #[test]
    fn a_reshape_that_does_not_fit_is_refused() {
        let map = [Batch, Fixed(19), Fixed(19), Fixed(12)];
        for target in [
            &[][..],
            &[Batch][..],
            &[Fixed(-1), Fixed(4)],
            &[Fixed(-1), Fixed(-1), Fixed(4)],
            &[Batch, Fixed(-1), Fixed(5)],
            &[Batch, Fixed(-1), Fixed(0)],
            &[Fixed(2), Fixed(-1)],
            &[Batch, Batch, Fixed(4)],
            &[Batch, Fixed(i64::MAX), Fixed(2)],
        ] {
            assert_eq!(reshaped(&map, target), None, "{target:?}");
        }
        assert_eq!(reshaped(&[Fixed(4)], &[Fixed(-1)]), None);
    }
}
