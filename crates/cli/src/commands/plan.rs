use lagar_flow::Result;

use crate::{
    args::Global,
    output::{self, table::listing},
};

pub async fn run(global: &Global, select: Vec<String>) -> Result<u8> {
    let workplace = super::open(global).await?;
    let plan = lagar_orchestrate::plan(&workplace, &select).await?;
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!({"steps": plan})));
        return Ok(0);
    }
    let rows = plan
        .iter()
        .map(|step| {
            vec![
                step.name.clone(),
                step.kind.as_str().to_owned(),
                step.action.as_str().to_owned(),
                step.why.clone(),
            ]
        })
        .collect();
    output::stdout(&listing(&["step", "kind", "action", "why"], rows, &[]));
    Ok(0)
}
