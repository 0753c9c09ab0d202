//! The section `detbench`: what LPOT has no keys for.

use super::fields::Section;
use super::wishes::ranges;
use super::{LpotError, Notes};
use crate::tune::criterion::{confidence, Criterion, Judged};
use crate::tune::space::Space;

pub fn read(
    whole: &Section<'_>,
    space: &mut Space,
    criterion: &mut Criterion,
    notes: &mut Notes<'_>,
) -> Result<(), LpotError> {
    let section = whole.section(
        "detbench",
        &[
            "ranges",
            "bias_correction",
            "u8_input",
            "fallback",
            "confidence",
            "criterion",
        ],
    )?;
    if let Some(field) = section.field("ranges") {
        let own = ranges(&field)?;
        let other = &mut space.model_wise.activation.ranges;
        if !other.is_empty() && *other != own {
            notes.add(
                &field,
                "taken in place of quantization.model_wise.activation.algorithm",
            );
        }
        *other = own;
    }
    if let Some(field) = section.field("bias_correction") {
        let own = field.flag()?;
        if space.bias_correction == Some(true) && !own {
            notes.add(
                &field,
                "taken in place of quantization.advance.bias_correction",
            );
        }
        space.bias_correction = Some(own);
    }
    if let Some(field) = section.field("fallback") {
        for word in field.several("first_block")? {
            if word != "first_block" {
                return Err(field.wrong("first_block, the first convolution and the depthwise one behind it; other layers are kept in float by `quantization.op_wise`"));
            }
        }
        space.first_block_float = Some(true);
    }
    if let Some(field) = section.field("u8_input") {
        space.u8_input = Some(field.flag()?);
    }
    if let Some(field) = section.field("confidence") {
        let value = field.number("a number between 0 and 1, such as 0.9")?;
        let value = confidence(value).map_err(|error| field.criterion(error))?;
        criterion.confidence = Some(value);
    }
    if let Some(field) = section.field("criterion") {
        criterion.judged = match field.word(&["map", "agreement", "dp"])? {
            "agreement" => Judged::Agreement,
            "dp" => Judged::Dp,
            _ => Judged::Map,
        };
    }
    Ok(())
}
