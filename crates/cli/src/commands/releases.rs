use lagar_flow::Result;

use crate::{
    args::{Global, ReleasesAction},
    output::{self, table::listing},
};

pub async fn run(global: &Global, action: Option<ReleasesAction>) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    if let Some(ReleasesAction::Rollback { number }) = action {
        let release = workplace.rollback(number).await?;
        if global.json {
            output::stdout(&format!(
                "{}\n",
                serde_json::json!({"release": release.number, "rollback_of": number})
            ));
        } else {
            output::stdout(&format!("release {} has the tables of release {number} again\n", release.number));
            eprintln!("a run publishes the tables taken back only when their inputs or SQL have changed");
        }
        return Ok(0);
    }
    let releases = workplace.lake.releases().await?;
    if global.json {
        let list: Vec<_> = releases.iter().map(|release| serde_json::json!(release)).collect();
        output::stdout(&format!("{}\n", serde_json::Value::from(list)));
        return Ok(0);
    }
    if releases.is_empty() {
        output::stdout("no release yet; `lagar run` makes one\n");
        return Ok(0);
    }
    let rows = releases
        .iter()
        .rev()
        .enumerate()
        .map(|(place, release)| {
            vec![
                release.number.to_string(),
                if place == 0 { "current".into() } else { String::new() },
                release.created_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
                release.rollback_of.map_or(String::new(), |number| format!("rollback to {number}")),
                release.tables.len().to_string(),
                release.run_id.clone(),
            ]
        })
        .collect();
    output::stdout(&listing(&["release", "", "made at", "", "tables", "run"], rows, &[0, 4]));
    Ok(0)
}
