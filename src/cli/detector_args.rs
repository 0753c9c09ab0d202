//! The flags that say which detector, and how its outputs become detections: the same in every verb that runs one.

use std::path::PathBuf;

use clap::Args;

use crate::postprocess::BoxScales;

const ON_WHAT: &str = "On which model and pictures";
const POST: &str = "How detections are made";

/// Which model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ModelArgs {
    /// A known model or an ONNX file [default: ssdlite-mobilenet-v2]
    #[arg(long, value_name = "NAME|FILE.onnx", help_heading = ON_WHAT)]
    pub model: Option<String>,
    /// The ONNX file of the model that --model names, where it has another name or lies elsewhere
    #[arg(long, value_name = "FILE.onnx", requires = "model", help_heading = ON_WHAT)]
    pub model_file: Option<String>,
    /// The model file that describes an ONNX file
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = ON_WHAT)]
    pub model_config: Option<String>,
}

/// What differs from its model file.
#[derive(Debug, Clone, Default, Args)]
pub struct ThresholdArgs {
    /// Least score of a detection [default: the model file's]
    #[arg(long, value_name = "SCORE", value_parser = parse_threshold, allow_negative_numbers = true, help_heading = POST)]
    pub score_threshold: Option<f32>,
    /// IoU above which a weaker box is suppressed, in (0, 1] [default: the model file's]
    #[arg(long, value_name = "IOU", value_parser = parse_iou, allow_negative_numbers = true, help_heading = POST)]
    pub iou_threshold: Option<f32>,
    /// Most detections of a picture [default: the model file's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = POST)]
    pub max_detections: Option<u32>,
    /// Most detections of a class, in regular NMS [default: the model file's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = POST)]
    pub detections_per_class: Option<u32>,
    /// Most classes of an anchor, in fast NMS [default: the model file's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = POST)]
    pub max_classes_per_detection: Option<u32>,
    /// Divisors of the box encodings, such as `y=10,x=10,h=5,w=5`, or some of them [default: the model file's]
    #[arg(long, value_name = "y=Y,...", value_parser = parse_scales, help_heading = POST)]
    pub box_scales: Option<ScaleChanges>,
}

/// `--box-scales`: which divisors of the box encodings differ from the model file's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScaleChanges {
    y: Option<f32>,
    x: Option<f32>,
    h: Option<f32>,
    w: Option<f32>,
}

impl ScaleChanges {
    /// Lays them over the model file's.
    pub fn apply(self, file: BoxScales) -> BoxScales {
        BoxScales {
            y: self.y.unwrap_or(file.y),
            x: self.x.unwrap_or(file.x),
            h: self.h.unwrap_or(file.h),
            w: self.w.unwrap_or(file.w),
        }
    }
}

fn parse_scales(text: &str) -> Result<ScaleChanges, String> {
    let expected = || "give divisors above zero by axis, such as y=10,x=10,h=5,w=5".to_owned();
    let mut changes = ScaleChanges::default();
    for pair in text.split(',') {
        let (axis, number) = pair.split_once('=').ok_or_else(expected)?;
        let number = number
            .parse()
            .ok()
            .filter(|n: &f32| n.is_normal() && *n > 0.0);
        let slot = match axis {
            "y" => &mut changes.y,
            "x" => &mut changes.x,
            "h" => &mut changes.h,
            "w" => &mut changes.w,
            _ => return Err(expected()),
        };
        *slot = Some(number.ok_or_else(expected)?);
    }
    Ok(changes)
}

/// `--ort-lib` of verbs that measure nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct RuntimeArgs {
    /// The ONNX Runtime library to load [default: found or fetched]
    #[arg(long, value_name = "FILE", help_heading = ON_WHAT)]
    pub ort_lib: Option<PathBuf>,
}

fn parse_threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(score) if !score.is_nan() => Ok(score),
        _ => Err("a score threshold is a number, such as 0.3".to_owned()),
    }
}

fn parse_iou(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(iou) if iou > 0.0 && iou <= 1.0 => Ok(iou),
        _ => Err("an IoU threshold is above 0 and at most 1, such as 0.6".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_that_make_no_sense_are_refused() {
        for text in ["nan", "NaN", "x", ""] {
            assert!(parse_threshold(text).is_err(), "{text}");
        }
        for text in ["0", "-0.1", "1.01", "nan", "inf"] {
            assert!(parse_iou(text).is_err(), "{text}");
        }
        for text in ["", "y", "y=0", "z=1", "y=1,x=-2", "y=nan"] {
            assert!(parse_scales(text).is_err(), "{text}");
        }
        let file = BoxScales {
            y: 10.0,
            x: 10.0,
            h: 5.0,
            w: 5.0,
        };
        let changed = parse_scales("h=4,y=8").unwrap().apply(file);
        let expected = BoxScales {
            y: 8.0,
            h: 4.0,
            ..file
        };
        assert_eq!(changed, expected);
        assert_eq!(parse_iou("1"), Ok(1.0));
        assert_eq!(parse_threshold("-1"), Ok(-1.0));
    }
}
