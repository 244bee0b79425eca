use lagar_flow::Result;

use crate::{args::Global, output};

pub async fn run(global: &Global) -> Result<u8> {
    let workplace = super::open(global).await?;
    let checked = lagar_orchestrate::check(&workplace).await?;
    if global.json {
        output::stdout(&format!(
            "{}\n",
            serde_json::json!({"status": "ok", "sources": checked.sources, "models": checked.models, "unplanned": checked.unplanned})
        ));
        return Ok(0);
    }
    output::stdout(&format!("{} sources and {} models: no problem found\n", checked.sources, checked.models));
    if !checked.unplanned.is_empty() {
        output::stdout(&format!(
            "columns and types of {} were not checked: a source that they read has no load yet\n",
            checked.unplanned.join(", ")
        ));
    }
    Ok(0)
}
