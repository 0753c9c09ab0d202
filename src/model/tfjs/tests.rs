//! Tiny hand-made detectors, one for each operator, and the published one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{json, Value};
use tempfile::TempDir;

use super::*;
use crate::model::onnx::proto::{AttributeProto, GraphProto, TensorProto};
use crate::model::onnx::signature::{self, AxisLength};
use crate::model::AnchorSpec;

mod resizing;

#[expect(
    clippy::needless_pass_by_value,
    reason = "attributes are written in place"
)]
fn node(op: &str, name: &str, inputs: &[&str], attr: Value) -> Value {
    json!({"op": op, "name": name, "input": inputs, "attr": attr})
}

fn ints(values: &[i64]) -> Value {
    // 64-bit integers are texts in the JSON form of protobuf.
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    json!({"list": {"i": values}})
}

/// A model directory: nodes, and the constants among them.
#[derive(Default)]
struct Source {
    nodes: Vec<Value>,
    weights: Vec<Value>,
    bytes: Vec<u8>,
}

impl Source {
    fn floats(mut self, name: &str, shape: &[usize]) -> Self {
        // Consecutive numbers show where each element went.
        for value in 0..shape.iter().product::<usize>() {
            self.bytes.extend((value as f32).to_le_bytes());
        }
        self.weights
            .push(json!({"name": name, "shape": shape, "dtype": "float32"}));
        self.node(node("Const", name, &[], json!({})))
    }

    fn integers(mut self, name: &str, shape: &[usize], values: &[i32]) -> Self {
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.weights
            .push(json!({"name": name, "shape": shape, "dtype": "int32"}));
        self.node(node("Const", name, &[], json!({})))
    }

    fn node(mut self, node: Value) -> Self {
        self.nodes.push(node);
        self
    }

    fn model_json(&self) -> Value {
        json!({
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["shard"], "weights": self.weights}],
        })
    }

    fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.json"), self.model_json().to_string()).unwrap();
        std::fs::write(dir.path().join("shard"), &self.bytes).unwrap();
        dir
    }

    fn import(&self) -> Result<Imported, ImportError> {
        import(self.write().path())
    }
}

/// A detector on 6x6 pictures: a 1x1 convolution `conv` to 8 channels in front of `body`, which
/// makes `features`, from which boxes and four classes are read.
fn detector(body: impl FnOnce(Source) -> Source) -> Source {
    let shape =
        json!({"shape": {"dim": [{"size": "-1"}, {"size": "6"}, {"size": "6"}, {"size": "3"}]}});
    let source = Source::default()
        .node(node("Placeholder", "picture", &[], json!({"shape": shape})))
        .floats("kernel", &[1, 1, 3, 8])
        .node(node("Conv2D", "conv", &["picture", "kernel"], same(1)));
    body(source)
        .integers("rows", &[3], &[1, -1, 4])
        .floats("tenth", &[])
        .node(node("Reshape", "boxes", &["features", "rows"], json!({})))
        .node(node("Reshape", "logits", &["features", "rows"], json!({})))
        .node(node("Mul", "scaled", &["boxes", "tenth"], json!({})))
        .node(node("Exp", "sizes", &["scaled"], json!({})))
        .node(node("Sigmoid", "probabilities", &["logits"], json!({})))
}

/// Attributes of a window operator; `padding` as newer files write it.
fn same(stride: i64) -> Value {
    json!({"strides": ints(&[1, stride, stride, 1]), "padding": {"s": "U0FNRQ=="}})
}

fn graph_of(imported: &Imported) -> GraphProto {
    let model = signature::decode(&imported.onnx, Path::new("imported")).unwrap();
    model.graph.expect("checked by decode")
}

fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name == name)
}

fn attribute(attribute: &AttributeProto) -> String {
    let name = &attribute.name;
    match attribute.kind {
        1 => format!("{name}={}", attribute.f),
        2 => format!("{name}={}", attribute.i),
        _ => format!("{name}={:?}", attribute.ints),
    }
}

/// `Conv(a, k[8,3,1,1]) group=1 -> b`, for the nodes up to `last`.
fn listing(graph: &GraphProto, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for node in &graph.node {
        let input = |name: &String| match constant(graph, name) {
            Some(tensor) if tensor.dims.is_empty() => {
                f32::from_le_bytes(tensor.raw_data[..4].try_into().unwrap()).to_string()
            }
            Some(tensor) if tensor.data_type == 7 => {
                let values = tensor.raw_data.chunks_exact(8);
                let values: Vec<i64> = values
                    .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                format!("{values:?}")
            }
            Some(tensor) => format!("{name}{:?}", tensor.dims),
            None => name.clone(),
        };
        let inputs: Vec<String> = node.input.iter().map(input).collect();
        let attributes: Vec<String> = node.attribute.iter().map(attribute).collect();
        let attributes = attributes.join(" ");
        lines.push(format!(
            "{}({}) {attributes} -> {}",
            node.op_type,
            inputs.join(", "),
            node.output[0]
        ));
        if node.output[0] == last {
            break;
        }
    }
    lines
}

/// What `op` becomes behind `conv`, which is left out with what is in front of it.
fn converted(body: impl FnOnce(Source) -> Source) -> Vec<String> {
    let graph = graph_of(&detector(body).import().unwrap());
    let lines = listing(&graph, "features");
    let conv = lines
        .iter()
        .position(|line| line.ends_with("-> conv"))
        .expect("conv");
    lines[conv + 1..].to_vec()
}

fn refused(body: impl FnOnce(Source) -> Source) -> String {
    detector(body).import().unwrap_err().to_string()
}

#[test]
fn a_detector_is_cut_at_its_heads_and_takes_any_batch() {
    let imported = detector(|s| s.node(node("Relu6", "features", &["conv"], json!({}))))
        .import()
        .unwrap();
    let graph = graph_of(&imported);
    insta::assert_snapshot!(listing(&graph, "").join("\n"), @r"
    Transpose(image) perm=[0, 3, 1, 2] -> image/nchw
    Conv(image/nchw, kernel[8, 3, 1, 1]) dilations=[1, 1] group=1 kernel_shape=[1, 1] pads=[0, 0, 0, 0] strides=[1, 1] -> conv
    Clip(conv, 0, 6)  -> features
    Transpose(features) perm=[0, 2, 3, 1] -> features/nhwc
    Reshape(features/nhwc, [0, 72, 4])  -> raw_boxes
    Reshape(features/nhwc, [0, 72, 4])  -> raw_scores
    ");
    let model = signature::decode(&imported.onnx, Path::new("imported")).unwrap();
    let signature = signature::facts(&model).signature;
    let shown = |tensors: &[signature::TensorInfo]| {
        tensors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(shown(&signature.inputs), "image f32[batch,6,6,3]");
    assert_eq!(
        shown(&signature.outputs),
        "raw_boxes f32[batch,72,4] raw_scores f32[batch,72,4]"
    );
    assert_eq!(imported.summary.activation, Activation::Sigmoid);
    assert!(!imported.summary.background);
    // [height, width, in, out] counted up: output channel 1 reads elements 1, 9 and 17.
    let kernel = constant(&graph, "kernel").unwrap();
    let value = |i: usize| kernel.raw_data[4 * i..][..4].to_vec();
    let expected = [1.0_f32, 9.0, 17.0].map(|value| value.to_le_bytes().to_vec());
    assert_eq!([value(3), value(4), value(5)], expected);
}

#[test]
fn each_window_operator_gets_its_padding_written_out() {
    let conv = |stride| {
        move |s: Source| {
            s.floats("k", &[3, 3, 8, 8]).node(node(
                "Conv2D",
                "features",
                &["conv", "k"],
                same(stride),
            ))
        }
    };
    // On six pixels, step 2 pads one pixel, at the end only.
    assert_eq!(
        converted(conv(2)),
        ["Conv(conv, k[8, 8, 3, 3]) dilations=[1, 1] group=1 kernel_shape=[3, 3] pads=[0, 0, 1, 1] strides=[2, 2] -> features"]
    );
    assert_eq!(
        converted(conv(1)),
        ["Conv(conv, k[8, 8, 3, 3]) dilations=[1, 1] group=1 kernel_shape=[3, 3] pads=[1, 1, 1, 1] strides=[1, 1] -> features"]
    );
    let valid = json!({"ksize": ints(&[1, 2, 2, 1]), "strides": ints(&[1, 2, 2, 1]), "padding": {"s": [86, 65, 76, 73, 68]}});
    for (op, onnx) in [("MaxPool", "MaxPool"), ("AvgPool", "AveragePool")] {
        assert_eq!(
            converted(|s| s.node(node(op, "features", &["conv"], valid.clone()))),
            [format!(
                "{onnx}(conv) kernel_shape=[2, 2] pads=[0, 0, 0, 0] strides=[2, 2] -> features"
            )]
        );
    }
    let dilated = json!({"strides": ints(&[1, 1, 1, 1]), "dilations": ints(&[1, 2, 2, 1]), "padding": {"s": "U0FNRQ=="}});
    assert_eq!(
        converted(|s| s
            .floats("k", &[3, 3, 8, 1])
            .node(node("DepthwiseConv2dNative", "features", &["conv", "k"], dilated))),
        ["Conv(conv, k[8, 1, 3, 3]) dilations=[2, 2] group=8 kernel_shape=[3, 3] pads=[2, 2, 2, 2] strides=[1, 1] -> features"]
    );
    assert_eq!(
        converted(|s| s
            .integers("p", &[4, 2], &[0, 0, 1, 2, 3, 4, 0, 0])
            .node(node("Pad", "features", &["conv", "p"], json!({})))),
        ["Pad(conv, [0, 0, 1, 3, 0, 0, 2, 4], 0)  -> features"]
    );
}

#[test]
fn fused_convolutions_become_their_parts() {
    let mut attr = same(1);
    attr["fused_ops"] = json!({"list": {"s": ["Qmlhc0FkZA==", "UmVsdTY="]}});
    let lines = converted(|s| {
        s.floats("k", &[1, 1, 8, 8])
            .floats("b", &[8])
            .node(node("_FusedConv2D", "features", &["conv", "k", "b"], attr))
            // The last step has the node's name with the step's behind it.
            .node(node("Identity", "end", &["features"], json!({})))
    });
    let heads: Vec<&str> = lines
        .iter()
        .map(|line| line.split(')').next().unwrap())
        .collect();
    assert_eq!(
        heads[..3],
        [
            "Conv(conv, k[8, 8, 1, 1]",
            "Add(features/conv, b[8, 1, 1]",
            "Clip(features/BiasAdd, 0, 6"
        ]
    );
}

#[test]
fn constants_follow_the_layout_of_what_they_are_added_to() {
    for (op, onnx) in [
        ("BiasAdd", "Add"),
        ("AddV2", "Add"),
        ("Sub", "Sub"),
        ("Mul", "Mul"),
        ("RealDiv", "Div"),
    ] {
        assert_eq!(
            converted(|s| s.floats("c", &[8]).node(node(
                op,
                "features",
                &["conv", "c"],
                json!({})
            ))),
            [format!("{onnx}(conv, c[8, 1, 1])  -> features")]
        );
    }
    // The order of the operands is kept.
    assert_eq!(
        converted(|s| s.floats("c", &[1, 1, 1, 8]).node(node(
            "Sub",
            "features",
            &["c", "conv"],
            json!({})
        ))),
        ["Sub(c[8, 1, 1], conv)  -> features"]
    );
    let map = detector(|s| {
        s.floats("c", &[6, 6, 8])
            .node(node("Add", "features", &["conv", "c"], json!({})))
    });
    let graph = graph_of(&map.import().unwrap());
    let moved = constant(&graph, "c").unwrap();
    assert_eq!(moved.dims, [8, 6, 6]);
    // Channel 0 of the second pixel was element 8.
    assert_eq!(moved.raw_data[4..8], 8.0_f32.to_le_bytes());
}

#[test]
fn batch_normalisation_keeps_its_parameters_in_order() {
    let names = ["conv", "scale", "offset", "mean", "variance"];
    let body = |s: Source| {
        let s = names[1..].iter().fold(s, |s, name| s.floats(name, &[8]));
        let attr = json!({"epsilon": {"f": 0.5}, "is_training": {"b": false}});
        s.node(node("FusedBatchNormV3", "features", &names, attr))
    };
    assert_eq!(
        converted(body),
        ["BatchNormalization(conv, scale[8], offset[8], mean[8], variance[8]) epsilon=0.5 -> features"]
    );
}

#[test]
fn activations_and_residual_sums_keep_the_layout() {
    for (op, onnx) in [("Relu", "Relu"), ("Sigmoid", "Sigmoid"), ("Tanh", "Tanh")] {
        // A second convolution behind the Sigmoid tells that it is no score activation.
        let lines = converted(|s| {
            s.node(node(op, "act", &["conv"], json!({})))
                .floats("k", &[1, 1, 8, 8])
                .node(node("Conv2D", "features", &["act", "k"], same(1)))
        });
        assert_eq!(lines[0], format!("{onnx}(conv)  -> act"));
        assert!(lines[1].starts_with("Conv(act, k"), "{}", lines[1]);
    }
    assert_eq!(
        converted(
            |s| s.node(node("Relu", "r", &["conv"], json!({}))).node(node(
                "AddN",
                "features",
                &["r", "conv"],
                json!({})
            ))
        ),
        ["Relu(conv)  -> r", "Add(r, conv)  -> features"]
    );
}

#[test]
fn concatenation_along_channels_needs_no_transpose() {
    let lines = converted(|s| {
        s.integers("axis", &[], &[-1]).node(node(
            "ConcatV2",
            "features",
            &["conv", "conv", "axis"],
            json!({}),
        ))
    });
    assert_eq!(lines, ["Concat(conv, conv) axis=1 -> features"]);
}

#[test]
fn shapes_computed_in_the_graph_leave_no_nodes() {
    let lines = converted(|s| {
        s.integers("zero", &[1], &[0])
            .integers("one", &[1], &[1])
            .integers("all", &[], &[-1])
            .integers("eight", &[], &[8])
            .node(node("Shape", "shape", &["conv"], json!({})))
            .node(node(
                "StridedSlice",
                "batch",
                &["shape", "zero", "one", "one"],
                json!({"shrink_axis_mask": {"i": "1"}}),
            ))
            .node(node(
                "Pack",
                "target",
                &["batch", "all", "eight"],
                json!({}),
            ))
            .node(node("Reshape", "features", &["conv", "target"], json!({})))
    });
    assert_eq!(
        lines,
        [
            "Transpose(conv) perm=[0, 2, 3, 1] -> conv/nhwc",
            "Reshape(conv/nhwc, [0, 36, 8])  -> features"
        ]
    );
}

#[test]
fn axes_are_removed_inserted_and_exchanged() {
    let lines = converted(|s| {
        s.integers("place", &[], &[1])
            .integers("perm", &[5], &[0, 1, 3, 2, 4])
            .node(node("ExpandDims", "a", &["conv", "place"], json!({})))
            .node(node("Transpose", "b", &["a", "perm"], json!({})))
            .node(node(
                "Squeeze",
                "features",
                &["b"],
                json!({"squeeze_dims": ints(&[1])}),
            ))
    });
    assert_eq!(
        lines[1..],
        [
            "Reshape(conv/nhwc, [0, 1, 6, 6, 8])  -> a",
            "Transpose(a) perm=[0, 1, 3, 2, 4] -> b",
            "Reshape(b, [0, 6, 6, 8])  -> features"
        ]
    );
}

#[test]
fn the_mean_over_a_map_is_one_node() {
    let lines = converted(|s| {
        s.integers("axes", &[2], &[1, 2]).node(node(
            "Mean",
            "features",
            &["conv", "axes"],
            json!({"keep_dims": {"b": true}}),
        ))
    });
    assert_eq!(
        lines,
        ["ReduceMean(conv) axes=[2, 3] keepdims=1 -> features"]
    );
}

#[test]
fn what_is_not_understood_is_named() {
    let unknown = refused(|s| s.node(node("MatrixSquareRoot", "features", &["conv"], json!({}))));
    assert_eq!(
        unknown,
        "operator `MatrixSquareRoot` (node `features`) cannot be converted to ONNX yet"
    );
    let training = refused(|s| {
        let names = ["conv", "scale", "offset", "mean", "variance"];
        let s = names[1..].iter().fold(s, |s, name| s.floats(name, &[8]));
        s.node(node(
            "FusedBatchNorm",
            "features",
            &names,
            json!({"is_training": {"b": true}}),
        ))
    });
    assert!(training.contains("training mode"), "{training}");
    for (body, expected) in [
        (
            json!({"strides": ints(&[1, 1, 1, 1])}),
            "`padding` should be SAME, VALID or EXPLICIT",
        ),
        (
            json!({"padding": {"s": "U0FNRQ=="}, "data_format": {"s": "TkNIVw=="}}),
            "`data_format` should be NHWC",
        ),
        (
            json!({"padding": {"s": "U0FNRQ=="}, "strides": ints(&[1, 0, 1, 1])}),
            "`strides` should be [1, height, width, 1]",
        ),
    ] {
        let text = refused(|s| {
            s.floats("k", &[3, 3, 8, 8])
                .node(node("Conv2D", "features", &["conv", "k"], body))
        });
        assert!(text.contains(expected), "{text}");
    }
    let misfit = refused(|s| {
        s.floats("c", &[7])
            .node(node("BiasAdd", "features", &["conv", "c"], json!({})))
    });
    assert!(misfit.contains("[batch,6,6,8] and [7]"), "{misfit}");
    let dangling = refused(|s| s.node(node("Relu", "features", &["nothing"], json!({}))));
    assert_eq!(
        dangling,
        "node `features` reads `nothing`, which is no node of the graph"
    );
    let second = refused(|s| s.node(node("Relu", "features", &["conv:1"], json!({}))));
    assert!(second.contains("output number 1"), "{second}");
    let cycle = refused(|s| s.node(node("AddN", "features", &["conv", "features"], json!({}))));
    assert!(cycle.contains("`features` depends on itself"), "{cycle}");
    let twice = refused(|s| s.node(node("Relu", "conv", &["conv"], json!({}))));
    assert_eq!(twice, "two nodes are called `conv`");
}

#[test]
fn a_graph_without_a_head_says_which_one_is_missing() {
    let without = |op: &str| {
        let mut source = detector(|s| s.node(node("Relu", "features", &["conv"], json!({}))));
        source.nodes.retain(|node| node["op"] != op);
        source.import().unwrap_err().to_string()
    };
    assert!(
        without("Exp").starts_with("found no box head"),
        "{}",
        without("Exp")
    );
    assert!(
        without("Sigmoid").starts_with("found no score head"),
        "{}",
        without("Sigmoid")
    );
    let two = detector(|s| s.node(node("Relu", "features", &["conv"], json!({}))))
        .node(node("Relu", "other", &["features"], json!({})))
        .node(node(
            "Sigmoid",
            "other_probabilities",
            &["other"],
            json!({}),
        ));
    let error = two.import().unwrap_err().to_string();
    assert_eq!(
        error,
        "found several score heads (features, other); cannot tell which one is meant"
    );
}

#[test]
fn broken_json_is_reported_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let missing = import(dir.path()).unwrap_err();
    assert!(
        matches!(missing, ImportError::NoModelJson { .. }),
        "{missing}"
    );
    let write = |text: &str| std::fs::write(dir.path().join("model.json"), text).unwrap();
    write("{\n  \"modelTopology\": {\n oops");
    let broken = import(dir.path()).unwrap_err().to_string();
    assert!(broken.contains("line 3"), "{broken}");
    write("{\"modelTopology\": {\"node\": []}}");
    let incomplete = import(dir.path()).unwrap_err().to_string();
    assert!(
        incomplete.contains("missing field `weightsManifest`"),
        "{incomplete}"
    );
    write("{\"format\": \"layers-model\", \"modelTopology\": {\"model_config\": {}}}");
    let layers = import(dir.path()).unwrap_err();
    assert!(
        matches!(layers, ImportError::LayersModel { .. }),
        "{layers}"
    );
}

#[test]
fn a_very_long_chain_does_not_exhaust_the_stack() {
    let source = detector(|mut s| {
        for index in 0..50_000 {
            let from = if index == 0 {
                "conv".to_owned()
            } else {
                format!("r{}", index - 1)
            };
            s = s.node(node("Identity", &format!("r{index}"), &[&from], json!({})));
        }
        s.node(node("Relu", "features", &["r49999"], json!({})))
    });
    assert!(source.import().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_model_files_give_a_model_or_an_error_but_never_a_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let source = detector(|s| {
            s.floats("k", &[3, 3, 8, 8])
                .floats("c", &[8])
                .node(node("Conv2D", "conv2", &["conv", "k"], same(2)))
                .node(node("BiasAdd", "features", &["conv2", "c"], json!({})))
        });
        let mut text = source.model_json().to_string().into_bytes();
        for (place, value) in flips {
            let place = place.index(text.len());
            text[place] = value;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        let dir = source.write();
        std::fs::write(dir.path().join("model.json"), text).unwrap();
        let _ = import(dir.path());
    }

    /// Replaces one whole number by another, which leaves the JSON well-formed.
    #[test]
    fn wrong_numbers_give_a_model_or_an_error_but_never_a_panic(
        place in any::<prop::sample::Index>(),
        number in prop_oneof![-9_i64..20, Just(i64::MAX), Just(i64::MIN), Just(1 << 40), Just(1 << 20)],
    ) {
        let mut value = detector(|s| {
            s.floats("k", &[3, 3, 8, 8])
                .integers("p", &[4, 2], &[0, 0, 1, 2, 3, 4, 0, 0])
                .node(node("Conv2D", "conv2", &["conv", "k"], same(2)))
                .node(node("Pad", "features", &["conv2", "p"], json!({})))
        });
        let model = value.model_json();
        let mut numbers = 0;
        count_numbers(&model, &mut numbers);
        let mut left = place.index(numbers);
        let dir = value.write();
        let mut changed = model;
        replace_number(&mut changed, &mut left, number);
        std::fs::write(dir.path().join("model.json"), changed.to_string()).unwrap();
        let _ = import(dir.path());
        // The same for a number inside a constant.
        let length = value.bytes.len();
        let at = place.index(length / 4) * 4;
        value.bytes[at..at + 4].copy_from_slice(&(number as i32).to_le_bytes());
        let _ = value.import();
    }
}

fn is_number(value: &Value) -> bool {
    value.is_i64()
        || value
            .as_str()
            .is_some_and(|text| text.parse::<i64>().is_ok())
}

fn count_numbers(value: &Value, count: &mut usize) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| count_numbers(item, count)),
        Value::Object(items) => items.values().for_each(|item| count_numbers(item, count)),
        other => *count += usize::from(is_number(other)),
    }
}

fn replace_number(value: &mut Value, left: &mut usize, number: i64) {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_number(item, left, number)),
        Value::Object(items) => items
            .values_mut()
            .for_each(|item| replace_number(item, left, number)),
        other if is_number(other) => {
            if *left == 0 {
                *other = if other.is_string() {
                    json!(number.to_string())
                } else {
                    json!(number)
                };
            }
            *left = left.wrapping_sub(1);
        }
        _ => {}
    }
}

fn test_data(path: &str) -> Option<PathBuf> {
    let data = std::env::var_os("DETBENCH_TEST_DATA");
    if data.is_none() {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
    }
    Some(Path::new(&data?).join(path))
}

/// Each operator's count, and the elements of each convolution's kernel in order.
fn census(graph: &GraphProto) -> (BTreeMap<&str, usize>, Vec<&[u8]>) {
    let mut operators = BTreeMap::new();
    let mut kernels = Vec::new();
    for node in &graph.node {
        *operators.entry(node.op_type.as_str()).or_insert(0) += 1;
        if node.op_type == "Conv" {
            let kernel = constant(graph, &node.input[1]).expect("a constant kernel");
            kernels.push(&kernel.raw_data[..]);
        }
    }
    kernels.sort_unstable();
    (operators, kernels)
}

#[test]
fn the_published_model_becomes_what_an_independent_conversion_made_of_it() {
    let Some(source) = test_data("source_models/tfjs_coco_ssd") else {
        return;
    };
    let imported = import(&source).unwrap();
    assert_eq!(
        import(&source).unwrap().onnx,
        imported.onnx,
        "the bytes are reproducible"
    );
    let ours = graph_of(&imported);
    let path = test_data("models/ssdlite_mobilenet_v2_coco_fp32.onnx").unwrap();
    let reference = signature::read(&path).unwrap().graph.unwrap();
    let (mut operators, kernels) = census(&ours);
    let (mut expected, expected_kernels) = census(&reference);
    assert!(
        kernels == expected_kernels,
        "the kernels are the same, to the bit"
    );
    // The reference renames its heads and reshapes scores that have their shape already.
    expected.remove("Identity");
    operators.remove("Reshape");
    expected.remove("Reshape");
    assert_eq!(operators, expected);

    let summary = &imported.summary;
    assert_eq!((summary.anchor_count, summary.score_columns), (1917, 91));
    assert!(summary.background);
    let signature = signature::facts(&signature::read(&path).unwrap()).signature;
    let model = signature::decode(&imported.onnx, Path::new("imported")).unwrap();
    let mut own = signature::facts(&model).signature;
    for tensor in own.inputs.iter_mut().chain(&mut own.outputs) {
        let shape = tensor.shape.as_mut().unwrap();
        assert_eq!(shape[0], AxisLength::Dynamic("batch".to_owned()));
        // The reference has a batch of one.
        shape[0] = AxisLength::Fixed(1);
    }
    assert_eq!(own, signature);
}

#[test]
fn the_anchors_in_the_published_model_are_the_generated_ones() {
    let Some(source) = test_data("source_models/tfjs_coco_ssd") else {
        return;
    };
    let stored = import(&source)
        .unwrap()
        .anchors
        .expect("the decoder holds them");
    let generated = AnchorSpec::TfodSsd300.generate();
    assert_eq!(stored.len(), generated.len());
    let pairs = stored.iter().flatten().zip(generated.iter().flatten());
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Versions of TensorFlow differ by about half a millionth of the picture.
    assert!(difference < 5e-7, "{difference}");
}
