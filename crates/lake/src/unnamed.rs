//! Objects that were put and that no record names yet.
//!
//! A vacuum takes such objects for left behind when they are old. A writer that slept for longer than
//! that (a machine that was suspended, a debugger) must not put a record that names what has gone.

use chrono::{DateTime, TimeDelta, Utc};
use lagar_flow::{Error, Result, codes};
use object_store::path::Path;

use crate::Lake;

/// Objects that wait for longer are looked at before they are named. Below the shortest retention that
/// `lagar table vacuum` accepts, and so long that ordinary runs never pay for it.
const LOOK_AFTER: TimeDelta = TimeDelta::minutes(30);

impl Lake {
    /// Makes sure that `objects`, put at those times, are there before a record names them.
    ///
    /// Fails with [`codes::LAKE_CORRUPT`] naming the first that has gone.
    pub(crate) async fn still_there(&self, objects: Vec<(Option<DateTime<Utc>>, Path)>) -> Result<()> {
        let now = self.clock().now();
        // A clock that was turned back says nothing about their age.
        let young = |at: DateTime<Utc>| at <= now && now - at < LOOK_AFTER;
        let old = objects.into_iter().filter(|(at, _)| !at.is_some_and(young)).map(|(_, object)| object);
        match self.first_gone(old.collect()).await? {
            None => Ok(()),
            Some(gone) => Err(Error::new(
                codes::LAKE_CORRUPT,
                format!("{} has gone before it was committed", self.root().name_of(&gone)),
            )
            .hint("a vacuum takes it for left behind when a run sleeps for so long; run again")),
        }
    }
}
