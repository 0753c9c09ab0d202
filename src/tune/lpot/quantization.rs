//! The section `quantization`: calibration, recipes, what may be tried for all operators and for single ones.

use super::dataset::{self, Dataset};
use super::fields::Section;
use super::wishes;
use super::{LpotError, Notes, SAMPLING_SIZE};
use crate::tune::space::Space;

/// What the section says.
pub struct Quantization {
    pub space: Space,
    pub calibration: Option<Dataset>,
}

/// More calibration pictures than anybody has time for.
const SAMPLES_MAX: usize = 1_000_000;

pub fn read(whole: &Section<'_>, notes: &mut Notes<'_>) -> Result<Quantization, LpotError> {
    let section = whole.section(
        "quantization",
        &[
            "approach",
            "train",
            "advance",
            "calibration",
            "recipes",
            "model_wise",
            "op_wise",
        ],
    )?;
    if let Some(field) = section.field("approach") {
        let known = [
            "post_training_static_quant",
            "post_training_dynamic_quant",
            "quant_aware_training",
        ];
        if field.word(&known)? != known[0] {
            return Err(field.refused(
                "ranges are taken from calibration pictures and nothing is trained; write `approach: post_training_static_quant`",
            ));
        }
    }
    if let Some(field) = section.field("train") {
        return Err(field.refused("nothing is trained here; remove the section"));
    }
    let mut space = Space {
        calibration_sizes: vec![SAMPLING_SIZE],
        ..Space::default()
    };
    advance(&section, &mut space, notes)?;
    recipes(&section, &mut space, notes)?;
    let calibration = section.section("calibration", &["sampling_size", "dataloader"])?;
    if let Some(field) = calibration.field("sampling_size") {
        let expected = "a number of pictures, a list of them, or a text such as 100, 200";
        let sizes = field.several(expected)?;
        let size = |text: &str| match text.parse() {
            Ok(size) if (1..=SAMPLES_MAX).contains(&size) => Ok(size),
            _ => Err(field.wrong(expected)),
        };
        space.calibration_sizes = sizes.into_iter().map(size).collect::<Result<_, _>>()?;
    }
    let dataset = dataset::read(&calibration, notes)?;
    space.model_wise = wishes::of_model(&section, notes)?;
    space.op_wise = wishes::of_operators(&section, notes)?;
    Ok(Quantization {
        space,
        calibration: dataset,
    })
}

fn advance(
    section: &Section<'_>,
    space: &mut Space,
    notes: &mut Notes<'_>,
) -> Result<(), LpotError> {
    let advance = section.section("advance", &["bias_correction"])?;
    if let Some(field) = advance.field("bias_correction") {
        field.word(&["weight_empirical"])?;
        space.bias_correction = Some(true);
        notes.add(
            &field,
            "biases make up for what rounding takes from channel means, where LPOT shifts and stretches the weights",
        );
    }
    Ok(())
}

fn recipes(
    section: &Section<'_>,
    space: &mut Space,
    notes: &mut Notes<'_>,
) -> Result<(), LpotError> {
    const FIRST: &str = "first_conv_or_matmul_quantization";
    const CONCAT: &str = "scale_propagation_concat";
    const POOLING: &str = "scale_propagation_max_pooling";
    let recipes = section.section("recipes", &[FIRST, CONCAT, POOLING])?;
    if let Some(field) = recipes.field(FIRST) {
        if !field.flag()? {
            space.first_convolution_float = Some(true);
        }
    }
    for (key, what) in [
        (
            CONCAT,
            "a concatenation inside the network and its parts share one encoding",
        ),
        (POOLING, "max pooling keeps the encoding of what it reads"),
    ] {
        if let Some(field) = recipes.field(key) {
            if !field.flag()? {
                notes.add(
                    &field,
                    format!("{what} all the same: anything else is slower"),
                );
            }
        }
    }
    Ok(())
}
