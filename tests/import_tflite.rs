//! TFLite files through the importer and ONNX Runtime, against plain loops over the same numbers.
//!
//! Tests of the published files need `DETBENCH_TEST_DATA`.

mod tflite_writer;

use std::path::{Path, PathBuf};
use std::process::Command;

use detbench::fetch::Silent;
use detbench::model::tflite::{convert_bytes, Fault, Imported};
use detbench::runtime::{self, Model as _, OnnxModel, Runtime, SessionOptions};
use detbench::tensor::{TensorData, TensorView};
use tflite_writer::*;

fn open(onnx: &[u8]) -> OnnxModel {
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(runtime::disable_telemetry);
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    let runtime = Runtime::load(&located, false).expect("the library loads");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.onnx");
    std::fs::write(&path, onnx).unwrap();
    let options = SessionOptions {
        outputs: vec!["raw_boxes".to_owned(), "raw_scores".to_owned()],
        ..SessionOptions::default()
    };
    OnnxModel::open(&runtime, &path, &options).expect("the imported graph opens")
}

/// Both heads of the imported file for one picture.
fn heads(imported: &Imported, picture: TensorData<'_>) -> [Vec<f32>; 2] {
    let mut model = open(&imported.onnx);
    let (height, width) = (imported.summary.height, imported.summary.width);
    let shape = [1, i64::from(height), i64::from(width), 3];
    let view = TensorView {
        shape: &shape,
        data: picture,
    };
    model.run(view).unwrap();
    [0, 1].map(|index| match model.output(index).unwrap().data {
        TensorData::F32(values) => values.to_vec(),
        other => panic!("{other:?}"),
    })
}

/// A feature map `[height, width, channels]`.
#[derive(Clone, Debug)]
struct Map {
    sides: [usize; 3],
    values: Vec<f32>,
}

impl Map {
    fn from(sides: [usize; 3], value: impl Fn(usize, usize, usize) -> f32) -> Self {
        let [height, width, channels] = sides;
        let mut values = Vec::new();
        for y in 0..height {
            for x in 0..width {
                values.extend((0..channels).map(|c| value(y, x, c)));
            }
        }
        Self { sides, values }
    }

    fn at(&self, y: usize, x: usize, c: usize) -> f32 {
        let [_, width, channels] = self.sides;
        self.values[(y * width + x) * channels + c]
    }

    /// Zero outside of the map.
    fn near(&self, y: i64, x: i64, c: usize) -> Option<f32> {
        let y = usize::try_from(y).ok().filter(|&y| y < self.sides[0])?;
        let x = usize::try_from(x).ok().filter(|&x| x < self.sides[1])?;
        Some(self.at(y, x, c))
    }

    fn each(&self, f: impl Fn(f32) -> f32) -> Self {
        Self {
            sides: self.sides,
            values: self.values.iter().map(|&value| f(value)).collect(),
        }
    }
}

/// The picture that all float nets are shown: `[4, 4, 3]`, some of it below zero.
fn picture() -> Map {
    Map::from([4, 4, 3], |y, x, c| {
        ((y * 12 + x * 3 + c) * 7 % 23) as f32 / 4.0 - 2.5
    })
}

/// A graph whose body turns the picture into a map, which then is the boxes and, doubled, the scores.
fn float_net(body: impl FnOnce(&mut Net, i32) -> (i32, [i32; 3])) -> Vec<u8> {
    let mut net = Net::new();
    let input = net.tensor("picture", F32, &[1, 4, 4, 3], None);
    net.inputs.push(input);
    let (made, [height, width, channels]) = body(&mut net, input);
    let rows = height * width * channels / 4;
    let boxes = net.tensor("boxes", F32, &[1, rows, 4], None);
    net.op(22, &[made], boxes, vec![]);
    let scores = net.tensor("scores", F32, &[1, rows, 8], None);
    net.op(2, &[boxes, boxes], scores, vec![(0, Field::Int(-1))]);
    net.outputs = vec![boxes, scores];
    net.write()
}

fn compare(name: &str, file: &[u8], expected: &Map) {
    let imported = convert_bytes(file, false).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let shown = picture();
    let [boxes, scores] = heads(&imported, TensorData::F32(&shown.values));
    assert_eq!(boxes.len(), expected.values.len(), "{name}");
    for (index, (&found, &wanted)) in boxes.iter().zip(&expected.values).enumerate() {
        let tolerance = 1e-5 * (1.0 + wanted.abs());
        assert!(
            (found - wanted).abs() <= tolerance,
            "{name}, element {index}: {found} instead of {wanted}"
        );
    }
    assert_eq!(scores.len(), 2 * boxes.len());
    assert_eq!(scores[..4], boxes[..4], "{name}");
    assert_eq!(scores[4..8], boxes[..4], "{name}");
}

/// The options of a convolution or a pool of stride `stride`.
fn window(padding: i8, stride: i32, more: Vec<(usize, Field)>) -> Vec<(usize, Field)> {
    let mut options = vec![
        (0, Field::Byte(padding)),
        (1, Field::Int(stride)),
        (2, Field::Int(stride)),
    ];
    options.extend(more);
    options
}

const SAME: i8 = 0;
const VALID: i8 = 1;
const RELU6: i8 = 3;

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

/// What a window of 3x3 and stride 2 with TensorFlow's padding meets: on a side of 4, one pixel
/// at the far end.
fn taps(y: usize, x: usize) -> impl Iterator<Item = (usize, i64, i64)> {
    (0..9).map(move |k| (k, signed(2 * y + k / 3), signed(2 * x + k % 3)))
}

#[test]
fn windows_of_float_nets_compute_what_plain_loops_do() {
    let shown = picture();
    let weight = |o: usize, k: usize, c: usize| ((o * 31 + k * 7 + c * 3) % 11) as f32 / 5.0 - 1.0;

    let weights: Vec<f32> = (0..4 * 9 * 3)
        .map(|i| weight(i / 27, i / 3 % 9, i % 3))
        .collect();
    let file = float_net(|net, input| {
        let weights = net.constant("w", F32, &[4, 3, 3, 3], None, f32_bytes(&weights));
        let bias = net.constant("b", F32, &[4], None, f32_bytes(&[0.5, -0.5, 1.0, 3.0]));
        let made = net.tensor("made", F32, &[1, 2, 2, 4], None);
        let options = window(SAME, 2, vec![(3, Field::Byte(RELU6))]);
        net.op(3, &[input, weights, bias], made, options);
        (made, [2, 2, 4])
    });
    let expected = Map::from([2, 2, 4], |y, x, o| {
        let mut sum = [0.5, -0.5, 1.0, 3.0][o];
        for (k, ty, tx) in taps(y, x) {
            for c in 0..3 {
                sum += weight(o, k, c) * shown.near(ty, tx, c).unwrap_or(0.0);
            }
        }
        sum.clamp(0.0, 6.0)
    });
    compare("CONV_2D", &file, &expected);

    // Two outputs for each channel, weights in half precision behind a DEQUANTIZE.
    let half = |value: f32| match value.abs() {
        0.5 => 0x3800_u16 | u16::from(value < 0.0) << 15,
        1.0 => 0x3C00 | u16::from(value < 0.0) << 15,
        _ => 0,
    };
    let depth = |k: usize, o: usize| [0.5, -1.0, 1.0, 0.0, -0.5][(k * 3 + o) % 5];
    let halves: Vec<u8> = (0..9 * 6)
        .flat_map(|i| half(depth(i / 6, i % 6)).to_le_bytes())
        .collect();
    let file = float_net(|net, input| {
        let stored = net.constant("w16", F16, &[1, 3, 3, 6], None, halves);
        let weights = net.tensor("w", F32, &[1, 3, 3, 6], None);
        net.op(6, &[stored], weights, vec![]);
        let made = net.tensor("made", F32, &[1, 2, 2, 6], None);
        let options = window(SAME, 2, vec![(3, Field::Int(2))]);
        net.op(4, &[input, weights, -1], made, options);
        (made, [2, 2, 6])
    });
    let expected = Map::from([2, 2, 6], |y, x, o| {
        taps(y, x)
            .map(|(k, ty, tx)| depth(k, o) * shown.near(ty, tx, o / 2).unwrap_or(0.0))
            .sum()
    });
    compare("DEPTHWISE_CONV_2D", &file, &expected);

    for (name, code) in [("MAX_POOL_2D", 17), ("AVERAGE_POOL_2D", 1)] {
        let file = float_net(|net, input| {
            let made = net.tensor("made", F32, &[1, 2, 2, 3], None);
            let sides = vec![(3, Field::Int(3)), (4, Field::Int(3))];
            net.op(code, &[input], made, window(SAME, 2, sides));
            (made, [2, 2, 3])
        });
        let expected = Map::from([2, 2, 3], |y, x, c| {
            let met: Vec<f32> = taps(y, x)
                .filter_map(|(_, ty, tx)| shown.near(ty, tx, c))
                .collect();
            if code == 17 {
                met.iter().copied().fold(f32::MIN, f32::max)
            } else {
                met.iter().sum::<f32>() / met.len() as f32
            }
        });
        compare(name, &file, &expected);
    }

    let file = float_net(|net, input| {
        let around = ints(&[0, 0, 1, 0, 0, 2, 0, 0]);
        let Field::Bytes(_, around) = around else {
            unreachable!()
        };
        let around = net.constant("pads", I32, &[4, 2], None, around);
        let made = net.tensor("made", F32, &[1, 5, 6, 3], None);
        net.op(34, &[input, around], made, vec![]);
        let ones = f32_bytes(&[1.0; 4 * 4 * 3]);
        let ones = net.constant("w", F32, &[4, 2, 2, 3], None, ones);
        let next = net.tensor("next", F32, &[1, 4, 5, 4], None);
        net.op(3, &[made, ones], next, window(VALID, 1, vec![]));
        (next, [4, 5, 4])
    });
    let expected = Map::from([4, 5, 4], |y, x, _| {
        (0..12)
            .filter_map(|i| {
                let (ty, tx) = (signed(y + i / 6) - 1, signed(x + i / 3 % 2));
                shown.near(ty, tx, i % 3)
            })
            .sum()
    });
    compare("PAD", &file, &expected);
}

#[test]
fn elementwise_operators_of_float_nets_compute_what_their_formula_says() {
    let shown = picture();
    let slopes = [0.5, -1.0, 2.0];
    let by_channel =
        |f: &dyn Fn(f32, usize) -> f32| Map::from([4, 4, 3], |y, x, c| f(shown.at(y, x, c), c));
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    for (name, code, options, expected) in [
        ("LOGISTIC", 14, vec![], shown.each(sigmoid)),
        ("TANH", 28, vec![], shown.each(f32::tanh)),
        ("RELU", 19, vec![], shown.each(|x| x.max(0.0))),
        ("RELU6", 21, vec![], shown.each(|x| x.clamp(0.0, 6.0))),
        (
            "RELU_N1_TO_1",
            20,
            vec![],
            shown.each(|x| x.clamp(-1.0, 1.0)),
        ),
        (
            "HARD_SWISH",
            117,
            vec![],
            shown.each(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ),
        (
            "LEAKY_RELU",
            98,
            vec![(0, Field::Float(0.1))],
            shown.each(|x| if x < 0.0 { 0.1 * x } else { x }),
        ),
        (
            "SOFTMAX",
            25,
            vec![(0, Field::Float(2.0))],
            Map::from([4, 4, 3], |y, x, c| {
                let e = |c| (2.0 * shown.at(y, x, c)).exp();
                e(c) / (e(0) + e(1) + e(2))
            }),
        ),
    ] {
        let file = float_net(|net, input| {
            let made = net.tensor("made", F32, &[1, 4, 4, 3], None);
            net.op(code, &[input], made, options);
            (made, [4, 4, 3])
        });
        compare(name, &file, &expected);
    }
    for (name, code, expected) in [
        ("ADD", 0, by_channel(&|x, c| x + slopes[c])),
        ("MUL", 18, by_channel(&|x, c| x * slopes[c])),
        ("SUB", 41, by_channel(&|x, c| x - slopes[c])),
        ("DIV", 42, by_channel(&|x, c| x / slopes[c])),
        ("MAXIMUM", 55, by_channel(&|x, c| x.max(slopes[c]))),
        ("MINIMUM", 57, by_channel(&|x, c| x.min(slopes[c]))),
        (
            "PRELU",
            54,
            by_channel(&|x, c| if x < 0.0 { slopes[c] * x } else { x }),
        ),
    ] {
        let file = float_net(|net, input| {
            // Behind a pool of one pixel, so that the map lies channels first.
            let pooled = net.tensor("pooled", F32, &[1, 4, 4, 3], None);
            let sides = vec![(3, Field::Int(1)), (4, Field::Int(1))];
            net.op(17, &[input], pooled, window(VALID, 1, sides));
            let constant = net.constant("slopes", F32, &[3], None, f32_bytes(&slopes));
            let made = net.tensor("made", F32, &[1, 4, 4, 3], None);
            net.op(code, &[pooled, constant], made, vec![]);
            (made, [4, 4, 3])
        });
        compare(name, &file, &expected);
    }
}

#[test]
fn operators_that_move_elements_put_them_where_tflite_does() {
    let shown = picture();
    let raw = |values: &[i32]| match ints(values) {
        Field::Bytes(_, raw) => raw,
        _ => unreachable!(),
    };
    let file = float_net(|net, input| {
        let order = net.constant("order", I32, &[4], None, raw(&[0, 3, 1, 2]));
        let made = net.tensor("made", F32, &[1, 3, 4, 4], None);
        net.op(39, &[input, order], made, vec![]);
        (made, [3, 4, 4])
    });
    let expected = Map::from([3, 4, 4], |c, y, x| shown.at(y, x, c));
    compare("TRANSPOSE", &file, &expected);

    let file = float_net(|net, input| {
        let both = net.tensor("both", F32, &[1, 4, 8, 3], None);
        net.op(2, &[input, input], both, vec![(0, Field::Int(2))]);
        let twice = net.tensor("twice", F32, &[1, 4, 2, 8, 3], None);
        net.op(83, &[both, both], twice, vec![(1, Field::Int(2))]);
        (twice, [8, 8, 3])
    });
    let expected = Map::from([8, 8, 3], |y, x, c| shown.at(y / 2, x % 4, c));
    compare("CONCATENATION and PACK", &file, &expected);

    let file = float_net(|net, input| {
        let axes = net.constant("axes", I32, &[2], None, raw(&[1, 2]));
        let mean = net.tensor("mean", F32, &[1, 3], None);
        net.op(40, &[input, axes], mean, vec![]);
        let square = net.tensor("square", F32, &[1, 1, 1, 3], None);
        net.op(22, &[mean], square, vec![]);
        let made = net.tensor("made", F32, &[1, 4, 4, 3], None);
        net.op(0, &[input, square], made, vec![]);
        (made, [4, 4, 3])
    });
    let means = [0, 1, 2].map(|c| (0..16).map(|i| shown.at(i / 4, i % 4, c)).sum::<f32>() / 16.0);
    let expected = Map::from([4, 4, 3], |y, x, c| shown.at(y, x, c) + means[c]);
    compare("MEAN", &file, &expected);

    for (name, code, options, side, source) in [
        (
            "RESIZE_NEAREST_NEIGHBOR",
            97,
            vec![],
            8,
            &(|i: usize| i as f32 / 2.0 - 0.01) as &dyn Fn(usize) -> f32,
        ),
        (
            "RESIZE_NEAREST_NEIGHBOR, half-pixel centres",
            97,
            vec![(1, Field::Byte(1))],
            6,
            &|i| ((i as f32 + 0.5) * 4.0 / 6.0).floor(),
        ),
        ("RESIZE_BILINEAR", 23, vec![], 8, &|i| i as f32 / 2.0),
        (
            "RESIZE_BILINEAR, half-pixel centres",
            23,
            vec![(3, Field::Byte(1))],
            8,
            &|i| i as f32 / 2.0 - 0.25,
        ),
        (
            "RESIZE_BILINEAR, aligned corners",
            23,
            vec![(2, Field::Byte(1))],
            10,
            &|i| i as f32 / 3.0,
        ),
    ] {
        let file = float_net(|net, input| {
            let size = net.constant("size", I32, &[2], None, raw(&[side, side]));
            let made = net.tensor("made", F32, &[1, side, side, 3], None);
            net.op(code, &[input, size], made, options);
            (made, [side, side, 3])
        });
        let line = |i: usize| {
            let at = source(i).clamp(0.0, 3.0);
            // Whole positions for the nearest pixel, shares of two for the others.
            let at = if code == 97 { (at + 0.01).floor() } else { at };
            let low = at.floor() as usize;
            (low, (low + 1).min(3), at - at.floor())
        };
        let side = usize::try_from(side).unwrap();
        let expected = Map::from([side, side, 3], |y, x, c| {
            let ((y0, y1, fy), (x0, x1, fx)) = (line(y), line(x));
            let row = |y| shown.at(y, x0, c) * (1.0 - fx) + shown.at(y, x1, c) * fx;
            row(y0) * (1.0 - fy) + row(y1) * fy
        });
        compare(name, &file, &expected);
    }
}

/// What LiteRT's default kernels make of [`quantized_detector`], in whole numbers; the accumulators
/// are requantised in f32, half to even.
fn quantized_reference(picture: &[u8]) -> [Vec<f32>; 2] {
    let mut state = 11_u64;
    let mut next = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        i32::try_from((state >> 33) % below).unwrap()
    };
    let mut maps = vec![(picture.to_vec(), 3_usize, 0.007_812_5_f32, 128_i32)];
    for (input, outputs, side, depthwise, scale, zero) in [
        (0, 8, 3, false, 0.0235_f32, 0),
        (1, 8, 3, true, 0.031, 0),
        (2, 8, 1, false, 0.027, 110),
        (3, 8, 1, false, 0.021, 120),
    ] {
        let (data, channels, own_scale, own_zero) = &maps[input];
        let fan_in = if depthwise { 1 } else { *channels };
        let mut weights: Vec<i32> = (0..outputs * side * side * fan_in)
            .map(|_| 90 + next(60))
            .collect();
        let last = weights.len() - 1;
        weights[last] = 255;
        weights[2] = 250;
        let bias: Vec<i32> = (0..outputs).map(|_| next(400) - 200).collect();
        let multiplier = own_scale * 0.01 / scale;
        let mut made = Vec::new();
        for at in 0..16 * outputs {
            let (y, x, o) = (at / outputs / 4, at / outputs % 4, at % outputs);
            let mut sum = bias[o];
            for k in 0..side * side {
                let row = signed(y + k / side) - (signed(side) - 1) / 2;
                let column = signed(x + k % side) - (signed(side) - 1) / 2;
                if !(0..4).contains(&row) || !(0..4).contains(&column) {
                    continue;
                }
                for c in 0..fan_in {
                    let (channel, weight) = if depthwise {
                        (o, weights[k * outputs + o])
                    } else {
                        (c, weights[(o * side * side + k) * fan_in + c])
                    };
                    let value = data[(row as usize * 4 + column as usize) * channels + channel];
                    sum += (i32::from(value) - own_zero) * (weight - 117);
                }
            }
            let stored = (sum as f32 * multiplier).round_ties_even() as i32 + zero;
            let most = if depthwise {
                (6.0_f32 / scale).round() as i32
            } else {
                255
            };
            made.push(stored.clamp(0, most) as u8);
        }
        maps.push((made, outputs, scale, zero));
    }
    let real = |value: u8, scale: f32, zero: i32| (i32::from(value) - zero) as f32 * scale;
    let sums: Vec<u8> = (maps[3].0.iter().zip(&maps[4].0))
        .map(|(&a, &b)| {
            let exact = f64::from(i32::from(a) - 110) * f64::from(0.027_f32)
                + f64::from(i32::from(b) - 120) * f64::from(0.021_f32);
            ((exact / f64::from(0.033_f32)).round() + 115.0).clamp(0.0, 255.0) as u8
        })
        .collect();
    let again = |value: u8, scale, zero| {
        ((real(value, scale, zero) / 0.035).round_ties_even() + 100.0).clamp(0.0, 255.0) as u8
    };
    let boxes = sums.iter().map(|&value| real(value, 0.033, 115)).collect();
    let mut scores = Vec::new();
    for row in 0..32 {
        let parts = [(&sums, 0.033, 115), (&maps[4].0, 0.021, 120)];
        for (values, scale, zero) in parts {
            let part = &values[row * 4..row * 4 + 4];
            scores.extend(
                part.iter()
                    .map(|&v| real(again(v, scale, zero), 0.035, 100)),
            );
        }
    }
    [boxes, scores]
}

fn noise() -> Vec<u8> {
    (0..48_u32).map(|i| (i * 97 % 251) as u8).collect()
}

#[test]
fn a_quantised_file_gives_litert_s_numbers_to_the_last_step_signed_or_not() {
    let expected = quantized_reference(&noise());
    for signed in [false, true] {
        let imported = convert_bytes(&quantized_detector(signed), false).unwrap();
        let found = heads(&imported, TensorData::U8(&noise()));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
            }
        }
        assert_eq!(
            imported.summary.operators["Sum"], 1,
            "the residual addition"
        );
        let rules = imported.rules.unwrap();
        assert_eq!((rules.classes, rules.nms.max_detections), (7, 20));
        assert_eq!(rules.mode.name(), "regular");
        let anchors = imported.anchors.unwrap();
        assert_eq!(anchors.len(), 32);
        assert!((anchors[1][2] - 0.07).abs() < 1e-6, "{:?}", anchors[1]);
    }
}

#[test]
fn the_float_twin_of_a_quantised_file_is_near_it() {
    let stored = quantized_reference(&noise());
    let imported = convert_bytes(&quantized_detector(false), true).unwrap();
    assert!(!imported.summary.operators.contains_key("QuantizeLinear"));
    let twin = heads(&imported, TensorData::U8(&noise()));
    for (twin, stored) in twin.iter().zip(&stored) {
        let off = twin.iter().zip(stored).map(|(a, b)| (a - b).abs());
        let mean = off.sum::<f32>() / stored.len() as f32;
        assert!(mean < 0.1, "{mean}");
    }
}

#[test]
fn what_is_not_understood_is_named_with_its_tensor() {
    let strange = |code, options| {
        let file = float_net(|net, input| {
            let made = net.tensor("strange/out", F32, &[1, 4, 4, 3], None);
            net.op(code, &[input], made, options);
            (made, [4, 4, 3])
        });
        convert_bytes(&file, false).unwrap_err().to_string()
    };
    for (code, words) in [
        (
            36,
            &["operator GATHER", "`strange/out`", "cannot be converted"][..],
        ),
        (17, &["MAX_POOL_2D", "`strange/out`", "filter_height"]),
        (0, &["ADD", "`strange/out`", "no input number 1"]),
    ] {
        let said = strange(code, vec![]);
        for word in words {
            assert!(said.contains(word), "{said} has no {word}");
        }
    }
    let file = float_net(|net, input| {
        let made = net.tensor("own", F32, &[1, 4, 4, 3], None);
        net.custom("MyOwnOp", &[input], &[made], vec![]);
        (made, [4, 4, 3])
    });
    let said = convert_bytes(&file, false).unwrap_err().to_string();
    assert!(
        said.contains("operator MyOwnOp") && said.contains("`own`"),
        "{said}"
    );
}

#[test]
fn damaged_files_are_refused_with_the_place() {
    let whole = quantized_detector(false);
    let fault = |bytes: &[u8]| convert_bytes(bytes, false).unwrap_err();
    assert!(matches!(fault(b"not a model"), Fault::NotTflite));
    for length in (0..whole.len()).step_by(97) {
        let said = fault(&whole[..length]).to_string();
        assert!(!said.contains('\n'), "{said}");
    }
    let mut root = whole.clone();
    root[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let said = fault(&root).to_string();
    assert!(said.contains("leads out of the file at byte 0"), "{said}");
}

fn data(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("DETBENCH_TEST_DATA").ok();
    if folder.is_none() {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
    }
    Some(Path::new(&folder?).join(path))
}

const V1: &str = "ssd_mobilenet_v1_1_metadata_1.tflite";
const V2: &str = "mobilenet_ssd_v2_coco_quant_postprocess.tflite";

fn detbench(arguments: &[&str]) -> String {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn published_files_find_what_litert_finds_in_79_pictures() {
    let Some(coco) = data("coco") else { return };
    let expected = std::fs::read(coco.join("expected_cocomini_val2017_79.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let set = coco.join("cocomini_val2017_79");
    let annotations = std::fs::read_dir(&set)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "json"))
        .expect("an annotation file");
    let dir = tempfile::tempdir().unwrap();
    for file in [V1, V2] {
        let source = data("source_models/tflite").unwrap().join(file);
        let onnx = dir.path().join(file).with_extension("onnx");
        let onnx = onnx.to_str().unwrap();
        let printed = detbench(&["import", source.to_str().unwrap(), "-o", onnx]);
        assert!(printed.contains("precision  int8"), "{printed}");
        // The model file beside it is found without being named.
        let document = detbench(&[
            "run",
            "--model",
            onnx,
            "--accuracy-only",
            "--images",
            set.join("images").to_str().unwrap(),
            "--annotations",
            annotations.to_str().unwrap(),
            "--score-threshold",
            "0.01",
            "--iou-threshold",
            "0.6",
            "--max-detections",
            "100",
            "--output-dir",
            dir.path().join("results").to_str().unwrap(),
            "--json",
        ]);
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        for mode in ["regular", "fast"] {
            let litert = ["builtin", "xnnpack"].map(|kernels| {
                let entry = &expected[format!("{file} {kernels}/{mode}")];
                entry["stats"][0].as_f64().expect("an mAP")
            });
            let runs = document["runs"].as_array().expect("runs");
            let own = runs
                .iter()
                .find(|run| run["nms"] == mode)
                .and_then(|run| run["accuracy"]["map"].as_f64())
                .expect("an mAP of each mode");
            let low = litert[0].min(litert[1]) - 0.01;
            let high = litert[0].max(litert[1]) + 0.01;
            eprintln!("{file} {mode}: {own:.4} in {low:.4}..={high:.4}");
            assert!((low..=high).contains(&own), "{file} {mode}: {own}");
        }
    }
}
