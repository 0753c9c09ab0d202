//! (see the crate documentation)

pub mod score;
