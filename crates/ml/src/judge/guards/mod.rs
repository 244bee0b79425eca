//! What makes a predictor look better than it is, or go stale unseen.

mod ahead;
mod drift;
mod duplicates;
mod future;
mod leak;

pub use ahead::{Ahead, Place, ahead};
pub use drift::{Distribution, Drift, DriftLevel};
pub use duplicates::{Duplicates, duplicates};
pub use future::{FUTURE_MARGIN, Future, Score, future};
pub use leak::{Column, Leak, determines, leaks};
