//! A project together with its lake and the machine: what every command that does something needs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lagar_connectors::Stores;
use lagar_engine::{Engine, Limits};
use lagar_flow::{Clock, Error, Result, codes};
use lagar_lake::{Lake, Release};
use object_store::ObjectStore;
use uuid::Uuid;

use crate::{
    history::{History, Opened},
    project::Project,
};

/// Name of the file whose lock says that a scratch folder is in use.
const SCRATCH_LOCK: &str = "lock";
/// How the name of a scratch folder begins while it is made.
const UNNAMED: &str = "new-";
/// After so many seconds nobody makes it any more.
const UNNAMED_SECONDS_MAX: u64 = 3600;

/// A project with its lake opened.
pub struct Workplace {
    pub project: Arc<Project>,
    pub lake: Lake,
    pub clock: Arc<dyn Clock>,
}

impl Workplace {
    /// # Errors
    /// The lake's address is wrong or its store does not let us in.
    pub async fn open(project: Arc<Project>, clock: Arc<dyn Clock>) -> Result<Self> {
        if let Ok(state) = project.state_dir() {
            refuse_links(&state)?;
        }
        let env = project.env.clone();
        let lake = Lake::open(&project.lake_url, &project.dir, clock.clone(), &|name| env(name)).await?;
        Ok(Self { project, lake, clock })
    }

    /// The same with a lake of the caller's: tests put faults below it.
    pub fn with_lake(project: Arc<Project>, lake: Lake, clock: Arc<dyn Clock>) -> Self {
        Self { project, lake, clock }
    }

    /// Opens stores for sources that read from them.
    pub fn stores(&self) -> Arc<dyn Stores> {
        Arc::new(LakeStores(self.lake.clone()))
    }

    /// An engine within the project's limits, spilling below `scratch`.
    pub fn engine(&self, scratch: &Scratch) -> Result<Engine> {
        let limits = &self.project.limits;
        let limits = Limits {
            memory_bytes: limits.memory.unwrap_or_else(lagar_engine::default_memory_bytes),
            spill_bytes: limits.spill,
            spill_dir: scratch.path().join("spill"),
            threads: limits.threads,
        };
        Engine::with_null_tokens(limits, &self.project.null_tokens)
    }

    /// A folder of this process for spool and spill files: beside the project, else in the system's
    /// folder for temporary files.
    pub fn scratch(&self) -> Result<Scratch> {
        let beside = self.project.state_dir().and_then(|dir| Scratch::new(&dir.join("tmp")));
        // Whoever may only read the project can still query its lake.
        beside.or_else(|error| {
            Scratch::new(&std::env::temp_dir().join(format!("lagar-{}", self.project.name)))
                .map_err(|_| error)
        })
    }

    /// The record of runs; made new from the lake when it was lost.
    pub async fn history(&self) -> Result<History> {
        let (history, state) = History::open(&self.project.state_dir()?).await?;
        if let Opened::Damaged(aside) = &state {
            tracing::warn!(
                "the history was damaged: it is made again from the lake, the damaged file is {}",
                aside.display()
            );
        }
        if state.is_new() {
            history.rebuild(self.project.name.as_str(), crate::rebuild::runs_of(&self.lake).await?).await?;
        }
        Ok(history)
    }

    /// Makes the tables of release `number` current again, as a new release.
    ///
    /// # Errors
    /// There is no such release, or it is the current one.
    pub async fn rollback(&self, number: u64) -> Result<Release> {
        let releases = self.lake.releases().await?;
        let known = || releases.iter().map(|r| r.number.to_string()).collect::<Vec<_>>().join(", ");
        let Some(wanted) = releases.iter().find(|release| release.number == number) else {
            return Err(Error::new(codes::USAGE, format!("there is no release {number}"))
                .hint(format!("the releases are {}", known())));
        };
        let current = releases.last().map(|release| release.number);
        if current == Some(number) {
            return Err(Error::new(codes::USAGE, format!("release {number} is the current one")));
        }
        for (table, version) in &wanted.tables {
            if self.lake.table(table, Some(*version)).await?.is_none() {
                return Err(Error::new(
                    codes::TABLE_MISSING,
                    format!("version {version} of `{table}` is gone"),
                )
                .hint("it was vacuumed; roll back to a newer release"));
            }
        }
        let there = self.lake.check_predictors(wanted.predictors.iter()).await;
        there.map_err(|error| match error.code() == codes::TABLE_MISSING {
            true => error.hint("it was vacuumed; roll back to a newer release"),
            false => error,
        })?;
        let mut contents = wanted.contents();
        let last = releases.last().map(Release::contents).unwrap_or_default();
        // Whatever there is of a predictor now is passed over, also what was never good enough.
        for name in wanted.predictors.keys().chain(last.predictors.keys()).chain(last.set_aside.keys()) {
            if let Some(newest) = self.lake.newest_predictor_number(name).await? {
                contents.set_aside.insert(name.clone(), newest);
            }
        }
        let run_id = uuid::Uuid::now_v7().to_string();
        self.lake.publish(current, contents, &run_id, Some(number)).await
    }
}

/// Shares the lake's credentials and connections.
struct LakeStores(Lake);

impl Stores for LakeStores {
    fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
        self.0.open_object(url)
    }
}

/// A folder for files that nobody needs after this process. It is removed on drop; what a killed
/// process left is removed when the next one makes its own.
pub struct Scratch {
    path: PathBuf,
    /// Held as long as the folder is in use; the kernel lets go of it even after `kill -9`.
    _lock: File,
}

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let failed = |error: &std::io::Error| {
            Error::new(codes::SPILL, format!("no scratch folder can be made in {}", parent.display()))
                .caused_by(error)
                .hint("temporary files need a folder that can be written to")
        };
        fs::create_dir_all(parent).map_err(|e| failed(&e))?;
        sweep(parent);
        let name = Uuid::now_v7().to_string();
        // It gets its name only when its lock is held, so that no other process takes it for a dead one's.
        let unnamed = parent.join(format!("{UNNAMED}{name}"));
        fs::create_dir(&unnamed).map_err(|e| failed(&e))?;
        let lock = File::create(unnamed.join(SCRATCH_LOCK)).map_err(|e| failed(&e))?;
        lock.lock().map_err(|e| failed(&e))?;
        for folder in ["spool", "spill"] {
            fs::create_dir(unnamed.join(folder)).map_err(|e| failed(&e))?;
        }
        let path = parent.join(name);
        fs::rename(&unnamed, &path).map_err(|e| failed(&e))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where sources put files on their way to the lake.
    pub fn spool_dir(&self) -> PathBuf {
        self.path.join("spool")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A project may come from anybody. A link in the place of its state would have us write, and clean up,
/// wherever it leads.
fn refuse_links(state: &Path) -> Result<()> {
    let inside = fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_link = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    match std::iter::once(state.to_owned()).chain(inside).find(is_link) {
        None => Ok(()),
        Some(link) => Err(Error::new(
            codes::CONFIG,
            format!(
                "{} is a symbolic link, and what a project keeps on this machine lies behind none",
                link.display()
            ),
        )
        .hint("remove the link; if it was not you who made it, look where it leads")),
    }
}

/// Removes the folders of processes that are gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_dead(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the scratch folder belongs to nobody any more. What has no name of ours is somebody's.
fn is_dead(folder: &Path) -> bool {
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { return false };
    if name.parse::<Uuid>().is_ok() {
        return match File::open(folder.join(SCRATCH_LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Whoever held it was killed while it removed the folder.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
    }
    // Killed while it was made: that takes a moment, and the name says when it began.
    let unnamed = name.strip_prefix(UNNAMED).and_then(|name| name.parse::<Uuid>().ok());
    let began = unnamed.and_then(|name| name.get_timestamp()).map(|began| began.to_unix().0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    began.is_some_and(|began| began.saturating_add(UNNAMED_SECONDS_MAX) < now.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_leaves_nothing_for_long() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: String, has_lock: bool| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            if has_lock {
                File::create(folder.join(SCRATCH_LOCK)).unwrap();
            }
            folder
        };
        let long_ago = |seconds: u64| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let began = uuid::Timestamp::from_unix(uuid::NoContext, now.as_secs() - seconds, 0);
            format!("{UNNAMED}{}", Uuid::new_v7(began))
        };
        let dead = folder(Uuid::now_v7().to_string(), true);
        let half_removed = folder(Uuid::now_v7().to_string(), false);
        let half_made = folder(long_ago(UNNAMED_SECONDS_MAX + 60), true);
        let being_made = folder(long_ago(5), true);
        let foreign = folder("photos".to_owned(), true);
        let alive = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists(), "nobody holds its lock");
        assert!(!half_removed.exists(), "whoever had it let go of the lock and began to remove it");
        assert!(!half_made.exists(), "nobody makes it any more");
        assert!(being_made.exists(), "somebody may still make it");
        assert!(foreign.exists(), "it is none of ours");
        let other = Scratch::new(parent.path()).unwrap();
        assert!(alive.path().exists(), "its lock is held");
        let path = other.path().to_owned();
        drop(other);
        assert!(!path.exists());
    }
}
