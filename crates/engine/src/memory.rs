//! How much memory and disk a run may take, and who took it.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::execution::{
    disk_manager::{DiskManagerBuilder, DiskManagerMode},
    memory_pool::{MemoryPool, TrackConsumersPool},
    runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
};
use lagar_flow::{Error, Result, codes};

use crate::shares::Shares;

/// What one run may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For sorts, joins and groups of all queries together. Batches on their way are not counted, so
    /// leave a third of the machine free.
    pub memory_bytes: u64,
    /// For spill files of all queries together.
    pub spill_bytes: u64,
    /// The folder of the spill files; it is created when it is missing.
    pub spill_dir: PathBuf,
    /// Partitions of a query that run at the same time.
    pub threads: usize,
}

impl Limits {
    /// The spill space that is allowed unless the project says otherwise: 20 GiB.
    pub const SPILL_BYTES_DEFAULT: u64 = 20 << 30;

    /// [`default_memory_bytes`], [`Self::SPILL_BYTES_DEFAULT`] and as many threads as the machine runs.
    pub fn detect(spill_dir: PathBuf) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            memory_bytes: default_memory_bytes(),
            spill_bytes: Self::SPILL_BYTES_DEFAULT,
            spill_dir,
            threads,
        }
    }

    pub(crate) fn pool_bytes(&self) -> usize {
        usize::try_from(self.memory_bytes).unwrap_or(usize::MAX)
    }

    /// What each of the partitions that run at once may have.
    fn partition_bytes(&self) -> usize {
        self.pool_bytes() / self.threads.max(1)
    }

    /// What a sort sets aside in every partition, to merge with what it spilled. It must not be most of a
    /// small budget.
    pub(crate) fn merge_bytes(&self) -> usize {
        (self.partition_bytes() / 16).min(MERGE_BYTES_MAX)
    }

    /// Rows of a batch: a merge holds some of every run, which in a small budget must be small.
    pub(crate) fn batch_rows(&self) -> usize {
        (self.partition_bytes() / BATCHES_HELD / ROW_BYTES).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX)
    }
}

/// Batches of one partition that should fit into memory at once, and the bytes of a row that is neither
/// narrow nor wide.
const BATCHES_HELD: usize = 64;
const ROW_BYTES: usize = 128;
const BATCH_ROWS_MIN: usize = 512;
/// DataFusion's own.
const BATCH_ROWS_MAX: usize = 8192;
/// DataFusion's own.
const MERGE_BYTES_MAX: usize = 10 << 20;

/// What remains for batches on their way, the allocator and the rest of the process.
const MEMORY_SHARE_PERCENT: u64 = 60;
/// Where neither a cgroup nor the kernel says how much memory there is.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;
/// The consumers that an out-of-memory error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// 60 % of the memory that this process may use: of the smallest limit of its cgroup (v2 or v1) and
/// the groups around it, or of the machine's memory. In bytes.
pub fn default_memory_bytes() -> u64 {
    available_bytes(Path::new("/")).unwrap_or(MEMORY_BYTES_UNKNOWN) / 100 * MEMORY_SHARE_PERCENT
}

/// The memory limit that the files under `root` (`/`, or a copy of the few files that matter) tell.
fn available_bytes(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        // `0::/path` is version 2, `5:memory:/path` version 1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => smallest_limit(&root.join("sys/fs/cgroup"), path, "memory.max"),
            other if other.split(',').any(|c| c == "memory") => {
                smallest_limit(&root.join("sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.chain(machine).min()
}

/// The smallest limit in `file` of the group at `path` and of all groups around it. Inside a
/// container the path may be the host's and lead nowhere; the mount itself is then the group.
fn smallest_limit(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let group = mount.join(path.trim_start_matches('/'));
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(mount))
        .filter_map(|folder| fs::read_to_string(folder.join(file)).ok())
        .filter_map(|text| text.trim().parse::<u64>().ok())
        .min()
}

/// One memory pool and one spill folder for everything that runs.
pub(crate) fn runtime(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    fs::create_dir_all(&limits.spill_dir).map_err(|error| {
        Error::new(
            codes::CONFIG,
            format!("the spill folder {} cannot be created", limits.spill_dir.display()),
        )
        .caused_by(&error)
    })?;
    let pool = Shares::new(limits.pool_bytes(), limits.merge_bytes());
    let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![limits.spill_dir.clone()]))
        .with_max_temp_directory_size(limits.spill_bytes);
    RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc().map_err(
        |error| {
            Error::new(
                codes::CONFIG,
                format!("the spill folder {} cannot be used", limits.spill_dir.display()),
            )
            .caused_by(&error)
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_smallest_group_around_the_process_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(available_bytes(root), None);
        write(root, "proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");
        assert_eq!(available_bytes(root), Some(16 << 20));
        write(root, "proc/self/cgroup", "0::/pod/task\n");
        write(root, "sys/fs/cgroup/pod/task/memory.max", "max\n");
        assert_eq!(available_bytes(root), Some(16 << 20));
        write(root, "sys/fs/cgroup/pod/memory.max", "8388608\n");
        assert_eq!(available_bytes(root), Some(8 << 20));
        write(root, "sys/fs/cgroup/pod/task/memory.max", "4194304\n");
        assert_eq!(available_bytes(root), Some(4 << 20));
    }

    #[test]
    fn version_1_and_a_path_of_the_host_work_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(root, "proc/meminfo", "MemTotal: 16384 kB\n");
        write(root, "proc/self/cgroup", "9:cpu:/x\n5:hugetlb,memory:/docker/abc\n");
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n");
        assert_eq!(available_bytes(root), Some(2 << 20));
        // What version 1 calls "no limit".
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(available_bytes(root), Some(16 << 20));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(default_memory_bytes() > 64 << 20);
    }
}
