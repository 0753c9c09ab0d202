//! The command line: one file a verb. It alone wires the real parts together.

pub mod failure;
pub mod import;
pub mod interrupt;
pub mod plan;
pub mod run;
pub mod setup;
