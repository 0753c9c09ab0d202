//! The golden network of `tests/golden/quantise`, calibrated without ONNX Runtime: a plain loop stands in for it.

use prost::Message;
use serde_json::Value;

use super::calibrate::{calibrate, CalibrationPictures, Observation, Watched};
use super::encode::{encode, Encoded};
use super::graph::{int_attribute, FloatTensor, Graph};
use super::insert::insert;
use super::keep::kept_nodes;
use super::plan::{plan, Plan, Wishes};
use super::prepare::prepare;
use super::weights::quantise_bias;
use super::*;
use crate::model::onnx::builder::{int, ints};
use crate::model::onnx::proto::{
    element_type, AttributeProto, DimensionProto, GraphProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::runtime::{Model, RunError};
use crate::tensor::{TensorData, TensorView};
use std::collections::BTreeMap;

const G3: &[u8] = include_bytes!("../../tests/golden/quantise/g3.onnx");

fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/quantise/g3.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_f64().unwrap())
        .collect()
}

struct Pictures(Vec<Vec<f32>>);

impl Pictures {
    fn golden() -> Self {
        let pictures = golden()["x"].as_array().unwrap().clone();
        Self(
            pictures
                .iter()
                .map(|one| floats(one).iter().map(|value| *value as f32).collect())
                .collect(),
        )
    }
}

impl CalibrationPictures for Pictures {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn tensor(&mut self, index: usize) -> Result<TensorView<'_>, QuantiseError> {
        Ok(TensorView {
            shape: &[1, 3, 8, 8],
            data: TensorData::F32(&self.0[index]),
        })
    }
    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }
}

/// `[1, channels, side, side]` by the definition of a convolution, in f64.
fn convolve(
    x: &FloatTensor,
    w: &FloatTensor,
    b: &[f32],
    stride: usize,
    pad: usize,
    groups: usize,
    clip: bool,
) -> FloatTensor {
    let (side, kernel) = (x.dims[2], w.dims[2]);
    let out = (side + 2 * pad - kernel) / stride + 1;
    let (inputs, outputs) = (w.dims[1], w.dims[0]);
    let mut data = Vec::new();
    for (o, &bias) in b.iter().enumerate().take(outputs) {
        for (y, column) in (0..out).flat_map(|y| (0..out).map(move |column| (y, column))) {
            let mut sum = f64::from(bias);
            for i in 0..inputs {
                let channel = o / (outputs / groups) * inputs + i;
                for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                    let (row, line) = (y * stride + ky, column * stride + kx);
                    if (pad..pad + side).contains(&row) && (pad..pad + side).contains(&line) {
                        let value = x.data[(channel * side + row - pad) * side + line - pad];
                        sum += f64::from(value)
                            * f64::from(w.data[((o * inputs + i) * kernel + ky) * kernel + kx]);
                    }
                }
            }
            data.push(if clip { sum.clamp(0.0, 6.0) } else { sum } as f32);
        }
    }
    FloatTensor {
        dims: vec![1, outputs, out, out],
        data,
    }
}

/// The golden network; gives `a1`, `a2` and `y`.
struct StandIn {
    graph: Graph,
    outputs: Vec<(Vec<i64>, Vec<f32>)>,
}

impl Model for StandIn {
    fn run(&mut self, input: TensorView<'_>) -> Result<(), RunError> {
        let TensorData::F32(data) = input.data else {
            panic!("floats")
        };
        let constant = |name: &str| self.graph.floats(name).unwrap().unwrap();
        let x = FloatTensor {
            dims: vec![1, 3, 8, 8],
            data: data.to_vec(),
        };
        let a1 = convolve(&x, &constant("w1"), &constant("b1").data, 2, 1, 1, true);
        let a2 = convolve(&a1, &constant("w2"), &constant("b2").data, 1, 1, 4, true);
        let y = convolve(&a2, &constant("w3"), &constant("b3").data, 1, 0, 1, false);
        self.outputs = [a1, a2, y]
            .into_iter()
            .map(|own| {
                let shape = own.dims.iter().map(|&one| i64::try_from(one).unwrap());
                (shape.collect(), own.data)
            })
            .collect();
        Ok(())
    }
    fn output(&self, index: usize) -> Result<TensorView<'_>, RunError> {
        let (shape, data) = &self.outputs[index];
        Ok(TensorView {
            shape,
            data: TensorData::F32(data),
        })
    }
    fn output_count(&self) -> usize {
        self.outputs.len()
    }
}

fn int8_recipe() -> Recipe {
    Recipe::of(Preset::Ort)
}

fn calibrated(recipe: &Recipe) -> (Graph, Plan, BTreeMap<String, Observation>, Encoded) {
    let mut graph = load(G3).unwrap();
    let mut model = StandIn {
        graph: graph.clone(),
        outputs: Vec::new(),
    };
    prepare(&mut graph).unwrap();
    let wishes = Wishes {
        first: recipe.first_layers,
        ..Wishes::default()
    };
    let plan = plan(&graph, &wishes).unwrap();
    let watched = Watched::of(&plan, &graph.inputs());
    assert_eq!(watched.inner, ["a1", "a2", "y"]);
    let mut done = Vec::new();
    let observations = calibrate(
        &mut model,
        &watched,
        &mut Pictures::golden(),
        &mut |count| done.push(count),
    )
    .unwrap();
    assert_eq!(done, [1, 2, 3, 4, 5, 6, 7, 8]);
    let encoded = encode(&graph, &plan, &observations, recipe, None).unwrap();
    (graph, plan, observations, encoded)
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance * expected.abs().max(1e-12)
}

#[test]
fn scales_and_zero_points_of_the_golden_network_are_the_expected_ones() {
    for (key, method) in [
        ("minmax", RangeMethod::Minmax),
        ("pct:99.9", RangeMethod::Percentile(99.9)),
        ("mse", RangeMethod::Mse),
        ("tfe", RangeMethod::TfEnhanced),
    ] {
        let recipe = Recipe {
            ranges: method,
            ..int8_recipe()
        };
        let (_, plan, observations, encoded) = calibrated(&recipe);
        for tensor in ["x", "a1", "a2", "y"] {
            let expected = &golden()["tensors"][tensor];
            let encoding = encoded.encodings[plan.group_of[tensor]];
            assert!(
                near(
                    f64::from(encoding.scale),
                    expected[key]["scale"].as_f64().unwrap(),
                    2e-6
                ),
                "{tensor} {key}"
            );
            assert_eq!(
                u64::from(encoding.zero_point),
                expected[key]["zp"].as_u64().unwrap(),
                "{tensor} {key}"
            );
            let means = observations[tensor].extent.channel_means();
            let expected = floats(&expected["channel_mean"]);
            assert!(
                means.iter().zip(expected).all(|(a, b)| near(*a, b, 1e-5)),
                "{tensor}"
            );
        }
    }
}

#[test]
fn weights_biases_and_the_guard_of_the_golden_network_are_the_expected_ones() {
    let (_, plan, _, encoded) = calibrated(&int8_recipe());
    for (layer, (constants, name)) in encoded.layers.iter().zip(["w1", "w2", "w3"]).enumerate() {
        let expected = &golden()["weights"][name];
        let scales = floats(&expected["scale_after_guard"]);
        assert!(
            constants
                .weights
                .scales
                .iter()
                .zip(scales)
                .all(|(a, b)| near(f64::from(*a), b, 3e-7)),
            "{name}"
        );
        assert_eq!(
            constants.weights.guarded as u64,
            expected["guarded"].as_u64().unwrap(),
            "{name}"
        );
        let row = floats(&expected["q_first_row"]);
        assert!(
            constants
                .weights
                .levels
                .iter()
                .zip(row)
                .all(|(a, b)| f64::from(*a) == b),
            "{name}"
        );
        let (bias, _) = quantise_bias(&constants.bias, constants.input_scale, &constants.weights);
        let expected = floats(&expected["bias_i32"]);
        assert!(
            bias.iter()
                .zip(&expected)
                .all(|(a, b)| (f64::from(*a) - b).abs() <= 1.0),
            "{name} {bias:?}"
        );
        assert_eq!(plan.layers[layer].name, ["conv1", "dw2", "conv3"][layer]);
    }
}

#[test]
fn the_bias_correction_of_the_golden_network_is_the_expected_one() {
    let (_, _, _, plain) = calibrated(&int8_recipe());
    let (_, _, _, corrected) = calibrated(&Recipe {
        bias_correction: true,
        ..int8_recipe()
    });
    for (layer, name) in ["c1", "c2", "y"].into_iter().enumerate() {
        let expected = floats(&golden()["analytic_bias_correction"][name]);
        let both = corrected.layers[layer]
            .bias
            .iter()
            .zip(&plain.layers[layer].bias);
        for ((with, without), expected) in both.zip(expected) {
            // The stand-in sums in f64 and the golden run summed in f32.
            assert!(
                (with - without - expected).abs() < 2e-6,
                "{name}: {} {expected}",
                with - without
            );
        }
    }
}

#[test]
fn the_same_settings_give_the_same_bytes_and_nothing_quantised_gives_the_prepared_network() {
    let file = || {
        let (graph, plan, _, encoded) = calibrated(&int8_recipe());
        insert(graph, &plan, &encoded, &int8_recipe(), None)
            .into_model()
            .encode_to_vec()
    };
    assert_eq!(file(), file());
    let mut graph = load(G3).unwrap();
    prepare(&mut graph).unwrap();
    let before = graph.clone().into_model();
    let none = Encoded {
        encodings: vec![],
        layers: vec![],
        tensor_reports: vec![],
        layer_reports: vec![],
    };
    let after = insert(graph, &Plan::default(), &none, &int8_recipe(), None).into_model();
    assert_eq!(before, after);
}

#[test]
fn a_layer_in_float_reads_a_scale_for_each_channel_and_no_activation_stands_before_a_pair() {
    let (graph, _, observations, _) = calibrated(&int8_recipe());
    let keep = [("dw2".to_owned(), "asked".to_owned())].into();
    let plan = plan(
        &graph,
        &Wishes {
            keep,
            first: FirstLayers::Int8,
        },
    )
    .unwrap();
    assert_eq!(plan.layers.len(), 2);
    assert_eq!(
        (plan.kept[0].name.as_str(), plan.kept[0].reason.as_str()),
        ("dw2", "asked")
    );
    let encoded = encode(&graph, &plan, &observations, &int8_recipe(), None).unwrap();
    let model = insert(graph, &plan, &encoded, &int8_recipe(), None).into_model();
    let nodes = &model.graph.as_ref().unwrap().node;
    let float = nodes.iter().find(|node| node.name == "dw2").unwrap();
    let guard = nodes
        .iter()
        .find(|node| node.output[0] == float.input[0])
        .unwrap();
    assert_eq!(
        (guard.op_type.as_str(), int_attribute(guard, "axis", -7)),
        ("DequantizeLinear", 1)
    );
    let constants = &model.graph.as_ref().unwrap().initializer;
    let scale = constants
        .iter()
        .find(|one| one.name == guard.input[1])
        .unwrap();
    assert_eq!(scale.dims, [4]);
    // The clip behind the integer layer is gone, the one behind the float layer is not.
    let clips: Vec<&str> = nodes
        .iter()
        .filter(|node| node.op_type == "Clip")
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(clips, ["clip2"]);
}

#[test]
fn nan_in_an_inner_tensor_names_the_tensor_and_the_picture() {
    let graph = load(G3).unwrap();
    let mut model = StandIn {
        graph: graph.clone(),
        outputs: Vec::new(),
    };
    let mut pictures = Pictures::golden();
    pictures.0[2][5] = f32::NAN;
    let watched = Watched {
        inner: vec!["a1".to_owned()],
        input: Some("x".to_owned()),
    };
    let error = calibrate(&mut model, &watched, &mut pictures, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`x` holds NaN or infinity on the picture picture 2"),
        "{error}"
    );
    let none = calibrate(&mut model, &watched, &mut Pictures(vec![]), &mut |_| {});
    assert!(matches!(none, Err(QuantiseError::NoPictures)));
}

#[test]
fn names_of_layers_are_found_whole_by_pattern_and_by_their_end() {
    let mut graph = load(G3).unwrap();
    let preparation = prepare(&mut graph).unwrap();
    let find = |pattern: &str| kept_nodes(&graph, &preparation, &[pattern.to_owned()]);
    assert_eq!(find("conv?").unwrap().len(), 2);
    assert_eq!(find("dw2").unwrap().len(), 1);
    let error = find("dw3").unwrap_err().to_string();
    assert!(
        error.contains("--keep-fp32 dw3") && error.contains("did you mean dw2?"),
        "{error}"
    );
}

/// A model with one f32 input `x` of these axes and one output `y`; a negative length is a dynamic axis.
fn model(
    nodes: Vec<NodeProto>,
    constants: Vec<(&str, Vec<i64>, Vec<f32>)>,
    axes: &[i64],
) -> ModelProto {
    let value = |name: &str, axes: &[i64]| ValueInfoProto {
        name: name.to_owned(),
        value_type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: element_type::FLOAT,
                shape: Some(TensorShapeProto {
                    dim: axes
                        .iter()
                        .map(|&axis| DimensionProto {
                            value: Some(if axis < 0 {
                                DimensionValue::Symbol("n".to_owned())
                            } else {
                                DimensionValue::Length(axis)
                            }),
                            ..DimensionProto::default()
                        })
                        .collect(),
                }),
            }),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(GraphProto {
            node: nodes,
            initializer: constants
                .into_iter()
                .map(|(name, dims, data)| TensorProto {
                    name: name.to_owned(),
                    dims,
                    data_type: element_type::FLOAT,
                    float_data: data,
                    ..TensorProto::default()
                })
                .collect(),
            input: vec![value("x", axes)],
            output: vec![value("y", &[])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn node(
    op: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: name.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

fn refused(model: &ModelProto) -> String {
    load(&model.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn models_that_cannot_be_quantised_are_refused_with_what_would_help() {
    let conv = || node("Conv", "c", &["x", "w"], "y", vec![]);
    let weights = || vec![("w", vec![1, 3, 1, 1], vec![1.0, 2.0, 3.0])];
    let plain = model(vec![conv()], weights(), &[-1, 3, 8, 8]);
    assert!(
        load(&plain.encode_to_vec()).is_ok(),
        "an open batch is no obstacle"
    );
    let wide = refused(&model(vec![conv()], weights(), &[1, 3, -1, 8]));
    assert!(
        wide.contains("axis 2 of the input `x` is dynamic"),
        "{wide}"
    );
    let mut old = plain.clone();
    old.opset_import[0].version = 11;
    assert!(
        refused(&old).contains("operator set 11"),
        "{}",
        refused(&old)
    );
    let quantised = model(
        vec![node("QuantizeLinear", "q", &["x"], "y", vec![])],
        vec![],
        &[1, 3, 8, 8],
    );
    assert!(
        refused(&quantised).contains("quantised already: it has 1 QuantizeLinear"),
        "{}",
        refused(&quantised)
    );
    let mut unknown = plain.encode_to_vec();
    unknown.extend([0x98, 0x06, 1]);
    let unknown = load(&unknown).unwrap_err().to_string();
    assert!(unknown.contains("field 99 of ModelProto"), "{unknown}");
    let no_conv = model(
        vec![node("Relu", "r", &["x"], "y", vec![])],
        vec![],
        &[1, 3, 8, 8],
    );
    let graph = load(&no_conv.encode_to_vec()).unwrap();
    assert!(matches!(
        plan(&graph, &Wishes::default()),
        Err(QuantiseError::NothingToQuantise)
    ));
}

/// Every rule of the preparation on one small network each; what is folded is held against plain arithmetic.
#[test]
fn each_rule_folds_into_the_weights_and_bias_that_arithmetic_gives() {
    let w = || ("w", vec![2, 1, 1, 1], vec![2.0, 3.0]);
    let b = || ("b", vec![2], vec![1.0, -1.0]);
    let per_channel = |name, values: &[f32]| (name, vec![1, 2, 1, 1], values.to_vec());
    let conv = || node("Conv", "conv", &["x", "w", "b"], "c", vec![]);
    let folded = |nodes: Vec<NodeProto>, more: Vec<(&'static str, Vec<i64>, Vec<f32>)>| {
        let constants = [vec![w(), b()], more].concat();
        let mut graph = load(&model(nodes, constants, &[1, 1, 4, 4]).encode_to_vec()).unwrap();
        let done = prepare(&mut graph).unwrap();
        let conv = graph
            .nodes
            .iter()
            .find(|node| node.op_type == "Conv")
            .unwrap();
        let data = |at: usize| graph.floats(&conv.input[at]).unwrap().unwrap().data;
        (data(1), data(2), graph.nodes.len(), done.survivors)
    };
    let (weights, bias, count, survivors) = folded(
        vec![
            conv(),
            node("Mul", "mul", &["c", "k"], "m", vec![]),
            node("Sub", "sub", &["m", "s"], "y", vec![]),
        ],
        vec![per_channel("k", &[10.0, 100.0]), ("s", vec![], vec![0.5])],
    );
    assert_eq!(
        (weights, bias, count),
        (vec![20.0, 300.0], vec![9.5, -100.5], 1)
    );
    assert_eq!(survivors["sub"], "conv");
    let (weights, bias, count, _) = folded(
        vec![
            conv(),
            node(
                "BatchNormalization",
                "bn",
                &["c", "g", "be", "me", "va"],
                "y",
                vec![crate::model::onnx::builder::float("epsilon", 1.0)],
            ),
        ],
        vec![
            ("g", vec![2], vec![4.0, 6.0]),
            ("be", vec![2], vec![0.5, 0.5]),
            ("me", vec![2], vec![1.0, 0.0]),
            ("va", vec![2], vec![3.0, 8.0]),
        ],
    );
    assert_eq!((weights, bias, count), (vec![4.0, 6.0], vec![0.5, -1.5], 1));
    // A constant behind a sum goes into the convolution before it.
    let (_, bias, count, survivors) = folded(
        vec![
            conv(),
            node("Add", "sum", &["x", "c"], "r", vec![]),
            node("Add", "shift", &["r", "t"], "y", vec![]),
        ],
        vec![per_channel("t", &[5.0, 7.0])],
    );
    assert_eq!((bias, count), (vec![6.0, 6.0], 2));
    assert_eq!(survivors["shift"], "sum");
    // The same tensor twice, a scalar minus the tensor, and a tensor that is an output stay.
    let (_, _, count, _) = folded(
        vec![conv(), node("Add", "twice", &["c", "c"], "y", vec![])],
        vec![],
    );
    assert_eq!(count, 2);
    let (_, _, count, _) = folded(
        vec![conv(), node("Sub", "from", &["s", "c"], "y", vec![])],
        vec![("s", vec![], vec![1.0])],
    );
    assert_eq!(count, 2);
}

#[test]
fn zero_padding_becomes_the_convolutions_own() {
    let mut padded = model(
        vec![
            node("Pad", "pad", &["x", "pads"], "p", vec![]),
            node(
                "Conv",
                "conv",
                &["p", "w"],
                "y",
                vec![ints("pads", &[1, 1, 1, 1])],
            ),
        ],
        vec![("w", vec![1, 1, 3, 3], vec![1.0; 9])],
        &[1, 1, 4, 4],
    );
    padded
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .push(TensorProto {
            name: "pads".to_owned(),
            dims: vec![8],
            data_type: element_type::INT64,
            int64_data: vec![0, 0, 0, 1, 0, 0, 2, 3],
            ..TensorProto::default()
        });
    let mut graph = load(&padded.encode_to_vec()).unwrap();
    prepare(&mut graph).unwrap();
    let conv = &graph.nodes[0];
    assert_eq!((graph.nodes.len(), conv.input[0].as_str()), (1, "x"));
    assert_eq!(
        super::graph::attribute(conv, "pads").unwrap().ints,
        [1, 2, 3, 4]
    );
}

#[test]
fn a_concatenation_inside_the_network_has_one_encoding_and_one_at_the_end_none() {
    let conv = |name: &str, from: &str, to: &str| node("Conv", name, &[from, "w", "b"], to, vec![]);
    let constants = || {
        vec![
            ("w", vec![1, 1, 1, 1], vec![1.0]),
            ("b", vec![1], vec![0.0]),
        ]
    };
    let nodes = vec![
        conv("c1", "x", "t1"),
        conv("c2", "t1", "t2"),
        node("Concat", "cat", &["t1", "t2"], "t3", vec![int("axis", 2)]),
        conv("c3", "t3", "t4"),
        node("Concat", "end", &["t4", "t2"], "y", vec![int("axis", 2)]),
    ];
    let graph = load(&model(nodes, constants(), &[1, 1, 4, 4]).encode_to_vec()).unwrap();
    let plan = plan(&graph, &Wishes::default()).unwrap();
    let group = |tensor: &str| plan.group_of.get(tensor).copied();
    assert_eq!(group("t1"), group("t3"));
    assert_eq!(group("t2"), group("t3"));
    assert_ne!(group("t4"), group("t3"));
    assert_eq!(group("y"), None);
    let sources: Vec<&str> = plan.groups[group("t3").unwrap()]
        .sources
        .iter()
        .map(|one| one.tensor.as_str())
        .collect();
    assert_eq!(sources, ["t1", "t2"], "its values are those of its parts");
}
