use lagar_flow::{Error, Result};
use lagar_orchestrate::Project;

use crate::{
    args::Global,
    output::{self, counted},
};

pub async fn run(global: &Global) -> Result<u8> {
    let mut options = super::options(global);
    options.thorough = true;
    let draft = Project::draft(&global.project, options).await?;
    let checked = lagar_orchestrate::check(draft, super::clock()).await?;
    if !global.quiet {
        checked.warnings.iter().for_each(|warning| output::warn(warning));
    }
    if let Some(error) = Error::all(checked.problems) {
        return Err(error);
    }
    if global.json {
        output::stdout(&format!(
            "{}\n",
            serde_json::json!({
                "status": "ok", "sources": checked.sources, "models": checked.models,
                "predictors": checked.predictors,
                "unplanned": checked.unplanned, "warnings": checked.warnings,
            })
        ));
        return Ok(0);
    }
    let predictors = match checked.predictors {
        0 => String::new(),
        some => format!(" and {}", counted(some as u64, "predictor")),
    };
    output::stdout(&format!(
        "{} and {}{predictors}: no problem found\n",
        counted(checked.sources as u64, "source"),
        counted(checked.models as u64, "model")
    ));
    if !checked.unplanned.is_empty() {
        let or = match checked.predictors {
            0 => "",
            _ => ", or a predictor that they ask was not trained",
        };
        output::stdout(&format!(
            "columns and types of {} were not checked: a source that they read has no load yet{or}\n",
            checked.unplanned.join(", ")
        ));
    }
    Ok(0)
}
