//! What breaks things on purpose, for the tests of all crates.
//!
//! [`Battery`] counts the cases of a test of the reliability battery (`docs/reliability.md`), so that
//! `.ci/run` can print what was run. [`FaultStore`] is an object store whose n-th call goes wrong as a
//! [`Plan`] says. [`Ledger`] asks another program than Lagar what lies in a lake. Nothing here knows our
//! other crates, and no product crate depends on this one.

mod battery;
mod corpus;
mod faults;
pub mod http;
mod ledger;
mod peer;
mod plan;
mod proxy;
mod service;

pub use battery::{Battery, env_number, long, replay, seeds};
pub use corpus::replay_corpus;
pub use faults::{FaultStore, with_wrong_bit};
pub use ledger::{Ledger, dump};
pub use peer::Peer;
pub use plan::{Fault, Op, PASSING, Plan, clock_jump, mix};
pub use proxy::{Break, Proxy};
pub use service::Service;
