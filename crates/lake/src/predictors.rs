//! Predictors: what was learned from tables, in numbered versions that are never changed.
//!
//! `refined/_predictors/<name>/<20-digit version>.json`, numbered from 1, put only if the number is free. A
//! folder that begins with `_` is skipped by Hive, Spark and Athena. A version is current when the current
//! release names it.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use lagar_flow::{Error, JsonText, Name, Result, TableName, codes};
use object_store::{ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Lake, lagar_version,
    store::{FORMAT_VERSION, Record, Records, intended, number_in},
};

/// A version of a predictor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictorVersion {
    pub format_version: u32,
    /// From 1, without a gap.
    pub number: u64,
    pub id: Uuid,
    pub run_id: String,
    pub created_at: DateTime<Utc>,
    pub lagar_version: String,
    /// Of all that it was made from: equal fingerprints are the same work.
    pub fingerprint: String,
    pub table: TableName,
    /// The version of `table` that it learned from.
    pub table_version: u64,
    /// Whether it was found good enough to become current with the release of its run.
    pub promoted: bool,
    /// The version that was current when that was decided.
    #[serde(default)]
    pub judged_beside: Option<u64>,
    /// What was learned; what is in it is not the lake's affair.
    pub predictor: JsonText,
}

/// A version that is about to be put.
#[derive(Debug, Clone)]
pub struct NewPredictor {
    pub name: Name,
    /// The newest version that was there when this one was planned.
    pub base: Option<u64>,
    pub run_id: String,
    pub fingerprint: String,
    pub table: TableName,
    pub table_version: u64,
    pub promoted: bool,
    pub judged_beside: Option<u64>,
    pub predictor: JsonText,
}

/// Objects with numbers.
type Numbered = Vec<(u64, ObjectMeta)>;

impl Record for PredictorVersion {
    fn format_version(&self) -> u32 {
        self.format_version
    }

    fn number(&self) -> u64 {
        self.number
    }
}

impl Lake {
    /// The predictors that have a version, by name.
    pub async fn predictors(&self) -> Result<Vec<Name>> {
        let folder = all_folder();
        let listing = self.store().list_with_delimiter(Some(&folder)).await;
        let folders = listing.map_err(|e| self.root().error("list", &folder, &e))?.common_prefixes;
        Ok(folders.iter().filter_map(|folder| folder.filename()?.parse().ok()).collect())
    }

    /// Version `number` of `name`.
    ///
    /// Fails with [`codes::LAKE_CORRUPT`] if it is missing or damaged, and with [`codes::LAKE_VERSION`] if a newer
    /// Lagar wrote it.
    pub async fn predictor(&self, name: &Name, number: u64) -> Result<PredictorVersion> {
        let folder = folder_of(name);
        self.predictor_records(&folder).read(number).await
    }

    /// The newest version of `name`, current or not; `None` before the first.
    pub async fn newest_predictor(&self, name: &Name) -> Result<Option<PredictorVersion>> {
        let folder = folder_of(name);
        self.predictor_records(&folder).last().await
    }

    /// The numbers of the versions of `name` that are there; `None` before the first. Nothing of them is read.
    pub async fn predictor_numbers(&self, name: &Name) -> Result<Option<RangeInclusive<u64>>> {
        let folder = folder_of(name);
        self.predictor_records(&folder).range().await
    }

    /// Puts the version after `base`; nobody sees it before a release names it.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] if another writer was first.
    pub async fn put_predictor(&self, new: NewPredictor) -> Result<PredictorVersion> {
        let version = PredictorVersion {
            format_version: FORMAT_VERSION,
            number: new.base.map_or(1, |base| base + 1),
            id: Uuid::now_v7(),
            run_id: new.run_id,
            created_at: self.clock().now(),
            lagar_version: lagar_version(),
            fingerprint: new.fingerprint,
            table: new.table,
            table_version: new.table_version,
            promoted: new.promoted,
            judged_beside: new.judged_beside,
            predictor: new.predictor,
        };
        let folder = folder_of(&new.name);
        self.predictor_records(&folder).put(version.number, &version).await?;
        Ok(version)
    }

    /// Says that the versions of `name` before `number` are about to go: no release may name them as long as the object
    /// that is returned is there.
    pub(crate) async fn intend_to_forget(&self, name: &Name, number: u64) -> Result<Path> {
        let folder = folder_of(name);
        self.predictor_records(&folder).intend(number).await
    }

    /// Takes the versions of `name` before `number` away.
    pub(crate) async fn forget_predictors(&self, name: &Name, number: u64) -> Result<()> {
        let folder = folder_of(name);
        self.predictor_records(&folder).forget(number).await
    }

    /// Whether version `number` of `name` is there and stays.
    pub(crate) async fn predictor_stays(&self, name: &Name, number: u64) -> Result<bool> {
        let folder = folder_of(name);
        self.predictor_records(&folder).stays(number).await
    }

    /// The versions of `name` that are there, with what the store says of their objects; and the versions before which
    /// vacuums said that all would go.
    pub(crate) async fn predictor_objects(&self, name: &Name) -> Result<(Numbered, Numbered)> {
        let folder = folder_of(name);
        let (mut versions, mut intents) = (Vec::new(), Vec::new());
        for object in self.listed(&folder).await? {
            if let Some(number) = number_in(&folder, &object.location) {
                versions.push((number, object));
            } else if let Some(before) = intended(&folder, &object.location) {
                intents.push((before, object));
            }
        }
        versions.sort_by_key(|(number, _)| *number);
        Ok((versions, intents))
    }

    /// Fails unless every version of `wanted` is there.
    pub async fn check_predictors<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a Name, &'a u64)>,
    ) -> Result<()> {
        for (name, number) in wanted {
            let folder = folder_of(name);
            let there = self.predictor_records(&folder).range().await?;
            if !there.is_some_and(|range| range.contains(number)) {
                let what = format!("version {number} of the predictor `{name}` is not there any more");
                return Err(Error::new(codes::TABLE_MISSING, what));
            }
        }
        Ok(())
    }

    fn predictor_records<'a>(&'a self, folder: &'a Path) -> Records<'a> {
        Records { store: self.store(), root: self.root(), folder }
    }
}

fn all_folder() -> Path {
    Path::from("refined").join("_predictors")
}

fn folder_of(name: &Name) -> Path {
    all_folder().join(name.as_str())
}
