use super::*;
use crate::quantise::{Granularity, RangeMethod, SEED};
use crate::tune::criterion::{Judged, Loss};
use crate::tune::exit::MAX_TRIALS;
use crate::tune::space::{NamePattern, NumberType, Scheme};
use crate::units::Latency;

const FULL: &str = include_str!("full.yaml");

fn request(text: &str) -> LpotRequest {
    read(text, "x.yaml").unwrap_or_else(|error| panic!("{error}"))
}

fn error_of(text: &str) -> String {
    read(text, "x.yaml").unwrap_err().to_string()
}

fn notes(text: &str) -> Vec<String> {
    request(text)
        .notes
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_key_of_a_full_file_arrives() {
    let own = request(FULL);
    assert_eq!(own.model_name.as_deref(), Some("ssdlite_mobilenet_v2"));
    let space = &own.space;
    assert_eq!(space.calibration_sizes, [50, 100]);
    assert_eq!(space.first_convolution_float, Some(true));
    assert_eq!(space.first_block_float, Some(true));
    assert_eq!(space.bias_correction, Some(false));
    assert_eq!(space.u8_input, Some(false));
    let weight = &space.model_wise.weight;
    assert_eq!(weight.types, [NumberType::Int8]);
    assert_eq!(weight.schemes, [Scheme::Symmetric]);
    assert_eq!(weight.granularities, [Granularity::PerChannel]);
    assert_eq!(weight.ranges, [RangeMethod::Minmax]);
    assert_eq!(weight.bits, Some(7));
    let activation = &space.model_wise.activation;
    assert_eq!(activation.types, [NumberType::Uint8, NumberType::Fp32]);
    assert_eq!(activation.schemes, []);
    assert_eq!(activation.granularities, [Granularity::PerTensor]);
    assert_eq!(
        activation.ranges,
        [RangeMethod::Mse, RangeMethod::TfEnhanced]
    );
    let [first, boxes] = space.op_wise.as_slice() else {
        panic!("{:?}", space.op_wise);
    };
    let name = "FeatureExtractor/Conv/Conv2D".to_owned();
    assert_eq!(first.pattern, NamePattern::Literal(name));
    assert_eq!(first.wish.activation.types, [NumberType::Fp32]);
    assert_eq!(first.wish.weight.types, [NumberType::Fp32]);
    assert_eq!(boxes.pattern, NamePattern::Regex("Box.*/Conv2D".to_owned()));
    assert_eq!(boxes.wish.activation.ranges, [RangeMethod::Mse]);
    assert_eq!(boxes.wish.weight.granularities, [Granularity::PerTensor]);
    assert_eq!(boxes.wish.weight.bits, Some(6));
    assert_eq!(own.strategy, Strategy::Mse);
    assert_eq!(
        own.criterion,
        Criterion {
            judged: Judged::Agreement,
            loss: Loss::Relative(0.02),
            higher_is_better: true,
            confidence: Some(0.9),
        }
    );
    assert_eq!(own.objective, Objective::Size);
    assert_eq!(
        own.exit,
        ExitPolicy {
            timeout: Some(Latency::from_millis(30_000)),
            max_trials: 20,
            performance_only: false,
        }
    );
    assert_eq!(own.seed, 9527);
    assert_eq!(own.workspace, Some("out/tuning".into()));
    assert_eq!(own.resume, Some("out/history".into()));
    let calibration = own.calibration.unwrap();
    assert_eq!(
        calibration,
        Dataset {
            pictures: "/pictures/coco/train2017".into(),
            annotations: Some("/pictures/coco/annotations/instances_train2017.json".into()),
            line: 19,
        }
    );
    let evaluation = own.evaluation.unwrap();
    assert_eq!(evaluation.pictures, PathBuf::from("/pictures/val"));
    assert_eq!(evaluation.annotations, Some("/pictures/labels.json".into()));
    assert_eq!(
        own.performance,
        Performance {
            warmup: Some(10),
            iterations: Some(100),
            cores_per_instance: Some(4),
            instances: Some(7),
        }
    );
}

#[test]
fn what_means_something_else_or_nothing_is_said_with_its_line() {
    insta::assert_snapshot!(notes(FULL).join("\n"), @r"
    x.yaml:2: `version`: files of LPOT 1.x are read, whatever it says
    x.yaml:5: `model.framework`: nothing to choose: the model is an ONNX file and runs in ONNX Runtime
    x.yaml:6: `model.inputs`: the file that describes the model names its tensors
    x.yaml:7: `model.outputs`: the file that describes the model names its tensors
    x.yaml:12: `quantization.advance.bias_correction`: biases make up for what rounding takes from channel means, where LPOT shifts and stretches the weights
    x.yaml:16: `quantization.calibration.dataloader.last_batch`: pictures run one at a time here
    x.yaml:17: `quantization.calibration.dataloader.batch_size`: pictures run one at a time here
    x.yaml:23: `quantization.calibration.dataloader.dataset.COCORaw.num_cores`: pictures are decoded on all cores
    x.yaml:24: `quantization.calibration.dataloader.filter`: the file that describes the model says how pictures are prepared
    x.yaml:27: `quantization.calibration.dataloader.transform`: the file that describes the model says how pictures are prepared
    x.yaml:31: `quantization.recipes.scale_propagation_concat`: a concatenation inside the network and its parts share one encoding all the same: anything else is slower
    x.yaml:36: `quantization.model_wise.weight.scheme`: `asym` is left out: weights are symmetric: asymmetric ones run slower than floats
    x.yaml:38: `quantization.model_wise.weight.algorithm`: `kl` is left out: weights take their greatest magnitude: other ranges gained nothing for them
    x.yaml:42: `quantization.model_wise.activation.scheme`: `sym` is left out: activations are asymmetric: that costs no time and wastes no level
    x.yaml:43: `quantization.model_wise.activation.dtype`: `int8` is read as the other kind of byte: activations are unsigned bytes with a zero point
    x.yaml:60: `evaluation.accuracy.configs.cores_per_instance`: scoring takes all cores; the keys below `performance` say how speed is measured
    x.yaml:66: `evaluation.accuracy.postprocess.transform`: the file that describes the model says how its outputs are read
    x.yaml:74: `evaluation.performance.configs.inter_num_of_threads`: operators run one after another here
    x.yaml:76: `evaluation.performance.configs.kmp_blocktime`: ONNX Runtime has threads of its own, and no OpenMP
    x.yaml:77: `evaluation.performance.dataloader`: speed is measured on the pictures that are scored
    x.yaml:79: `evaluation.performance.dataloader.dataset.dummy`: no pictures for a detector: those of the command are taken
    x.yaml:83: `tuning.strategy.accuracy_weight`: only LPOT's strategy tpe reads it, which is not offered
    x.yaml:87: `tuning.objective`: the size of the file, which is the part of the memory that tuning changes
    x.yaml:93: `tuning.tensorboard`: no TensorBoard files are written; the history has every trial
    x.yaml:98: `detbench.ranges`: taken in place of quantization.model_wise.activation.algorithm
    x.yaml:99: `detbench.bias_correction`: taken in place of quantization.advance.bias_correction
    ");
}

#[test]
fn an_empty_file_has_lpots_defaults() {
    for text in [
        "",
        "# nothing\n",
        "tuning:\nquantization:\n  calibration:\n",
    ] {
        let own = request(text);
        assert_eq!(own.space.calibration_sizes, [100]);
        assert_eq!(own.space.model_wise, crate::tune::space::OpWish::default());
        assert_eq!(own.strategy, Strategy::Basic);
        assert_eq!(own.criterion, Criterion::default());
        assert_eq!(own.criterion.loss, Loss::Relative(0.01));
        assert_eq!(own.objective, Objective::LatencyP50);
        assert_eq!(own.exit.timeout, Some(Latency::ZERO));
        assert_eq!(own.exit.max_trials, MAX_TRIALS);
        assert_eq!(own.seed, SEED);
        assert_eq!(SEED, 1978);
        assert_eq!(own.notes, []);
    }
}

#[test]
fn lists_come_in_all_of_lpots_forms() {
    for text in [
        "100, 200",
        "'100,200'",
        "[100, 200]",
        "\n      - 100\n      - 200",
    ] {
        let text = format!("quantization:\n  calibration:\n    sampling_size: {text}\n");
        assert_eq!(request(&text).space.calibration_sizes, [100, 200], "{text}");
    }
    let one = "quantization: {calibration: {sampling_size: 8}}";
    assert_eq!(request(one).space.calibration_sizes, [8]);
    for (text, expected) in [
        ("1%", Loss::Relative(0.01)),
        ("'0.5%'", Loss::Relative(0.005)),
        ("0.02", Loss::Relative(0.02)),
        ("-1%", Loss::Relative(-0.01)),
    ] {
        let text = format!("tuning: {{accuracy_criterion: {{relative: {text}}}}}");
        assert_eq!(request(&text).criterion.loss, expected, "{text}");
    }
    let absolute = "tuning: {accuracy_criterion: {absolute: 1}}";
    assert_eq!(request(absolute).criterion.loss, Loss::Absolute(1.0));
}

/// Each with the file that it comes from.
const MISTAKES: [(&str, &str); 33] = [
    ("tunning:\n  x: 1\n", "x.yaml:1: unknown key `tunning`; did you mean `tuning`?"),
    (
        "tuning:\n  accuracy_criterion:\n    relativ: 0.01\n",
        "x.yaml:3: unknown key `tuning.accuracy_criterion.relativ`; did you mean `relative`?",
    ),
    (
        "tuning:\n  workspace:\n    zzz: 1\n",
        "x.yaml:3: unknown key `tuning.workspace.zzz`; known here: path, resume",
    ),
    (
        "quantization:\n  calibration:\n    sampling_size: many\n",
        "x.yaml:3: `quantization.calibration.sampling_size` is `many`, and should be a number of pictures, a list of them, or a text such as 100, 200",
    ),
    (
        "quantization:\n  calibration:\n    sampling_size: [10, 0]\n",
        "x.yaml:3: `quantization.calibration.sampling_size` is the list `[10, 0]`, and should be a number of pictures, a list of them, or a text such as 100, 200",
    ),
    ("- tuning\n", "x.yaml:1: `the file` is the list `[tuning]`, and should be a mapping of the sections version, model, device, quantization, tuning, evaluation, pruning, graph_optimization, detbench"),
    ("tuning: 5\n", "x.yaml:1: `tuning` is `5`, and should be a section of keys"),
    (
        "device: gpu\n",
        "x.yaml:1: `device: gpu` is refused: models run on the CPU here; write `device: cpu` or leave it out",
    ),
    (
        "quantization:\n  approach: quant_aware_training\n",
        "x.yaml:2: `quantization.approach: quant_aware_training` is refused: ranges are taken from calibration pictures and nothing is trained; write `approach: post_training_static_quant`",
    ),
    (
        "quantization:\n  approach: static\n",
        "x.yaml:2: `quantization.approach` is `static`, and should be post_training_static_quant, post_training_dynamic_quant or quant_aware_training",
    ),
    (
        "quantization:\n  train:\n    epoch: 1\n",
        "x.yaml:2: `quantization.train: …` is refused: nothing is trained here; remove the section",
    ),
    (
        "pruning:\n  train: {}\n",
        "x.yaml:1: `pruning: …` is refused: nothing is pruned here; remove the section",
    ),
    (
        "graph_optimization:\n  precisions: bf16\n",
        "x.yaml:1: `graph_optimization: …` is refused: there is no conversion to bf16 here; remove the section",
    ),
    (
        "tuning:\n  strategy:\n    name: bayesian\n",
        "x.yaml:3: `tuning.strategy.name`: the strategy `bayesian` is not offered: its model of the objective needs more trials than this space of settings has worth trying; use `random`",
    ),
    (
        "tuning:\n  strategy:\n    name: basik\n",
        "x.yaml:3: `tuning.strategy.name`: there is no strategy `basik`; known are detbench, basic, mse, random and exhaustive; did you mean `basic`?",
    ),
    (
        "tuning:\n  strategy:\n    accuracy_weight: 1.0\n",
        "x.yaml:2: `tuning.strategy.name` is missing in the section that begins here",
    ),
    (
        "tuning:\n  accuracy_criterion:\n    relative: 0.01\n    absolute: 0.01\n",
        "x.yaml:4: `tuning.accuracy_criterion` has both `relative` and `absolute`: keep one of them",
    ),
    (
        "tuning:\n  accuracy_criterion:\n    relative: 1\n",
        "x.yaml:3: `tuning.accuracy_criterion.relative`: a relative loss of 1 is not above -1 and below 1: 0.01 and 1% stand for one per cent",
    ),
    (
        "tuning:\n  accuracy_criterion:\n    relative: little\n",
        "x.yaml:3: `tuning.accuracy_criterion.relative`: `little` is no loss: give a number such as 0.01, or a percentage such as 1%",
    ),
    (
        "tuning:\n  objective: speed\n",
        "x.yaml:2: `tuning.objective` is `speed`, and should be performance, modelsize or footprint",
    ),
    (
        "tuning:\n  exit_policy:\n    timeout: -1\n",
        "x.yaml:3: `tuning.exit_policy.timeout` is `-1`, and should be a whole number from 0 to 31622400",
    ),
    (
        "tuning:\n  exit_policy:\n    max_trials: 0\n",
        "x.yaml:3: `tuning.exit_policy.max_trials` is `0`, and should be a whole number from 1 to 4294967295",
    ),
    (
        "tuning:\n  exit_policy:\n    performance_only: maybe\n",
        "x.yaml:3: `tuning.exit_policy.performance_only` is `maybe`, and should be true or false",
    ),
    (
        "tuning:\n  random_seed: [1]\n",
        "x.yaml:2: `tuning.random_seed` is the list `[1]`, and should be a whole number from 0 to 4294967295",
    ),
    (
        "quantization:\n  model_wise:\n    activation:\n      dtype: int4\n",
        "x.yaml:4: `quantization.model_wise.activation.dtype` is `int4`, and should be int8, uint8, fp32 or bf16, or several of them",
    ),
    (
        "quantization:\n  model_wise:\n    activation:\n      algorithm: minimax\n",
        "x.yaml:4: `quantization.model_wise.activation.algorithm` is `minimax`, and should be minmax, kl, mse, tf_enhanced or percentile_99.99, or several of them; did you mean `minmax`?",
    ),
    (
        "quantization:\n  model_wise:\n    weight:\n      bit: 8\n",
        "x.yaml:4: `quantization.model_wise.weight.bit` is `8`, and should be one whole number from 1 to 7, the bits of a weight without its sign",
    ),
    (
        "quantization:\n  op_wise:\n    conv1:\n      weights:\n        dtype: fp32\n",
        "x.yaml:4: unknown key `quantization.op_wise.conv1.weights`; did you mean `weight`?",
    ),
    (
        "quantization:\n  op_wise:\n    'conv(':\n      weight: {dtype: fp32}\n",
        "x.yaml:3: `quantization.op_wise.conv(` is no regular expression that can be read: found open group without closing ')'",
    ),
    (
        "evaluation:\n  accuracy:\n    metric:\n      topk: 1\n",
        "x.yaml:4: `evaluation.accuracy.metric.topk: 1` is refused: a detector is scored by COCO's mAP; write `COCOmAP:`",
    ),
    (
        "evaluation:\n  accuracy:\n    dataloader:\n      dataset:\n        COCORaw: {num_cores: 2}\n",
        "x.yaml:5: `evaluation.accuracy.dataloader.dataset.COCORaw.root` is missing in the section that begins here",
    ),
    (
        "detbench:\n  fallback: [first_block, second]\n",
        "x.yaml:2: `detbench.fallback` is the list `[first_block, second]`, and should be first_block, the first convolution and the depthwise one behind it; other layers are kept in float by `quantization.op_wise`",
    ),
    (
        "detbench:\n  confidence: 90\n",
        "x.yaml:2: `detbench.confidence`: a confidence of 90 is not between 0 and 1: 0.9 asks to be right nine times in ten",
    ),
];

#[test]
fn each_mistake_has_its_sentence_with_line_and_remedy() {
    for (text, expected) in MISTAKES {
        assert_eq!(error_of(text), expected, "{text}");
    }
}

#[test]
fn a_key_is_a_name_or_a_regular_expression_by_lpots_rule() {
    for (key, is_name) in [
        ("conv1", true),
        (".a/b-c_d.1", true),
        ("_conv", false),
        ("/conv", false),
        ("conv.*", false),
        ("a:0", false),
        ("conv 1", false),
        ("é", false),
    ] {
        let text = format!("quantization:\n  op_wise:\n    '{key}': {{weight: {{dtype: fp32}}}}\n");
        let own = request(&text);
        let pattern = &own.space.op_wise[0].pattern;
        assert_eq!(matches!(pattern, NamePattern::Literal(_)), is_name, "{key}");
    }
}

#[test]
fn a_list_of_which_nothing_can_be_had_leaves_the_choice_open() {
    let text = "quantization:\n  model_wise:\n    weight: {scheme: asym, algorithm: kl}\n    activation: {dtype: bf16}\n";
    let own = request(text);
    assert_eq!(own.space.model_wise, crate::tune::space::OpWish::default());
    assert_eq!(own.notes.len(), 3);
    assert!(own.notes[0]
        .to_string()
        .starts_with("x.yaml:3: `quantization.model_wise.weight.scheme`: `asym` is left out"));
}

#[test]
fn aliases_serve_as_they_do_in_lpots_own_files() {
    let text = "quantization:\n  op_wise:\n    a: &float\n      activation: {dtype: fp32}\n    b: *float\n    c:\n      <<: *float\n      weight: {granularity: per_tensor}\n";
    let own = request(text);
    for named in &own.space.op_wise {
        assert_eq!(
            named.wish.activation.types,
            [NumberType::Fp32],
            "{}",
            named.written
        );
    }
    assert_eq!(
        own.space.op_wise[2].wish.weight.granularities,
        [Granularity::PerTensor]
    );
}

#[test]
fn the_metric_is_cocos_and_another_one_is_said() {
    let metric = |text: &str| {
        notes(&format!(
            "evaluation:\n  accuracy:\n    metric:\n      {text}\n"
        ))
    };
    assert_eq!(metric("COCOmAP: {}"), [""; 0]);
    assert_eq!(
        metric("mAP: {iou_thrs: '0.5:0.05:0.95', map_points: 101}"),
        [""; 0]
    );
    for other in [
        "mAP: {}",
        "mAP: {iou_thrs: 0.5}",
        "COCOmAP: {map_points: 11}",
    ] {
        let found = metric(other);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("COCO's mAP is taken"), "{found:?}");
    }
    assert!(
        error_of("evaluation: {accuracy: {metric: {mAP: {iou_thrs: 2}}}}")
            .contains("a number from 0 to 1")
    );
}
