use lagar_flow::{Error, Result, TableName};
use lagar_lake::{
    VacuumOptions, VacuumReport,
    vacuum::{Garbage, Place, Why},
};
use lagar_orchestrate::CompactReport;

use crate::{
    args::{Global, TableAction},
    output::{self, bytes, table::listing, thousands},
};

pub async fn run(global: &Global, action: TableAction) -> Result<u8> {
    match action {
        TableAction::Vacuum { tables, dry_run, keep_releases, older_than } => {
            let options = VacuumOptions {
                older_than,
                keep_releases: Some(keep_releases as usize),
                only: names(&tables)?,
                dry_run,
            };
            vacuum(global, &options).await
        }
        TableAction::Compact { tables, dry_run } => compact(global, &names(&tables)?, dry_run).await,
    }
}

fn names(tables: &[String]) -> Result<Vec<TableName>> {
    tables.iter().map(|name| name.parse()).collect()
}

async fn vacuum(global: &Global, options: &VacuumOptions) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let mut report = workplace.lake.vacuum(options).await?;
    report.failed.iter_mut().for_each(|(_, error)| *error = error.clone().without(&global.secrets));
    let failed = Error::all(report.failed.iter().map(|(_, error)| error.clone()));
    if global.json {
        output::stdout(&format!("{}\n", as_json(&report, options)));
    } else if !global.quiet {
        show(&report, options);
        report.notes.iter().for_each(|note| eprintln!("{note}"));
    }
    match failed {
        Some(error) if !global.json => Err(error),
        Some(error) => {
            output::print_error(&error);
            Ok(output::exit_code(&error))
        }
        None => Ok(0),
    }
}

fn as_json(report: &VacuumReport, options: &VacuumOptions) -> serde_json::Value {
    let sum = report.removed_sum();
    let errors: Vec<_> = report
        .failed
        .iter()
        .map(|(place, error)| serde_json::json!({"place": place, "error": error.to_json()}))
        .collect();
    serde_json::json!({
        "status": if errors.is_empty() { "ok" } else { "failed" },
        "dry_run": options.dry_run,
        "older_than_seconds": options.older_than.as_secs(),
        "removed": sum,
        "places": report.places,
        "errors": errors,
        "notes": report.notes,
    })
}

fn show(report: &VacuumReport, options: &VacuumOptions) {
    for place in report.places.iter().filter(|place| options.dry_run && !place.removed.is_empty()) {
        for garbage in &place.removed {
            output::stdout(&format!("{}\n", line(garbage)));
        }
    }
    let rows = report.places.iter().filter(|place| !is_empty(place)).map(|place| {
        let gone = place.removed_sum();
        vec![
            place.name.clone(),
            thousands(gone.files),
            bytes(gone.bytes),
            thousands(place.needed.files),
            bytes(place.needed.bytes),
            thousands(place.young.files),
            bytes(place.young.bytes),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        let gone = if options.dry_run { "would go" } else { "gone" };
        let heads = ["", gone, "bytes", "needed", "bytes", "too young", "bytes"];
        output::stdout(&listing(&heads, rows, &[1, 2, 3, 4, 5, 6]));
    }
    let sum = report.removed_sum();
    let what = if options.dry_run { "would go; nothing was removed" } else { "gone" };
    output::stdout(&format!("{}, {} {what}\n", output::counted(sum.files, "file"), bytes(sum.bytes)));
}

fn is_empty(place: &Place) -> bool {
    place.removed.is_empty() && place.needed.files + place.young.files == 0
}

fn line(garbage: &Garbage) -> String {
    let why = match garbage.why {
        Why::NoLoad => "no load names it",
        Why::NoVersion => "no kept version names it",
        Why::Refused => "refused, and looked at long enough",
        Why::NoRelease => "no kept release names it",
        Why::Release => "an old release",
        Why::Leftover => "left behind by a process that was broken off",
        Why::Upload => "an upload that never ended",
    };
    let size = garbage.bytes.map_or("?".to_owned(), bytes);
    format!(
        "{}  {size}  {}  {why}",
        output::clean(&garbage.object),
        garbage.written_at.format("%Y-%m-%d %H:%M:%S")
    )
}

async fn compact(global: &Global, only: &[TableName], dry_run: bool) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let report = lagar_orchestrate::compact(&workplace, only, dry_run).await?;
    if global.json {
        output::stdout(&format!("{}\n", compact_json(&report, dry_run)));
        return Ok(0);
    }
    if global.quiet {
        return Ok(0);
    }
    let rows: Vec<_> = report
        .tables
        .iter()
        .filter(|table| table.files_after < table.files_before || table.note.is_some())
        .map(|table| {
            vec![
                table.name.to_string(),
                thousands(table.files_before),
                thousands(table.files_after),
                bytes(table.bytes_before),
                if dry_run { "?".into() } else { bytes(table.bytes_after) },
                table.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    if rows.is_empty() {
        output::stdout("no table has small files to put together\n");
        return Ok(0);
    }
    let heads = ["table", "files", "then", "small files", "then", ""];
    output::stdout(&listing(&heads, rows, &[1, 2, 3, 4]));
    match report.release {
        Some(release) => output::stdout(&format!("release {release} has the same rows in fewer files\n")),
        None if dry_run => output::stdout("nothing was written\n"),
        None => {}
    }
    Ok(0)
}

fn compact_json(report: &CompactReport, dry_run: bool) -> serde_json::Value {
    serde_json::json!({
        "status": "ok",
        "dry_run": dry_run,
        "release": report.release,
        "tables": report.tables,
    })
}
