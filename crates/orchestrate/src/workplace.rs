//! A project together with its lake and the machine: what every command that does something needs.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
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
/// How often a scratch folder is made that another process takes for a dead one's before it is locked.
const SCRATCH_ATTEMPTS: u32 = 100;

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
            if let Some(numbers) = self.lake.predictor_numbers(name).await? {
                contents.set_aside.insert(name.clone(), *numbers.end());
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
        let mut attempt = 1;
        loop {
            match Self::make(parent.join(Uuid::now_v7().to_string())) {
                // Until its lock is held it looks like that of a dead process, and another one may remove it.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < SCRATCH_ATTEMPTS => {
                    attempt += 1
                }
                made => return made.map_err(|e| failed(&e)),
            }
        }
    }

    fn make(path: PathBuf) -> std::io::Result<Self> {
        fs::create_dir(&path)?;
        let lock = File::create(path.join(SCRATCH_LOCK))?;
        // Waits for one that is removing it.
        lock.lock()?;
        for folder in ["spool", "spill"] {
            fs::create_dir(path.join(folder))?;
        }
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

/// Removes the folders of processes that are gone, also of those that were killed while they made or removed theirs.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        // Only what has a name of ours: others keep files called `lock` too. A link is none of ours.
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.parse::<Uuid>().is_ok())
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_ours {
            continue;
        }
        // Where there is none it is made: whoever makes this folder just now waits for it, and makes another one.
        let lock = entry.path().join(SCRATCH_LOCK);
        let lock = File::open(&lock).or_else(|_| File::create_new(&lock));
        if let Ok(lock) = lock
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
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
        let dead = folder(Uuid::now_v7().to_string(), true);
        let half_made = folder(Uuid::now_v7().to_string(), false);
        let foreign = folder("photos".to_owned(), true);
        let alive = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists(), "nobody holds its lock");
        assert!(!half_made.exists(), "whoever made or removed it is gone");
        assert!(foreign.exists(), "it is none of ours");
        let other = Scratch::new(parent.path()).unwrap();
        assert!(alive.path().exists(), "its lock is held");
        let path = other.path().to_owned();
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn of_many_that_begin_at_once_each_has_its_folder() {
        let parent = tempfile::tempdir().unwrap();
        let all: Vec<Scratch> = std::thread::scope(|scope| {
            let make = || (0..50).map(|_| Scratch::new(parent.path()).unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|scratch| scratch.spool_dir().exists()));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), all.len());
    }
}
