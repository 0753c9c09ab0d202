//! Heads: what turns feature maps into encoded boxes and scores.

use super::network::{Activation, Aim, Feature, Network, Padding, Window};

/// Numbers of an encoded box.
const BOX_COLUMNS: usize = 4;

/// A feature map that heads look at.
#[derive(Debug, Clone)]
pub struct Level {
    /// The map.
    pub feature: Feature,
    /// Anchors at each of its positions.
    pub shapes: usize,
}

/// How score logits are to be spread over anchors and classes.
///
/// A logit is close to a normal variable, so two counts of a trained detector fix mean and
/// deviation: how many pairs of anchor and class pass 0.01, and how many 0.3.
#[derive(Debug, Clone, Copy)]
pub struct ScoreSpread {
    /// Columns of the score head, background included.
    pub columns: usize,
    /// Mean logit of a class.
    pub mean: f64,
    /// Deviation of the logits.
    pub deviation: f64,
}

/// Rows of boxes and scores, one entry for each level.
#[derive(Debug, Default)]
pub struct Rows {
    /// `[batch, anchors, 4]` each.
    pub boxes: Vec<String>,
    /// `[batch, anchors, columns]` each.
    pub scores: Vec<String>,
}

/// One of the two heads of a level.
#[derive(Debug, Clone, Copy)]
enum Head {
    Boxes,
    Scores(ScoreSpread),
}

impl Head {
    const fn columns(self) -> usize {
        match self {
            Self::Boxes => BOX_COLUMNS,
            Self::Scores(spread) => spread.columns,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Boxes => "boxes",
            Self::Scores(_) => "scores",
        }
    }

    /// Hands `draw` what the last convolution is to give at `shapes` anchors a position.
    fn aim<T>(self, shapes: usize, draw: impl FnOnce(Aim<'_>) -> T) -> T {
        let columns = self.columns();
        match self {
            // Trained encodings are divided by 10 and 5: boxes near their anchors.
            Self::Boxes => draw(Aim::before(Activation::Linear, shapes * columns)),
            Self::Scores(spread) => draw(Aim {
                channels: shapes * columns,
                // The background's logit is the one that the others are compared with.
                mean: &|channel| {
                    if channel % columns == 0 {
                        0.0
                    } else {
                        spread.mean
                    }
                },
                variance: spread.deviation * spread.deviation,
            }),
        }
    }
}

/// The last layer of a head, as rows.
fn last(
    net: &mut Network,
    stem: &str,
    input: &Feature,
    shapes: usize,
    head: Head,
    size: usize,
) -> String {
    let filters = head.aim(shapes, |aim| net.filters(stem, input, size, aim));
    let made = net.apply(
        stem,
        input,
        &filters,
        Window::same(size),
        Activation::Linear,
    );
    net.rows(&format!("{stem}/rows"), &made, head.columns())
}

impl Rows {
    fn push(&mut self, head: Head, rows: String) {
        match head {
            Head::Boxes => self.boxes.push(rows),
            Head::Scores(_) => self.scores.push(rows),
        }
    }

    /// Adds the rows of further levels.
    pub fn extend(&mut self, further: Self) {
        self.boxes.extend(further.boxes);
        self.scores.extend(further.scores);
    }
}

/// A convolution of `size` for each head of each level.
pub fn plain(net: &mut Network, levels: &[Level], spread: ScoreSpread, size: usize) -> Rows {
    let mut rows = Rows::default();
    for (number, level) in levels.iter().enumerate() {
        for head in [Head::Boxes, Head::Scores(spread)] {
            let stem = format!("head_{number}/{}", head.name());
            let made = last(net, &stem, &level.feature, level.shapes, head, size);
            rows.push(head, made);
        }
    }
    rows
}

/// A depthwise convolution and one of 1x1 for each head of each level (`SSDLite`).
pub fn separable(
    net: &mut Network,
    levels: &[Level],
    spread: ScoreSpread,
    padding: Padding,
) -> Rows {
    let mut rows = Rows::default();
    for (number, level) in levels.iter().enumerate() {
        for head in [Head::Boxes, Head::Scores(spread)] {
            let stem = format!("head_{number}/{}", head.name());
            let window = Window::same(3).padded(padding);
            let depthwise = format!("{stem}/depthwise");
            let feature = net.depthwise(&depthwise, &level.feature, window, Activation::Relu6);
            rows.push(head, last(net, &stem, &feature, level.shapes, head, 1));
        }
    }
    rows
}

/// Four convolutions before the last one, with the same weights at all levels (`RetinaNet`).
///
/// The maps must have the same channels and the same spread.
pub fn shared_towers(net: &mut Network, levels: &[Level], spread: ScoreSpread) -> Rows {
    const LAYERS: usize = 4;
    let window = Window::same(3);
    let mut rows = Rows::default();
    for head in [Head::Boxes, Head::Scores(spread)] {
        let name = format!("{}_tower", head.name());
        let Level { feature, shapes } = &levels[0];
        let mut sample = feature.clone();
        let mut tower = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let stem = format!("{name}/conv_{layer}");
            let filters = net.filters(
                &stem,
                &sample,
                3,
                Aim::before(Activation::Relu6, feature.channels),
            );
            sample = filters.sample(Activation::Relu6);
            tower.push(filters);
        }
        let stem = format!("{name}/last");
        let end = head.aim(*shapes, |aim| net.filters(&stem, &sample, 3, aim));
        for (number, level) in levels.iter().enumerate() {
            let mut feature = level.feature.clone();
            for (layer, filters) in tower.iter().enumerate() {
                let stem = format!("head_{number}/{}/conv_{layer}", head.name());
                feature = net.apply(&stem, &feature, filters, window, Activation::Relu6);
            }
            let stem = format!("head_{number}/{}", head.name());
            let made = net.apply(&stem, &feature, &end, window, Activation::Linear);
            let made = net.rows(&format!("{stem}/rows"), &made, head.columns());
            rows.push(head, made);
        }
    }
    rows
}
