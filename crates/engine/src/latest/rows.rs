//! The rows of one partition of the input, as they came, without those that are known to be dead.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::{
    array::{BooleanArray, RecordBatch},
    buffer::BooleanBuffer,
    compute::{BatchCoalescer, filter_record_batch},
    datatypes::SchemaRef,
};
use datafusion::{
    config::SpillCompression,
    error::Result as DfResult,
    execution::{
        SendableRecordBatchStream, SpillFile, memory_pool::MemoryReservation, runtime_env::RuntimeEnv,
    },
    physical_plan::{
        metrics::SpillMetrics,
        spill::{SpillManager, get_record_batch_memory_size},
    },
};
use futures::StreamExt;

/// The file is cut here, so that the disk has the space back while the rest is read.
const FILE_BYTES: u64 = 256 << 20;
/// So much of a partition is written as it is: it stays in the page cache, and to compress it would
/// take longer than to write it. What is behind that has to go over the disk.
const PLAIN_BYTES: u64 = 1 << 30;

/// A bit for each row of a partition; rows behind the last one that was set have none.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    pub fn set(&mut self, row: u64) {
        let (word, bit) = ((row / 64) as usize, 1 << (row % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub fn has(&self, row: u64) -> bool {
        self.words.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of `rows` from `first` are.
    fn count_in(&self, first: u64, rows: usize) -> usize {
        (first..first + rows as u64).filter(|row| self.has(*row)).count()
    }

    /// Whether any of `rows` from `first` is.
    fn any(&self, first: u64, rows: usize) -> bool {
        // Whole words first; what is left of them at both ends is looked at one by one.
        let end = first + rows as u64;
        let (from, to) = (first.next_multiple_of(64).min(end), end / 64 * 64);
        if from >= to {
            return (first..end).any(|row| self.has(row));
        }
        let known = self.words.len();
        let whole = &self.words[((from / 64) as usize).min(known)..((to / 64) as usize).min(known)];
        whole.iter().any(|word| *word != 0) || (first..from).chain(to..end).any(|row| self.has(row))
    }
}

/// Where a batch stands in its partition.
#[derive(Debug)]
struct Piece {
    first: u64,
    rows: usize,
    /// The rows that were dead when it was cut; they are not in the batch.
    left_out: Option<BooleanBuffer>,
}

impl Piece {
    /// The rows of the batch that are still alive; `None` if all of them are.
    fn alive(&self, dead: &Bits) -> Option<BooleanArray> {
        let alive = |row: usize| !dead.has(self.first + row as u64);
        match &self.left_out {
            None if !dead.any(self.first, self.rows) => None,
            None => Some(BooleanBuffer::collect_bool(self.rows, alive).into()),
            Some(left_out) => {
                let there: Vec<usize> = (0..self.rows).filter(|row| !left_out.value(*row)).collect();
                let alive = BooleanBuffer::collect_bool(there.len(), |index| alive(there[index]));
                (alive.count_set_bits() < alive.len()).then(|| alive.into())
            }
        }
    }

    /// [`Self::alive`] of a batch of which the others are left out from now on.
    fn cut(&mut self, dead: &Bits) -> Option<BooleanArray> {
        let alive = self.alive(dead)?;
        let left_out = BooleanBuffer::collect_bool(self.rows, |row| dead.has(self.first + row as u64));
        self.left_out = Some(left_out);
        Some(alive)
    }
}

fn filtered(batch: RecordBatch, alive: Option<BooleanArray>) -> DfResult<RecordBatch> {
    Ok(match alive {
        Some(alive) => filter_record_batch(&batch, &alive)?,
        None => batch,
    })
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is being written. DataFusion's own type for it has no public name.
pub(super) type Writer = Box<dyn FnMut(Option<&RecordBatch>) -> DfResult<Option<Arc<dyn SpillFile>>> + Send>;

struct Writing {
    append_or_finish: Writer,
    /// Of the values, before compression.
    bytes: u64,
    pieces: VecDeque<Piece>,
}

struct Written {
    manager: SpillManager,
    file: Arc<dyn SpillFile>,
    pieces: VecDeque<Piece>,
}

/// Opens a file of `manager`; called without a batch, it ends it.
pub(super) fn spill_writer(manager: &SpillManager, what: &str) -> DfResult<Writer> {
    let mut file = manager.create_in_progress_file(what)?;
    Ok(Box::new(move |batch| match batch {
        Some(batch) => file.append_batch(batch).map(|_| None),
        None => file.finish(),
    }))
}

/// All rows of one partition: first those in memory, then those in files.
pub(super) struct Rows {
    count: u64,
    kept: VecDeque<(Piece, RecordBatch)>,
    /// What the kept batches may take, and take.
    kept_bytes_max: usize,
    memory: MemoryReservation,
    /// How many were dead when the kept batches were last cut.
    dead_at_cut: u64,
    written: VecDeque<Written>,
    writing: Option<Writing>,
    bytes_written: u64,
    plain: SpillManager,
    packed: SpillManager,
}

impl Rows {
    /// No rows. `memory` is asked for what is kept in memory, at most `kept_bytes_max`; files are made in
    /// `runtime`, compressed with `compression` when they become many.
    pub fn new(
        schema: SchemaRef,
        memory: MemoryReservation,
        kept_bytes_max: usize,
        runtime: Arc<RuntimeEnv>,
        metrics: SpillMetrics,
        compression: SpillCompression,
    ) -> Self {
        let plain = SpillManager::new(runtime, metrics, schema);
        let packed = plain.clone().with_compression_type(compression);
        Self {
            count: 0,
            kept: VecDeque::new(),
            kept_bytes_max,
            memory,
            dead_at_cut: 0,
            written: VecDeque::new(),
            writing: None,
            bytes_written: 0,
            plain: plain.with_compression_type(SpillCompression::Uncompressed),
            packed,
        }
    }

    /// How many came so far; the number of the next one.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the rows of `batch`, of which `dead` may know some already. Nothing is copied or written while
    /// it is locked: others mark rows of this partition meanwhile.
    pub fn push(&mut self, batch: RecordBatch, dead: &Mutex<Bits>) -> DfResult<()> {
        let piece = Piece { first: self.count, rows: batch.num_rows(), left_out: None };
        self.count += batch.num_rows() as u64;
        let bytes = get_record_batch_memory_size(&batch);
        if self.has_room(bytes, dead)? {
            self.kept.push_back((piece, batch));
            return Ok(());
        }
        self.write(piece, batch, dead)
    }

    /// Whether `bytes` more may be kept in memory. Behind what was written nothing is: the order stays.
    fn has_room(&mut self, bytes: usize, dead: &Mutex<Bits>) -> DfResult<bool> {
        if self.writing.is_some() || !self.written.is_empty() {
            return Ok(false);
        }
        let fits = |rows: &Self| {
            rows.memory.size() + bytes <= rows.kept_bytes_max && rows.memory.try_grow(bytes).is_ok()
        };
        if fits(self) {
            return Ok(true);
        }
        // Worth the copying when a quarter of the rows is gone since the last time.
        let dead_now = locked(dead).count();
        let gone = dead_now - self.dead_at_cut;
        if gone == 0 || gone < self.kept.iter().map(|(_, batch)| batch.num_rows() as u64).sum::<u64>() / 4 {
            return Ok(false);
        }
        self.dead_at_cut = dead_now;
        self.cut_kept(dead)?;
        Ok(fits(self))
    }

    fn cut_kept(&mut self, dead: &Mutex<Bits>) -> DfResult<()> {
        let mut bytes = 0;
        for (mut piece, batch) in std::mem::take(&mut self.kept) {
            let alive = piece.cut(&locked(dead));
            let batch = filtered(batch, alive)?;
            if batch.num_rows() > 0 {
                bytes += get_record_batch_memory_size(&batch);
                self.kept.push_back((piece, batch));
            }
        }
        // Only ever less: what was kept is known.
        self.memory.shrink(self.memory.size().saturating_sub(bytes));
        Ok(())
    }

    fn write(&mut self, mut piece: Piece, batch: RecordBatch, dead: &Mutex<Bits>) -> DfResult<()> {
        // A copy costs more than a few rows in the file.
        let dead_now = locked(dead).count_in(piece.first, piece.rows);
        let alive = if dead_now > piece.rows / 4 { piece.cut(&locked(dead)) } else { None };
        let batch = filtered(batch, alive)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut writing = match self.writing.take() {
            Some(writing) => writing,
            None => Writing {
                append_or_finish: spill_writer(self.manager(), "rows of KeepLatest")?,
                bytes: 0,
                pieces: VecDeque::new(),
            },
        };
        (writing.append_or_finish)(Some(&batch))?;
        writing.bytes += get_record_batch_memory_size(&batch) as u64;
        writing.pieces.push_back(piece);
        let full = writing.bytes >= FILE_BYTES;
        self.writing = Some(writing);
        if full { self.end_file() } else { Ok(()) }
    }

    /// How the next file is written.
    fn manager(&self) -> &SpillManager {
        if self.bytes_written < PLAIN_BYTES { &self.plain } else { &self.packed }
    }

    fn end_file(&mut self) -> DfResult<()> {
        let manager = self.manager().clone();
        let Some(mut writing) = self.writing.take() else { return Ok(()) };
        self.bytes_written += writing.bytes;
        if let Some(file) = (writing.append_or_finish)(None)? {
            self.written.push_back(Written { manager, file, pieces: writing.pieces });
        }
        Ok(())
    }

    /// All of them have come; afterwards [`Survivors`] gives out those that are not dead.
    pub fn end(&mut self) -> DfResult<()> {
        self.end_file()
    }
}

/// Gives out the rows that are not dead, in the order in which they came.
pub(super) struct Survivors {
    rows: Rows,
    dead: Bits,
    reading: Option<(SendableRecordBatchStream, VecDeque<Piece>, Arc<dyn SpillFile>)>,
    /// Puts together what is left of batches that are mostly dead.
    small: BatchCoalescer,
    ended: bool,
}

impl Survivors {
    /// `batch_rows`: how many rows a batch should have that has to be put together.
    pub fn new(rows: Rows, dead: Bits, batch_rows: usize) -> Self {
        let small = BatchCoalescer::new(rows.plain.schema().clone(), batch_rows.max(1))
            .with_biggest_coalesce_batch_size(Some(batch_rows / 2));
        Self { rows, dead, reading: None, small, ended: false }
    }

    /// The next rows; `None` behind the last.
    pub async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.small.next_completed_batch() {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            match self.next_cut().await? {
                Some(batch) => self.small.push_batch(batch)?,
                None => {
                    self.small.finish_buffered_batch()?;
                    self.ended = true;
                }
            }
        }
    }

    /// What is left of the next batch, which may be nothing.
    async fn next_cut(&mut self) -> DfResult<Option<RecordBatch>> {
        let Some((piece, batch, bytes)) = self.next_kept().await? else { return Ok(None) };
        let batch = filtered(batch, piece.alive(&self.dead))?;
        self.rows.memory.shrink(bytes.min(self.rows.memory.size()));
        Ok(Some(batch))
    }

    /// The next batch as it was kept, with the bytes that are free once it is gone.
    async fn next_kept(&mut self) -> DfResult<Option<(Piece, RecordBatch, usize)>> {
        if let Some((piece, batch)) = self.rows.kept.pop_front() {
            let bytes = get_record_batch_memory_size(&batch);
            return Ok(Some((piece, batch, bytes)));
        }
        loop {
            if let Some((stream, pieces, _)) = &mut self.reading {
                match (pieces.pop_front(), stream.next().await) {
                    (Some(piece), Some(batch)) => return Ok(Some((piece, batch?, 0))),
                    (None, None) => self.reading = None,
                    _ => {
                        return datafusion::common::internal_err!(
                            "a spill file has other rows than were written"
                        );
                    }
                }
                continue;
            }
            let Some(Written { manager, file, pieces }) = self.rows.written.pop_front() else {
                return Ok(None);
            };
            let stream = manager.read_spill_as_stream(file.clone(), None)?;
            self.reading = Some((stream, pieces, file));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn bits_know_their_ranges() {
        let mut bits = Bits::default();
        for row in [3, 64, 200, 200] {
            bits.set(row);
        }
        assert_eq!(bits.count(), 3);
        for first in 0..260 {
            for rows in [0, 1, 2, 63, 64, 65, 130, 1000] {
                let slow = (first..first + rows as u64).any(|row| bits.has(row));
                assert_eq!(bits.any(first, rows), slow, "{first} {rows}");
            }
        }
        assert!(!bits.has(1 << 40));
    }
}
