//! detbench measures object detectors on CPUs: what they cost and what they find.
//!
//! Data flows one way:
//!
//! ```text
//! settings -> plan -> schedule -> issue -> drive -> [sut: infer, postprocess] -> record -> summary -> report
//!  text       Plan    Queries     Step     loop       Completions                Facts     Summary    files, tables
//! ```

pub mod accuracy;
pub mod annotate;
pub mod cli;
pub mod clock;
pub mod dataset;
pub mod drive;
pub mod fetch;
pub mod issue;
pub mod laboratory;
pub mod library;
pub mod metrics;
pub mod model;
pub mod npz;
pub mod peak;
pub mod placement;
pub mod plan;
pub mod postprocess;
pub mod quantise;
pub mod record;
pub mod report;
pub mod runtime;
pub mod scenario;
pub mod schedule;
pub mod settings;
pub mod strict_toml;
pub mod summary;
pub mod sut;
pub mod tensor;
pub mod tune;
pub mod units;
