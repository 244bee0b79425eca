//! Releases: which version of which table is current, published together.
//!
//! `releases/<20-digit number>.json`, numbered from 1. A rollback is a new release with the tables of
//! an old one: history is never rewritten.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lagar_flow::{Error, Result, TableName, codes};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Lake, lagar_version,
    store::{FORMAT_VERSION, Records},
};

/// The set of table versions that a run published together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub format_version: u32,
    /// From 1, without a gap.
    pub number: u64,
    pub id: Uuid,
    pub run_id: String,
    pub created_at: DateTime<Utc>,
    pub lagar_version: String,
    /// Every table that readers see, not only the changed ones.
    pub tables: BTreeMap<TableName, u64>,
    /// The release whose tables these are again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// The release that was current before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
}

impl Lake {
    /// All releases, the oldest first.
    pub async fn releases(&self) -> Result<Vec<Release>> {
        self.release_records(&releases_folder()).all().await
    }

    /// The newest release; `None` before the first.
    pub async fn current_release(&self) -> Result<Option<Release>> {
        let folder = releases_folder();
        let records = self.release_records(&folder);
        match records.newest().await? {
            Some(number) => Ok(Some(records.read(number).await?)),
            None => Ok(None),
        }
    }

    /// Makes `tables` the current versions. `base` is the release that was current when they were
    /// planned; if it is not any more, another run published in between, and this one fails with
    /// [`codes::LAKE_CONFLICT`].
    pub async fn publish(
        &self,
        base: Option<u64>,
        tables: BTreeMap<TableName, u64>,
        run_id: &str,
        rollback_of: Option<u64>,
    ) -> Result<Release> {
        let folder = releases_folder();
        let records = self.release_records(&folder);
        let current = records.newest().await?;
        if current != base {
            let say = |n: Option<u64>| n.map_or("none".to_owned(), |n| n.to_string());
            return Err(Error::new(
                codes::LAKE_CONFLICT,
                format!(
                    "another run published in between: the current release is {}, not {}",
                    say(current),
                    say(base)
                ),
            )
            .hint("run again: it starts from what the other one published"));
        }
        let release = Release {
            format_version: FORMAT_VERSION,
            number: base.map_or(1, |n| n + 1),
            id: Uuid::now_v7(),
            run_id: run_id.to_owned(),
            created_at: self.clock().now(),
            lagar_version: lagar_version(),
            tables,
            rollback_of,
            previous: base,
        };
        records.put(release.number, &release).await?;
        Ok(release)
    }

    fn release_records<'a>(&'a self, folder: &'a Path) -> Records<'a> {
        Records { store: self.store(), root: self.root(), folder }
    }
}

fn releases_folder() -> Path {
    Path::from("releases")
}
