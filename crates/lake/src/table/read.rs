//! How the Parquet library gets at a data file.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use lagar_flow::{Error, codes};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use super::DataFile;
use crate::checksums::Verified;

/// One file, of a length that is known. The store's errors are handed on as they are: whether to try again
/// is told by them.
pub struct FileReader {
    store: Arc<dyn ObjectStore>,
    object: Path,
    bytes: u64,
    /// For a file whose checksums are known.
    verified: Option<Verified>,
}

impl FileReader {
    pub(super) fn new(store: Arc<dyn ObjectStore>, object: Path, file: &DataFile) -> Self {
        let sums = file.checksums.clone();
        let verified = sums.map(|sums| Verified::new(store.clone(), object.clone(), sums, file.bytes));
        Self { store, object, bytes: file.bytes, verified }
    }
}

fn failed(e: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        match &self.verified {
            Some(verified) => verified.range(range).map_err(failed).boxed(),
            None => self.store.get_range(&self.object, range).map_err(failed).boxed(),
        }
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        let read = async move {
            match &self.verified {
                Some(verified) => verified.ranges(&ranges).await,
                None => self.store.get_ranges(&self.object, &ranges).await,
            }
        };
        read.map_err(failed).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        async move {
            let object = self.object.clone();
            match reader.load_and_finish(self, bytes).await {
                Ok(metadata) => Ok(Arc::new(metadata)),
                Err(from_store @ ParquetError::External(_)) => Err(from_store),
                Err(e) => {
                    let error =
                        Error::new(codes::LAKE_CORRUPT, format!("{object} cannot be read as Parquet"))
                            .caused_by(&e)
                            .hint("bring it back from a backup, or build the table anew with --full-refresh");
                    Err(ParquetError::External(Box::new(error)))
                }
            }
        }
        .boxed()
    }
}
