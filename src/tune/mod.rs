//! Accuracy-driven tuning: a criterion, an objective and a space of settings -> the best model that meets the criterion.
//!
//! This module knows no model, no pictures and no ONNX Runtime, prints nothing and writes no file but the history.

pub mod criterion;
pub mod exit;
pub mod lpot;
pub mod names;
pub mod objective;
pub mod space;
pub mod strategy;
