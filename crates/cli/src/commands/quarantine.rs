use lagar_flow::Result;

use super::run::{exit_code, how, summary, tell};
use crate::args::{Global, QuarantineAction};

pub async fn run(global: &Global, action: QuarantineAction) -> Result<u8> {
    let QuarantineAction::Retry { tables } = action;
    let workplace = super::open(global).await?;
    let report = lagar_orchestrate::retry(&workplace, &tables, how(global, Vec::new(), false)?).await?;
    tell(global, &report, &summary(&report))?;
    Ok(exit_code(&report, None))
}
