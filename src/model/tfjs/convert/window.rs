//! Operators with a window that slides over a feature map: convolutions, pools, padding.

use super::{describe, Converter, Extent, Form, Layout, Tensor, Value};
use crate::model::onnx::builder::{int, ints};
use crate::model::onnx::proto::AttributeProto;
use crate::model::tfjs::error::{ImportError, Reason};
use crate::model::tfjs::topology::Node;
use crate::model::tfjs::weights::Constant;

type Converted = Result<Value, ImportError>;

/// A window's size, step and padding along height and width.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    kernel: [i64; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    /// Top, left, bottom, right.
    pads: [i64; 4],
    output: [i64; 2],
}

impl Window {
    /// Reads strides, dilations and padding of `node`, whose window is `kernel` and slides over
    /// `input` (height, width).
    fn of(node: &Node, kernel: [i64; 2], input: [i64; 2]) -> Result<Self, ImportError> {
        require_channels_last(node)?;
        let strides = pair(node, "strides")?.unwrap_or([1, 1]);
        let dilations = pair(node, "dilations")?.unwrap_or([1, 1]);
        let padding = node.text("padding")?;
        let expected = "SAME, VALID or EXPLICIT";
        let key = "padding";
        let explicit = match node.required(key, expected, padding)?.as_str() {
            "SAME" => None,
            "VALID" => Some([0; 4]),
            "EXPLICIT" => Some(explicit_pads(node)?),
            _ => return Err(node.unsupported(Reason::Attribute { key, expected })),
        };
        let mut window = Self {
            kernel,
            strides,
            dilations,
            pads: explicit.unwrap_or_default(),
            output: [0; 2],
        };
        for axis in 0..2 {
            let reach = (kernel[axis] - 1) * dilations[axis] + 1;
            if explicit.is_none() {
                // TensorFlow's SAME: the odd pixel of padding goes to the bottom and the right.
                let output = (input[axis] - 1) / strides[axis] + 1;
                let total = ((output - 1) * strides[axis] + reach - input[axis]).max(0);
                window.pads[axis] = total / 2;
                window.pads[axis + 2] = total - total / 2;
            }
            let room = input[axis] + window.pads[axis] + window.pads[axis + 2] - reach;
            if room < 0 {
                return Err(node.unsupported(Reason::Shape {
                    found: format!("a window of {kernel:?} on a map of {input:?}"),
                }));
            }
            window.output[axis] = room / strides[axis] + 1;
        }
        Ok(window)
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        vec![
            ints("dilations", &self.dilations),
            ints("kernel_shape", &self.kernel),
            ints("pads", &self.pads),
            ints("strides", &self.strides),
        ]
    }
}

/// Largest step, dilation, window or padding that is believed; it keeps sums within i64.
const PIXELS_MAX: i64 = 1 << 20;

fn require_channels_last(node: &Node) -> Result<(), ImportError> {
    match node.text("data_format")?.as_deref() {
        None | Some("NHWC") => Ok(()),
        Some(_) => Err(node.unsupported(Reason::Attribute {
            key: "data_format",
            expected: "NHWC",
        })),
    }
}

/// The middle of `[1, height, width, 1]`.
fn pair(node: &Node, key: &'static str) -> Result<Option<[i64; 2]>, ImportError> {
    let sane = |value: i64| (1..=PIXELS_MAX).contains(&value);
    match node.ints(key)?.as_deref() {
        None | Some([]) => Ok(None),
        Some(&[1, height, width, 1]) if sane(height) && sane(width) => Ok(Some([height, width])),
        Some(_) => Err(node.unsupported(Reason::Attribute {
            key,
            expected: "[1, height, width, 1]",
        })),
    }
}

fn explicit_pads(node: &Node) -> Result<[i64; 4], ImportError> {
    let sane = |value: i64| (0..=PIXELS_MAX).contains(&value);
    match node.ints("explicit_paddings")?.as_deref() {
        Some(&[0, 0, top, bottom, left, right, 0, 0])
            if [top, bottom, left, right].into_iter().all(sane) =>
        {
            Ok([top, left, bottom, right])
        }
        _ => Err(node.unsupported(Reason::Attribute {
            key: "explicit_paddings",
            expected: "[0, 0, top, bottom, left, right, 0, 0]",
        })),
    }
}

pub(super) fn convolution<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    convolve(converter, node, &node.name, false).map(Value::Tensor)
}

pub(super) fn depthwise_convolution<'g>(
    converter: &mut Converter<'g>,
    node: &'g Node,
) -> Converted {
    convolve(converter, node, &node.name, true).map(Value::Tensor)
}

pub(super) fn fused_convolution<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    fused(converter, node, false)
}

pub(super) fn fused_depthwise_convolution<'g>(
    converter: &mut Converter<'g>,
    node: &'g Node,
) -> Converted {
    fused(converter, node, true)
}

/// A convolution with bias and activation in one TensorFlow node: three ONNX nodes.
fn fused<'g>(converter: &mut Converter<'g>, node: &'g Node, depthwise: bool) -> Converted {
    let steps = node.texts("fused_ops")?.unwrap_or_default();
    let mut tensor = convolve(converter, node, &format!("{}/conv", node.name), depthwise)?;
    for step in steps {
        let stem = format!("{}/{step}", node.name);
        tensor = match step.as_str() {
            "BiasAdd" => converter.add_constant(node, 2, &stem, tensor)?,
            "Relu" => converter.map("Relu", &stem, tensor, &[]),
            "Relu6" => converter.clip_to_six(&stem, tensor),
            _ => {
                return Err(node.unsupported(Reason::Attribute {
                    key: "fused_ops",
                    expected: "a list of BiasAdd, Relu and Relu6",
                }))
            }
        };
    }
    Ok(Value::Tensor(tensor))
}

fn convolve<'g>(
    converter: &mut Converter<'g>,
    node: &'g Node,
    stem: &str,
    depthwise: bool,
) -> Result<Tensor, ImportError> {
    let (tensor, [height, width, channels]) = converter.feature_map(node, 0)?;
    let kernel = converter.floats(node, 1)?;
    let misfit = || {
        node.unsupported(Reason::Shape {
            found: format!(
                "{} with a kernel {:?}",
                describe(&tensor.shape),
                kernel.shape
            ),
        })
    };
    let sides: Result<Vec<i64>, _> = kernel
        .shape
        .iter()
        .map(|&side| i64::try_from(side))
        .collect();
    let sides = sides.map_err(|_| misfit())?;
    let [rows, columns, fan_in, fan_out] = sides[..] else {
        return Err(misfit());
    };
    // No product overflows: the kernel's elements were read from a file.
    let empty = rows * columns * fan_in * fan_out == 0;
    if empty || channels % fan_in != 0 || (depthwise && channels != fan_in) {
        return Err(misfit());
    }
    let (group, outputs, form) = if depthwise {
        (channels, fan_in * fan_out, Form::DepthwiseKernel)
    } else {
        (channels / fan_in, fan_out, Form::Kernel)
    };
    if outputs % group != 0 {
        return Err(misfit());
    }
    let window = Window::of(node, [rows, columns], [height, width])?;
    let mut attributes = window.attributes();
    attributes.insert(1, int("group", group));
    let layout = if depthwise {
        depthwise_kernel
    } else {
        plain_kernel
    };
    let weights = converter.source_name(node, 1);
    let weights = converter.write_constant(weights, &kernel, form, layout);
    let input = converter.channels_first(&tensor);
    let builder = &mut converter.builder;
    let name = builder.node("Conv", stem, &[&input, &weights], attributes);
    Ok(slid(&tensor, name, &window, outputs))
}

/// What a window makes of `tensor`.
fn slid(tensor: &Tensor, name: String, window: &Window, channels: i64) -> Tensor {
    let [height, width] = window.output;
    Tensor {
        name,
        shape: vec![
            tensor.shape[0],
            Extent::Fixed(height),
            Extent::Fixed(width),
            Extent::Fixed(channels),
        ],
        layout: Layout::ChannelsFirst,
    }
}

/// `[height, width, in, out]` -> `[out, in, height, width]`.
fn plain_kernel(kernel: &Constant) -> (Vec<usize>, Vec<f32>) {
    let [height, width, fan_in, fan_out] = kernel.shape[..] else {
        unreachable!("checked by the caller");
    };
    let dims = vec![fan_out, fan_in, height, width];
    (
        dims,
        columns_to_rows(kernel, height * width, fan_in, fan_out, |i, o| {
            o * fan_in + i
        }),
    )
}

/// `[height, width, in, multiplier]` -> `[in * multiplier, 1, height, width]`.
fn depthwise_kernel(kernel: &Constant) -> (Vec<usize>, Vec<f32>) {
    let [height, width, fan_in, multiplier] = kernel.shape[..] else {
        unreachable!("checked by the caller");
    };
    let dims = vec![fan_in * multiplier, 1, height, width];
    let place = |i, m| i * multiplier + m;
    (
        dims,
        columns_to_rows(kernel, height * width, fan_in, multiplier, place),
    )
}

/// Moves element `[position][i][o]` to `[place(i, o)][position]`.
fn columns_to_rows(
    kernel: &Constant,
    positions: usize,
    fan_in: usize,
    fan_out: usize,
    place: impl Fn(usize, usize) -> usize,
) -> Vec<f32> {
    let values = kernel.floats().expect("checked by the caller");
    let mut moved = vec![0.0; values.len()];
    for (index, &value) in values.iter().enumerate() {
        let (position, i, o) = (
            index / (fan_in * fan_out),
            index / fan_out % fan_in,
            index % fan_out,
        );
        moved[place(i, o) * positions + position] = value;
    }
    moved
}

pub(super) fn max_pool<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    pool(converter, node, "MaxPool")
}

/// TensorFlow's average leaves the padding out, as ONNX does by default.
pub(super) fn average_pool<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    pool(converter, node, "AveragePool")
}

fn pool<'g>(converter: &mut Converter<'g>, node: &'g Node, op: &str) -> Converted {
    let (tensor, [height, width, channels]) = converter.feature_map(node, 0)?;
    let kernel = pair(node, "ksize")?;
    let kernel = node.required("ksize", "[1, height, width, 1]", kernel)?;
    let window = Window::of(node, kernel, [height, width])?;
    let mut attributes = window.attributes();
    // Operator version 13 of AveragePool has no dilations, and TensorFlow's pools have none.
    attributes.remove(0);
    let input = converter.channels_first(&tensor);
    let builder = &mut converter.builder;
    let name = builder.node(op, &node.name, &[&input], attributes);
    Ok(Value::Tensor(slid(&tensor, name, &window, channels)))
}

/// The mean over height and width.
pub(super) fn mean<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let (tensor, [.., channels]) = converter.feature_map(node, 0)?;
    let mut axes = converter.fixed_integers(node, 1)?;
    for axis in &mut axes {
        *axis = if *axis < 0 {
            axis.saturating_add(4)
        } else {
            *axis
        };
    }
    axes.sort_unstable();
    if axes != [1, 2] {
        return Err(node.unsupported(Reason::Input {
            index: 1,
            expected: "the axes of height and width",
        }));
    }
    let keep = node.flag("keep_dims")?;
    let input = converter.channels_first(&tensor);
    let attributes = vec![ints("axes", &[2, 3]), int("keepdims", i64::from(keep))];
    let builder = &mut converter.builder;
    let name = builder.node("ReduceMean", &node.name, &[&input], attributes);
    let one = Extent::Fixed(1);
    let (shape, layout) = if keep {
        let shape = vec![tensor.shape[0], one, one, Extent::Fixed(channels)];
        (shape, Layout::ChannelsFirst)
    } else {
        let shape = vec![tensor.shape[0], Extent::Fixed(channels)];
        (shape, Layout::TensorFlow)
    };
    Ok(Value::Tensor(Tensor {
        name,
        shape,
        layout,
    }))
}

pub(super) fn pad<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    let (tensor, [height, width, channels]) = converter.feature_map(node, 0)?;
    let sane = |value: i64| (0..=PIXELS_MAX).contains(&value);
    let [top, bottom, left, right] = match converter.fixed_integers(node, 1)?[..] {
        [0, 0, top, bottom, left, right, 0, 0]
            if [top, bottom, left, right].into_iter().all(sane) =>
        {
            [top, bottom, left, right]
        }
        _ => {
            return Err(node.unsupported(Reason::Input {
                index: 1,
                expected: "padding of height and width only",
            }))
        }
    };
    let value = match node.inputs.len() {
        0..=2 => 0.0,
        _ => match converter.floats(node, 2)?.floats() {
            Some(&[value]) => value,
            _ => {
                return Err(node.unsupported(Reason::Input {
                    index: 2,
                    expected: "one number",
                }))
            }
        },
    };
    let input = converter.channels_first(&tensor);
    let value = converter.scalar(value);
    let builder = &mut converter.builder;
    let pads = [0, 0, top, left, 0, 0, bottom, right];
    let pads = builder.i64_constant(&format!("{}/pads", node.name), &pads);
    let name = builder.node("Pad", &node.name, &[&input, &pads, &value], Vec::new());
    let window = Window {
        kernel: [1, 1],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [top, left, bottom, right],
        output: [height + top + bottom, width + left + right],
    };
    Ok(Value::Tensor(slid(&tensor, name, &window, channels)))
}
