//! Operators with a window that slides over a feature map: convolutions, pools, padding.

use super::constants::{lengths, signed, Form, Kernel};
use super::{misfit, Activation, Converted, Converter, Layout, Tensor};
use crate::model::onnx::builder::{int, ints};
use crate::model::onnx::proto::{element_type, AttributeProto};
use crate::model::tflite::error::{Fault, Reason};
use crate::model::tflite::schema::Operator;

/// Largest step, dilation, window or padding that is believed; it keeps sums within i64.
const PIXELS_MAX: i64 = 1 << 20;

/// A window's size, step and padding along height and width.
#[derive(Debug)]
struct Window {
    kernel: [i64; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    /// Top, left, bottom, right.
    pads: [i64; 4],
    output: [i64; 2],
}

/// The options that a window has: the numbers of its fields in the operator's table.
struct WindowFields {
    padding: usize,
    stride_width: usize,
    stride_height: usize,
    /// Width, height; pools have none.
    dilations: Option<[usize; 2]>,
}

const CONVOLUTION: WindowFields = WindowFields {
    padding: 0,
    stride_width: 1,
    stride_height: 2,
    dilations: Some([4, 5]),
};
const DEPTHWISE: WindowFields = WindowFields {
    dilations: Some([5, 6]),
    ..CONVOLUTION
};
const POOL: WindowFields = WindowFields {
    dilations: None,
    ..CONVOLUTION
};

impl Window {
    fn of(
        op: &Operator<'_>,
        fields: &WindowFields,
        kernel: [i64; 2],
        input: [i64; 2],
    ) -> Result<Self, Fault> {
        let sane = |key, id, default| -> Result<i64, Fault> {
            let value = i64::from(op.option_i32(id, default)?);
            if (1..=PIXELS_MAX).contains(&value) {
                Ok(value)
            } else {
                Err(op.unsupported(Reason::Option { key, found: value }))
            }
        };
        let strides = [
            sane("stride_h", fields.stride_height, 0)?,
            sane("stride_w", fields.stride_width, 0)?,
        ];
        let dilations = match fields.dilations {
            Some([width, height]) => [
                sane("dilation_h_factor", height, 1)?,
                sane("dilation_w_factor", width, 1)?,
            ],
            None => [1, 1],
        };
        let pads_as_needed = match op.option_byte(fields.padding)? {
            0 => true,
            1 => false,
            other => {
                return Err(op.unsupported(Reason::Option {
                    key: "padding",
                    found: i64::from(other),
                }))
            }
        };
        let mut window = Self {
            kernel,
            strides,
            dilations,
            pads: [0; 4],
            output: [0; 2],
        };
        for axis in 0..2 {
            let reach = (kernel[axis] - 1) * dilations[axis] + 1;
            if pads_as_needed {
                // The odd pixel of padding goes to the bottom and the right.
                let output = (input[axis] - 1) / strides[axis] + 1;
                let total = ((output - 1) * strides[axis] + reach - input[axis]).max(0);
                window.pads[axis] = total / 2;
                window.pads[axis + 2] = total - total / 2;
            }
            let room = input[axis] + window.pads[axis] + window.pads[axis + 2] - reach;
            if room < 0 {
                return Err(misfit(
                    op,
                    format!("a window of {kernel:?} on a map of {input:?}"),
                ));
            }
            window.output[axis] = room / strides[axis] + 1;
        }
        Ok(window)
    }

    /// For pools, which have no dilations in ONNX.
    fn attributes(&self) -> Vec<AttributeProto> {
        vec![
            ints("kernel_shape", &self.kernel),
            ints("pads", &self.pads),
            ints("strides", &self.strides),
        ]
    }

    /// What the window makes, as the node `name`.
    fn slid(&self, name: String, channels: i64) -> Tensor {
        let [height, width] = self.output;
        Tensor {
            name,
            shape: vec![1, height, width, channels],
            layout: Layout::ChannelsFirst,
            encoding: None,
            copies: Vec::new(),
        }
    }
}

pub(super) fn convolution(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 3)?;
    let made = convolve(converter, op, &CONVOLUTION, false)?;
    converter.finish(op, made, activation)
}

pub(super) fn depthwise_convolution(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let activation = Activation::of(op, 4)?;
    let made = convolve(converter, op, &DEPTHWISE, true)?;
    converter.finish(op, made, activation)
}

fn convolve(
    converter: &mut Converter<'_>,
    op: &Operator<'_>,
    fields: &WindowFields,
    depthwise: bool,
) -> Result<Tensor, Fault> {
    let (tensor, [height, width, channels]) = converter.feature_map(op, 0)?;
    let stored = converter.constant(op.input(1)?)?;
    let shape = stored.map(|facts| facts.shape).unwrap_or_default();
    let sides = lengths(&shape);
    let kernel = match sides[..] {
        [1, height, width, outputs] if depthwise => Kernel {
            outputs,
            sides: [height, width],
            fan_in: 1,
            depthwise,
        },
        [outputs, height, width, fan_in] if !depthwise => Kernel {
            outputs,
            sides: [height, width],
            fan_in,
            depthwise,
        },
        _ => return Err(misfit(op, format!("weights {shape:?}"))),
    };
    let [outputs, fan_in, rows, columns] = kernel.dims().map(signed);
    let empty = outputs * fan_in * rows * columns == 0;
    if empty || channels % fan_in != 0 || outputs % (channels / fan_in) != 0 {
        return Err(misfit(
            op,
            format!("{:?} with weights {shape:?}", tensor.shape),
        ));
    }
    let window = Window::of(op, fields, [rows, columns], [height, width])?;
    let mut inputs = vec![converter.float(&tensor, Layout::ChannelsFirst)];
    let output = op.output()?;
    let copies = converter.copies.get(&output).cloned().unwrap_or_default();
    if let Some(encoding) = tensor.encoding {
        let (weights, scales) = converter.quantized_kernel(op, &kernel, &tensor.copies, &copies)?;
        inputs.push(weights);
        if op.optional_input(2).is_some() {
            let bias = converter.quantized_bias(op, &kernel, encoding.scale, &scales, &copies)?;
            inputs.push(bias);
        }
    } else {
        let floats = converter.floats(op, 1)?;
        let values = kernel.outputs_first(&floats.values);
        let dims = kernel.dims();
        inputs.push(converter.write_floats(op.input(1)?, Form::Kernel, &dims, &values));
        if let Some(bias) = op.optional_input(2) {
            let values = converter.float_bias(op, &kernel)?;
            let dims = [kernel.outputs];
            inputs.push(converter.write_floats(bias, Form::Plain, &dims, &values));
        }
    }
    let mut attributes = window.attributes();
    attributes.push(ints("dilations", &window.dilations));
    let repeated = if depthwise { copies.len() } else { 0 };
    attributes.push(int("group", channels / fan_in + signed(repeated)));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let stem = format!("{}/conv", op.makes);
    let name = converter.builder.node("Conv", &stem, &inputs, attributes);
    Ok(Tensor {
        copies,
        ..window.slid(name, outputs)
    })
}

/// The window of a pool over input 0.
fn pool(
    converter: &Converter<'_>,
    op: &Operator<'_>,
) -> Result<(Tensor, Window, i64, Activation), Fault> {
    let activation = Activation::of(op, 5)?;
    let (tensor, [height, width, channels]) = converter.feature_map(op, 0)?;
    let side = |key, id| -> Result<i64, Fault> {
        let value = i64::from(op.option_i32(id, 0)?);
        if (1..=PIXELS_MAX).contains(&value) {
            Ok(value)
        } else {
            Err(op.unsupported(Reason::Option { key, found: value }))
        }
    };
    let kernel = [side("filter_height", 4)?, side("filter_width", 3)?];
    let window = Window::of(op, &POOL, kernel, [height, width])?;
    Ok((tensor, window, channels, activation))
}

/// The greatest stored number stands for the greatest value, so the bytes themselves are compared.
pub(super) fn max_pool(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let (tensor, window, channels, activation) = pool(converter, op)?;
    let input = converter.laid(&tensor, Layout::ChannelsFirst);
    let name = converter
        .builder
        .node("MaxPool", &op.makes, &[&input], window.attributes());
    let made = Tensor {
        encoding: tensor.encoding,
        ..window.slid(name, channels)
    };
    converter.finish_moved(op, made, activation)
}

/// TFLite's average leaves the padding out, as ONNX does by default.
pub(super) fn average_pool(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let (tensor, window, channels, activation) = pool(converter, op)?;
    let input = converter.float(&tensor, Layout::ChannelsFirst);
    let name = converter
        .builder
        .node("AveragePool", &op.makes, &[&input], window.attributes());
    converter.finish(op, window.slid(name, channels), activation)
}

/// The mean over height and width.
pub(super) fn mean(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let (tensor, [.., channels]) = converter.feature_map(op, 0)?;
    let mut axes = converter.integers(op, 1)?;
    for axis in &mut axes {
        *axis = if *axis < 0 { *axis + 4 } else { *axis };
    }
    axes.sort_unstable();
    if axes != [1, 2] {
        return Err(op.unsupported(Reason::Input {
            index: 1,
            expected: "the axes of height and width",
        }));
    }
    let keep = op.option_byte(0)? != 0;
    let input = converter.float(&tensor, Layout::ChannelsFirst);
    let attributes = vec![ints("axes", &[2, 3]), int("keepdims", i64::from(keep))];
    let name = converter
        .builder
        .node("ReduceMean", &op.makes, &[&input], attributes);
    let (shape, layout) = if keep {
        (vec![1, 1, 1, channels], Layout::ChannelsFirst)
    } else {
        (vec![1, channels], Layout::Tflite)
    };
    let made = Tensor {
        name,
        shape,
        layout,
        encoding: None,
        copies: Vec::new(),
    };
    converter.finish(op, made, Activation::None)
}

pub(super) fn pad(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let (tensor, [height, width, channels]) = converter.feature_map(op, 0)?;
    let sane = |value: i64| (0..=PIXELS_MAX).contains(&value);
    let [top, bottom, left, right] = match converter.integers(op, 1)?[..] {
        [0, 0, top, bottom, left, right, 0, 0]
            if [top, bottom, left, right].into_iter().all(sane) =>
        {
            [top, bottom, left, right]
        }
        _ => {
            return Err(op.unsupported(Reason::Input {
                index: 1,
                expected: "padding of height and width only",
            }))
        }
    };
    let value = match op.optional_input(2) {
        None => 0.0,
        Some(_) => match converter.floats(op, 2)?.values[..] {
            [value] => value,
            _ => {
                return Err(op.unsupported(Reason::Input {
                    index: 2,
                    expected: "one number",
                }))
            }
        },
    };
    let input = converter.laid(&tensor, Layout::ChannelsFirst);
    let value = match tensor.encoding {
        Some(encoding) => {
            let stored = encoding.stored(value);
            let stem = format!("{}/value", op.makes);
            let builder = &mut converter.builder;
            builder.constant(&stem, &[], element_type::UINT8, vec![stored])
        }
        None => converter.scalar(value),
    };
    let builder = &mut converter.builder;
    let pads = [0, 0, top, left, 0, 0, bottom, right];
    let pads = builder.i64_constant(&format!("{}/pads", op.makes), &pads);
    let name = builder.node("Pad", &op.makes, &[&input, &pads, &value], Vec::new());
    let made = Tensor {
        name,
        shape: vec![1, height + top + bottom, width + left + right, channels],
        layout: Layout::ChannelsFirst,
        encoding: tensor.encoding,
        copies: Vec::new(),
    };
    converter.finish_moved(op, made, Activation::None)
}
