//! Taking away what nobody can need any more.
//!
//! No writer is asked and none has to wait. What keeps it safe:
//!
//! 1. Nothing goes that is younger than the retention, by the store's own clock. What a writer has put
//!    and not named yet is younger, unless it sleeps for longer than that; then it looks whether its files
//!    are still there before it names them (`unnamed.rs`).
//! 2. What may go is listed first, and what is needed is read after that: a record that lands in between
//!    keeps its files.
//! 3. Needed is what a reader could have been told within the retention: every version that was a table's
//!    newest then, every release that was current then. Besides those the newest releases that were asked
//!    for stay, with all that they name.
//! 4. Releases go before the versions that only they name, and what is left is read again after that. A
//!    rollback to one that goes has either said so before (a *hold*, see `release.rs`), or finds it gone.
//!    Versions of predictors are marked before they go, for the same reason.
//! 5. Only names that Lagar makes are looked at. The Delta log is left alone, so that every version can
//!    still be described; those whose files went cannot be read.
//!
//! Killed anywhere it has removed only what may go, and the next one goes on.

mod places;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use lagar_flow::{Error, Name, Result, TableName, Zone, codes};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use serde::Serialize;

use crate::{
    Lake,
    release::{Release, is_hold, release_number},
    store::{DurableLocal, PROBES, UploadsError},
};

/// What may go.
#[derive(Debug, Clone)]
pub struct VacuumOptions {
    /// Nothing younger goes. It must be longer than any run and any query takes.
    pub older_than: Duration,
    /// So many of the newest releases stay; `None`: all.
    pub keep_releases: Option<usize>,
    /// Only what belongs to these, and no release; empty: everything.
    pub only: Vec<TableName>,
    /// Removes nothing, and says what would go.
    pub dry_run: bool,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A raw file that no load names.
    NoLoad,
    /// A data file that no version names which is kept.
    NoVersion,
    /// What a check or a load refused, kept to be looked at until now.
    Refused,
    /// A version of a predictor that no release names which is kept.
    NoRelease,
    /// A release that is neither among the newest nor was current of late.
    Release,
    /// What a broken-off process left behind: a file without a name, a hold, a probe.
    Leftover,
    /// Parts of an object that was never put together.
    Upload,
}

/// One thing that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// From the lake's root.
    pub object: String,
    /// `None`: the store does not tell.
    pub bytes: Option<u64>,
    pub written_at: DateTime<Utc>,
    pub why: Why,
}

/// What was found in one place of the lake.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Place {
    /// A table, a predictor (`predictors.x`), or `releases`, `probes`, `temporary files`, `unfinished uploads`.
    pub name: String,
    pub removed: Vec<Garbage>,
    /// Files that loads, versions or releases need.
    pub needed: Sum,
    /// Files that nothing names, and that are too young to say that nothing will.
    pub young: Sum,
}

/// So many files with so many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub files: u64,
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Place {
    /// The same where nothing goes after all.
    fn kept(mut self) -> Self {
        self.removed.drain(..).for_each(|garbage| self.needed.add(garbage.bytes.unwrap_or(0)));
        self
    }

    /// How much goes.
    pub fn removed_sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.removed.iter().for_each(|garbage| sum.add(garbage.bytes.unwrap_or(0)));
        sum
    }
}

/// The versions that releases name.
#[derive(Default)]
struct Pinned {
    tables: HashSet<(TableName, u64)>,
    predictors: HashSet<(Name, u64)>,
}

impl Pinned {
    fn by(releases: impl IntoIterator<Item = Release>) -> Self {
        let mut pinned = Self::default();
        for release in releases {
            pinned.tables.extend(release.tables);
            pinned.predictors.extend(release.predictors);
        }
        pinned
    }
}

/// What a vacuum did, or would do.
#[derive(Debug, Default)]
pub struct VacuumReport {
    pub places: Vec<Place>,
    /// Places that could not be looked at, or not be emptied: nothing is known to be wrong there but that.
    pub failed: Vec<(String, Error)>,
    /// What the store cannot do.
    pub notes: Vec<String>,
}

impl VacuumReport {
    fn take(&mut self, name: &str, result: Result<Place>) {
        match result {
            Ok(place) => self.places.push(place),
            Err(error) => self.failed.push((name.to_owned(), error)),
        }
    }

    /// How much goes.
    pub fn removed_sum(&self) -> Sum {
        self.places.iter().map(Place::removed_sum).fold(Sum::default(), |all, place| Sum {
            files: all.files + place.files,
            bytes: all.bytes + place.bytes,
        })
    }
}

impl Lake {
    /// Removes what nobody can need any more; see above. Of places that fail the others do not suffer.
    ///
    /// Fails if the store does not answer at all, with [`codes::TABLE_MISSING`] for a name in `only` that
    /// has no folder, and with [`codes::LAKE_CORRUPT`] if a release is damaged: what it needs is not known.
    pub async fn vacuum(&self, options: &VacuumOptions) -> Result<VacuumReport> {
        let cutoff = cutoff(self.store_time().await?, options.older_than);
        let mut report = VacuumReport::default();
        let folders = self.folders(&options.only).await?;
        let pinned = self.vacuum_releases(options, cutoff, &mut report).await?;
        for table in &folders {
            let place = match table.zone {
                Zone::Raw => self.raw_place(&table.name, cutoff).await,
                _ => self.table_place(table, &pinned.tables, cutoff).await,
            };
            let removed = self.remove_from(place, options.dry_run).await;
            report.take(&table.to_string(), removed);
        }
        if options.only.is_empty() {
            self.vacuum_predictors(&pinned.predictors, cutoff, options.dry_run, &mut report).await?;
            let probes = self.probes(cutoff).await;
            let removed = self.remove_from(probes, options.dry_run).await;
            report.take("probes", removed);
        }
        let left = self.temporary_files(&options.only, cutoff, options.dry_run).await;
        report.take("temporary files", left);
        self.vacuum_uploads(options, cutoff, &mut report).await;
        Ok(report)
    }

    /// What the store's clock shows. Ages are told by it alone: the clocks of writers may differ from it and
    /// from each other.
    async fn store_time(&self) -> Result<DateTime<Utc>> {
        let probe = Path::from(PROBES).join(uuid::Uuid::now_v7().to_string());
        let failed = |doing: &'static str| {
            let (root, probe) = (self.root(), &probe);
            move |e: object_store::Error| root.error(doing, probe, &e)
        };
        self.store().put(&probe, "{}".into()).await.map_err(failed("write"))?;
        let found = self.store().head(&probe).await.map_err(failed("read"))?;
        self.store().delete(&probe).await.map_err(failed("remove"))?;
        Ok(found.last_modified)
    }

    /// The folders of sources and tables, also of those that have nothing but leftovers.
    async fn folders(&self, only: &[TableName]) -> Result<Vec<TableName>> {
        let mut found = Vec::new();
        for zone in [Zone::Raw, Zone::Trusted, Zone::Refined] {
            let names = self.folders_in(zone).await?;
            found.extend(names.into_iter().map(|name| TableName::new(zone, name)));
        }
        if let Some(missing) = only.iter().find(|name| !found.contains(name)) {
            return Err(Error::new(codes::TABLE_MISSING, format!("the lake has no `{missing}`"))
                .hint("`lagar ls` lists the sources and tables"));
        }
        found.retain(|name| only.is_empty() || only.contains(name));
        Ok(found)
    }

    /// Takes away the versions of each predictor before the first that a kept release names, or that is young.
    async fn vacuum_predictors(
        &self,
        pinned: &HashSet<(Name, u64)>,
        cutoff: DateTime<Utc>,
        dry_run: bool,
        report: &mut VacuumReport,
    ) -> Result<()> {
        let mut going = Vec::new();
        for name in self.predictors().await? {
            match self.predictor_place(&name, pinned, cutoff).await {
                Ok((place, first)) if !place.removed.is_empty() && !dry_run => {
                    let intent = self.intend_to_forget(&name, first).await;
                    going.push((name, intent.map(|intent| (place, first, intent))));
                }
                other => report.take(&format!("predictors.{name}"), other.map(|(place, _)| place)),
            }
        }
        if going.is_empty() {
            return Ok(());
        }
        // Who makes an old version current again has either said so by now, or finds the intent.
        let named = self.named(cutoff).await.map(|named| Pinned::by(named).predictors);
        for (name, intent) in going {
            let place = match (intent, &named) {
                (Ok((place, first, intent)), Ok(named)) => {
                    let is_named = named.iter().any(|(other, number)| *other == name && *number < first);
                    let done = match is_named {
                        true => Ok(place.kept()),
                        false => self.forget_versions(&name, first, place).await,
                    };
                    self.withdrawn(intent, done).await
                }
                (Ok((place, _, intent)), Err(_)) => self.withdrawn(intent, Ok(place.kept())).await,
                (Err(error), _) => Err(error),
            };
            report.take(&format!("predictors.{name}"), place);
        }
        named.map(|_| ())
    }

    async fn forget_versions(&self, name: &Name, first: u64, place: Place) -> Result<Place> {
        self.forget_predictors(name, first).await?;
        let leftovers: Vec<Garbage> =
            place.removed.iter().filter(|garbage| garbage.why == Why::Leftover).cloned().collect();
        self.remove(&leftovers).await?;
        Ok(place)
    }

    /// `done`, and what was said before is taken back.
    async fn withdrawn(&self, intent: Path, done: Result<Place>) -> Result<Place> {
        match self.store().delete(&intent).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => done,
            Err(e) => done.and(Err(self.root().error("remove", &intent, &e))),
        }
    }

    /// What of a predictor may go, and its first version that stays. The newest does: it says what was tried
    /// already.
    async fn predictor_place(
        &self,
        name: &Name,
        pinned: &HashSet<(Name, u64)>,
        cutoff: DateTime<Utc>,
    ) -> Result<(Place, u64)> {
        let (objects, intents) = self.predictor_objects(name).await?;
        let stays = |(number, object): &&(u64, ObjectMeta)| {
            object.last_modified > cutoff || pinned.contains(&(name.clone(), *number))
        };
        let first = objects.iter().find(stays).or(objects.last()).map_or(0, |(number, _)| *number);
        let mut place = Place { name: format!("predictors.{name}"), ..Place::default() };
        for (number, object) in &objects {
            match *number < first {
                true => place.removed.push(garbage(object, Why::NoRelease)),
                false => place.needed.add(object.size),
            }
        }
        for (before, intent) in &intents {
            // Of a vacuum that was broken off, or that wants what is gone then.
            match *before <= first || intent.last_modified <= cutoff {
                true => place.removed.push(garbage(intent, Why::Leftover)),
                false => place.young.add(intent.size),
            }
        }
        Ok((place, first))
    }

    /// Takes old releases away; returns the versions that are pinned by those that stay.
    async fn vacuum_releases(
        &self,
        options: &VacuumOptions,
        cutoff: DateTime<Utc>,
        report: &mut VacuumReport,
    ) -> Result<Pinned> {
        let objects = self.release_objects().await?;
        let mut releases = self.releases().await?;
        let from = match options.keep_releases {
            Some(keep) if options.only.is_empty() => {
                let times: HashMap<u64, DateTime<Utc>> = objects
                    .iter()
                    .filter_map(|object| Some((release_number(&object.location)?, object.last_modified)))
                    .collect();
                let written: Vec<_> = releases.iter().map(|r| times.get(&r.number).copied()).collect();
                first_kept(&written, last_taken_back(&releases), keep, cutoff)
            }
            _ => 0,
        };
        let dropped: HashSet<u64> = releases.drain(..from).map(|release| release.number).collect();
        let mut place = Place { name: "releases".into(), ..Place::default() };
        for object in &objects {
            let number = release_number(&object.location);
            if number.is_some_and(|number| dropped.contains(&number)) {
                place.removed.push(garbage(object, Why::Release));
            } else if number.is_some() {
                place.needed.add(object.size);
            } else if options.only.is_empty() && is_hold(&object.location) {
                match object.last_modified > cutoff {
                    true => place.young.add(object.size),
                    false => place.removed.push(garbage(object, Why::Leftover)),
                }
            }
        }
        if !options.dry_run {
            if let (false, Some(first)) = (dropped.is_empty(), releases.first()) {
                self.forget_releases(first.number).await?;
            }
            let holds: Vec<Garbage> =
                place.removed.iter().filter(|garbage| garbage.why == Why::Leftover).cloned().collect();
            self.remove(&holds).await?;
        }
        report.places.push(place);
        let named = self.named(cutoff).await?;
        Ok(Pinned::by(named.into_iter().filter(|release| !dropped.contains(&release.number))))
    }

    /// What releases name, and what is about to be named by one.
    async fn named(&self, cutoff: DateTime<Utc>) -> Result<Vec<Release>> {
        // The holds first: one that is gone by then has become a release.
        let mut named = self.holds(cutoff).await?;
        named.extend(self.releases().await?);
        Ok(named)
    }

    async fn probes(&self, cutoff: DateTime<Utc>) -> Result<Place> {
        let listed = self.listed(&Path::from(PROBES)).await?.into_iter();
        Ok(sorted_out("probes".into(), listed, &HashSet::new(), cutoff, |_| Why::Leftover))
    }

    /// Files of a local lake that never got their names.
    async fn temporary_files(
        &self,
        only: &[TableName],
        cutoff: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Place> {
        let mut place = Place { name: "temporary files".into(), ..Place::default() };
        let Some(root) = self.local_path() else { return Ok(place) };
        let files = DurableLocal::new(root.to_path_buf());
        let folders: Vec<Path> = match only.is_empty() {
            true => ["raw", "trusted", "refined", "releases", PROBES].map(Path::from).to_vec(),
            false => only.iter().map(|name| self.table_folder(name)).collect(),
        };
        for folder in folders {
            let found = files.unnamed(&folder).await;
            for file in found.map_err(|e| self.root().error("list", &folder, &e))? {
                match file.last_modified > cutoff {
                    true => place.young.add(file.size),
                    false => {
                        if !dry_run {
                            let removed = files.remove_unnamed(&file.location).await;
                            removed.map_err(|e| self.root().error("remove", &file.location, &e))?;
                        }
                        place.removed.push(garbage(&file, Why::Leftover));
                    }
                }
            }
        }
        Ok(place)
    }

    /// Aborts uploads in parts that never ended: they are seen by nobody, and cost money.
    async fn vacuum_uploads(
        &self,
        options: &VacuumOptions,
        cutoff: DateTime<Utc>,
        report: &mut VacuumReport,
    ) {
        const NAME: &str = "unfinished uploads";
        if !self.url().starts_with("s3://") {
            return;
        }
        let listed = async {
            let (bucket, root) = self.s3().bucket(self.url())?;
            match bucket.uploads(&root).await {
                Ok(uploads) => Ok(Some((bucket, root, uploads))),
                Err(UploadsError::Refused(why)) => {
                    report.notes.push(format!(
                        "unfinished uploads in {} cannot be listed ({why}): let a lifecycle rule of the bucket abort them",
                        self.url()
                    ));
                    Ok(None)
                }
                Err(UploadsError::Failed(e)) => {
                    Err(self.root().error("list uploads in", &Path::default(), &e))
                }
            }
        };
        let (bucket, root, uploads) = match listed.await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return report.failed.push((NAME.to_owned(), error)),
        };
        let mut place = Place { name: NAME.to_owned(), ..Place::default() };
        for upload in uploads {
            let Some(object) = upload.object.prefix_match(&root).map(|parts| parts.collect::<Path>()) else {
                continue;
            };
            let wanted = options.only.is_empty()
                || options.only.iter().any(|name| object.prefix_matches(&self.table_folder(name)));
            if !wanted || !places::is_ours(&object) {
                continue;
            }
            if upload.begun > cutoff {
                place.young.add(0);
                continue;
            }
            if !options.dry_run
                && let Err(e) = bucket.abort(&upload).await
            {
                report.failed.push((NAME.to_owned(), self.root().error("abort the upload of", &object, &e)));
                continue;
            }
            place.removed.push(Garbage {
                object: object.to_string(),
                bytes: None,
                written_at: upload.begun,
                why: Why::Upload,
            });
        }
        report.places.push(place);
    }

    async fn remove_from(&self, place: Result<Place>, dry_run: bool) -> Result<Place> {
        let place = place?;
        if !dry_run {
            self.remove(&place.removed).await?;
        }
        Ok(place)
    }

    /// A note goes before the files that it names.
    async fn remove(&self, garbage: &[Garbage]) -> Result<()> {
        let (notes, files): (Vec<_>, Vec<_>) =
            garbage.iter().partition(|garbage| garbage.object.ends_with("refused.json"));
        for part in [notes, files] {
            let objects: Vec<_> = part.iter().map(|garbage| Path::parse(&garbage.object)).collect();
            let objects = stream::iter(objects).map(|path| path.map_err(object_store::Error::from)).boxed();
            let mut removed = self.store().delete_stream(objects);
            while let Some(result) = removed.next().await {
                match result {
                    // Another vacuum was first.
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(self.root().error("remove files in", &Path::default(), &e)),
                }
            }
        }
        Ok(())
    }
}

fn garbage(object: &ObjectMeta, why: Why) -> Garbage {
    Garbage {
        object: object.location.to_string(),
        bytes: Some(object.size),
        written_at: object.last_modified,
        why,
    }
}

/// Puts each object where it belongs: needed, too young, or away with it.
fn sorted_out(
    name: String,
    objects: impl Iterator<Item = ObjectMeta>,
    needed: &HashSet<Path>,
    cutoff: DateTime<Utc>,
    why: impl Fn(&Path) -> Why,
) -> Place {
    let mut place = Place { name, ..Place::default() };
    for object in objects {
        if needed.contains(&object.location) {
            place.needed.add(object.size);
        } else if object.last_modified > cutoff {
            place.young.add(object.size);
        } else {
            place.removed.push(garbage(&object, why(&object.location)));
        }
    }
    place
}

/// What was written at or before this moment is old.
fn cutoff(now: DateTime<Utc>, older_than: Duration) -> DateTime<Utc> {
    let older_than = TimeDelta::from_std(older_than).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(older_than).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// The place in the list of the oldest release that stays. `written`: when each was put, the oldest
/// first (`None`: after the list was made); `taken_back`: see [`last_taken_back`].
fn first_kept(
    written: &[Option<DateTime<Utc>>],
    taken_back: Option<usize>,
    keep: usize,
    cutoff: DateTime<Utc>,
) -> usize {
    let among_newest = written.len().saturating_sub(keep.max(1));
    // A release was current until the next one came.
    let young = written.iter().position(|at| at.is_none_or(|at| at > cutoff)).unwrap_or(written.len());
    among_newest.min(young.saturating_sub(1)).min(taken_back.unwrap_or(usize::MAX))
}

/// The place of the oldest release that must stay for the sake of rollbacks: one holds as long as it can be told that
/// what is newer was published already, and that is so for each table by itself.
fn last_taken_back(releases: &[Release]) -> Option<usize> {
    let (current, before) = releases.split_last()?;
    let newest_of = |table: &TableName| {
        let with = before
            .iter()
            .enumerate()
            .filter_map(|(place, release)| Some((*release.tables.get(table)?, place)));
        with.max()
    };
    let held = current.tables.iter().filter_map(|(table, version)| {
        newest_of(table).filter(|(newest, _)| newest > version).map(|(_, place)| place)
    });
    // Of predictors the release before a rollback tells.
    let rollback = current.rollback_of.and(before.iter().rposition(|release| release.rollback_of.is_none()));
    held.chain(rollback).min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn release(number: usize, is_rollback: bool, tables: serde_json::Value) -> Release {
        serde_json::from_value(serde_json::json!({
            "format_version": 2, "number": number, "id": uuid::Uuid::nil(), "run_id": "r",
            "created_at": "2024-01-01T00:00:00Z", "lagar_version": "0", "tables": tables, "predictors": {},
            "rollback_of": is_rollback.then_some(1),
        }))
        .unwrap()
    }

    #[test]
    fn what_was_taken_back_is_told_for_each_table_by_itself() {
        let last = |releases: &[(bool, serde_json::Value)]| {
            let releases = releases.iter().enumerate();
            let releases =
                releases.map(|(at, (rollback, tables))| release(at + 1, *rollback, tables.clone()));
            last_taken_back(&releases.collect::<Vec<_>>())
        };
        let of = |a: u64, b: u64| serde_json::json!({"trusted.a": a, "trusted.b": b});
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[(false, of(0, 0)), (false, of(1, 0)), (false, of(1, 1))]), None);
        let rolled_back = [(false, of(0, 0)), (false, of(1, 0)), (true, of(0, 0))];
        assert_eq!(last(&rolled_back), Some(1));
        // What is published behind the rollback does not end it.
        let gone_on = [&rolled_back[..], &[(false, of(0, 1))]].concat();
        assert_eq!(last(&gone_on), Some(1));
        let gone_on = [&gone_on[..], &[(true, of(0, 0)), (false, of(0, 2))]].concat();
        assert_eq!(last(&gone_on), Some(1), "of b there is something newer");
        let ended = [&gone_on[..], &[(false, of(2, 2))]].concat();
        assert_eq!(last(&ended), None);
        assert_eq!(last(&[(false, of(0, 0)), (true, of(0, 0)), (true, of(0, 0))]), Some(0));
    }

    #[test]
    fn which_releases_stay() {
        let cutoff = DateTime::UNIX_EPOCH;
        // Days before or after the cutoff; a rollback is marked.
        let first = |releases: &[(i64, bool)], keep| {
            let written: Vec<_> =
                releases.iter().map(|(day, _)| Some(cutoff + TimeDelta::days(*day))).collect();
            let releases = releases.iter().enumerate();
            let releases =
                releases.map(|(at, (_, rollback))| release(at + 1, *rollback, serde_json::json!({})));
            first_kept(&written, last_taken_back(&releases.collect::<Vec<_>>()), keep, cutoff)
        };
        let plain = |days: &[i64]| days.iter().map(|day| (*day, false)).collect::<Vec<_>>();
        assert_eq!(first(&[], 3), 0);
        assert_eq!(first(&plain(&[-9]), 1), 0, "the current one always stays");
        assert_eq!(first(&plain(&[-9, -8, -7]), 1), 2);
        assert_eq!(first(&plain(&[-9, -8, -7]), 0), 2);
        assert_eq!(first(&plain(&[-9, -8, -7]), 2), 1);
        assert_eq!(first(&plain(&[-9, -8, -7]), 9), 0);
        assert_eq!(first(&plain(&[-9, -8, 1]), 1), 1, "the second was current until the third came");
        assert_eq!(first(&plain(&[-9, -8, 0]), 1), 2, "as old as the cutoff is old");
        assert_eq!(first(&[(-9, false), (-8, false), (-7, true)], 1), 1, "what was taken back is told");
        assert_eq!(first(&[(-9, false), (-8, true), (-7, true)], 1), 0);
        assert_eq!(first(&[(-9, false), (-8, true), (-7, false)], 1), 2);
        assert_eq!(first_kept(&[Some(cutoff), Some(cutoff), None], None, 1, cutoff), 1);
    }

    #[test]
    fn no_age_is_too_great() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(cutoff(now, Duration::from_secs(60)), now - TimeDelta::seconds(60));
        assert_eq!(cutoff(now, Duration::MAX), DateTime::<Utc>::MIN_UTC);
    }
}
