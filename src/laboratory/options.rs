//! The op's options by their own names: `nms_score_threshold=0.3`.

use serde::Serialize;

use crate::postprocess::tflite::Options;
use crate::postprocess::BoxScales;
use crate::strict_toml::nearest;

/// Slots beyond this number are taken for a mistake: their memory would be gigabytes.
const SLOTS_MAX: i64 = 10_000_000;

/// Why an option is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No `KEY=VALUE`.
    #[error("`{text}` is not KEY=VALUE, such as nms_score_threshold=0.3")]
    NotAPair {
        /// What was written.
        text: String,
    },
    /// No such option.
    #[error("unknown option `{key}`{}; the options are {}", nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?")), KEYS.join(", "))]
    Unknown {
        /// As written.
        key: String,
        /// The option that is most like it.
        nearest: Option<&'static str>,
    },
    /// The mode has a flag of its own.
    #[error("`use_regular_nms` is the flag --nms: pass --nms regular, fast or both")]
    Mode,
    /// A value of the wrong kind.
    #[error("option `{key}` is `{value}`, but should be {expectation}")]
    Value {
        /// The option.
        key: &'static str,
        /// As written.
        value: String,
        /// What would do.
        expectation: &'static str,
    },
    /// More slots than memory is worth.
    #[error(
        "max_detections x max_classes_per_detection is {slots}, but should be at most {SLOTS_MAX}"
    )]
    Slots {
        /// How many there would be.
        slots: i64,
    },
}

const KEYS: [&str; 10] = [
    "nms_score_threshold",
    "nms_iou_threshold",
    "max_detections",
    "max_classes_per_detection",
    "detections_per_class",
    "num_classes",
    "y_scale",
    "x_scale",
    "h_scale",
    "w_scale",
];

/// An option and its new value.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Override {
    key: &'static str,
    value: Value,
    /// As written.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Whole(i32),
    Real(f32),
}

/// Options that the user set, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides(Vec<Override>);

impl Overrides {
    /// Reads `KEY=VALUE` pairs; of a key that is set twice the last value counts.
    ///
    /// # Errors
    /// [`OptionError`] for the first pair that is none.
    pub fn parse<T: AsRef<str>>(pairs: impl IntoIterator<Item = T>) -> Result<Self, OptionError> {
        let pairs = pairs.into_iter().map(|pair| parse_pair(pair.as_ref()));
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Whether `key` is among them.
    pub fn sets(&self, key: &str) -> bool {
        self.0.iter().any(|one| one.key == key)
    }

    /// These, and then those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self(self.0.iter().chain(&more.0).cloned().collect())
    }

    /// `key=value` of each, separated by spaces.
    pub fn describe(&self) -> String {
        let pairs = self.0.iter().map(|one| format!("{}={}", one.key, one.text));
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// Lays the values over `options`.
    ///
    /// # Errors
    /// [`OptionError::Slots`].
    pub fn apply(&self, mut options: Options) -> Result<Options, OptionError> {
        for Override { key, value, .. } in &self.0 {
            match (*key, *value) {
                ("nms_score_threshold", Value::Real(value)) => options.nms_score_threshold = value,
                ("nms_iou_threshold", Value::Real(value)) => options.nms_iou_threshold = value,
                ("y_scale", Value::Real(value)) => options.scales.y = value,
                ("x_scale", Value::Real(value)) => options.scales.x = value,
                ("h_scale", Value::Real(value)) => options.scales.h = value,
                ("w_scale", Value::Real(value)) => options.scales.w = value,
                ("max_detections", Value::Whole(value)) => options.max_detections = value,
                ("max_classes_per_detection", Value::Whole(value)) => {
                    options.max_classes_per_detection = value;
                }
                ("detections_per_class", Value::Whole(value)) => {
                    options.detections_per_class = value;
                }
                ("num_classes", Value::Whole(value)) => options.num_classes = value,
                (key, value) => unreachable!("`{key}` was read as {value:?}"),
            }
        }
        let slots = i64::from(options.max_detections.max(0))
            * i64::from(options.max_classes_per_detection.max(0));
        if slots > SLOTS_MAX {
            return Err(OptionError::Slots { slots });
        }
        Ok(options)
    }
}

fn parse_pair(text: &str) -> Result<Override, OptionError> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(OptionError::NotAPair {
            text: text.to_owned(),
        });
    };
    let (name, text) = (key.trim(), value.trim());
    let Some(&key) = KEYS.iter().find(|&&known| known == name) else {
        if name == "use_regular_nms" {
            return Err(OptionError::Mode);
        }
        return Err(OptionError::Unknown {
            key: name.to_owned(),
            nearest: nearest(name, KEYS),
        });
    };
    let refuse = |expectation| OptionError::Value {
        key,
        value: text.to_owned(),
        expectation,
    };
    let is_real = key.ends_with("threshold") || key.ends_with("scale");
    let value = if is_real {
        // A decimal is an f64 to the tools that write the op's options, and is rounded from there.
        match text.parse::<f64>() {
            Ok(value) if !value.is_nan() => Value::Real(value as f32),
            _ => return Err(refuse("a number")),
        }
    } else {
        Value::Whole(text.parse().map_err(|_| refuse("a whole number"))?)
    };
    Ok(Override {
        key,
        value,
        text: text.to_owned(),
    })
}

/// The thresholds of `MLPerf`'s SSD-MobileNet, for a score head of `columns`: all but one are classes, unless
/// there is only one.
pub fn default_options(columns: usize) -> Options {
    let classes = columns.saturating_sub(1).max(1);
    Options {
        max_detections: 100,
        max_classes_per_detection: 1,
        detections_per_class: 100,
        use_regular_nms: false,
        nms_score_threshold: 0.3,
        nms_iou_threshold: 0.6,
        scales: BoxScales {
            y: 10.0,
            x: 10.0,
            h: 5.0,
            w: 5.0,
        },
        // More classes than that have too many pairs, which the op says.
        num_classes: i32::try_from(classes).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_by_the_ops_own_names() {
        let overrides = Overrides::parse([
            "nms_score_threshold=1e-8",
            "max_detections=7",
            "y_scale=1",
            "max_detections=8",
        ])
        .unwrap();
        let options = overrides.apply(default_options(91)).unwrap();
        assert_eq!(options.nms_score_threshold.to_bits(), 1e-8_f32.to_bits());
        assert_eq!((options.max_detections, options.num_classes), (8, 90));
        assert_eq!(options.scales.y.to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn what_is_no_option_is_refused_by_name() {
        let refused = |text: &str| Overrides::parse([text]).unwrap_err().to_string();
        assert!(refused("nms_score_treshold=1").contains("did you mean `nms_score_threshold`?"));
        assert!(refused("max_detections=1.5").contains("a whole number"));
        assert!(refused("nms_score_threshold=nan").contains("`nan`"));
        assert!(refused("nms_score_threshold").contains("not KEY=VALUE"));
        assert!(refused("use_regular_nms=1").contains("--nms"));
        let many = Overrides::parse(["max_detections=2147483647"]).unwrap();
        assert!(many.apply(default_options(91)).is_err());
    }
}
