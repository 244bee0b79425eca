use lagar_flow::{Error, Result};

use crate::{
    args::Global,
    output::{self, style},
};

pub async fn run(global: &Global) -> Result<u8> {
    let workplace = super::open(global).await?;
    let findings = lagar_orchestrate::doctor(&workplace).await;
    let failed = findings.iter().filter(|finding| finding.result.is_err()).count();
    if global.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "what": finding.what,
                    "found": finding.result.as_ref().ok(),
                    "error": finding.result.as_ref().err().map(Error::to_json),
                })
            })
            .collect();
        output::stdout(&format!(
            "{}\n",
            serde_json::json!({"status": if failed == 0 { "ok" } else { "failed" }, "findings": list})
        ));
    } else {
        let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
        for finding in &findings {
            let what = format!("{:<width$}", finding.what);
            match &finding.result {
                Ok(found) => output::stdout(&format!("{} {what}  {found}\n", style("32").paint("✓"))),
                Err(error) => {
                    let cross = style("1;31").paint("✗");
                    output::stdout(&format!("{cross} {what}  {}\n", error.message()));
                    output::print_error(error);
                }
            }
        }
    }
    Ok(if failed == 0 { 0 } else { output::EXIT_FAILED })
}
