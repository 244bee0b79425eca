//! Data of any size for benchmarks and tests: the same seed gives the same bytes on every machine.
//!
//! Everything is invented. Only the shapes, the shares of missing values and the kinds of dirt are
//! those of the systems that the sample projects stand for.

pub mod city311;
mod random;
pub mod shop;
mod text;

pub use random::Random;
