//! The memory pool of a run: who may have how much of it.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use datafusion::{
    common::DataFusionError,
    error::Result as DfResult,
    execution::memory_pool::{
        FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
    },
};

/// How DataFusion calls what merges the sorted runs of one partition,
const MERGE: &str = "ExternalSorterMerge";
/// and what merges the sorted partitions.
const LAST_MERGE: &str = "SortPreservingMergeExec";

/// DataFusion's fair pool, in which the merges of sorted runs share as well.
///
/// A merge reads as many runs at once as it finds memory for, and does with fewer where it finds none. In a
/// pool that gives to whoever comes first, that of one partition takes all, and the sorts that still read
/// fail for want of a single batch. So all merges together may have three quarters, each an equal part.
///
/// What merges the partitions cannot spill or do with less, counts a row that is cut out of a large batch as
/// the whole batch, and all below it waits for it. It may overdraw the pool by a quarter.
#[derive(Debug)]
pub(crate) struct Shares {
    pool: FairSpillPool,
    bytes: usize,
    /// What a merge may always have: a sort sets as much aside for it.
    least: usize,
    merges: AtomicUsize,
}

impl Shares {
    pub fn new(bytes: usize, least: usize) -> Self {
        Self { pool: FairSpillPool::new(bytes), bytes, least, merges: AtomicUsize::new(0) }
    }

    /// What one merge may have.
    fn of_merge(&self) -> usize {
        let merges = self.merges.load(Ordering::Relaxed).max(1);
        (self.bytes / 4 * 3 / merges).max(self.least)
    }
}

fn is_merge(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(MERGE)
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pool)
    }
}

impl MemoryPool for Shares {
    fn name(&self) -> &str {
        "shares"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if is_merge(consumer) {
            self.merges.fetch_add(1, Ordering::Relaxed);
        }
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if is_merge(consumer) {
            self.merges.fetch_sub(1, Ordering::Relaxed);
        }
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let (has, most) = (reservation.size(), self.of_merge());
        if is_merge(reservation.consumer()) && has.saturating_add(additional) > most {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "Failed to allocate additional {} for {} with {} already allocated for this reservation - \
                 {} remain available for the total memory pool: {self}",
                human_readable_size(additional),
                reservation.consumer().name(),
                human_readable_size(has),
                human_readable_size(most.saturating_sub(has)),
            )));
        }
        let granted = self.pool.try_grow(reservation, additional);
        let is_last = reservation.consumer().name().starts_with(LAST_MERGE);
        if granted.is_err() && is_last && self.reserved().saturating_add(additional) <= self.bytes / 4 * 5 {
            self.pool.grow(reservation, additional);
            return Ok(());
        }
        granted
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{Place, shown};

    #[test]
    fn merges_share_and_the_last_one_may_overdraw() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Shares::new(1000, 10));
        let of = |name: &str| MemoryConsumer::new(name).register(&pool);
        let (first, second) = (of("ExternalSorterMerge[0]"), of("ExternalSorterMerge[1]"));
        assert!(first.try_grow(376).is_err(), "it is more than half of three quarters");
        first.try_grow(375).unwrap();
        second.try_grow(375).unwrap();
        let other = of("HashJoinInput");
        assert!(other.try_grow(251).is_err(), "there is no more");
        other.try_grow(250).unwrap();
        let last = of("SortPreservingMergeExec[0]");
        last.try_grow(250).unwrap();
        assert!(last.try_grow(1).is_err(), "a quarter over");
        drop((first, other, last));
        assert!(second.try_grow(375).is_ok(), "it is alone now");
        drop(second);
        assert_eq!(pool.reserved(), 0);
    }

    /// Fails when DataFusion calls its operators otherwise, or counts in another way.
    #[tokio::test]
    async fn sorts_in_little_memory_end() {
        for (memory, width) in [(12 << 20, 20), (16 << 20, 100)] {
            let place = Place::with(memory, 1 << 30, 2).await;
            let sql = format!(
                "SELECT md5(CAST(value AS TEXT)) || repeat('-', {width}) AS t FROM generate_series(1, 100000) ORDER BY t"
            );
            let sorted = shown(&place.engine.session().collect(&sql).await.unwrap());
            assert!(sorted.len() == 100_000 && sorted.is_sorted(), "{memory} bytes");
        }
    }
}
