//! `detbench run`.
pub mod args;
mod asks;
mod pictures;
mod seating;
mod subject;
