//! Accuracy-driven tuning: a criterion, an objective and a space of settings -> the best model that meets the criterion.
//!
//! ```text
//! space + network -> strategy -> tuning (trial, judge, keep, history) -> outcome
//!  Allowed            asks         through an Evaluator
//! ```
//!
//! This module knows no pictures and no ONNX Runtime, prints nothing and writes no file but the history. What makes and
//! measures models is behind [`tuning::Evaluator`], and time is a [`crate::clock::Clock`], so that every rule is proven on
//! virtual time with models that are made up.

pub mod allowed;
pub mod criterion;
pub mod exit;
pub mod figures;
pub mod history;
pub mod lpot;
pub mod names;
pub mod network;
pub mod objective;
pub mod resample;
pub mod settings;
pub mod space;
pub mod strategies;
pub mod strategy;
pub mod tuning;

#[cfg(test)]
mod tests;
