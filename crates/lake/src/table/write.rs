//! Rows to data files that nobody sees yet.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, RecordBatch},
    datatypes::SchemaRef,
};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use lagar_flow::{Error, Result, TableName};
use object_store::path::Path;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{
    DataFile, delta_schema,
    encode::Encoder,
    partition::{Partition, Splitter, folder_of},
    stats::stats_json,
};
use crate::{Lake, checksums::Summing, id_at, store::Upload};

/// Rows and bytes that go to the encoder at once: enough to share among threads, little to keep.
const CHUNK_ROWS: usize = 1 << 16;
const CHUNK_BYTES: usize = 8 << 20;
/// What a writer may hold in memory over all its open files.
const MEMORY_BYTES: usize = 256 << 20;
/// Each open file of a local lake is a file handle.
const OPEN_FILES_MAX: usize = 256;
const FINISH_AT_ONCE: usize = 4;

/// How to write a table's files.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// A file is ended when it has about so many bytes.
    pub target_file_bytes: u64,
    /// Stands in the files' metadata.
    pub run_id: String,
    /// Threads that encode.
    pub threads: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { target_file_bytes: 256 << 20, run_id: String::new(), threads }
    }
}

impl Lake {
    /// Starts writing rows for the table `name`; nothing is visible before
    /// [`Lake::commit_table`]. `schema` is the query's; the table gets [`delta_schema`] of it.
    ///
    /// Rows that come sorted by `partition_by` make the biggest files with the least memory.
    ///
    /// Fails with [`lagar_flow::codes::SQL_PLAN`] for columns that a table cannot hold, and with
    /// [`lagar_flow::codes::FRONT_MATTER`] for partition columns that do not exist or do not fit.
    pub fn begin_table(
        &self,
        name: &TableName,
        schema: SchemaRef,
        partition_by: &[String],
        options: WriteOptions,
    ) -> Result<TableWriter> {
        let schema = delta_schema(&schema)?;
        Ok(TableWriter {
            lake: self.clone(),
            folder: self.table_folder(name),
            splitter: Splitter::new(&schema, partition_by)?,
            columns: schema.fields().len(),
            options: Arc::new(options),
            open: HashMap::new(),
            done: Vec::new(),
            clock: 0,
        })
    }
}

/// Writes the files of one version of a table. Dropping it gives them up.
pub struct TableWriter {
    lake: Lake,
    folder: Path,
    splitter: Splitter,
    columns: usize,
    options: Arc<WriteOptions>,
    /// By the number of the partition.
    open: HashMap<usize, FileWriter>,
    done: Vec<DataFile>,
    /// Counts writes, to know which file waited longest.
    clock: u64,
}

impl TableWriter {
    /// Adds rows; waits while earlier ones are still being encoded or sent.
    ///
    /// Fails with [`lagar_flow::codes::SQL_EXECUTION`] for a value that its column's type cannot hold.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.columns {
            return Err(Error::bug(format!(
                "a batch has {} columns, its table {}",
                batch.num_columns(),
                self.columns
            )));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.clock += 1;
        for (partition, rows) in self.splitter.split(batch)? {
            for start in (0..rows.num_rows()).step_by(CHUNK_ROWS) {
                let slice = rows.slice(start, CHUNK_ROWS.min(rows.num_rows() - start));
                self.write_to(partition, slice).await?;
            }
        }
        self.shrink().await
    }

    /// Adds rows of one partition, without the partition columns.
    pub(crate) async fn write_part(&mut self, partition: &Partition, rows: &RecordBatch) -> Result<()> {
        self.clock += 1;
        let partition = self.splitter.number_of(partition);
        for start in (0..rows.num_rows()).step_by(CHUNK_ROWS) {
            let slice = rows.slice(start, CHUNK_ROWS.min(rows.num_rows() - start));
            self.write_to(partition, slice).await?;
        }
        self.shrink().await
    }

    /// Ends the file of `partition` that is being written, so that the next rows go to another.
    pub(crate) async fn end_part(&mut self, partition: &Partition) -> Result<()> {
        let partition = self.splitter.number_of(partition);
        self.end(partition).await
    }

    /// The columns that its files have.
    pub(crate) fn file_schema(&self) -> &SchemaRef {
        &self.splitter.file_schema
    }

    async fn write_to(&mut self, partition: usize, rows: RecordBatch) -> Result<()> {
        let file = match self.open.remove(&partition) {
            Some(file) => file,
            None => FileWriter::new(self, self.splitter.partition(partition))?,
        };
        let file = self.open.entry(partition).insert_entry(file).into_mut();
        file.used = self.clock;
        file.push(rows).await?;
        if file.bytes() >= self.options.target_file_bytes {
            self.end(partition).await?;
        }
        Ok(())
    }

    async fn end(&mut self, partition: usize) -> Result<()> {
        if let Some(file) = self.open.remove(&partition) {
            self.done.push(file.finish().await?);
        }
        Ok(())
    }

    /// Sends or ends files until memory and file handles are within their bounds.
    async fn shrink(&mut self) -> Result<()> {
        while self.open.len() > OPEN_FILES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, file)| file.used).map(|(partition, _)| *partition);
            self.end(oldest.unwrap_or_default()).await?;
        }
        while self.open.values().map(FileWriter::memory).sum::<usize>() > MEMORY_BYTES {
            let Some((partition, file)) = self.open.iter_mut().max_by_key(|(_, file)| file.memory()) else {
                break;
            };
            if file.can_flush() {
                file.flush().await?;
            } else {
                let partition = *partition;
                self.end(partition).await?;
            }
        }
        Ok(())
    }

    /// Ends all files; they lie in the lake then, and no version names them yet.
    pub async fn finish(self) -> Result<Vec<DataFile>> {
        let mut done = self.done;
        let rest: Vec<DataFile> = stream::iter(self.open.into_values())
            .map(FileWriter::finish)
            .buffer_unordered(FINISH_AT_ONCE)
            .try_collect()
            .await?;
        done.extend(rest);
        done.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(done)
    }
}

/// One data file in the making. While it encodes one chunk in the background it takes the next.
struct FileWriter {
    lake: Lake,
    /// Relative to the table's folder.
    path: String,
    partition: Partition,
    schema: SchemaRef,
    upload: Upload,
    sums: Summing,
    encoder: EncoderState,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: usize,
    rows: u64,
    used: u64,
}

enum EncoderState {
    Idle(Box<Encoder>),
    /// `encoded` bytes were there before, and `bytes` with what it is encoding.
    Busy {
        task: JoinHandle<Result<Box<Encoder>>>,
        encoded: usize,
        bytes: usize,
    },
    /// An encoding failed; the file cannot be finished.
    Lost,
}

impl FileWriter {
    fn new(table: &TableWriter, partition: Partition) -> Result<Self> {
        let schema = table.splitter.file_schema.clone();
        let encoder = Encoder::new(&schema, &table.options.run_id, table.options.threads)?;
        let name = name_at(table.lake.clock().now());
        let path = match folder_of(&partition) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        };
        let object = object_path(&table.folder, &path)?;
        Ok(Self {
            lake: table.lake.clone(),
            path,
            partition,
            schema,
            upload: Upload::new(table.lake.store().clone(), object),
            sums: Summing::default(),
            encoder: EncoderState::Idle(Box::new(encoder)),
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
            rows: 0,
            used: 0,
        })
    }

    fn memory(&self) -> usize {
        let encoding = match &self.encoder {
            EncoderState::Idle(encoder) => encoder.buffered,
            EncoderState::Busy { bytes, .. } => *bytes,
            EncoderState::Lost => 0,
        };
        self.pending_bytes + encoding + self.upload.buffered()
    }

    /// What the file would have if it ended now, about.
    fn bytes(&self) -> u64 {
        let encoded = match &self.encoder {
            EncoderState::Idle(encoder) => encoder.buffered,
            EncoderState::Busy { encoded, .. } => *encoded,
            EncoderState::Lost => 0,
        };
        self.upload.bytes() + encoded as u64
    }

    fn can_flush(&self) -> bool {
        match &self.encoder {
            EncoderState::Idle(encoder) => !self.pending.is_empty() || encoder.buffered > 0,
            EncoderState::Busy { .. } => true,
            EncoderState::Lost => false,
        }
    }

    async fn push(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows() as u64;
        self.pending_rows += rows.num_rows();
        self.pending_bytes += rows.columns().iter().map(|column| slice_bytes(column)).sum::<usize>();
        self.pending.push(rows);
        if self.pending_rows >= CHUNK_ROWS || self.pending_bytes >= CHUNK_BYTES {
            self.encode_pending().await?;
        }
        Ok(())
    }

    async fn encode_pending(&mut self) -> Result<()> {
        let (mut encoder, ready) = self.waited().await?;
        let batches = std::mem::take(&mut self.pending);
        let encoded = encoder.buffered;
        let bytes = encoded + std::mem::take(&mut self.pending_bytes);
        self.pending_rows = 0;
        let task = tokio::task::spawn_blocking(move || {
            encoder.encode(&batches)?;
            Ok(encoder)
        });
        self.encoder = EncoderState::Busy { task, encoded, bytes };
        // While it encodes the next.
        self.send(&ready).await
    }

    /// The encoder, once it has nothing to do, and the bytes that it has ready.
    async fn waited(&mut self) -> Result<(Box<Encoder>, Vec<u8>)> {
        let mut encoder = match std::mem::replace(&mut self.encoder, EncoderState::Lost) {
            EncoderState::Idle(encoder) => encoder,
            EncoderState::Busy { task, .. } => done(task).await?,
            EncoderState::Lost => return Err(Error::bug("a file is written to after it failed")),
        };
        let ready = encoder.take();
        Ok((encoder, ready))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.sums.update(bytes);
        let sent = self.upload.write(bytes).await;
        sent.map_err(|e| self.lake.root().error("write", self.upload.path(), &e))
    }

    /// Encodes what waits and ends the row group.
    async fn flush(&mut self) -> Result<()> {
        self.encode_pending().await?;
        let (mut encoder, ready) = self.waited().await?;
        let task = tokio::task::spawn_blocking(move || {
            encoder.close_group()?;
            Ok(encoder)
        });
        self.send(&ready).await?;
        let mut encoder = done(task).await?;
        let ready = encoder.take();
        self.encoder = EncoderState::Idle(encoder);
        self.send(&ready).await
    }

    async fn finish(mut self) -> Result<DataFile> {
        self.encode_pending().await?;
        let (encoder, ready) = self.waited().await?;
        let task = tokio::task::spawn_blocking(move || encoder.finish());
        self.send(&ready).await?;
        let (last, metadata, nan) = done(task).await?;
        self.send(&last).await?;
        let object = self.upload.path().clone();
        let bytes = self.upload.finish().await.map_err(|e| self.lake.root().error("write", &object, &e))?;
        Ok(DataFile {
            path: self.path,
            bytes,
            rows: self.rows,
            partition: self.partition,
            stats: Some(stats_json(&metadata, &self.schema, &nan)),
            checksums: Some(self.sums.finish()),
        })
    }
}

async fn done<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    task.await.map_err(|e| Error::bug("the encoder broke down").caused_by(&e))?
}

/// What the values of `array` take, without what else is in its buffers.
pub(super) fn slice_bytes(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

/// A name that nobody else has, and that says since when the file waits for its commit.
fn name_at(now: DateTime<Utc>) -> String {
    format!("part-{}.zstd.parquet", id_at(now))
}

/// The id in the name of a data file; `None` if it is not of our making.
pub(crate) fn id_of(path: &str) -> Option<Uuid> {
    let name = path.rsplit('/').next()?;
    name.strip_prefix("part-")?.strip_suffix(".zstd.parquet")?.parse().ok()
}

pub(crate) fn object_path(folder: &Path, relative: &str) -> Result<Path> {
    Path::parse(format!("{folder}/{relative}"))
        .map_err(|e| Error::bug(format!("`{relative}` cannot be the name of a data file")).caused_by(&e))
}
