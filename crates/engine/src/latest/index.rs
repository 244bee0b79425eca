//! For each key the row that is first so far, in memory or, by hash of the key, in files.

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{ArrayRef, AsArray, BinaryArray, RecordBatch, UInt64Array},
    buffer::BooleanBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type},
    row::Rows as RowBytes,
};
use datafusion::{
    common::{hash_utils::RandomState, resources_err},
    config::SpillCompression,
    error::Result as DfResult,
    execution::{SpillFile, memory_pool::MemoryReservation, runtime_env::RuntimeEnv},
    physical_plan::{metrics::SpillMetrics, spill::SpillManager},
};
use futures::StreamExt;

use super::rows::{Bits, Writer, locked, spill_writer};

/// Tables that are locked each by itself. Also the parts into which what does not fit is cut.
const SHARDS: usize = 16;
const SHARD_BITS: u32 = SHARDS.ilog2();
/// Cutting further cannot help: only equal hashes are left together.
const LEVELS_MAX: u32 = 32 / SHARD_BITS;
/// A table may always have so much: with less nothing would go on.
const TABLE_BYTES_MIN: usize = 128 << 10;
/// Rows of a batch in a file of the index.
const SPILL_ROWS: usize = 8192;

/// A row by its partition of the input and its number in it. Later rows are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    /// Partitions are fewer than 2¹⁶, rows of one fewer than 2⁴⁸.
    const ROW_BITS: u32 = 48;

    pub fn new(partition: usize, row: u64) -> Self {
        Self((partition as u64) << Self::ROW_BITS | row)
    }

    fn partition(self) -> usize {
        (self.0 >> Self::ROW_BITS) as usize
    }

    fn row(self) -> u64 {
        self.0 & ((1 << Self::ROW_BITS) - 1)
    }
}

/// The bytes of a key and of the order of its row; compared, they stand for the values.
#[derive(Clone, Copy)]
struct Row<'a> {
    hash: u64,
    key: &'a [u8],
    order: &'a [u8],
    place: Place,
}

/// All keys of all partitions, and which rows are dead.
pub(super) struct Index {
    shards: Vec<Mutex<Shard>>,
    dead: Vec<Mutex<Bits>>,
    memory: MemoryReservation,
    spill: SpillManager,
}

#[derive(Default)]
struct Shard {
    table: Table,
    file: Option<Writer>,
}

fn hash_of(key: &[u8]) -> u64 {
    RandomState::default().hash_one(key)
}

/// The part of the keys to which a hash belongs when they are cut for the `level`-th time, from 0.
fn part_of(hash: u64, level: u32) -> usize {
    (hash >> (level * SHARD_BITS)) as usize % SHARDS
}

impl Index {
    /// No keys yet, of so many partitions.
    pub fn new(
        partitions: usize,
        memory: MemoryReservation,
        runtime: Arc<RuntimeEnv>,
        metrics: SpillMetrics,
        compression: SpillCompression,
    ) -> Self {
        let spill = SpillManager::new(runtime, metrics, spilled_schema()).with_compression_type(compression);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            dead: (0..partitions).map(|_| Mutex::default()).collect(),
            memory,
            spill,
        }
    }

    /// The dead rows of a partition, as far as they are known.
    pub fn dead(&self, partition: usize) -> &Mutex<Bits> {
        &self.dead[partition]
    }

    /// Takes the rows of a batch, of which the first has the number `first`. Those that are `spared` meet no
    /// other: they are never dead.
    pub fn insert(
        &self,
        partition: usize,
        first: u64,
        keys: &RowBytes,
        order: Option<&RowBytes>,
        spared: Option<&BooleanBuffer>,
    ) -> DfResult<()> {
        let hashes: Vec<u64> = keys.iter().map(|key| hash_of(key.as_ref())).collect();
        let part = || Vec::with_capacity(hashes.len() / SHARDS * 2);
        let mut parts: Vec<Vec<u32>> = std::iter::repeat_with(part).take(SHARDS).collect();
        for (row, hash) in (0_u32..).zip(&hashes) {
            if spared.is_none_or(|spared| !spared.value(row as usize)) {
                parts[part_of(*hash, 0)].push(row);
            }
        }
        let mut beaten = Vec::new();
        // Each partition begins elsewhere, so that they seldom wait for one another.
        for turn in 0..SHARDS {
            let part = (turn + partition * (SHARDS / 2 + 1)) % SHARDS;
            let rows = parts[part].iter().map(|row| {
                let row = *row as usize;
                let order = order.map(|order| order.row(row));
                (hashes[row], keys.row(row), order, Place::new(partition, first + row as u64))
            });
            let bytes = rows
                .clone()
                .map(|(_, key, order, _)| key.as_ref().len() + order.map_or(0, |order| order.as_ref().len()));
            let (count, bytes) = (parts[part].len(), bytes.sum());
            let mut shard = locked(&self.shards[part]);
            if !shard.table.make_room(count, bytes, &self.memory) {
                self.flush(&mut shard)?;
                shard.table.make_room_anyhow(count, bytes, &self.memory);
            }
            for (hash, key, order, place) in rows {
                let order = order.as_ref().map_or(&[][..], |order| order.as_ref());
                beaten.extend(shard.table.offer(Row { hash, key: key.as_ref(), order, place }));
            }
        }
        self.bury(beaten);
        Ok(())
    }

    fn bury(&self, mut beaten: Vec<Place>) {
        beaten.sort_unstable();
        for rows in beaten.chunk_by(|one, other| one.partition() == other.partition()) {
            let mut dead = locked(&self.dead[rows[0].partition()]);
            for place in rows {
                dead.set(place.row());
            }
        }
    }

    fn flush(&self, shard: &mut Shard) -> DfResult<()> {
        if shard.table.entries.is_empty() {
            return Ok(());
        }
        let file = match &mut shard.file {
            Some(file) => file,
            none => none.insert(spill_writer(&self.spill, "keys of KeepLatest")?),
        };
        for batch in shard.table.batches(|_| true) {
            file(Some(&batch?))?;
        }
        shard.table.clear(&self.memory);
        Ok(())
    }

    /// All rows have come: decides about keys that went to files. Then all dead rows are known.
    pub async fn finish(&self) -> DfResult<()> {
        let mut files = Vec::new();
        for shard in &self.shards {
            let mut shard = locked(shard);
            if shard.file.is_some() {
                self.flush(&mut shard)?;
            }
            shard.table.clear(&self.memory);
            if let Some(mut file) = shard.file.take()
                && let Some(file) = file(None)?
            {
                files.push((file, 1));
            }
        }
        while let Some((file, level)) = files.pop() {
            files.extend(self.resolve(file, level).await?.into_iter().map(|part| (part, level + 1)));
        }
        Ok(())
    }

    /// Takes the keys of one file together; returns the parts of it if they do not fit into memory.
    async fn resolve(&self, file: Arc<dyn SpillFile>, level: u32) -> DfResult<Vec<Arc<dyn SpillFile>>> {
        let mut table = Table::default();
        let mut parts: Vec<Writer> = Vec::new();
        let mut stream = self.spill.read_spill_as_stream(file, None)?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let (keys, orders, places) = spilled_columns(&batch)?;
            let mut beaten = Vec::new();
            if !table.make_room(
                batch.num_rows(),
                keys.value_data().len() + orders.value_data().len(),
                &self.memory,
            ) {
                if level >= LEVELS_MAX {
                    return resources_err!("KeepLatest: keys of equal hashes do not fit into the memory");
                }
                self.cut(&mut table, &mut parts, level)?;
                table.make_room_anyhow(
                    batch.num_rows(),
                    keys.value_data().len() + orders.value_data().len(),
                    &self.memory,
                );
            }
            for row in 0..batch.num_rows() {
                let key = keys.value(row);
                let place = Place(places.value(row));
                beaten.extend(table.offer(Row { hash: hash_of(key), key, order: orders.value(row), place }));
            }
            self.bury(beaten);
        }
        if !parts.is_empty() {
            self.cut(&mut table, &mut parts, level)?;
        }
        table.clear(&self.memory);
        let ended = parts.into_iter().map(|mut part| part(None)).collect::<DfResult<Vec<_>>>()?;
        Ok(ended.into_iter().flatten().collect())
    }

    /// Writes the table into the parts of its keys, and empties it.
    fn cut(&self, table: &mut Table, parts: &mut Vec<Writer>, level: u32) -> DfResult<()> {
        while parts.len() < SHARDS {
            parts.push(spill_writer(&self.spill, "keys of KeepLatest")?);
        }
        for (part, file) in parts.iter_mut().enumerate() {
            for batch in table.batches(|hash| part_of(hash, level) == part) {
                file(Some(&batch?))?;
            }
        }
        table.clear(&self.memory);
        Ok(())
    }
}

fn spilled_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, false),
        Field::new("order", DataType::Binary, false),
        Field::new("place", DataType::UInt64, false),
    ]))
}

fn spilled_columns(batch: &RecordBatch) -> DfResult<(&BinaryArray, &BinaryArray, &UInt64Array)> {
    match batch.columns() {
        [keys, orders, places] => {
            Ok((keys.as_binary(), orders.as_binary(), places.as_primitive::<UInt64Type>()))
        }
        _ => datafusion::common::internal_err!("a file of keys has other columns"),
    }
}

/// A key, the order of its first row, and where that is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// In [`Table::bytes`]: the key, behind it the order.
    start: usize,
    key_bytes: u32,
    order_bytes: u32,
    place: Place,
}

/// A hash table from keys to their first rows, whose memory is asked for before it is taken.
#[derive(Default)]
struct Table {
    /// Half a hash and the number of the entry, from 1; 0 is free. A power of two of them.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Of `bytes`: replaced by longer ones.
    unused_bytes: usize,
    asked_bytes: usize,
}

impl Table {
    /// Room for so many keys more; false if there is none.
    fn make_room(&mut self, rows: usize, bytes: usize, memory: &MemoryReservation) -> bool {
        let wanted = self.wanted(rows, bytes);
        let needed = wanted.bytes().saturating_sub(self.asked_bytes);
        // Numbers of entries have 32 bits.
        if self.entries.len() + rows >= u32::MAX as usize {
            return false;
        }
        if needed > 0 {
            if wanted.bytes() <= TABLE_BYTES_MIN {
                memory.grow(needed);
            } else if memory.try_grow(needed).is_err() {
                return false;
            }
            self.asked_bytes += needed;
        }
        self.grow(wanted);
        true
    }

    /// [`Self::make_room`] in an empty table for a single batch, without which nothing would go on.
    fn make_room_anyhow(&mut self, rows: usize, bytes: usize, memory: &MemoryReservation) {
        let wanted = self.wanted(rows, bytes);
        let needed = wanted.bytes().saturating_sub(self.asked_bytes);
        memory.grow(needed);
        self.asked_bytes += needed;
        self.grow(wanted);
    }

    fn wanted(&self, rows: usize, bytes: usize) -> Sizes {
        let larger = |now: usize, needed: usize| if needed <= now { now } else { needed.max(now + now / 2) };
        let entries = larger(self.entries.capacity(), self.entries.len() + rows);
        // At most three quarters of the slots are in use.
        let slots = ((self.entries.len() + rows) * 4 / 3 + 1).next_power_of_two().max(self.slots.len());
        Sizes { slots, entries, bytes: larger(self.bytes.capacity(), self.bytes.len() + bytes) }
    }

    // Slots are written, not only asked for as zeros: each page would be met twice, when it is read and when it is written.
    #[expect(clippy::slow_vector_initialization)]
    fn grow(&mut self, wanted: Sizes) {
        self.entries.reserve_exact(wanted.entries - self.entries.len());
        self.bytes.reserve_exact(wanted.bytes - self.bytes.len());
        if wanted.slots > self.slots.len() {
            let mut slots = Vec::with_capacity(wanted.slots);
            slots.resize(wanted.slots, 0);
            let old = std::mem::replace(&mut self.slots, slots);
            for slot in old.into_iter().filter(|slot| *slot != 0) {
                let mut at = self.first_slot(slot);
                while self.slots[at] != 0 {
                    at = (at + 1) & (self.slots.len() - 1);
                }
                self.slots[at] = slot;
            }
        }
    }

    /// The slots are found by the upper half of the hash, the parts by the lower one.
    fn first_slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// Returns the row that is beaten: this one, or the one that was first until now. There must be room.
    fn offer(&mut self, row: Row<'_>) -> Option<Place> {
        let mut at = self.first_slot(row.hash);
        let upper = row.hash & !u64::from(u32::MAX);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                let start = self.append(row);
                self.entries.push(Entry {
                    start,
                    key_bytes: row.key.len() as u32,
                    order_bytes: row.order.len() as u32,
                    place: row.place,
                });
                self.slots[at] = upper | self.entries.len() as u64;
                return None;
            }
            let index = (slot & u64::from(u32::MAX)) as usize - 1;
            if slot & !u64::from(u32::MAX) == upper && self.key(&self.entries[index]) == row.key {
                return Some(self.meet(index, row));
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn append(&mut self, row: Row<'_>) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row.key);
        self.bytes.extend_from_slice(row.order);
        start
    }

    /// Two rows of one key: the first in order stays, of equal ones the later.
    fn meet(&mut self, index: usize, row: Row<'_>) -> Place {
        let entry = self.entries[index];
        let order = self.order(&entry);
        if (order, row.place) <= (row.order, entry.place) {
            return row.place;
        }
        let start = if row.order.len() <= order.len() {
            let at = entry.start + entry.key_bytes as usize;
            self.unused_bytes += order.len() - row.order.len();
            self.bytes[at..at + row.order.len()].copy_from_slice(row.order);
            entry.start
        } else {
            self.unused_bytes += (entry.key_bytes + entry.order_bytes) as usize;
            self.append(row)
        };
        let order_bytes = row.order.len() as u32;
        self.entries[index] = Entry { start, order_bytes, place: row.place, ..entry };
        if self.unused_bytes > self.bytes.len() / 2 {
            self.pack();
        }
        entry.place
    }

    /// Leaves out the bytes that nothing refers to.
    fn pack(&mut self) {
        let mut packed = Vec::with_capacity(self.bytes.capacity());
        for entry in &mut self.entries {
            let start = packed.len();
            let end = entry.start + (entry.key_bytes + entry.order_bytes) as usize;
            packed.extend_from_slice(&self.bytes[entry.start..end]);
            entry.start = start;
        }
        self.bytes = packed;
        self.unused_bytes = 0;
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start..][..entry.key_bytes as usize]
    }

    fn order(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start + entry.key_bytes as usize..][..entry.order_bytes as usize]
    }

    /// The entries whose hash is wanted, for a file.
    fn batches(&self, wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = DfResult<RecordBatch>> {
        let wanted: Vec<&Entry> =
            self.entries.iter().filter(|entry| wanted(hash_of(self.key(entry)))).collect();
        let batches: Vec<Vec<Entry>> =
            wanted.chunks(SPILL_ROWS).map(|chunk| chunk.iter().map(|entry| **entry).collect()).collect();
        batches.into_iter().map(|entries| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(BinaryArray::from_iter_values(entries.iter().map(|entry| self.key(entry)))),
                Arc::new(BinaryArray::from_iter_values(entries.iter().map(|entry| self.order(entry)))),
                Arc::new(UInt64Array::from_iter_values(entries.iter().map(|entry| entry.place.0))),
            ];
            Ok(RecordBatch::try_new(spilled_schema(), columns)?)
        })
    }

    /// Forgets all keys and gives the memory back.
    fn clear(&mut self, memory: &MemoryReservation) {
        memory.shrink(self.asked_bytes);
        *self = Self::default();
    }
}

struct Sizes {
    slots: usize,
    entries: usize,
    bytes: usize,
}

impl Sizes {
    fn bytes(&self) -> usize {
        self.slots * size_of::<u64>() + self.entries * size_of::<Entry>() + self.bytes
    }
}
