//! Why a TensorFlow.js model could not be imported.

use std::path::PathBuf;

/// One reason, with the file or the node that it is about.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No `model.json` where it was looked for.
    #[error("{} is not a TensorFlow.js model: it has no model.json; pass the directory that holds model.json and its weight files", path.display())]
    NoModelJson {
        /// The directory.
        path: PathBuf,
    },
    /// A file that the system does not let us read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `model.json` is not JSON, or not of the expected form.
    #[error("{} is not a TensorFlow.js graph model: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A Keras model in TensorFlow.js clothes.
    #[error("{} is a TensorFlow.js layers model; only graph models (modelTopology.node) can be imported", path.display())]
    LayersModel {
        /// The file.
        path: PathBuf,
    },
    /// A shard's path points out of the model's directory.
    #[error("{} names the weight file `{shard}`, which lies outside the model's directory", path.display())]
    ShardOutside {
        /// `model.json`.
        path: PathBuf,
        /// The path as written.
        shard: String,
    },
    /// The weight files hold more or less than `model.json` says.
    #[error("the weight files of {} hold {found} bytes, but its weightsManifest describes {expected}; fetch them again", path.display())]
    ShardSizes {
        /// `model.json`.
        path: PathBuf,
        /// Bytes described.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A weight of an element type that this importer does not know.
    #[error("weight `{weight}` has the type `{dtype}`; known are float32, int32, bool, and float32 or int32 stored as uint8, uint16 or float16")]
    WeightType {
        /// The weight.
        weight: String,
        /// Its type (or its stored type).
        dtype: String,
    },
    /// A weight whose shape is negative or absurd.
    #[error("weight `{weight}` has an impossible shape {shape:?}")]
    WeightShape {
        /// The weight.
        weight: String,
        /// As written.
        shape: Vec<i64>,
    },
    /// A stored type that needs a number which is not there.
    #[error("weight `{weight}` is quantised, but its `quantization` has no `{key}`")]
    WeightQuantization {
        /// The weight.
        weight: String,
        /// What is missing.
        key: &'static str,
    },
    /// A constant without a weight.
    #[error("constant `{node}` has no entry in the weightsManifest")]
    WeightMissing {
        /// The node.
        node: String,
    },
    /// Two nodes of one name.
    #[error("two nodes are called `{node}`")]
    DuplicateNode {
        /// The name.
        node: String,
    },
    /// An input that names nothing.
    #[error("node `{node}` reads `{input}`, which is no node of the graph")]
    DanglingInput {
        /// The reader.
        node: String,
        /// What it names.
        input: String,
    },
    /// Nodes that wait for each other.
    #[error("node `{node}` depends on itself; only the preprocessing loop in front of the network may be a loop")]
    Cycle {
        /// One of them.
        node: String,
    },
    /// An operator that is not in the table.
    #[error("operator `{op}` (node `{node}`) cannot be converted to ONNX yet")]
    UnknownOperator {
        /// The TensorFlow operator.
        op: String,
        /// The node.
        node: String,
    },
    /// A known operator used in a way that is not understood.
    #[error("operator `{op}` (node `{node}`) cannot be converted: {reason}")]
    Unsupported {
        /// The TensorFlow operator.
        op: String,
        /// The node.
        node: String,
        /// What is not understood.
        reason: Reason,
    },
    /// A head of the detector that was not found.
    #[error("found no {head} head: looked for {looked_for}")]
    HeadNotFound {
        /// `box` or `score`.
        head: &'static str,
        /// The pattern.
        looked_for: &'static str,
    },
    /// Several tensors could be the head.
    #[error("found several {head} heads ({}); cannot tell which one is meant", nodes.join(", "))]
    HeadAmbiguous {
        /// `box` or `score`.
        head: &'static str,
        /// The candidates' nodes.
        nodes: Vec<String>,
    },
    /// A head that is no list of rows.
    #[error("the {head} head is {found}, but [batch,N,4] for the boxes and [batch,N,classes] for the scores were expected, N the same")]
    HeadShape {
        /// `box` or `score`.
        head: &'static str,
        /// Its shape.
        found: String,
    },
    /// Boxes and scores are the same tensor.
    #[error("both heads are the node `{node}`")]
    HeadsAreOne {
        /// The node.
        node: String,
    },
    /// The heads do not depend on a picture.
    #[error("the heads do not depend on a picture input (a Placeholder or a resize loop that ends in [height,width,3])")]
    NoInput,
}

/// What about an operator is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// An attribute is absent or of another type.
    #[error("its attribute `{key}` should be {expected}")]
    Attribute {
        /// The attribute.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// Too few inputs.
    #[error("it has no input number {index}")]
    MissingInput {
        /// From zero.
        index: usize,
    },
    /// An input that must be known at import time.
    #[error("its input number {index} should be {expected}")]
    Input {
        /// From zero.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Shapes that do not fit each other.
    #[error("its shapes do not fit: {found}")]
    Shape {
        /// The shapes.
        found: String,
    },
    /// A second output that someone reads.
    #[error("its output number {index} is read, but only the first is converted")]
    Output {
        /// From zero.
        index: usize,
    },
    /// A variant of the operator.
    #[error("{what} is not supported")]
    Variant {
        /// The variant.
        what: &'static str,
    },
    /// Only where the size of the picture is not fixed.
    #[error("the picture's size is not fixed in the graph")]
    PictureSize,
}
