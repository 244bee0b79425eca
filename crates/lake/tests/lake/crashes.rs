//! Every call to the store fails once, before, after or in the middle of its effect, with and without the
//! process dying there. What is visible then is the old state or the new one, and doing it again
//! completes it.

use std::{collections::BTreeMap, sync::Arc};

use lagar_flow::{Reject, Result};
use lagar_lake::{Lake, Table};
use lagar_testing::{Battery, Fault, FaultStore, Plan};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::*;

const EVENTS: &str = "events";
const INPUT: &str = "raw.events";
const ROWS: u64 = 10;

fn events_table() -> lagar_flow::TableName {
    table_name("trusted.events")
}

fn kind(id: i64) -> Option<String> {
    (id % 3 != 0).then(|| format!("k/{}", id % 3))
}

/// What a run does so that there are `generation` loads, all of them in the table, and published.
/// Doing it again does only what is missing.
async fn run(lake: &Lake, generation: u64) -> Result<()> {
    let source = name(EVENTS);
    let loads = lake.loads(&source).await?;
    if (loads.len() as u64) < generation {
        let mut load = lake.begin_load(&source, "run");
        for part in 0..2 {
            let reject = Reject::new(1, None, "bad", "x");
            load.add(&chunk(&format!("x\n{{\"id\":{part}}}\n"), vec![reject])).await?;
        }
        load.commit(loads.last().map(|l| l.number), None, lagar_flow::Scope::Increment, vec![]).await?;
    }
    let before = lake.table(&events_table(), None).await?;
    let table = if used(before.as_ref()) < generation {
        let first = (generation as i64 - 1) * ROWS as i64;
        let batch = rows(first..first + ROWS as i64, kind);
        let mut files = before.iter().flat_map(|t| t.files.clone()).collect::<Vec<_>>();
        files.extend(write_files(lake, &events_table(), std::slice::from_ref(&batch), &["kind"]).await?);
        let base = before.map(|t| t.version);
        let inputs = [(INPUT, generation)];
        lake.commit_table(commit_of(&events_table(), batch.schema(), &["kind"], files, base, &inputs)).await?
    } else {
        before.unwrap()
    };
    let current = lake.current_release().await?;
    let wanted = BTreeMap::from([(events_table(), table.version)]);
    if current.as_ref().map(|r| &r.tables) != Some(&wanted) {
        lake.publish(current.map(|r| r.number), wanted, "run", None).await?;
    }
    Ok(())
}

fn used(table: Option<&Table>) -> u64 {
    table.and_then(|t| t.meta.as_ref()).map_or(0, |m| m.inputs[INPUT])
}

/// The loads, the generation of the table and the releases; each of them whole.
async fn visible(lake: &Lake) -> (u64, u64, u64) {
    let source = name(EVENTS);
    let spool = tempfile::tempdir().unwrap();
    let loads = lake.loads(&source).await.unwrap();
    for load in &loads {
        assert_eq!((load.files.len(), load.rows, load.rejected), (2, Some(2), 2));
        for file in &load.files {
            lake.raw_body(&source, file, spool.path()).await.unwrap();
        }
        assert_eq!(lake.rejects(&source, load).await.unwrap().len(), 2);
    }
    let table = lake.table(&events_table(), None).await.unwrap();
    if let Some(table) = &table {
        whole(lake, table).await;
    }
    let releases = lake.releases().await.unwrap();
    for release in &releases {
        let version = release.tables[&events_table()];
        let table = lake.table(&events_table(), Some(version)).await.unwrap();
        whole(lake, &table.expect("a release names a version that is not there")).await;
    }
    (loads.len() as u64, used(table.as_ref()), releases.len() as u64)
}

async fn whole(lake: &Lake, table: &Table) {
    assert_eq!(table.version + 1, used(Some(table)), "a generation was committed twice");
    assert_eq!(total(&table.files), used(Some(table)) * ROWS);
    for file in &table.files {
        let path = lake.file_path(&table.name, file).unwrap();
        assert_eq!(lake.store().head(&path).await.unwrap().size, file.bytes, "{path}");
    }
}

/// Whether the fault was reached.
async fn broken_off(generation: u64, plan: Plan) -> bool {
    let inner = memory();
    let sound = lake_over(inner.clone());
    for earlier in 1..generation {
        run(&sound, earlier).await.unwrap();
    }
    let faulty = Arc::new(FaultStore::new(inner, plan.clone()));
    let result = run(&lake_over(faulty.clone()), generation).await;
    if !faulty.struck() {
        result.unwrap();
        return false;
    }
    let seen = visible(&sound).await;
    let (old, new) = (generation - 1, generation);
    for part in [seen.0, seen.1, seen.2] {
        assert!(part == old || part == new, "{plan}: {seen:?}");
    }
    assert!(seen.0 >= seen.1 && seen.1 >= seen.2, "{plan}: an effect before its cause: {seen:?}");
    if result.is_ok() {
        assert_eq!(seen, (new, new, new), "{plan}: success was told too early");
    }
    run(&sound, generation).await.unwrap();
    assert_eq!(visible(&sound).await, (new, new, new), "{plan}");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_broken_off_anywhere_can_be_done_again() {
    let mut battery = Battery::new("R2");
    let test = "a_run_broken_off_anywhere_can_be_done_again";
    for generation in [1, 2] {
        let what = format!("generation {generation}, ");
        let case = |plan| broken_off(generation, plan);
        at_every_call(&mut battery, (test, &what), 12, broken_at, case).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_commit_is_no_failure() {
    // Every put may lose its answer after the effect: commits find their own record and go on.
    let mut recovered = 0;
    for call in 1.. {
        let inner = memory();
        let faulty = Arc::new(FaultStore::new(inner.clone(), Plan::at(call, Fault::After)));
        let lake = lake_over(faulty.clone());
        let result = lake.publish(None, BTreeMap::new(), "run", None).await;
        if !faulty.struck() {
            break;
        }
        if result.is_ok() {
            recovered += 1;
        }
        assert_eq!(lake_over(inner).releases().await.unwrap().len(), usize::from(result.is_ok()));
    }
    assert_eq!(recovered, 1, "the put, and nothing else, is recovered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_upload_broken_off_leaves_nothing_visible() {
    let text = "{\"id\":1234567}\n".repeat(1_200_000);
    let source = name(EVENTS);
    for call in 1.. {
        for fault in [Fault::Before, Fault::After] {
            let inner: Arc<dyn ObjectStore> = memory();
            let faulty = Arc::new(FaultStore::new(inner.clone(), Plan::at(call, fault).then_crash()));
            let lake = lake_over(faulty.clone());
            let result = async {
                let mut load = lake.begin_load(&source, "run");
                load.add(&chunk(&text, vec![])).await?;
                load.commit(None, None, lagar_flow::Scope::Increment, vec![]).await
            };
            let result = result.await;
            let seen = lake_over(inner).loads(&source).await.unwrap();
            if !faulty.struck() {
                result.unwrap();
                assert!(call > 5, "the upload had no parts");
                return;
            }
            assert!(result.is_err());
            assert!(seen.is_empty() || fault == Fault::After, "call {call}");
        }
    }
}
