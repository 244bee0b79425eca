use lagar_flow::Result;

use crate::{
    args::{ConfigAction, Global},
    output,
};

pub async fn run(global: &Global, action: ConfigAction) -> Result<u8> {
    match action {
        ConfigAction::Schema { predictor } => {
            let schema = match predictor {
                true => lagar_ml::Predictor::schema().to_value(),
                false => lagar_orchestrate::project_schema(),
            };
            output::stdout(&format!("{schema:#}\n"));
        }
        ConfigAction::Show { origin } => {
            let project = super::load(global).await?;
            if global.json {
                let entries: Vec<_> = project
                    .settings()
                    .into_iter()
                    .map(|s| serde_json::json!({"key": s.key, "value": s.value, "origin": s.origin}))
                    .collect();
                output::stdout(&format!("{}\n", serde_json::Value::from(entries)));
                return Ok(0);
            }
            let rows = project
                .settings()
                .into_iter()
                .map(|s| if origin { vec![s.key, s.value, s.origin] } else { vec![s.key, s.value] })
                .collect();
            let header: &[&str] = if origin { &["key", "value", "origin"] } else { &["key", "value"] };
            output::stdout(&output::table::listing(header, rows, &[]));
        }
    }
    Ok(0)
}
