//! Tables about the lake itself, as rows.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use chrono::NaiveDateTime;
use lagar_flow::{Error, Name, Result, Window};
use lagar_lake::Lake;

/// `system.loads`: one row per load of every source.
pub(crate) async fn loads(lake: &Lake, sources: &[Name]) -> Result<RecordBatch> {
    let mut loads = Vec::new();
    for source in sources {
        loads.extend(lake.loads(source).await?);
    }
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let int = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![
        text("source"),
        int("load"),
        Field::new("loaded_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        text("run_id"),
        int("files"),
        int("rows"),
        int("rows_rejected"),
        int("bytes"),
        text("notes"),
        Field::new("window_from", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("window_to", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let ints = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let signed = |number: u64| i64::try_from(number).ok();
    let notes =
        |load: &lagar_lake::Manifest| load.notes.iter().map(|n| n.0.as_str()).collect::<Vec<_>>().join("; ");
    let edges = |edge: fn(&Window) -> NaiveDateTime| {
        let edge = |load: &Arc<lagar_lake::Manifest>| {
            load.window.map(|of| edge(&of.window).and_utc().timestamp_micros())
        };
        Arc::new(loads.iter().map(edge).collect::<TimestampMicrosecondArray>()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(loads.iter().map(|l| Some(l.source.to_string())).collect::<StringArray>()),
        ints(loads.iter().map(|l| signed(l.number)).collect()),
        Arc::new(
            loads
                .iter()
                .map(|l| Some(l.created_at.timestamp_micros()))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(loads.iter().map(|l| Some(l.run_id.clone())).collect::<StringArray>()),
        ints(loads.iter().map(|l| signed(l.files.len() as u64)).collect()),
        ints(loads.iter().map(|l| l.rows.and_then(signed)).collect()),
        ints(loads.iter().map(|l| signed(l.rejected)).collect()),
        ints(loads.iter().map(|l| signed(l.bytes)).collect()),
        Arc::new(loads.iter().map(|l| Some(notes(l))).collect::<StringArray>()),
        edges(|window| window.from),
        edges(|window| window.to),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|error| Error::bug("system.loads cannot be made").caused_by(&error))
}
