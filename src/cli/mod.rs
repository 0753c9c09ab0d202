//! (see the crate documentation)

pub mod import;
