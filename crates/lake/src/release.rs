//! Releases: which version of which table is current, published together.
//!
//! `releases/<20-digit number>.json`, numbered from 1. A rollback is a new release with the tables of
//! an old one: history is never rewritten. Only a vacuum takes the oldest away, and a rollback keeps it
//! from taking what it is about to publish again by a *hold*: an object that names the versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lagar_flow::{Error, Name, Result, TableName, codes};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Lake, lagar_version,
    store::{FORMAT_VERSION, FORMAT_VERSION_MAX, Records, number_in},
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
    /// Every predictor that readers see. A release that has any has format version 2: an older Lagar would
    /// publish the next one without them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub predictors: BTreeMap<Name, u64>,
    /// The release whose tables these are again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// The release that was current before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
}

/// What a release makes current.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    pub tables: BTreeMap<TableName, u64>,
    pub predictors: BTreeMap<Name, u64>,
}

impl From<BTreeMap<TableName, u64>> for Contents {
    fn from(tables: BTreeMap<TableName, u64>) -> Self {
        Self { tables, ..Self::default() }
    }
}

impl Release {
    pub fn contents(&self) -> Contents {
        Contents { tables: self.tables.clone(), predictors: self.predictors.clone() }
    }
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
        records.last().await
    }

    /// Makes `contents` the current versions. `base` is the release that was current when they were
    /// planned; if it is not any more, another run published in between, and this one fails with
    /// [`codes::LAKE_CONFLICT`].
    pub async fn publish(
        &self,
        base: Option<u64>,
        contents: impl Into<Contents>,
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
        let Contents { tables, predictors } = contents.into();
        let release = Release {
            format_version: if predictors.is_empty() { FORMAT_VERSION } else { FORMAT_VERSION_MAX },
            number: base.map_or(1, |n| n + 1),
            id: Uuid::now_v7(),
            run_id: run_id.to_owned(),
            created_at: self.clock().now(),
            lagar_version: lagar_version(),
            tables,
            predictors,
            rollback_of,
            previous: base,
        };
        let hold = match rollback_of {
            Some(number) => Some(self.hold(number, &release).await?),
            None => None,
        };
        let put = records.put(release.number, &release).await;
        if let Some(hold) = hold
            && let Err(error) = self.store().delete(&hold).await
        {
            tracing::warn!(%error, %hold, "a hold is left behind; a vacuum removes it when it is old");
        }
        put?;
        Ok(release)
    }

    /// Says which versions `release` is about to make current again. A vacuum takes release `number` away
    /// before it reads the holds: either it sees this one, or the release is gone here.
    async fn hold(&self, number: u64, release: &Release) -> Result<Path> {
        let hold = holds_folder().join(format!("{}.json", release.id));
        self.put_note(&hold, release).await?;
        let folder = releases_folder();
        let there = self.release_records(&folder).range().await?.is_some_and(|range| range.contains(&number));
        if there {
            return Ok(hold);
        }
        let _ = self.store().delete(&hold).await;
        Err(Error::new(codes::TABLE_MISSING, format!("release {number} was taken away by a vacuum"))
            .hint("roll back to a newer release"))
    }

    /// Everything in the folder of the releases.
    pub(crate) async fn release_objects(&self) -> Result<Vec<ObjectMeta>> {
        self.listed(&releases_folder()).await
    }

    /// The holds that are there now and were put after `since`.
    pub(crate) async fn holds(&self, since: DateTime<Utc>) -> Result<Vec<Release>> {
        let mut holds = Vec::new();
        for object in self.release_objects().await? {
            if is_hold(&object.location) && object.last_modified > since {
                holds.extend(self.note::<Release>(&object.location).await?);
            }
        }
        Ok(holds)
    }

    /// Takes the releases before `number` away. The versions that only they name can be vacuumed then.
    pub(crate) async fn forget_releases(&self, number: u64) -> Result<()> {
        let folder = releases_folder();
        self.release_records(&folder).forget(number).await
    }

    fn release_records<'a>(&'a self, folder: &'a Path) -> Records<'a> {
        Records { store: self.store(), root: self.root(), folder }
    }
}

fn releases_folder() -> Path {
    Path::from("releases")
}

fn holds_folder() -> Path {
    releases_folder().join("_holds")
}

pub(crate) fn is_hold(object: &Path) -> bool {
    object.prefix_matches(&holds_folder())
}

/// The number of the release that `object` is.
pub(crate) fn release_number(object: &Path) -> Option<u64> {
    number_in(&releases_folder(), object)
}
