use lagar_flow::{Error, Event, Name, Result, TableName, Zone, codes, schema_of};
use lagar_orchestrate::{History, Reader, Workplace};

use crate::{
    args::Global,
    output::{self, bytes, counted, rows::type_name, table::listing, thousands},
};

/// The latest events that are worth a line.
const EVENTS_SHOWN: usize = 10;

pub async fn run(global: &Global, table: &str) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let name = named(&workplace, table)?;
    if name.zone == Zone::Raw {
        source(global, &workplace, &name).await
    } else {
        model(global, &workplace, &name).await
    }
}

/// A table; a source may be named alone.
fn named(workplace: &Workplace, table: &str) -> Result<TableName> {
    let is_source = |source: &&Name| source.as_str() == table;
    match workplace.project.source_names.iter().find(is_source) {
        Some(source) => Ok(TableName { zone: Zone::Raw, name: source.clone() }),
        None => table.parse(),
    }
}

async fn source(global: &Global, workplace: &Workplace, name: &TableName) -> Result<u8> {
    let loads = workplace.lake.loads(&name.name).await?;
    let Some(last) = loads.last() else { return Err(missing(workplace, name)) };
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!({"table": name, "loads": loads})));
        return Ok(0);
    }
    let from = workplace.project.sources.get(&name.name);
    output::stdout(&format!(
        "{name}    {} loads, the newest is {} of {}\n{}\n\n",
        loads.len(),
        last.number,
        last.created_at.format("%Y-%m-%d %H:%M:%S UTC"),
        from.map_or(String::new(), |source| format!(
            "from {}",
            global.secrets.text(&source.source.address())
        )),
    ));
    let schema = schema_of(&last.columns)?;
    let columns = schema.fields().iter().map(|f| vec![f.name().clone(), type_name(f.data_type())]).collect();
    output::stdout(&listing(&["column", "type"], columns, &[]));
    let rows = loads
        .iter()
        .rev()
        .take(10)
        .map(|load| {
            vec![
                load.number.to_string(),
                load.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                load.files.len().to_string(),
                load.rows.map_or("?".into(), thousands),
                thousands(load.rejected),
                bytes(load.bytes),
                load.notes.iter().map(|note| note.0.as_str()).collect::<Vec<_>>().join("; "),
            ]
        })
        .collect();
    output::stdout("\n");
    output::stdout(&listing(
        &["load", "at", "files", "rows", "rejected", "bytes", "notes"],
        rows,
        &[0, 2, 3, 4, 5],
    ));
    let drifts: Vec<_> = loads
        .iter()
        .rev()
        .flat_map(|load| load.events.iter().map(|event| (load.number, event)))
        .take(EVENTS_SHOWN)
        .map(|(load, event)| [vec![load.to_string()], told(global, event)].concat())
        .collect();
    if !drifts.is_empty() {
        output::stdout("\n");
        output::stdout(&listing(&["load", "at", "drift", "of its columns"], drifts, &[0]));
    }
    Ok(0)
}

async fn model(global: &Global, workplace: &Workplace, name: &TableName) -> Result<u8> {
    let reader = Reader::open(workplace).await?;
    let Some(table) = reader.table(name).await? else { return Err(missing(workplace, name)) };
    let rows: u64 = table.files.iter().map(|file| file.rows).sum();
    let size: u64 = table.files.iter().map(|file| file.bytes).sum();
    let inputs = table.meta.as_ref().map(|meta| meta.inputs.clone()).unwrap_or_default();
    let events = events_of(workplace, name).await;
    if global.json {
        let columns: Vec<_> = table
            .schema
            .fields()
            .iter()
            .map(|f| serde_json::json!({"name": f.name(), "type": type_name(f.data_type()), "comment": table.column_docs.get(f.name())}))
            .collect();
        let line = serde_json::json!({
            "table": name, "version": table.version, "rows": rows, "bytes": size, "files": table.files.len(),
            "columns": columns, "inputs": inputs, "partition_by": table.partition_by, "events": events,
        });
        output::stdout(&format!("{line}\n"));
        return Ok(0);
    }
    output::stdout(&format!(
        "{name}    version {} of {}, {} in {}, {}\n",
        table.version,
        table.committed_at.format("%Y-%m-%d %H:%M:%S UTC"),
        counted(rows, "row"),
        counted(table.files.len() as u64, "file"),
        bytes(size)
    ));
    if let Some(text) = workplace.project.models.get(name).and_then(|model| model.description.as_ref()) {
        output::stdout(&format!("{text}\n"));
    }
    if !inputs.is_empty() {
        let inputs: Vec<String> =
            inputs.iter().map(|(input, number)| format!("{input} ({number})")).collect();
        output::stdout(&format!("made from {}\n", inputs.join(", ")));
    }
    let columns = table
        .schema
        .fields()
        .iter()
        .map(|f| {
            let comment = table.column_docs.get(f.name()).cloned().unwrap_or_default();
            vec![f.name().clone(), type_name(f.data_type()), comment]
        })
        .collect();
    output::stdout("\n");
    output::stdout(&listing(&["column", "type", "meaning"], columns, &[]));
    let events: Vec<_> = events.iter().map(|event| told(global, event)).collect();
    if !events.is_empty() {
        output::stdout("\n");
        output::stdout(&listing(&["at", "event", "what happened"], events, &[]));
    }
    Ok(0)
}

/// When, what kind, and in words.
fn told(global: &Global, event: &Event) -> Vec<String> {
    let at = event.at.format("%Y-%m-%d %H:%M:%S").to_string();
    vec![at, event.kind.to_string(), global.secrets.text(&event.to_string())]
}

/// What happened to a table last. The history is a memory aid: without it the rest is no less true, and who only
/// looks makes none.
async fn events_of(workplace: &Workplace, name: &TableName) -> Vec<Event> {
    let read = async {
        if !History::is_in(&workplace.project.state_dir()?) {
            return Ok(Vec::new());
        }
        workplace.history().await?.events().await
    };
    let read: Result<Vec<Event>> = read.await;
    let events = read.unwrap_or_else(|error| {
        output::warn(&format!("the events of {name} are not shown: {error}"));
        Vec::new()
    });
    let table = name.to_string();
    events.into_iter().rev().filter(|event| event.table == table).take(EVENTS_SHOWN).collect()
}

fn missing(workplace: &Workplace, name: &TableName) -> Error {
    let in_project = match name.zone {
        Zone::Raw => workplace.project.sources.contains_key(&name.name),
        _ => workplace.project.models.contains_key(name),
    };
    let error = Error::new(codes::TABLE_MISSING, format!("`{name}` has nothing to show"));
    error.hint(if in_project {
        "it is in the project, but was never built: `lagar run`"
    } else {
        "`lagar ls` lists what there is"
    })
}
