//! Settings: from text (keys and values, rounds, compatibility profiles) to checked values.
//!
//! This module knows what a setting may be, not what follows from it; that is `plan`.

pub mod compat;
mod conf_text;
pub mod mlperf_conf;
pub mod rounds;
pub mod test_settings;

pub mod scenario_file;
