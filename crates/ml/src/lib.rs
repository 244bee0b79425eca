//! Predictors: what is learned from the rows of a table, judged, written down and asked again. The only crate
//! that knows linfa. It reads no tables: it gets rows.
//!
//! [`algorithm`] says what an algorithm is; [`algorithms`] has one file for each.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests may ask any library for what they compare with")
)]

pub mod algorithm;
pub mod algorithms;
pub mod card;
mod choice;
pub mod forecast;
pub mod frame;
pub mod judge;
pub mod judged;
mod math;
mod parallel;
pub mod predictor;
pub mod spec;
mod split;
mod target;
mod train;

pub use algorithm::{Entry, Fitted, Forecast, Output, Series, Target, Task, Training, algorithm};
pub use algorithms::ALGORITHMS;
pub use choice::{Learned, Verdict};
pub use forecast::Forecasts;
pub use judged::{Judged, JudgedOn};
pub use predictor::{Predictor, Question, Scorer};
pub use spec::Spec;
pub use train::{Lesson, train};
