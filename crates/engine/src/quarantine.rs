//! The rejected rows of a source as a table, without those that a later load took after all.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{MemTable, Session, TableProvider},
    common::DataFusionError,
    datasource::TableType,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};
use lagar_flow::{Name, Result};
use lagar_lake::{Lake, Manifest, RejectRecord, redriven};

use crate::{query::boxed, raw_table::loaded_at_type};

pub(crate) struct QuarantineTable {
    source: Name,
    lake: Lake,
    loads: Vec<Arc<Manifest>>,
    schema: SchemaRef,
}

impl QuarantineTable {
    pub(crate) fn new(source: Name, lake: Lake, loads: Vec<Arc<Manifest>>) -> Self {
        let schema = Arc::new(Schema::new(vec![
            Field::new("_load", DataType::Int64, false),
            Field::new("_loaded_at", loaded_at_type(), false),
            Field::new("_source_file", DataType::Utf8, false),
            Field::new("_row", DataType::Int64, false),
            Field::new("_column", DataType::Utf8, true),
            Field::new("_reason", DataType::Utf8, false),
            Field::new("_value", DataType::Utf8, false),
        ]));
        Self { source, lake, loads, schema }
    }

    async fn batches(&self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let taken = redriven(&self.loads);
        for manifest in self.loads.iter().filter(|manifest| manifest.rejected > 0) {
            let mut rejects = self.lake.rejects(&self.source, manifest).await?;
            rejects.retain(|reject| {
                !taken.contains(&(manifest.number, reject.source_file.as_str(), reject.row))
            });
            batches.push(self.batch(manifest, &rejects)?);
        }
        Ok(batches)
    }

    fn batch(&self, manifest: &Manifest, rejects: &[RejectRecord]) -> Result<RecordBatch> {
        let rows = rejects.len();
        let text = |of: fn(&RejectRecord) -> Option<&str>| -> ArrayRef {
            Arc::new(rejects.iter().map(of).collect::<StringArray>())
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_value(manifest.number as i64, rows)),
            Arc::new(
                TimestampMicrosecondArray::from_value(manifest.created_at.timestamp_micros(), rows)
                    .with_timezone("UTC"),
            ),
            text(|reject| Some(&reject.source_file)),
            Arc::new(rejects.iter().map(|reject| Some(reject.row as i64)).collect::<Int64Array>()),
            text(|reject| reject.column.as_deref()),
            text(|reject| Some(&reject.reason)),
            text(|reject| Some(&reject.value)),
        ];
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| lagar_flow::Error::bug(error.to_string()))
    }
}

impl fmt::Debug for QuarantineTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuarantineTable({})", self.source)
    }
}

#[async_trait]
impl TableProvider for QuarantineTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let batches = self.batches().await.map_err(boxed)?;
        MemTable::try_new(self.schema.clone(), vec![batches])?.scan(state, projection, filters, limit).await
    }
}
