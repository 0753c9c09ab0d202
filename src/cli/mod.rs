//! The command line: one file a verb. It alone wires the real parts together.

pub mod import;
pub mod plan;
pub mod run;
pub mod setup;
