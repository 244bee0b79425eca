//! Query results in every `--format`.

use std::io::Write;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use futures::StreamExt;
use lagar_flow::{Batches, Error, Result, codes, type_word};
use std::sync::Arc;

use crate::args::Format;

/// Rows of a box: half from the beginning, half from the end.
const BOX_ROWS_MAX: usize = 40;
/// A longer cell is cut in a box; every other format has it whole.
const BOX_CELL_CHARS_MAX: usize = 120;

/// Writes all of `batches`; returns the number of rows.
pub async fn write(mut batches: Batches, format: Format, out: &mut (dyn Write + Send)) -> Result<u64> {
    let schema = batches.schema.clone();
    let mut count = 0;
    match format {
        Format::Box | Format::Markdown => {
            let limit = if format == Format::Box { BOX_ROWS_MAX } else { usize::MAX };
            let mut shown = HeadTail::new(limit);
            while let Some(batch) = batches.stream.next().await {
                shown.add(batch?);
            }
            count = shown.count as u64;
            let text = if format == Format::Box { shown.boxed(&schema)? } else { shown.markdown(&schema)? };
            out.write_all(text.as_bytes()).map_err(failed)?;
        }
        Format::Csv => {
            let flat = flat_schema(&schema);
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut *out);
            // The header stands even when there are no rows.
            writer.write(&RecordBatch::new_empty(flat.clone())).map_err(failed_arrow)?;
            while let Some(batch) = batches.stream.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                writer.write(&flatten(&batch, &flat)?).map_err(failed_arrow)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::JsonArray>(&mut *out);
            while let Some(batch) = batches.stream.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                writer.write(&batch).map_err(failed_arrow)?;
            }
            writer.finish().map_err(failed_arrow)?;
            drop(writer);
            out.write_all(b"\n").map_err(failed)?;
        }
        Format::Ndjson => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::LineDelimited>(&mut *out);
            while let Some(batch) = batches.stream.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                writer.write(&batch).map_err(failed_arrow)?;
            }
            writer.finish().map_err(failed_arrow)?;
        }
        Format::Parquet => {
            let properties = parquet::file::properties::WriterProperties::builder()
                .set_compression(parquet::basic::Compression::ZSTD(Default::default()))
                .build();
            let mut writer = parquet::arrow::ArrowWriter::try_new(&mut *out, schema, Some(properties))
                .map_err(failed_any)?;
            while let Some(batch) = batches.stream.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                writer.write(&batch).map_err(failed_any)?;
            }
            writer.close().map_err(failed_any)?;
        }
        Format::Arrow => {
            let mut writer =
                arrow::ipc::writer::StreamWriter::try_new(&mut *out, &schema).map_err(failed_arrow)?;
            while let Some(batch) = batches.stream.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                writer.write(&batch).map_err(failed_arrow)?;
            }
            writer.finish().map_err(failed_arrow)?;
        }
    }
    out.flush().map_err(failed)?;
    Ok(count)
}

/// Keeps the first and last rows, so that a result of any size needs bounded memory.
struct HeadTail {
    limit: usize,
    head: Vec<RecordBatch>,
    head_rows: usize,
    tail: std::collections::VecDeque<RecordBatch>,
    tail_rows: usize,
    count: usize,
}

impl HeadTail {
    fn new(limit: usize) -> Self {
        Self { limit, head: vec![], head_rows: 0, tail: Default::default(), tail_rows: 0, count: 0 }
    }

    fn add(&mut self, batch: RecordBatch) {
        self.count += batch.num_rows();
        let room = self.limit.saturating_sub(self.head_rows).min(batch.num_rows());
        if room > 0 {
            self.head.push(batch.slice(0, room));
            self.head_rows += room;
        }
        let rest = batch.num_rows() - room;
        if rest > 0 {
            self.tail.push_back(batch.slice(room, rest));
            self.tail_rows += rest;
        }
        while self.tail.front().is_some_and(|first| self.tail_rows - first.num_rows() >= self.limit / 2) {
            if let Some(first) = self.tail.pop_front() {
                self.tail_rows -= first.num_rows();
            }
        }
    }

    /// The rows to show as text, and after how many of them the gap is.
    fn cells(&self) -> Result<(Vec<Vec<String>>, Option<usize>)> {
        if self.count <= self.limit {
            return Ok((cells(self.head.iter())?, None));
        }
        let half = self.limit / 2;
        let mut rows = cells(self.head.iter())?;
        let mut last = rows.split_off(half);
        last.extend(cells(self.tail.iter())?);
        rows.extend(last.split_off(last.len() - half));
        Ok((rows, Some(half)))
    }

    fn boxed(&self, schema: &Schema) -> Result<String> {
        let (mut rows, gap) = self.cells()?;
        for cell in rows.iter_mut().flatten() {
            *cell = one_line(cell);
        }
        if let Some(gap) = gap {
            rows.insert(gap, vec!["·".into(); schema.fields().len()]);
        }
        let mut text = super::table::boxed(
            schema.fields().iter().map(|f| f.name().clone()).collect(),
            schema.fields().iter().map(|f| type_name(f.data_type())).collect(),
            rows,
            &numeric_columns(schema),
            terminal_width(),
        );
        let count = super::thousands(self.count as u64);
        text.push_str(&match (gap, self.count) {
            (Some(_), _) => format!("{count} rows ({} shown)\n", self.limit),
            (None, 1) => "1 row\n".to_owned(),
            (None, _) => format!("{count} rows\n"),
        });
        Ok(text)
    }

    fn markdown(&self, schema: &Schema) -> Result<String> {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(schema.fields().iter().map(|f| escape_markdown(f.name())).collect());
        let right = numeric_columns(schema);
        let rule = |index: usize| if right.contains(&index) { "---:" } else { "---" }.to_owned();
        text.push_str(&line((0..schema.fields().len()).map(rule).collect()));
        for row in self.cells()?.0 {
            text.push_str(&line(row.iter().map(|cell| escape_markdown(cell)).collect()));
        }
        Ok(text)
    }
}

fn cells<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed_arrow)?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    Ok(rows)
}

fn one_line(cell: &str) -> String {
    let mut text: String = cell.chars().map(|c| if c.is_control() { '␤' } else { c }).collect();
    if let Some((end, _)) = text.char_indices().nth(BOX_CELL_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn escape_markdown(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

/// A short name of a type: [`type_word`], with what a list is of.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) => {
            format!("list<{}>", type_name(field.data_type()))
        }
        DataType::Struct(_) => "struct".into(),
        plain => type_word(plain).to_lowercase(),
    }
}

fn numeric_columns(schema: &Schema) -> Vec<usize> {
    let numeric = |index: &usize| schema.field(*index).data_type().is_numeric();
    (0..schema.fields().len()).filter(numeric).collect()
}

fn terminal_width() -> Option<u16> {
    use std::io::IsTerminal;
    let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    size.map(|(width, _)| width.0)
}

/// CSV has no lists and structs: they become JSON text.
fn flat_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| {
            if f.data_type().is_nested() {
                Field::new(f.name(), DataType::Utf8, true)
            } else {
                f.as_ref().clone()
            }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn flatten(batch: &RecordBatch, flat: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(batch.schema().fields())
        .map(
            |(column, field)| {
                if field.data_type().is_nested() { json_text(column) } else { Ok(column.clone()) }
            },
        )
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(flat.clone(), columns).map_err(failed_arrow)
}

/// Each value of a nested column as its JSON text.
fn json_text(column: &ArrayRef) -> Result<ArrayRef> {
    let field = Field::new("v", column.data_type().clone(), true);
    let mut values = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        if column.is_null(row) {
            values.push(None);
            continue;
        }
        let one =
            RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![column.slice(row, 1)])
                .map_err(failed_arrow)?;
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        writer.write(&one).map_err(failed_arrow)?;
        writer.finish().map_err(failed_arrow)?;
        let object: serde_json::Value = serde_json::from_slice(&writer.into_inner()).map_err(failed_any)?;
        values.push(Some(object["v"].to_string()));
    }
    Ok(Arc::new(StringArray::from(values)))
}

fn failed(error: std::io::Error) -> Error {
    failed_any(error)
}

fn failed_arrow(error: arrow::error::ArrowError) -> Error {
    failed_any(error)
}

fn failed_any(error: impl std::error::Error + 'static) -> Error {
    Error::new(codes::OUTPUT, "the result cannot be written").caused_by(&error)
}
