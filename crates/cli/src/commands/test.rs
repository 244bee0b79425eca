use lagar_flow::Result;

use crate::{
    args::Global,
    output::{self, seconds, style},
};

pub async fn run(global: &Global, filter: Option<&str>) -> Result<u8> {
    let workplace = super::open(global).await?;
    let results = lagar_orchestrate::test(&workplace, filter).await?;
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    for result in &results {
        let mark =
            if result.failure.is_none() { style("32").paint("✓") } else { style("1;31").paint("✗") };
        if !global.quiet || result.failure.is_some() {
            eprintln!("{mark} {} / {}  {}", result.model, result.case, seconds(result.seconds));
        }
        if let Some(error) = &result.failure {
            output::print_error(error);
        }
    }
    if global.json {
        let tests: Vec<_> = results
            .iter()
            .map(|result| {
                serde_json::json!({
                    "model": result.model.to_string(), "case": result.case, "seconds": result.seconds,
                    "status": if result.failure.is_none() { "ok" } else { "failed" },
                    "error": result.failure.as_ref().map(|error| error.to_json()),
                })
            })
            .collect();
        output::stdout(&format!("{}\n", serde_json::json!({"tests": tests})));
    } else {
        output::stdout(&format!(
            "{} passed, {failed} failed\n",
            output::counted((results.len() - failed) as u64, "test")
        ));
    }
    Ok(if failed == 0 { 0 } else { output::EXIT_FAILED })
}
