//! (see the crate documentation)

pub mod setup;
