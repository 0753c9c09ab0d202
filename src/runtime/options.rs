//! Options for ONNX Runtime by name, checked: ONNX Runtime itself accepts unknown names in silence.

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use thiserror::Error;

/// A checked option, `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeOption {
    known: &'static Known,
    value: String,
}

/// Why an option is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// No `=`.
    #[error("{text:?} is not an option of the form KEY=VALUE, such as session.intra_op.allow_spinning=0")]
    NotAnAssignment {
        /// What was given.
        text: String,
    },
    /// The key is not known.
    #[error("ONNX Runtime has no option {key} that can be set here; {}", match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "its names look like session.intra_op.allow_spinning, and threads have flags of their own".to_owned(),
    })]
    UnknownKey {
        /// What was given.
        key: String,
        /// The known key that looks most like it, if any does.
        nearest: Option<&'static str>,
    },
    /// The value is outside the key's domain.
    #[error("the ONNX Runtime option {key} cannot be {value:?}: {expected} is expected")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
}

/// What values an option takes.
#[derive(Debug, PartialEq, Eq)]
enum Domain {
    /// `0` or `1`; `false`, `off`, `true` and `on` are read as these.
    Switch,
    /// A whole number from zero on.
    Count,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Anything but nothing.
    Text,
}

/// How an option reaches the session.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    /// As a configuration entry under its own name.
    Entry,
    /// As a configuration entry under ONNX Runtime's name.
    EntryNamed(&'static str),
    OptimizationLevel,
    MemoryPattern,
    Arena,
    ExecutionMode,
    Deterministic,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: &'static str,
    domain: Domain,
    route: Route,
}

const fn entry(name: &'static str, domain: Domain) -> Known {
    Known {
        name,
        domain,
        route: Route::Entry,
    }
}

const fn ours(name: &'static str, domain: Domain, route: Route) -> Known {
    Known {
        name,
        domain,
        route,
    }
}

/// Our short names first, then the configuration keys that the library of ONNX Runtime 1.31.1 reads
/// and that can matter to a session on the CPU.
const KNOWN: &[Known] = &[
    ours(
        "optimization_level",
        Domain::OneOf(&["disable", "basic", "extended", "layout", "all"]),
        Route::OptimizationLevel,
    ),
    ours(
        "execution_mode",
        Domain::OneOf(&["sequential", "parallel"]),
        Route::ExecutionMode,
    ),
    ours("memory_pattern", Domain::Switch, Route::MemoryPattern),
    ours("arena", Domain::Switch, Route::Arena),
    ours("deterministic", Domain::Switch, Route::Deterministic),
    ours(
        "intra_op_spinning",
        Domain::Switch,
        Route::EntryNamed("session.intra_op.allow_spinning"),
    ),
    ours(
        "inter_op_spinning",
        Domain::Switch,
        Route::EntryNamed("session.inter_op.allow_spinning"),
    ),
    ours(
        "flush_to_zero",
        Domain::Switch,
        Route::EntryNamed("session.set_denormal_as_zero"),
    ),
    ours(
        "dynamic_block_base",
        Domain::Count,
        Route::EntryNamed("session.dynamic_block_base"),
    ),
    entry("session.allow_released_opsets_only", Domain::Switch),
    entry("session.collect_node_memory_stats_to_file", Domain::Text),
    entry("session.debug_layout_transformation", Domain::Switch),
    entry("session.disable_aot_function_inlining", Domain::Switch),
    entry("session.disable_double_qdq_remover", Domain::Switch),
    entry("session.disable_prepacking", Domain::Switch),
    entry("session.disable_qdq_constant_folding", Domain::Switch),
    entry("session.disable_quant_qdq", Domain::Switch),
    entry("session.dynamic_block_base", Domain::Count),
    entry("session.enable_dq_matmulnbits_fusion", Domain::Switch),
    entry("session.enable_quant_qdq_cleanup", Domain::Switch),
    entry("session.enable_saved_runtime_optimizations", Domain::Switch),
    entry("session.force_spinning_stop", Domain::Switch),
    entry(
        "session.graph_optimizations_loop_level",
        Domain::OneOf(&["0", "1", "2"]),
    ),
    entry("session.inter_op.allow_spinning", Domain::Switch),
    entry("session.inter_op.spin_backoff_max", Domain::Count),
    entry("session.inter_op.spin_duration_us", Domain::Count),
    entry("session.intra_op.allow_spinning", Domain::Switch),
    entry("session.intra_op.spin_backoff_max", Domain::Count),
    entry("session.intra_op.spin_duration_us", Domain::Count),
    entry("session.intra_op_thread_affinities", Domain::Text),
    entry("session.load_model_format", Domain::OneOf(&["ONNX", "ORT"])),
    entry(
        "session.optimized_model_external_initializers_file_name",
        Domain::Text,
    ),
    entry(
        "session.optimized_model_external_initializers_min_size_in_bytes",
        Domain::Count,
    ),
    entry("session.prepack.enable_parallel", Domain::Switch),
    entry(
        "session.qdq_matmulnbits_accuracy_level",
        Domain::OneOf(&["0", "1", "2", "3", "4"]),
    ),
    entry("session.qdq_matmulnbits_block_size", Domain::Text),
    entry("session.qdqisint8allowed", Domain::Switch),
    entry(
        "session.save_external_prepacked_constant_initializers",
        Domain::Switch,
    ),
    entry("session.save_model_format", Domain::OneOf(&["ONNX", "ORT"])),
    entry("session.set_denormal_as_zero", Domain::Switch),
    entry("session.strict_shape_type_inference", Domain::Switch),
    entry(
        "session.use_device_allocator_for_initializers",
        Domain::Switch,
    ),
    entry("session.use_env_allocators", Domain::Switch),
    entry("session.x64quantprecision", Domain::Switch),
    entry(
        "optimization.constant_folding_max_output_size_in_bytes",
        Domain::Count,
    ),
    entry("optimization.disable_specified_optimizers", Domain::Text),
    entry("optimization.enable_cast_chain_elimination", Domain::Switch),
    entry("optimization.enable_gelu_approximation", Domain::Switch),
    entry(
        "optimization.minimal_build_optimizations",
        Domain::OneOf(&["save", "apply"]),
    ),
    entry("mlas.disable_kleidiai", Domain::Switch),
    entry("mlas.enable_gemm_fastmath_arm64_bfloat16", Domain::Switch),
    entry("mlas.kleidiai.conv_igemm_max_work", Domain::Count),
    entry("mlas.nchwc_depthwise_sliding", Domain::Switch),
    entry(
        "mlas.nchwc_pointwise_conv_max_input_channel_batch",
        Domain::Count,
    ),
    entry("mlas.qnbit.force_fp32", Domain::Switch),
    entry("mlas.use_lut_gemm", Domain::Switch),
];

impl RuntimeOption {
    /// Reads `KEY=VALUE`, as `--ort` takes it.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| OptionError::NotAnAssignment {
                text: text.to_owned(),
            })?;
        Self::new(key.trim(), value.trim())
    }

    /// An option from its two parts, as a settings file has them.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(key: &str, value: &str) -> Result<Self, OptionError> {
        let known = KNOWN
            .iter()
            .find(|known| known.name == key)
            .ok_or_else(|| OptionError::UnknownKey {
                key: key.to_owned(),
                nearest: nearest(key),
            })?;
        let value = known
            .domain
            .read(value)
            .ok_or_else(|| OptionError::BadValue {
                key: known.name,
                value: value.to_owned(),
                expected: known.domain.to_string(),
            })?;
        Ok(Self { known, value })
    }

    /// The names that [`RuntimeOption::new`] takes, for help texts.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.name)
    }

    /// The key.
    pub const fn key(&self) -> &'static str {
        self.known.name
    }

    /// The value, in ONNX Runtime's own spelling.
    pub fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn apply(&self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        let is_on = self.value == "1";
        Ok(match &self.known.route {
            Route::Entry => builder.with_config_entry(self.known.name, &self.value)?,
            Route::EntryNamed(name) => builder.with_config_entry(name, &self.value)?,
            Route::OptimizationLevel => {
                builder.with_optimization_level(match self.value.as_str() {
                    "disable" => GraphOptimizationLevel::Disable,
                    "basic" => GraphOptimizationLevel::Level1,
                    "extended" => GraphOptimizationLevel::Level2,
                    "layout" => GraphOptimizationLevel::Level3,
                    _ => GraphOptimizationLevel::All,
                })?
            }
            Route::MemoryPattern => builder.with_memory_pattern(is_on)?,
            Route::Arena => {
                let provider = ort::ep::CPU::default().with_arena_allocator(is_on).build();
                builder.with_execution_providers([provider])?
            }
            Route::ExecutionMode => builder.with_parallel_execution(self.value == "parallel")?,
            Route::Deterministic => builder.with_deterministic_compute(is_on)?,
        })
    }
}

impl Domain {
    /// `text` in ONNX Runtime's spelling, if it is in the domain.
    fn read(&self, text: &str) -> Option<String> {
        match self {
            Self::Switch => match text.to_ascii_lowercase().as_str() {
                "0" | "false" | "off" => Some("0".to_owned()),
                "1" | "true" | "on" => Some("1".to_owned()),
                _ => None,
            },
            Self::Count => text.parse::<u64>().ok().map(|count| count.to_string()),
            Self::OneOf(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| (*word).to_owned()),
            Self::Text => (!text.is_empty()).then(|| text.to_owned()),
        }
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Switch => f.write_str("0 or 1"),
            Self::Count => f.write_str("a whole number"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text => f.write_str("a text"),
        }
    }
}

/// The known key most like `key`; the part after the last dot counts too, for people forget prefixes.
fn nearest(key: &str) -> Option<&'static str> {
    /// Below this likeness a suggestion would puzzle more than help.
    const ALIKE: f64 = 0.8;
    let likeness = |known: &Known| {
        let tail = known.name.rsplit('.').next().unwrap_or(known.name);
        strsim::jaro_winkler(key, known.name).max(strsim::jaro_winkler(key, tail))
    };
    KNOWN
        .iter()
        .filter(|known| likeness(known) >= ALIKE)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .map(|known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_words_and_numbers_are_read_in_one_spelling() {
        for (text, key, value) in [
            ("arena=off", "arena", "0"),
            (
                "session.intra_op.allow_spinning = TRUE",
                "session.intra_op.allow_spinning",
                "1",
            ),
            (
                "optimization_level=Extended",
                "optimization_level",
                "extended",
            ),
            ("dynamic_block_base=04", "dynamic_block_base", "4"),
            (
                "session.intra_op_thread_affinities=1;2",
                "session.intra_op_thread_affinities",
                "1;2",
            ),
        ] {
            let option = RuntimeOption::parse(text).unwrap();
            assert_eq!((option.key(), option.value()), (key, value), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        for (key, expected) in [
            ("optimisation_level", "optimization_level"),
            (
                "session.intra_op.allow_spining",
                "session.intra_op.allow_spinning",
            ),
            (
                "allow_released_opset_only",
                "session.allow_released_opsets_only",
            ),
            ("mem_pattern", "memory_pattern"),
        ] {
            let error = RuntimeOption::new(key, "1").unwrap_err();
            let OptionError::UnknownKey { nearest, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(nearest, Some(expected), "{key}");
        }
    }

    #[test]
    fn a_value_outside_the_domain_is_refused_with_the_domain() {
        for (text, expected) in [
            ("arena=2", "0 or 1"),
            (
                "optimization_level=3",
                "one of disable, basic, extended, layout, all",
            ),
            ("dynamic_block_base=-1", "a whole number"),
            ("optimization.disable_specified_optimizers=", "a text"),
        ] {
            let message = RuntimeOption::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(matches!(
            RuntimeOption::parse("arena"),
            Err(OptionError::NotAnAssignment { .. })
        ));
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<_> = RuntimeOption::keys().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
