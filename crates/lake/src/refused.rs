//! Rows that are kept to be looked at and are in no version of a table: those that a check left out, which
//! the commit names, and refused versions, in a note that no reader of the lake follows. A note is
//! overwritten by the next refusal, and ignored once a commit came after it.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lagar_flow::{Column, Error, Result, TableName, codes, columns_of, schema_of};
use object_store::{ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{DataFile, Lake, store::sealed};

/// The note of a table's refused version, in the table's folder.
pub(crate) const REFUSED: &str = "_refused.json";

/// A version of a table that a check refused: its files are there, its log entry is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedVersion {
    pub table: TableName,
    pub run_id: String,
    pub refused_at: DateTime<Utc>,
    /// The newest version when it was built.
    pub base: Option<u64>,
    #[serde(flatten)]
    pub rows: LeftOut,
}

/// Files with rows that are not in the table in whose folder they lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    columns: Vec<Column>,
    pub partition_by: Vec<String>,
    pub files: Vec<DataFile>,
}

impl LeftOut {
    pub fn new(schema: &SchemaRef, partition_by: &[String], files: Vec<DataFile>) -> Self {
        Self { columns: columns_of(schema), partition_by: partition_by.to_vec(), files }
    }

    /// The columns of its rows.
    pub fn schema(&self) -> Result<SchemaRef> {
        schema_of(&self.columns)
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

impl Lake {
    /// Keeps files of `table` that will not be committed, until the next version is.
    pub async fn refuse_version(
        &self,
        table: &TableName,
        run_id: &str,
        base: Option<u64>,
        rows: LeftOut,
    ) -> Result<()> {
        let refused = RefusedVersion {
            table: table.clone(),
            run_id: run_id.to_owned(),
            refused_at: self.clock().now(),
            base,
            rows,
        };
        self.put_note(&self.table_folder(table).join(REFUSED), &refused).await
    }

    /// The newest refused version of `table`, if no version came after it.
    pub async fn refused_version(&self, table: &TableName) -> Result<Option<RefusedVersion>> {
        let refused: Option<RefusedVersion> = self.note(&self.table_folder(table).join(REFUSED)).await?;
        let Some(refused) = refused else { return Ok(None) };
        let newest = self.table(table, None).await?.map(|newest| newest.version);
        Ok((newest == refused.base).then_some(refused))
    }

    pub(crate) async fn put_note<T: Serialize>(&self, path: &Path, note: &T) -> Result<()> {
        let bytes = sealed(note).map_err(|e| Error::bug("a note is not JSON").caused_by(&e))?;
        let put = self.store().put(path, Bytes::from(bytes).into()).await;
        put.map(|_| ()).map_err(|e| self.root().error("write", path, &e))
    }

    pub(crate) async fn note<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let read = async { self.store().get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
                Error::new(codes::LAKE_CORRUPT, format!("{} is damaged", self.root().name_of(path)))
                    .caused_by(&e)
                    .hint("it only notes what was refused, and can be removed")
            }),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.root().error("read", path, &e)),
        }
    }
}
