//! A network under construction: layers with drawn weights, and what they cost.
//!
//! Each layer's weights are drawn so that what comes out has the spread that batch normalisation
//! gives a trained layer, whatever comes in: [`Feature`] carries the mean and variance that are to be expected.
//! The batch normalisation of the published plans is therefore folded into the convolutions, as
//! it is in the frozen graphs that people measure.
//!
//! Filters sum to zero. What all positions have in common is thereby taken out again in
//! every layer, as batch normalisation does it; without that a deep network of random weights gives the same
//! scores at every position of every picture.

use std::collections::BTreeMap;

use super::draws::Draws;
use crate::model::onnx::builder::{int, ints, text, Axis, GraphBuilder};

/// The share of a layer's variance that is its biases': what the picture does not decide.
const BIAS_SHARE: f64 = 0.05;

/// Name of the batch axis.
const BATCH: &str = "batch";

/// A feature map: the tensor, its shape for one picture, and what its values are expected to be.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Name of the tensor `[batch, channels, side, side]`.
    pub tensor: String,
    /// Its channels.
    pub channels: usize,
    /// Its height, and its width.
    pub side: usize,
    /// Mean of its values.
    pub mean: f64,
    /// Variance of its values around that mean.
    pub variance: f64,
}

impl Feature {
    const fn elements(&self) -> u64 {
        (self.channels * self.side * self.side) as u64
    }

    /// What is to be expected of its values behind an activation, if they are centred.
    fn expected_after(self, then: Activation, maker: Maker) -> Self {
        let (mean, variance) = then.left_of(maker);
        if then == Activation::Linear {
            return self;
        }
        Self {
            mean: mean * self.variance.sqrt(),
            variance: variance * self.variance,
            ..self
        }
    }
}

/// What surrounds a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As much as makes the output `ceil(side / stride)` long, the odd one at the end: TensorFlow's `SAME`.
    Same,
    /// So much on every side: PyTorch's.
    Each(usize),
}

/// A window that slides over a feature map.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its height, and its width.
    pub size: usize,
    /// How far it moves.
    pub stride: usize,
    /// How far its taps are apart.
    pub dilation: usize,
    /// What surrounds the map.
    pub padding: Padding,
}

impl Window {
    /// Moves by one and keeps the map's size.
    pub const fn same(size: usize) -> Self {
        Self {
            size,
            stride: 1,
            dilation: 1,
            padding: Padding::Same,
        }
    }

    /// The same, moving by `stride`.
    #[must_use]
    pub const fn by(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with this padding.
    #[must_use]
    pub const fn padded(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// The padding before and after a map of `side`, and the side that comes out.
    const fn fit(&self, side: usize) -> (usize, usize, usize) {
        let reach = (self.size - 1) * self.dilation + 1;
        match self.padding {
            Padding::Same => {
                let out = side.div_ceil(self.stride);
                let total = ((out - 1) * self.stride + reach).saturating_sub(side);
                (total / 2, total - total / 2, out)
            }
            Padding::Each(pad) => (pad, pad, (side + 2 * pad - reach) / self.stride + 1),
        }
    }
}

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// `max(0, x)`.
    Relu,
    /// `min(6, max(0, x))`.
    Relu6,
}

/// Which layer made the values that an activation cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// A sum over many channels: its values are normal.
    Dense,
    /// A depthwise convolution, which adds up few and positive values.
    Depthwise,
}

impl Activation {
    /// The variance that values should have before it.
    ///
    /// `Relu6` cuts at two deviations, so that pictures of much and of little contrast end in similar scores.
    pub const fn variance_before(self) -> f64 {
        match self {
            Self::Linear | Self::Relu => 1.0,
            Self::Relu6 => 9.0,
        }
    }

    /// The variance behind it of values that had [`Self::variance_before`].
    pub const fn variance_after(self) -> f64 {
        self.left_of(Maker::Dense).1 * self.variance_before()
    }

    /// Mean and variance of what is left of centred values of variance 1; for `Relu6` when six are
    /// two deviations.
    const fn left_of(self, maker: Maker) -> (f64, f64) {
        match (self, maker) {
            (Self::Linear, _) => (0.0, 1.0),
            // 1 / sqrt(2 pi) and 1/2 - 1/(2 pi).
            (Self::Relu, _) => (0.398_942, 0.340_845),
            // The same integrals, the normal variable cut at 2.
            (Self::Relu6, Maker::Dense) => (0.390_456, 0.307_806),
            // Measured on pictures in the plans here; its layers differ by a tenth.
            (Self::Relu6, Maker::Depthwise) => (0.345, 0.39),
        }
    }
}

/// What a convolution is to give before its activation.
#[derive(Clone, Copy)]
pub struct Aim<'a> {
    /// Its channels.
    pub channels: usize,
    /// Mean of each channel.
    pub mean: &'a dyn Fn(usize) -> f64,
    /// Variance of all values.
    pub variance: f64,
}

impl Aim<'_> {
    /// What batch normalisation gives before an activation.
    pub const fn before(then: Activation, channels: usize) -> Self {
        Self {
            channels,
            mean: &|_| 0.0,
            variance: then.variance_before(),
        }
    }
}

/// Drawn weights, which several layers may share.
#[derive(Debug, Clone)]
pub struct Filters {
    weights: String,
    biases: String,
    channels_in: usize,
    channels: usize,
    size: usize,
    groups: usize,
    mean: f64,
    variance: f64,
}

impl Filters {
    /// A map such as these filters make, for drawing the next ones; it is in no network.
    pub fn sample(&self, then: Activation) -> Feature {
        let made = Feature {
            tensor: String::new(),
            channels: self.channels,
            side: 1,
            mean: self.mean,
            variance: self.variance,
        };
        made.expected_after(then, self.maker())
    }

    const fn maker(&self) -> Maker {
        match self.groups {
            1 => Maker::Dense,
            _ => Maker::Depthwise,
        }
    }
}

/// What the network costs for one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Weights and biases in the file; shared ones count once.
    pub parameters: u64,
    /// Products that are added up in convolutions.
    pub multiply_adds: u64,
    /// Every other addition, comparison and product.
    pub other: u64,
}

impl Cost {
    /// All operations, a multiply-add counted as two.
    pub const fn operations(&self) -> u64 {
        2 * self.multiply_adds + self.other
    }
}

/// A network under construction.
#[derive(Debug)]
pub struct Network {
    graph: GraphBuilder,
    seed: u64,
    cost: Cost,
    limits_of_relu6: Option<[String; 2]>,
}

impl Network {
    /// A network without layers.
    pub fn new(name: &str, seed: u64, reserved: &[&'static str]) -> Self {
        Self {
            graph: GraphBuilder::new(name, reserved),
            seed,
            cost: Cost::default(),
            limits_of_relu6: None,
        }
    }

    /// Declares the picture `[batch, 3, side, side]`, with values whose mean square is `square`.
    pub fn picture_nchw(&mut self, name: &'static str, side: usize, square: f64) -> Feature {
        let axes = [
            Axis::Symbol(BATCH),
            Axis::Fixed(3),
            Axis::Fixed(side),
            Axis::Fixed(side),
        ];
        self.graph.input(name, &axes);
        Feature {
            tensor: name.to_owned(),
            channels: 3,
            side,
            mean: 0.0,
            variance: square,
        }
    }

    /// The same as `[batch, side, side, 3]`, TensorFlow's order.
    pub fn picture_nhwc(&mut self, name: &'static str, side: usize, square: f64) -> Feature {
        let axes = [
            Axis::Symbol(BATCH),
            Axis::Fixed(side),
            Axis::Fixed(side),
            Axis::Fixed(3),
        ];
        self.graph.input(name, &axes);
        let order = vec![ints("perm", &[0, 3, 1, 2])];
        Feature {
            tensor: self
                .graph
                .node("Transpose", "channels_first", &[name], order),
            channels: 3,
            side,
            mean: 0.0,
            variance: square,
        }
    }

    /// Draws the weights of a convolution over maps such as `input`, each filter summing to zero.
    pub fn filters(&mut self, stem: &str, input: &Feature, size: usize, aim: Aim<'_>) -> Filters {
        let taps = input.channels * size * size;
        let own = (1.0 - BIAS_SHARE) * aim.variance;
        // A uniform variable over -b..b has the variance b^2 / 3.
        let bound = (3.0 * own / (taps as f64 * input.variance)).sqrt() as f32;
        let name = format!("{stem}/weights");
        let mut weights = Draws::new(self.seed, &name).uniform(aim.channels * taps, bound);
        // The first layer sees the picture, whose brightness is worth keeping.
        if input.mean != 0.0 {
            weights.chunks_exact_mut(taps).for_each(centre);
        }
        let dims = [aim.channels, input.channels, size, size];
        Filters {
            weights: self.parameters(&name, &dims, &weights),
            biases: self.biases(stem, aim),
            channels_in: input.channels,
            channels: aim.channels,
            size,
            groups: 1,
            mean: (aim.mean)(0),
            variance: aim.variance,
        }
    }

    fn parameters(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.cost.parameters += values.len() as u64;
        self.graph.f32_constant(name, dims, values)
    }

    fn biases(&mut self, stem: &str, aim: Aim<'_>) -> String {
        let name = format!("{stem}/biases");
        let bound = (3.0 * BIAS_SHARE * aim.variance).sqrt() as f32;
        let mut biases = Draws::new(self.seed, &name).uniform(aim.channels, bound);
        for (channel, bias) in biases.iter_mut().enumerate() {
            *bias += (aim.mean)(channel) as f32;
        }
        self.parameters(&name, &[aim.channels], &biases)
    }

    /// A convolution with weights of its own and what batch normalisation would give.
    pub fn conv(
        &mut self,
        stem: &str,
        input: &Feature,
        channels: usize,
        window: Window,
        then: Activation,
    ) -> Feature {
        let filters = self.filters(stem, input, window.size, Aim::before(then, channels));
        self.apply(stem, input, &filters, window, then)
    }

    /// A convolution of each channel with a filter of its own.
    ///
    /// Its filters add up to as much as the root of their sum of squares: then the variance that
    /// comes out is the same for smooth maps and for maps whose neighbours have nothing in common.
    pub fn depthwise(
        &mut self,
        stem: &str,
        input: &Feature,
        window: Window,
        then: Activation,
    ) -> Feature {
        let taps = window.size * window.size;
        let own = (1.0 - BIAS_SHARE) * then.variance_before();
        let gain = (own / input.variance).sqrt();
        let level = gain / taps as f64;
        let name = format!("{stem}/weights");
        // Centred draws of the variance gain^2 / taps add what the level's squares lack of gain^2.
        let bound = (3.0 * gain * level).sqrt() as f32;
        let mut weights = Draws::new(self.seed, &name).uniform(input.channels * taps, bound);
        for filter in weights.chunks_exact_mut(taps) {
            centre(filter);
            for weight in filter {
                *weight += level as f32;
            }
        }
        let aim = Aim {
            mean: &|_| -gain * input.mean,
            ..Aim::before(then, input.channels)
        };
        let dims = [input.channels, 1, window.size, window.size];
        let filters = Filters {
            weights: self.parameters(&name, &dims, &weights),
            biases: self.biases(stem, aim),
            channels_in: input.channels,
            channels: input.channels,
            size: window.size,
            groups: input.channels,
            mean: 0.0,
            variance: then.variance_before(),
        };
        self.apply(stem, input, &filters, window, then)
    }

    /// A convolution with these weights.
    ///
    /// # Panics
    /// When the weights are not for such maps.
    pub fn apply(
        &mut self,
        stem: &str,
        input: &Feature,
        filters: &Filters,
        window: Window,
        then: Activation,
    ) -> Feature {
        assert_eq!(filters.channels_in, input.channels, "{stem}");
        assert_eq!(filters.size, window.size, "{stem}");
        let (before, after, side) = window.fit(input.side);
        let whole = |number: usize| i64::try_from(number).expect("a window is small");
        let attributes = vec![
            ints("kernel_shape", &[whole(window.size); 2]),
            ints("strides", &[whole(window.stride); 2]),
            ints("dilations", &[whole(window.dilation); 2]),
            ints(
                "pads",
                &[whole(before), whole(before), whole(after), whole(after)],
            ),
            int("group", whole(filters.groups)),
        ];
        let inputs = [&*input.tensor, &*filters.weights, &*filters.biases];
        let tensor = self.graph.node("Conv", stem, &inputs, attributes);
        let made = Feature {
            tensor,
            channels: filters.channels,
            side,
            mean: filters.mean,
            variance: filters.variance,
        };
        let taps = window.size * window.size * input.channels / filters.groups;
        self.cost.multiply_adds += made.elements() * taps as u64;
        self.cost.other += made.elements();
        self.activate(stem, made, then, filters.maker())
    }

    fn activate(&mut self, stem: &str, input: Feature, then: Activation, maker: Maker) -> Feature {
        let tensor = match then {
            Activation::Linear => return input,
            Activation::Relu => {
                let stem = format!("{stem}/relu");
                self.graph.node("Relu", &stem, &[&input.tensor], Vec::new())
            }
            Activation::Relu6 => {
                let [zero, six] = self.limits_of_relu6();
                let stem = format!("{stem}/relu6");
                let inputs = [&*input.tensor, &*zero, &*six];
                self.graph.node("Clip", &stem, &inputs, Vec::new())
            }
        };
        self.cost.other += input.elements();
        Feature {
            tensor,
            ..input.expected_after(then, maker)
        }
    }

    fn limits_of_relu6(&mut self) -> [String; 2] {
        let graph = &mut self.graph;
        let limits = self.limits_of_relu6.get_or_insert_with(|| {
            [
                graph.f32_constant("relu6/zero", &[], &[0.0]),
                graph.f32_constant("relu6/six", &[], &[6.0]),
            ]
        });
        limits.clone()
    }

    /// The sum of two maps of one shape.
    ///
    /// # Panics
    /// When their shapes differ.
    pub fn add(&mut self, stem: &str, one: &Feature, other: &Feature, then: Activation) -> Feature {
        assert_eq!((one.channels, one.side), (other.channels, other.side));
        let inputs = [&*one.tensor, &*other.tensor];
        let made = Feature {
            tensor: self.graph.node("Add", stem, &inputs, Vec::new()),
            mean: one.mean + other.mean,
            variance: one.variance + other.variance,
            ..one.clone()
        };
        self.cost.other += made.elements();
        self.activate(stem, made, then, Maker::Dense)
    }

    /// The greatest value under each window.
    pub fn max_pool(&mut self, stem: &str, input: &Feature, window: Window) -> Feature {
        let (before, after, side) = window.fit(input.side);
        let whole = |number: usize| i64::try_from(number).expect("a window is small");
        let attributes = vec![
            ints("kernel_shape", &[whole(window.size); 2]),
            ints("strides", &[whole(window.stride); 2]),
            ints(
                "pads",
                &[whole(before), whole(before), whole(after), whole(after)],
            ),
        ];
        let tensor = self
            .graph
            .node("MaxPool", stem, &[&input.tensor], attributes);
        let made = Feature {
            tensor,
            side,
            ..input.clone()
        };
        self.cost.other += made.elements() * (window.size * window.size - 1) as u64;
        made
    }

    /// Each map twice as high and wide, every value four times.
    pub fn upsample(&mut self, stem: &str, input: &Feature) -> Feature {
        let scales = format!("{stem}/scales");
        let scales = self
            .graph
            .f32_constant(&scales, &[4], &[1.0, 1.0, 2.0, 2.0]);
        let attributes = vec![
            text("mode", "nearest"),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ];
        let inputs = [&*input.tensor, "", &*scales];
        Feature {
            tensor: self.graph.node("Resize", stem, &inputs, attributes),
            side: 2 * input.side,
            ..input.clone()
        }
    }

    /// The channels at each position divided by the root of their sum of squares, times `scale`.
    pub fn l2_normalize(&mut self, stem: &str, input: &Feature, scale: f32) -> Feature {
        let name = |part: &str| format!("{stem}/{part}");
        let scales = vec![scale; input.channels];
        let scales = self.parameters(&name("scales"), &[1, input.channels, 1, 1], &scales);
        let graph = &mut self.graph;
        let attributes = vec![ints("axes", &[1]), int("keepdims", 1)];
        let norm = graph.node("ReduceL2", &name("norm"), &[&input.tensor], attributes);
        // Where all channels are zero there is nothing to divide by.
        let least = graph.f32_constant(&name("least"), &[], &[1e-5]);
        let norm = graph.node("Max", &name("safe_norm"), &[&norm, &least], Vec::new());
        let unit = graph.node("Div", &name("unit"), &[&input.tensor, &norm], Vec::new());
        let tensor = graph.node("Mul", stem, &[&unit, &scales], Vec::new());
        self.cost.multiply_adds += input.elements();
        self.cost.other += 2 * input.elements() + (input.side * input.side) as u64;
        // The mean square is exact; how it divides stays as it was.
        let square = f64::from(scale).powi(2) / input.channels as f64;
        let ratio = square / (input.variance + input.mean.powi(2));
        Feature {
            tensor,
            mean: input.mean * ratio.sqrt(),
            variance: input.variance * ratio,
            ..input.clone()
        }
    }

    /// A map `[batch, anchors * columns, side, side]` as `[batch, side * side * anchors, columns]`.
    pub fn rows(&mut self, stem: &str, input: &Feature, columns: usize) -> String {
        let order = vec![ints("perm", &[0, 2, 3, 1])];
        let stem_last = format!("{stem}/channels_last");
        let last = self
            .graph
            .node("Transpose", &stem_last, &[&input.tensor], order);
        let rows = input.side * input.side * input.channels / columns;
        let whole = |number: usize| i64::try_from(number).expect("a length in memory fits i64");
        // 0 keeps the batch.
        let shape = [0, whole(rows), whole(columns)];
        let shape = self.graph.i64_constant(&format!("{stem}/shape"), &shape);
        self.graph
            .node("Reshape", stem, &[&last, &shape], Vec::new())
    }

    /// Declares the rows of all maps, one after the other, as the output `name`.
    pub fn output(&mut self, name: &'static str, rows: &[String], shape: [usize; 2]) {
        let inputs: Vec<&str> = rows.iter().map(String::as_str).collect();
        let joined = self
            .graph
            .node("Concat", "joined", &inputs, vec![int("axis", 1)]);
        let [rows, columns] = shape.map(Axis::Fixed);
        self.graph
            .output(&joined, name, &[Axis::Symbol(BATCH), rows, columns]);
    }

    /// What the network costs for one picture.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// How many nodes of each operator the graph has.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut operators = BTreeMap::new();
        for node in self.graph.nodes() {
            *operators.entry(node.op_type.clone()).or_insert(0) += 1;
        }
        operators
    }

    /// The ONNX file.
    pub fn encode(self) -> Vec<u8> {
        self.graph.encode()
    }
}

/// Moves a filter's weights so that they sum to zero.
fn centre(filter: &mut [f32]) {
    let sum: f64 = filter.iter().copied().map(f64::from).sum();
    let mean = (sum / filter.len() as f64) as f32;
    for weight in filter {
        *weight -= mean;
    }
}
