//! A project of many sources, each a file or table of its own that changes between two runs.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, Fields, Schema},
    json::{LineDelimitedWriter, ReaderBuilder, WriterBuilder, writer::LineDelimited},
};
use lagar_flow::{Clock, Event, FixedClock, Name, TableName, Zone, schema_of, type_word};
use lagar_lake::{Lake, Manifest};
use lagar_orchestrate::{
    LoadOptions, Project, Reader, Report, RunOptions, StepReport, Unwatched, Workplace, run,
};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::table::{Format, Sent};

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock::new("2026-11-21T23:30:00Z".parse().unwrap()))
}

pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new(project: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.write("lagar.yaml", project);
        place
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub async fn workplace(&self) -> Workplace {
        let location = self.path().to_str().unwrap();
        let project = Project::load(location, LoadOptions::with_env(Default::default())).await.unwrap();
        Workplace::open(Arc::new(project), clock()).await.unwrap()
    }

    pub async fn run(&self) -> Report {
        let options = RunOptions {
            select: Vec::new(),
            full_refresh: false,
            partitions: Vec::new(),
            retry: Default::default(),
            seed: 1,
            cancel: CancellationToken::new(),
            watcher: Arc::new(Unwatched),
        };
        run(&self.workplace().await, options).await.unwrap()
    }

    /// Puts what a source sends as `name.format`, or as the table `name` of `data.db`.
    pub async fn send(&self, name: &str, format: Format, sent: &Sent) {
        let file = format!("{name}.{}", format.name());
        match format {
            Format::Ndjson => {
                let rows = sent.rows.as_array().unwrap().iter();
                self.write(&file, rows.map(|row| format!("{row}\n")).collect::<String>());
            }
            Format::Json => self.write(&file, sent.rows.to_string()),
            Format::Csv => self.write(&file, csv(sent)),
            Format::Parquet => self.write(&file, parquet_file(sent)),
            Format::Sqlite => self.put_table(name, sent).await,
        }
    }

    async fn put_table(&self, name: &str, sent: &Sent) {
        let options =
            SqliteConnectOptions::new().filename(self.path().join("data.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        let columns = sent.columns.iter().map(|(name, kind)| format!("\"{name}\" {}", sqlite_type(kind)));
        let mut sql = format!(
            "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({});",
            columns.collect::<Vec<_>>().join(", ")
        );
        for row in sent.rows.as_array().unwrap() {
            let values = sent.columns.iter().map(|(name, _)| match &row[*name] {
                Value::Null => "NULL".to_owned(),
                Value::String(text) => format!("'{text}'"),
                other => other.to_string(),
            });
            sql.push_str(&format!("INSERT INTO {name} VALUES ({});", values.collect::<Vec<_>>().join(", ")));
        }
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// The lines of `lagar.yaml` for a source that reads what [`Place::send`] puts.
pub fn source(name: &str, sent: &str, format: Format, more: &str) -> String {
    match format {
        Format::Sqlite => format!("  {name}: {{type: sql, url: 'sqlite:data.db', table: {sent}, {more}}}\n"),
        _ => format!("  {name}: {{type: file, url: {sent}.{}, {more}}}\n", format.name()),
    }
}

fn csv(sent: &Sent) -> String {
    let names: Vec<&str> = sent.columns.iter().map(|(name, _)| *name).collect();
    let mut text = names.join(",") + "\n";
    for row in sent.rows.as_array().unwrap() {
        let cells = names.iter().map(|name| match &row[*name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        text.push_str(&(cells.collect::<Vec<_>>().join(",") + "\n"));
    }
    text
}

fn sqlite_type(kind: &str) -> &'static str {
    match kind {
        "int" => "INTEGER",
        "double" => "REAL",
        "text" => "TEXT",
        other => panic!("no column of SQLite is {other}"),
    }
}

/// `int`, `double`, `text`, or the fields of an object: `u int, v text`.
fn arrow_type(kind: &str) -> DataType {
    match kind {
        "int" => DataType::Int64,
        "double" => DataType::Float64,
        "text" => DataType::Utf8,
        fields => {
            let field = |field: &str| {
                let (name, kind) = field.split_once(' ').unwrap();
                Field::new(name, arrow_type(kind), true)
            };
            DataType::Struct(fields.split(", ").map(field).collect::<Fields>())
        }
    }
}

fn parquet_file(sent: &Sent) -> Vec<u8> {
    let fields = sent.columns.iter().map(|(name, kind)| Field::new(*name, arrow_type(kind), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = sent.rows.as_array().unwrap().iter().cloned().map(|mut row| {
        // A column of text holds what was an object as its text.
        for (name, kind) in &sent.columns {
            if *kind == "text" && row[*name].is_object() {
                row[*name] = Value::String(row[*name].to_string());
            }
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    let mut decoder = ReaderBuilder::new(schema.clone()).with_coerce_primitive(true).build_decoder().unwrap();
    decoder.serialize(&rows).unwrap();
    let batch = decoder.flush().unwrap().unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// What the lake says of a source.
pub struct Seen<'w> {
    pub reader: Reader<'w>,
    pub lake: &'w Lake,
}

impl<'w> Seen<'w> {
    pub async fn of(workplace: &'w Workplace) -> Self {
        Self { reader: Reader::open(workplace).await.unwrap(), lake: &workplace.lake }
    }

    pub async fn newest(&self, source: &str) -> Manifest {
        self.lake.newest_load(&name(source)).await.unwrap().unwrap()
    }

    /// `name type, name type` of the columns of a source.
    pub async fn columns(&self, source: &str) -> String {
        let schema = schema_of(&self.newest(source).await.columns).unwrap();
        let words = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_word(f.data_type())));
        words.collect::<Vec<_>>().join(", ")
    }

    /// The rows of `table`, of all columns of the source without its places; nulls are there.
    pub async fn rows(&self, source: &str, condition: &str) -> Vec<Value> {
        let columns = self.newest(source).await.columns;
        let list: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let table = TableName::new(Zone::Raw, name(source));
        self.query(&format!("SELECT {} FROM {table} WHERE {condition} ORDER BY _load, id", list.join(", ")))
            .await
    }

    pub async fn query(&self, sql: &str) -> Vec<Value> {
        let query = self.reader.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let batches = query.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let mut text = Vec::new();
        let mut writer: LineDelimitedWriter<_> =
            WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        drop(writer);
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// `row column` of the rows in quarantine.
    pub async fn rejects(&self, source: &str) -> Vec<String> {
        let sql = format!("SELECT _row, _column FROM quarantine.{source} ORDER BY _load, _row");
        let rows = self.query(&sql).await;
        rows.iter().map(|row| format!("{} {}", row["_row"], row["_column"].as_str().unwrap_or("-"))).collect()
    }
}

pub fn name(source: &str) -> Name {
    source.parse().unwrap()
}

/// The step that loads `source`.
pub fn step<'r>(report: &'r Report, source: &str) -> &'r StepReport {
    let name = format!("raw.{source}");
    report.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}"))
}

/// `kind column before>after count`
pub fn shown(events: &[Event]) -> Vec<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let one = |event: &Event| {
        let count = event.count.map_or("-".to_owned(), |count| count.to_string());
        format!(
            "{} {} {}>{} {count}",
            event.kind,
            or_none(&event.column),
            or_none(&event.before),
            or_none(&event.after)
        )
    };
    events.iter().map(one).collect()
}
