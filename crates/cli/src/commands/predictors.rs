use std::path::PathBuf;

use lagar_flow::{Error, Result, codes};
use lagar_ml::{ALGORITHMS, JudgedOn, Question, Task, algorithm, card::figures};
use lagar_orchestrate::predictors::{self, Listed};

use super::{connectors::keys, run as running, sql};
use crate::{
    args::{Format, Global, PredictorsAction},
    output::{self, predictor, table::listing},
};

pub async fn run(global: &Global, action: Option<PredictorsAction>) -> Result<u8> {
    match action.unwrap_or(PredictorsAction::List) {
        PredictorsAction::List => list(global).await,
        PredictorsAction::Show { name, number, html } => show(global, &name, number, html).await,
        PredictorsAction::Train { names, force } => {
            let select = names.iter().map(|name| format!("predictors.{name}")).collect();
            let options = running::Options {
                select,
                full_refresh: force,
                partitions: Vec::new(),
                skip_exit_code: None,
            };
            running::run(global, options).await
        }
        PredictorsAction::Score { name, table, format, output } => {
            score(global, &name, table, format, output).await
        }
        PredictorsAction::Promote { name, number } => {
            let workplace = super::open_to_read(global).await?;
            let release = predictors::promote(&workplace, &name, number).await?;
            changed(global, &name, number, release.number)
        }
        PredictorsAction::Rollback { name } => {
            let workplace = super::open_to_read(global).await?;
            let (version, release) = predictors::rollback(&workplace, &name).await?;
            changed(global, &name, version, release.number)
        }
        PredictorsAction::Algorithms { name } => algorithms(global, name.as_deref()),
    }
}

fn changed(global: &Global, name: &str, version: u64, release: u64) -> Result<u8> {
    if global.json {
        let line = serde_json::json!({"predictor": name, "current": version, "release": release});
        output::stdout(&format!("{line}\n"));
    } else {
        output::stdout(&format!("version {version} of {name} is current in release {release}\n"));
        if !global.quiet {
            eprintln!("the tables that were made with another version are made again by the next run");
        }
    }
    Ok(0)
}

async fn list(global: &Global) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let listed = predictors::list(&workplace).await?;
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!(listed)));
        return Ok(0);
    }
    if listed.is_empty() {
        output::stdout("no predictor yet: define one under `predictors` in lagar.yaml\n");
        return Ok(0);
    }
    output::stdout(&listing(
        &["predictor", "state", "algorithm", "learns from", "how good, on rows that it has not seen"],
        listed.iter().map(row).collect(),
        &[],
    ));
    Ok(0)
}

fn row(listed: &Listed) -> Vec<String> {
    let state = match (listed.current, listed.versions) {
        (Some(current), newest) if newest > current => format!("version {current} of {newest}"),
        (Some(current), _) => format!("version {current}"),
        (None, 0) => "not trained yet".to_owned(),
        (None, _) if listed.set_aside && listed.promoted => "taken back".to_owned(),
        (None, _) if listed.promoted => "not released yet".to_owned(),
        (None, _) => "none good enough".to_owned(),
    };
    let state = if listed.damaged.is_some() { "damaged".to_owned() } else { state };
    let defined = if listed.defined { state } else { format!("{state}, not in the project") };
    vec![
        listed.name.to_string(),
        defined,
        listed.algorithm.clone(),
        listed.from.clone(),
        match listed.judged_on {
            _ if listed.damaged.is_some() => listed.damaged.clone().unwrap_or_default(),
            Some(JudgedOn::Training) => {
                format!("{} (on rows that it learned from)", figures(&listed.headline))
            }
            Some(JudgedOn::Nothing) => "not judged: too few rows".to_owned(),
            _ => figures(&listed.headline),
        },
    ]
}

async fn show(global: &Global, name: &str, number: Option<u64>, html: Option<PathBuf>) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let shown = predictors::show(&workplace, name, number).await?;
    if let Some(file) = &html {
        output::write_file(file, &predictor::page(&shown), true)?;
        if !global.quiet {
            eprintln!("the card of {name} is in {}", file.display());
        }
    }
    if global.json {
        let line = serde_json::json!({
            "name": shown.name, "current": shown.current, "version": shown.stored.number,
            "created_at": shown.stored.created_at, "run_id": shown.stored.run_id,
            "promoted": shown.stored.promoted, "predictor": shown.stored.predictor,
        });
        output::stdout(&format!("{line}\n"));
    } else if html.is_none() {
        output::stdout(&predictor::text(&shown));
    }
    Ok(0)
}

/// The rows of a table with the answers beside them.
async fn score(
    global: &Global,
    name: &str,
    table: Option<String>,
    format: Option<Format>,
    file: Option<PathBuf>,
) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let shown = predictors::show(&workplace, name, None).await?;
    let name = &shown.name;
    let query = match shown.predictor.forecasts {
        Some(_) if table.is_some() => {
            return Err(Error::new(
                codes::USAGE,
                format!("`{name}` makes forecasts: it is asked for no table"),
            )
            .hint(format!("lagar predictors score {name}")));
        }
        Some(_) => format!("SELECT * FROM forecast('{name}')"),
        None => {
            let table = table.unwrap_or_else(|| shown.predictor.learned_from.table.clone());
            predictors::check_table(&workplace, &shown, &table).await?;
            // How unusual a row is, is no probability.
            let what = if shown.predictor.task == Task::Outliers { "score" } else { "probability" };
            let more = match predictors::scorer(&shown)?.answer_type(Question::Probability) {
                Ok(_) => format!(", predict_proba('{name}') AS {name}_{what}"),
                Err(_) => String::new(),
            };
            format!("SELECT *, predict('{name}') AS {name}_prediction{more} FROM {table}")
        }
    };
    drop(workplace);
    sql::run(global, Some(query), format, file).await
}

fn algorithms(global: &Global, name: Option<&str>) -> Result<u8> {
    let Some(name) = name else {
        if global.json {
            let all: Vec<_> = ALGORITHMS
                .iter()
                .map(
                    |entry| serde_json::json!({"name": entry.name, "task": entry.task, "about": entry.about}),
                )
                .collect();
            output::stdout(&format!("{}\n", serde_json::Value::from(all)));
            return Ok(0);
        }
        let rows = ALGORITHMS
            .iter()
            .map(|entry| vec![entry.name.to_owned(), entry.task.to_string(), entry.about.to_owned()])
            .collect();
        output::stdout(&listing(&["algorithm", "task", "what it is"], rows, &[]));
        output::stdout("\nlagar predictors algorithms NAME shows all parameters of one\n");
        return Ok(0);
    };
    let entry = algorithm(name)?;
    let schema = (entry.schema)().to_value();
    if global.json {
        output::stdout(&format!("{schema}\n"));
        return Ok(0);
    }
    output::stdout(&format!("algorithm: {}    {} ({})\n\n", entry.name, entry.about, entry.task));
    let mut rows = Vec::new();
    keys(&schema, &schema, "", &mut rows);
    match rows.is_empty() {
        true => output::stdout("it has no parameters\n"),
        false => output::stdout(&listing(&["parameter", "default", "meaning"], rows, &[])),
    }
    Ok(0)
}
