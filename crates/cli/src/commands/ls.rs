use std::collections::BTreeSet;

use lagar_flow::{Result, TableName, Zone};
use lagar_orchestrate::Reader;

use crate::{
    args::Global,
    output::{self, bytes, table::listing, thousands},
};

pub async fn run(global: &Global) -> Result<u8> {
    let workplace = super::open(global).await?;
    let reader = Reader::open(&workplace).await?;
    let mut rows = Vec::new();
    let mut entries = Vec::new();

    let mut sources: BTreeSet<_> = workplace.lake.sources().await?.into_iter().collect();
    sources.extend(workplace.project.sources.keys().cloned());
    for source in sources {
        let loads = workplace.lake.loads(&source).await?;
        let name = TableName::new(Zone::Raw, source.clone()).to_string();
        let from = workplace
            .project
            .sources
            .get(&source)
            .map_or("not in the project".to_owned(), |s| global.secrets.text(&s.source.address()));
        let (count, size) = loads.iter().fold((Some(0), 0), |(rows, size), load| {
            (rows.zip(load.rows).map(|(a, b)| a + b), size + load.bytes)
        });
        entries.push(serde_json::json!({"table": name, "loads": loads.len(), "rows": count, "bytes": size, "from": from}));
        rows.push(match loads.last() {
            None => vec![name, "no load yet".into(), String::new(), String::new(), from],
            Some(last) => vec![
                name,
                format!("load {}", last.number),
                count.map_or("?".into(), thousands),
                bytes(size),
                from,
            ],
        });
    }
    let mut tables: BTreeSet<TableName> = workplace.project.models.keys().cloned().collect();
    tables.extend(reader.release().iter().flat_map(|release| release.tables.keys().cloned()));
    for name in tables {
        let about = workplace
            .project
            .models
            .get(&name)
            .map(|model| first_sentence(model.description.as_deref().unwrap_or_default()))
            .unwrap_or_default();
        match reader.table(&name).await? {
            None => {
                entries.push(serde_json::json!({"table": name, "version": null}));
                rows.push(vec![name.to_string(), "not released".into(), String::new(), String::new(), about]);
            }
            Some(table) => {
                let count: u64 = table.files.iter().map(|file| file.rows).sum();
                let size: u64 = table.files.iter().map(|file| file.bytes).sum();
                entries.push(serde_json::json!({"table": name, "version": table.version, "rows": count, "bytes": size}));
                rows.push(vec![
                    name.to_string(),
                    format!("version {}", table.version),
                    thousands(count),
                    bytes(size),
                    about,
                ]);
            }
        }
    }
    if global.json {
        let release = reader.release().map(|release| release.number);
        output::stdout(&format!("{}\n", serde_json::json!({"release": release, "tables": entries})));
        return Ok(0);
    }
    match reader.release() {
        Some(release) => output::stdout(&format!("{}, release {}\n\n", workplace.lake.url(), release.number)),
        None => output::stdout(&format!("{}, nothing released yet: `lagar run`\n\n", workplace.lake.url())),
    }
    output::stdout(&listing(&["table", "state", "rows", "bytes", "about"], rows, &[2, 3]));
    Ok(0)
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(first, _)| first).to_owned()
}
