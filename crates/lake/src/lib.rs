//! The lake: raw loads, tables and releases over any object store.
//!
//! Three kinds of commit, all made the same way: data objects are put under names that nobody else
//! can have, and become visible by one small record that is put last and only if its number is free
//! ([`store`]). A *load* makes raw files visible ([`raw`]), an entry of the Delta log makes a version
//! of a table visible ([`table`]), a *release* makes a set of table versions current, and with them those of
//! predictors ([`release`], [`predictors`]).
//! What no record names does not exist; a broken-off write leaves only such objects behind.

mod body;
mod checksums;
pub mod predictors;
pub mod raw;
pub mod refused;
pub mod release;
pub mod store;
pub mod table;
mod unnamed;
pub mod vacuum;

use std::{fmt, path::Path as FilePath, sync::Arc};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use lagar_flow::{Clock, Name, Result, TableName, Zone};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use uuid::{NoContext, Timestamp, Uuid};

pub use checksums::Checksums;
pub use predictors::{NewPredictor, PredictorVersion};
pub use raw::{
    LoadWindow, LoadWriter, Manifest, ManifestFile, Redriven, RejectRecord, newest_state, redriven,
};
pub use refused::{LeftOut, RefusedVersion};
pub use release::{Contents, Release};
pub use store::{Access, Deadlines, DurableLocal, Root, S3Settings, Trial, object_error, open_object};
pub use table::{
    Changed, Committed, Compaction, DataFile, MergedBy, Table, TableCommit, TableMeta, TableWriter,
    WriteOptions, column_name, delta_schema, may_share, partition_values,
};
pub use vacuum::{VacuumOptions, VacuumReport};

/// Private functions, for the fuzz targets.
#[doc(hidden)]
pub mod fuzzed {
    pub fn partition_folder(levels: &[(String, Option<String>)]) -> String {
        crate::table::partition_folder(&levels.to_vec())
    }
}

/// Folders looked into, or objects looked for, at once.
const LOOKS_AT_ONCE: usize = 16;

/// A lake. Clones share everything.
#[derive(Clone)]
pub struct Lake(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    root: Root,
    clock: Arc<dyn Clock>,
    s3: S3Settings,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({})", self.url())
    }
}

impl Lake {
    /// The lake at `url`: a folder (relative to `base`), a `file:` URL, `s3://bucket/prefix` or
    /// `s3a://…`. `env` answers for the environment variables of AWS. Nothing is read or created.
    ///
    /// Fails with [`lagar_flow::codes::LAKE_CONFIG`] for an address that cannot be one, and with
    /// [`lagar_flow::codes::CONFIG_LATER`] for `hdfs://`.
    pub async fn open(
        url: &str,
        base: &FilePath,
        clock: Arc<dyn Clock>,
        env: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Lake> {
        let s3 = S3Settings::from_env(env);
        let (store, root) = store::open(url, base, &s3)?;
        Ok(Self::build(store, root, clock, s3))
    }

    /// A lake over any store, whose object names start at the lake's root.
    pub fn with_store(store: Arc<dyn ObjectStore>, root: Root, clock: Arc<dyn Clock>) -> Lake {
        Self::build(store, root, clock, S3Settings::default())
    }

    fn build(store: Arc<dyn ObjectStore>, root: Root, clock: Arc<dyn Clock>, s3: S3Settings) -> Lake {
        let store = Arc::new(store::Guarded::new(store, Deadlines::default()));
        Lake(Arc::new(Inner { store, root, clock, s3 }))
    }

    /// The address to show: an absolute path or `s3://bucket/prefix`; no secret is in it.
    pub fn url(&self) -> &str {
        &self.0.root.url
    }

    /// The folder, when the lake is one.
    pub fn local_path(&self) -> Option<&FilePath> {
        self.0.root.local.as_deref()
    }

    /// The store, with object names starting at the lake's root and a deadline around every call.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.0.store
    }

    /// The store of another object address (`s3://…`), with the lake's credentials and connections, and the
    /// path inside it.
    pub fn open_object(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        self.0.s3.open_object(url)
    }

    /// Who gave the credentials for a lake in S3; `None` for one that needs none.
    pub async fn access(&self) -> Option<Result<Access>> {
        if !self.url().starts_with("s3://") {
            return None;
        }
        let access = self.0.s3.access().await;
        Some(access.map_err(|e| self.root().error("open", &Path::default(), &e)))
    }

    /// All sources that have a load, by name.
    pub async fn sources(&self) -> Result<Vec<Name>> {
        self.names_in(Zone::Raw, "_loads").await
    }

    /// All tables that have a version, by zone and name.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let mut tables = Vec::new();
        for zone in [Zone::Trusted, Zone::Refined] {
            let names = self.names_in(zone, "_delta_log").await?;
            tables.extend(names.into_iter().map(|name| TableName::new(zone, name)));
        }
        Ok(tables)
    }

    /// The names in `zone` with at least one object in their folder `mark`.
    async fn names_in(&self, zone: Zone, mark: &str) -> Result<Vec<Name>> {
        let folder = Path::from(zone.as_str());
        let named: Vec<(Name, Path)> = self
            .folders_in(zone)
            .await?
            .into_iter()
            .map(|name| (name.clone(), folder.clone().join(name.as_str()).join(mark)))
            .collect();
        stream::iter(named)
            .map(|(name, mark)| async move {
                let first = self.store().list(Some(&mark)).try_next().await;
                let first = first.map_err(|e| self.root().error("list", &mark, &e))?;
                Ok(first.map(|_| name))
            })
            .buffered(LOOKS_AT_ONCE)
            .try_filter_map(|name| async move { Ok(name) })
            .try_collect()
            .await
    }

    /// The names of the folders in `zone`, whatever is in them.
    async fn folders_in(&self, zone: Zone) -> Result<Vec<Name>> {
        let zone = Path::from(zone.as_str());
        let listing = self.store().list_with_delimiter(Some(&zone)).await;
        let folders = listing.map_err(|e| self.root().error("list", &zone, &e))?.common_prefixes;
        Ok(folders.iter().filter_map(|folder| folder.filename()?.parse().ok()).collect())
    }

    /// Everything below `folder`.
    async fn listed(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let listed = self.store().list(Some(folder)).try_collect().await;
        listed.map_err(|e| self.root().error("list", folder, &e))
    }

    /// The first of `objects` that is not there; `None` if all are.
    async fn first_gone(&self, objects: Vec<Path>) -> Result<Option<Path>> {
        let gone = stream::iter(objects)
            .map(|object| async move {
                match self.store().head(&object).await {
                    Ok(_) => Ok(None),
                    Err(object_store::Error::NotFound { .. }) => Ok(Some(object)),
                    Err(e) => Err(self.root().error("read", &object, &e)),
                }
            })
            .buffered(LOOKS_AT_ONCE)
            .try_filter_map(|gone| async move { Ok(gone) });
        std::pin::pin!(gone).try_next().await
    }

    fn root(&self) -> &Root {
        &self.0.root
    }

    fn s3(&self) -> &S3Settings {
        &self.0.s3
    }

    fn clock(&self) -> &dyn Clock {
        self.0.clock.as_ref()
    }
}

/// Sorts by time, as the clock shows it.
fn id_at(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
}

/// When an id was made, as the clock showed it then.
fn made_at(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// The version that stands in every record.
fn lagar_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
