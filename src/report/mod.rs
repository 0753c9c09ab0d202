//! Stage 8: one file for each output. Only this module and `cli` format or print.

mod decimal;
pub mod document;
pub mod folder;
pub mod intel;
pub mod mlperf;
pub mod peak;
pub mod raw;
pub mod table;
