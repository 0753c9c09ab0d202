//! The command line: one file for each verb.

pub mod plan;
