//! The rows of a table in the files of a lake, in such an order that queries can leave some of them out.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, RecordBatch},
    compute::cast,
};
use datafusion::parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    file::properties::WriterProperties,
};
use lagar_flow::TableName;
use lagar_lake::{DataFile, Lake, TableCommit, TableMeta, WriteOptions, delta_schema};
use object_store::ObjectStoreExt;
use serde_json::json;

use super::{
    generate::{COLUMNS, Random, Table},
    parts, rows_of,
};
use crate::Session;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// Ours, each with the next rows of the order; the log has the bounds of each.
    Ordered,
    /// Ours, in a folder for each value of a column; some of them have two.
    InFolders,
    /// Such as others write: groups of eight rows and pages of two with their bounds, and bloom filters. The log has no
    /// bounds, and a column of nulls alone is not in a file. (Ours have a group for a million rows.)
    Foreign,
}

/// How the rows of a table lie in its files.
pub(super) struct Layout {
    files: Files,
    /// The place of the column by which the rows lie together.
    pub by: usize,
    order: String,
}

impl Layout {
    pub fn new(random: &mut Random) -> Self {
        let files = [Files::Ordered, Files::InFolders, Files::Foreign][random.below(3) as usize];
        let any = random.below(COLUMNS.len() as u64) as usize;
        let by = match files {
            Files::InFolders => {
                let folders = random.pick(&["g", "s", "b", "dt"]);
                COLUMNS.iter().position(|(name, ..)| *name == folders).unwrap()
            }
            Files::Ordered | Files::Foreign => any,
        };
        let (way, nulls) = (random.pick(&["ASC", "DESC"]), random.pick(&["FIRST", "LAST"]));
        Self { files, by, order: format!("{} {way} NULLS {nulls}, id", COLUMNS[any].0) }
    }

    /// The column whose values are folders.
    fn folders(&self) -> Option<&'static str> {
        (self.files == Files::InFolders).then_some(COLUMNS[self.by].0)
    }

    /// The rows of `table` in their order, as the lake gives them back.
    pub async fn rows(&self, session: &Session, table: &Table) -> RecordBatch {
        let columns = COLUMNS.map(|(name, ..)| match self.folders().filter(|folders| *folders == name) {
            // An empty text would come back from the name of a folder as a null.
            Some("s") => "nullif(s, '') AS s",
            // Else each row had a folder of its own.
            Some("dt") => "CAST(date_trunc('quarter', dt) AS DATE) AS dt",
            _ => name,
        });
        let sql =
            format!("SELECT {} FROM ({}) AS r ORDER BY {}", columns.join(", "), table.select(), self.order);
        let rows = rows_of(session, &sql).await;
        let schema = delta_schema(&rows.schema()).unwrap();
        let columns = rows.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
        let columns = columns.collect::<Vec<_>>();
        RecordBatch::try_new(schema, columns).unwrap()
    }

    /// Commits `rows` as the first version of the table, and reads its log.
    pub async fn write(&self, lake: &Lake, name: &str, rows: &RecordBatch) -> lagar_lake::Table {
        let name: TableName = name.parse().unwrap();
        let partition_by: Vec<String> = self.folders().into_iter().map(str::to_owned).collect();
        let count = if self.files == Files::Ordered { 4 } else { 2 };
        let mut files = Vec::new();
        for (number, part) in parts(rows, count).into_iter().enumerate() {
            if self.files == Files::Foreign {
                files.push(foreign(lake, &name, number, &part).await);
                continue;
            }
            let options = WriteOptions { threads: 1, ..WriteOptions::default() };
            let mut writer = lake.begin_table(&name, part.schema(), &partition_by, options).unwrap();
            writer.write(&part).await.unwrap();
            files.extend(writer.finish().await.unwrap());
        }
        let commit = TableCommit {
            name: name.clone(),
            schema: rows.schema(),
            partition_by,
            files,
            meta: TableMeta { commit_id: format!("commit of {name}"), ..TableMeta::default() },
            base: None,
            column_docs: BTreeMap::new(),
        };
        lake.commit_table(commit).await.unwrap();
        lake.table(&name, None).await.unwrap().unwrap()
    }
}

async fn foreign(lake: &Lake, table: &TableName, number: usize, rows: &RecordBatch) -> DataFile {
    let has_value = |at: &usize| Array::null_count(rows.column(*at)) < rows.num_rows();
    let columns: Vec<usize> = (0..rows.num_columns()).filter(has_value).collect();
    let rows = rows.project(&columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(8))
        .set_data_page_row_count_limit(2)
        // The limit is looked at after so many rows.
        .set_write_batch_size(2)
        .set_bloom_filter_enabled(true)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), rows.schema(), options).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    let file = DataFile {
        path: format!("foreign-{number}.parquet"),
        bytes: bytes.len() as u64,
        rows: rows.num_rows() as u64,
        partition: Vec::new(),
        stats: Some(json!({"numRecords": rows.num_rows()}).to_string()),
        checksums: None,
    };
    let object = lake.file_path(table, &file).unwrap();
    lake.store().put(&object, bytes.into()).await.unwrap();
    file
}
