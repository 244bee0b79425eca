//! Releases: which version of which table is current, published together.
//!
//! `releases/<20-digit number>.json`, numbered from 1. A rollback is a new release with the tables of
//! an old one: history is never rewritten. Only a vacuum takes the oldest away, and whoever publishes again
//! what is old keeps it from taking that by a *hold*: an object that names the versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lagar_flow::{Error, Name, Result, TableName, codes};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Lake, lagar_version,
    store::{FORMAT_VERSION, FORMAT_VERSION_MAX, Record, Records, number_in},
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
    /// Of predictors whose current version a person chose: the newest version that was passed over for it. It
    /// does not become current by itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_aside: BTreeMap<Name, u64>,
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
    /// See [`Release::set_aside`].
    pub set_aside: BTreeMap<Name, u64>,
}

impl From<BTreeMap<TableName, u64>> for Contents {
    fn from(tables: BTreeMap<TableName, u64>) -> Self {
        Self { tables, ..Self::default() }
    }
}

impl Release {
    /// Whether a person put another version of `name`, or none, in the place of this one.
    pub fn sets_aside(&self, name: &Name, version: u64) -> bool {
        self.set_aside.get(name).is_some_and(|last| version <= *last)
    }

    pub fn contents(&self) -> Contents {
        Contents {
            tables: self.tables.clone(),
            predictors: self.predictors.clone(),
            set_aside: self.set_aside.clone(),
        }
    }
}

impl Record for Release {
    fn format_version(&self) -> u32 {
        self.format_version
    }

    fn number(&self) -> u64 {
        self.number
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
        let Contents { tables, predictors, set_aside } = contents.into();
        let release = Release {
            format_version: match predictors.is_empty() && set_aside.is_empty() {
                true => FORMAT_VERSION,
                false => FORMAT_VERSION_MAX,
            },
            number: base.map_or(1, |n| n + 1),
            id: Uuid::now_v7(),
            run_id: run_id.to_owned(),
            created_at: self.clock().now(),
            lagar_version: lagar_version(),
            tables,
            predictors,
            set_aside,
            rollback_of,
            previous: base,
        };
        let other = self.other_predictors(&release).await?;
        let hold = match rollback_of.is_some() || !other.is_empty() {
            true => Some(self.hold(&release, &other).await?),
            false => None,
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

    /// The predictors of which `release` names another version than the one before it.
    async fn other_predictors(&self, release: &Release) -> Result<Vec<(Name, u64)>> {
        if release.predictors.is_empty() {
            return Ok(Vec::new());
        }
        let folder = releases_folder();
        let before = match release.previous {
            Some(number) => self.release_records(&folder).read::<Release>(number).await?.predictors,
            None => BTreeMap::new(),
        };
        let other = release.predictors.iter().filter(|(name, number)| before.get(*name) != Some(*number));
        Ok(other.map(|(name, number)| (name.clone(), *number)).collect())
    }

    /// Says which versions `release` is about to make current. A vacuum takes an old release away, and marks
    /// versions of predictors, before it reads the holds: either it sees this one, or this sees what it did.
    async fn hold(&self, release: &Release, predictors: &[(Name, u64)]) -> Result<Path> {
        let hold = holds_folder().join(format!("{}.json", release.id));
        self.put_note(&hold, release).await?;
        if let Err(error) = self.stays(release.rollback_of, predictors).await {
            let _ = self.store().delete(&hold).await;
            return Err(error);
        }
        Ok(hold)
    }

    /// Fails if a vacuum has taken away what is about to be named again, or has begun to.
    async fn stays(&self, release: Option<u64>, predictors: &[(Name, u64)]) -> Result<()> {
        let folder = releases_folder();
        if let Some(number) = release
            && !self.release_records(&folder).range().await?.is_some_and(|range| range.contains(&number))
        {
            let what = format!("release {number} was taken away by a vacuum");
            return Err(Error::new(codes::TABLE_MISSING, what).hint("roll back to a newer release"));
        }
        for (name, number) in predictors {
            if !self.predictor_stays(name, *number).await? {
                let what = format!(
                    "version {number} of the predictor `{name}` was taken away by a vacuum, or one is at it"
                );
                return Err(Error::new(codes::TABLE_MISSING, what).hint(
                    "take a newer version; if it is still listed, a vacuum was broken off: `lagar table vacuum` ends that",
                ));
            }
        }
        Ok(())
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
