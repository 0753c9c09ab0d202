use prost::Message;

use super::*;
use crate::model::description::{Outputs, Precision};
use crate::model::onnx::builder::{Axis, GraphBuilder};
use crate::model::onnx::proto::{element_type, ModelProto, NodeProto};

/// A graph with the tensors of the SSD-MobileNet family and one convolution.
fn family_member(anchors: usize, element: i32, quantized: bool) -> ModelProto {
    const NAMES: [&str; 3] = ["image", "raw_boxes", "raw_scores"];
    let mut builder = GraphBuilder::new("test", &NAMES);
    let fixed = |lengths: &[usize]| -> Vec<Axis> {
        lengths.iter().map(|&length| Axis::Fixed(length)).collect()
    };
    builder.input("image", &fixed(&[1, 300, 300, 3]));
    let boxes = builder.node("Conv", "conv", &["x", "w"], Vec::new());
    builder.output(&boxes, "raw_boxes", &fixed(&[1, anchors, 4]));
    let scores = builder.node("Identity", "scores", &["raw_boxes"], Vec::new());
    builder.output(&scores, "raw_scores", &fixed(&[1, anchors, 91]));
    let mut model = ModelProto::decode(&builder.encode()[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    if element == element_type::UINT8 {
        let input = &mut graph.input[0];
        "normalized_input_image_tensor".clone_into(&mut input.name);
        let tensor = input.value_type.as_mut().unwrap().tensor_type.as_mut();
        tensor.unwrap().elem_type = element;
    }
    if quantized {
        for name in ["x", "w"] {
            graph.node.push(NodeProto {
                op_type: "DequantizeLinear".to_owned(),
                output: vec![name.to_owned()],
                ..NodeProto::default()
            });
        }
    }
    model
}

fn write(path: &Path, model: &ModelProto) {
    std::fs::write(path, model.encode_to_vec()).unwrap();
}

fn resolve_path(path: &Path) -> Result<Resolved, ResolveError> {
    resolve(ModelRequest {
        model: path.to_str(),
        ..ModelRequest::default()
    })
}

#[test]
fn nothing_named_means_the_default_model() {
    let resolved = resolve(ModelRequest::default()).unwrap();
    assert_eq!(resolved.onnx, OnnxSource::DefaultTfjs);
    assert_eq!(resolved.source, How::Named);
    assert_eq!(resolved.description.name, known::DEFAULT);
}

#[test]
fn a_wrong_name_is_answered_with_the_nearest_and_all_names() {
    for (request, flag) in [
        (
            ModelRequest {
                model: Some("ssd-mobilnet-v1"),
                ..ModelRequest::default()
            },
            "--model ",
        ),
        (
            ModelRequest {
                config: Some("ssd-mobilnet-v1"),
                ..ModelRequest::default()
            },
            "--model-config ",
        ),
    ] {
        let error = resolve(request).unwrap_err().to_string();
        assert!(error.starts_with(flag), "{error}");
        assert!(
            error.contains("did you mean `ssd-mobilenet-v1`?"),
            "{error}"
        );
        assert!(error.contains("ssdlite-mobilenet-v2-int8"), "{error}");
    }
}

#[test]
fn a_named_model_is_looked_for_in_the_given_folders() {
    let dir = tempfile::tempdir().unwrap();
    let search = [dir.path().to_owned()];
    let request = ModelRequest {
        model: Some("ssd-mobilenet-v1"),
        config: None,
        search: &search,
    };
    let missing = resolve(request).unwrap_err().to_string();
    assert!(
        missing.contains("ssd_mobilenet_v1_coco_fp32_dequantized.onnx"),
        "{missing}"
    );
    let path = dir
        .path()
        .join("ssd_mobilenet_v1_coco_fp32_dequantized.onnx");
    write(&path, &family_member(1917, element_type::UINT8, false));
    let resolved = resolve(request).unwrap();
    assert_eq!(resolved.onnx, OnnxSource::File(path));
    // It has the name but not the contents.
    assert!(
        resolved.notes[0].contains("is not one that"),
        "{:?}",
        resolved.notes
    );
}

#[test]
fn a_file_is_described_by_its_neighbour_before_its_name_and_its_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.onnx");
    write(&path, &family_member(1917, element_type::UINT8, false));
    let by_tensors = resolve_path(&path).unwrap();
    assert_eq!(by_tensors.source, How::Tensors);
    assert_eq!(by_tensors.description.name, "own");
    assert!(by_tensors
        .notes
        .iter()
        .any(|note| note.contains("agree in everything")));

    let known_name = dir.path().join("ssd_mobilenet_v2_coco_int8_qdq_ort.onnx");
    write(&known_name, &family_member(1917, element_type::UINT8, true));
    let by_name = resolve_path(&known_name).unwrap();
    assert_eq!(by_name.source, How::FileName);
    assert_eq!(by_name.description.name, "ssd-mobilenet-v2-int8");

    let mut own = known::find("ssd-mobilenet-v1").unwrap();
    "mine".clone_into(&mut own.name);
    let beside = dir.path().join("own.toml");
    std::fs::write(&beside, own.to_toml()).unwrap();
    let resolved = resolve_path(&path).unwrap();
    assert_eq!(resolved.source, How::Beside(beside));
    assert_eq!(resolved.description, own);
}

#[test]
fn int8_is_what_the_graph_computes_and_not_what_a_label_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ssd_mobilenet_v1_coco_int8_qdq_ort.onnx");
    write(&path, &family_member(1917, element_type::UINT8, false));
    let resolved = resolve_path(&path).unwrap();
    assert_eq!(resolved.description.precision, Precision::Fp32);
    assert!(
        resolved.notes[0].contains("0 of the graph's 1 convolutions"),
        "{:?}",
        resolved.notes
    );
    // Weights alone in int8 leave the arithmetic in floats.
    let mut model = family_member(1917, element_type::UINT8, true);
    model
        .graph
        .as_mut()
        .unwrap()
        .node
        .retain(|node| node.output != ["x"]);
    assert!(!facts(&model).integer_layers.any());
}

#[test]
fn known_models_that_differ_are_not_chosen_between() {
    let first = known::find("ssd-mobilenet-v1").unwrap();
    let mut other = first.clone();
    "other".clone_into(&mut other.name);
    let Outputs::RawHeads(raw) = &mut other.outputs else {
        panic!("an SSD has raw heads");
    };
    raw.nms.iou_threshold = 0.5;
    let model = family_member(1917, element_type::UINT8, false);
    let graph = GraphOnDisk {
        sha256: String::new(),
        facts: facts(&model),
        constants: FourColumns::new(),
    };
    let mut notes = Vec::new();
    let known = [first, other];
    let error = describe(Path::new("own.onnx"), &graph, &known, &mut notes).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ssd-mobilenet-v1, other") && text.contains("--model-config"),
        "{text}"
    );
}

#[test]
fn a_graph_that_is_not_what_the_model_file_says_is_refused_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.onnx");
    write(&path, &family_member(100, element_type::FLOAT, false));
    let undescribed = resolve_path(&path).unwrap_err().to_string();
    assert!(
        undescribed.contains("raw_boxes f32[1,100,4]"),
        "{undescribed}"
    );
    let with = |config| {
        let request = ModelRequest {
            model: path.to_str(),
            config: Some(config),
            search: &[],
        };
        resolve(request).unwrap_err().to_string()
    };
    let boxes = with("ssdlite-mobilenet-v2");
    assert!(
        boxes.contains("output is raw_boxes f32[1,100,4], but the model file `ssdlite-mobilenet-v2` expects f32[batch,1917,4]"),
        "{boxes}"
    );
    let input = with("ssd-mobilenet-v1");
    assert!(
        input.contains("no input `normalized_input_image_tensor` (it has image f32[1,300,300,3])"),
        "{input}"
    );
}

#[test]
fn a_missing_empty_or_damaged_file_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.onnx");
    let error = || resolve_path(&path).unwrap_err().to_string();
    assert!(error().contains("cannot be read"), "{}", error());
    std::fs::write(&path, []).unwrap();
    assert!(error().contains("is empty"), "{}", error());
    std::fs::write(&path, "<html>not found</html>").unwrap();
    assert!(
        error().contains("is not an ONNX model or is damaged"),
        "{}",
        error()
    );
    let tflite = resolve_path(Path::new("a/b.tflite"))
        .unwrap_err()
        .to_string();
    assert!(tflite.contains("is not an ONNX file"), "{tflite}");
}

#[test]
fn no_damaged_graph_makes_the_reader_panic() {
    let bytes = family_member(1917, element_type::UINT8, true).encode_to_vec();
    let read = |bytes: &[u8]| decode(bytes, Path::new("x")).map(|model| facts(&model));
    for length in 0..bytes.len() {
        let _ = read(&bytes[..length]);
    }
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let _ = read(&damaged);
        }
    }
}

#[test]
fn the_published_files_are_known_by_hash_and_are_what_they_say() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
        return;
    };
    let folder = Path::new(&data).join("models");
    for (file, name, convolutions) in [
        (
            "ssdlite_mobilenet_v2_coco_fp32.onnx",
            "ssdlite-mobilenet-v2",
            (0, 88),
        ),
        (
            "ssdlite_mobilenet_v2_coco_int8_qdq.onnx",
            "ssdlite-mobilenet-v2-int8",
            (88, 88),
        ),
        (
            "ssd_mobilenet_v1_coco_fp32_dequantized.onnx",
            "ssd-mobilenet-v1",
            (0, 47),
        ),
        (
            "ssd_mobilenet_v1_coco_int8_qdq_ort.onnx",
            "ssd-mobilenet-v1-int8",
            (47, 47),
        ),
        (
            "ssd_mobilenet_v1_coco_quant_qdq_from_tflite.onnx",
            "ssd-mobilenet-v1-int8-tflite",
            (47, 47),
        ),
        (
            "ssd_mobilenet_v2_coco_int8_qdq_ort.onnx",
            "ssd-mobilenet-v2-int8",
            (72, 72),
        ),
        (
            "ssd_mobilenet_v2_coco_quant_qdq_from_tflite.onnx",
            "ssd-mobilenet-v2-int8-tflite",
            (72, 72),
        ),
    ] {
        let resolved = resolve_path(&folder.join(file)).unwrap();
        assert_eq!(resolved.source, How::Hash, "{file}");
        assert_eq!(resolved.description.name, name);
        assert_eq!(resolved.notes, Vec::<String>::new(), "{file}");
        let layers = resolved.graph.unwrap().facts.integer_layers;
        assert_eq!(
            (layers.convolutions_quantized, layers.convolutions),
            convolutions,
            "{file}"
        );
    }
}
