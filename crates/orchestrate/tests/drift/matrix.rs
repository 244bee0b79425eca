//! Every cell of the matrix in one project: two runs, and then each source is looked at.

use lagar_orchestrate::Status;
use lagar_testing::Battery;

use crate::{
    support::{Place, Seen, shown, source, step},
    table::{Change, Expected, Format, POLICIES, changes, expected, formats},
};

fn cells() -> Vec<(Change, &'static str, Format)> {
    let mut cells = Vec::new();
    for change in changes() {
        for format in formats(&change) {
            cells.extend(POLICIES.map(|policy| (change.clone(), policy, format)));
        }
    }
    cells
}

fn cell_name(change: &Change, policy: &str, format: Format) -> String {
    format!("{}_{}_{policy}", change.name, format.name())
}

/// D1
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_met_as_the_policy_says() {
    assert_eq!(cells().len(), 248, "as docs/reliability.md says");
    let mut project = String::from("name: drift\nlimits: {threads: 2, memory: 256MiB}\nsources:\n");
    for (change, policy, format) in cells() {
        let keys = format!("schema: {policy}, max_rejected: 1");
        project.push_str(&source(&cell_name(&change, policy, format), change.name, format, &keys));
    }
    let place = Place::new(&project);
    for change in changes() {
        for format in formats(&change) {
            place.send(change.name, format, &change.first).await;
        }
    }
    let report = place.run().await;
    assert_eq!(report.status, Status::Ok, "{:?}", report.worst_error());
    assert!(report.steps.iter().all(|step| step.events.is_empty()), "the first load has no drift");
    for change in changes() {
        for format in formats(&change) {
            place.send(change.name, format, &change.second).await;
        }
    }
    let report = place.run().await;

    let workplace = place.workplace().await;
    let seen = Seen::of(&workplace).await;
    let mut battery = Battery::new("D1");
    let mut wrong = Vec::new();
    for (change, policy, format) in cells() {
        let name = cell_name(&change, policy, format);
        let step = step(&report, &name);
        let got = Expected {
            columns: seen.columns(&name).await,
            rows: seen.rows(&name, "_newest").await,
            rejects: seen.rejects(&name).await,
            events: shown(&step.events),
            error: step.error.as_ref().map(|error| error.code().id),
        };
        let wanted = expected(&change, policy, format);
        let newest = seen.newest(&name).await;
        let refused = wanted.error.is_some();
        let same = got == wanted
            && step.rows_in == 2
            && (refused || step.rows_in == step.rows_out + step.rows_rejected)
            && newest.number == if refused { 1 } else { 2 }
            && (refused || newest.events == step.events);
        if !same {
            wrong.push(format!("{name}: {:?}\n  wanted {wanted:?}\n  got    {got:?}", step.error));
        }
        battery.case(&name, || ());
    }
    battery.case("all cells", || assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n")));
}
