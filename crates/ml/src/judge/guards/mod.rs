//! What makes a predictor look better than it is, or go stale unseen.

mod drift;
mod duplicates;
mod future;
mod leak;

pub use drift::{Distribution, Drift, DriftLevel};
pub use duplicates::{Duplicates, duplicates};
pub use future::{FUTURE_MARGIN, Future, future};
pub use leak::{Column, Leak, determines, leaks};
