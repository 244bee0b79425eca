//! The record of a commit is put while the store loses answers, refuses, or lets another writer in first.

use std::{collections::BTreeMap, sync::Arc};

use lagar_flow::{Blame, Result, Scope, TableName, codes};
use lagar_lake::{Lake, TableCommit};
use lagar_testing::{Battery, Fault, FaultStore, Op, Plan, long, replay, seeds};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::support::*;

/// Most of a case is waiting for the next attempt.
const CASES_AT_ONCE: usize = 32;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Load,
    Table,
    Release,
}

const KINDS: [Kind; 3] = [Kind::Load, Kind::Table, Kind::Release];

fn events_table() -> TableName {
    table_name("trusted.events")
}

impl Kind {
    /// The first record of its kind.
    fn record(self) -> Path {
        Path::from(match self {
            Kind::Load => "raw/events/_loads/00000000000000000001.json",
            Kind::Table => "trusted/events/_delta_log/00000000000000000000.json",
            Kind::Release => "releases/00000000000000000001.json",
        })
    }

    /// Commits the first record in the name of `run`; returns what tells it from any other.
    async fn commit(self, lake: &Lake, run: &str) -> Result<String> {
        match self {
            Kind::Load => {
                let load = lake.begin_load(&name("events"), run);
                Ok(load.commit(None, None, Scope::Increment, vec![]).await?.id.to_string())
            }
            Kind::Table => {
                let commit = table_commit(run);
                let id = commit.meta.commit_id.clone();
                lake.commit_table(commit).await.map(|_| id)
            }
            Kind::Release => {
                let tables = BTreeMap::from([(events_table(), 0)]);
                Ok(lake.publish(None, tables, run, None).await?.id.to_string())
            }
        }
    }
}

fn table_commit(run: &str) -> TableCommit {
    let mut commit = commit_of(&events_table(), rows(0..1, |_| None).schema(), &[], vec![], None, &[]);
    commit.meta.run_id = run.to_owned();
    commit
}

/// The calls that put a record, and those that read it back.
fn on_records(op: Op, path: &str) -> bool {
    matches!(op, Op::Put | Op::Get) && path.ends_with(".json")
}

fn puts(op: Op, path: &str) -> bool {
    op == Op::Put && path.ends_with(".json")
}

async fn there(store: &dyn ObjectStore, kind: Kind) -> Option<String> {
    let bytes = store.get(&kind.record()).await.ok()?.bytes().await.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

fn faulty(inner: &Arc<dyn ObjectStore>, plan: Plan) -> Lake {
    lake_over(Arc::new(FaultStore::new(inner.clone(), plan)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_commit_is_known_whatever_the_answer() {
    let mut battery = Battery::new("O2");
    let plans = [
        Plan::at(1, Fault::After).only(puts),
        Plan::at(1, Fault::Before).only(puts),
        Plan::at(1, Fault::Status(409)).only(puts),
        Plan::at(1, Fault::Status(412)).only(puts),
        Plan::at(1, Fault::Status(503)).only(puts),
        // Refused again and again, but not for ever.
        Plan::each((1..5).map(|put| (put, Fault::Status(409)))).only(puts),
        Plan::each((1..5).map(|put| (put, Fault::Status(503)))).only(puts),
        // The answer is lost; so are those to the questions what is there.
        Plan::each([(1, Fault::After), (2, Fault::After), (3, Fault::After)]).only(puts),
        Plan::each([(1, Fault::After), (2, Fault::Status(503)), (3, Fault::Status(412)), (4, Fault::Half)])
            .only(on_records),
    ];
    for kind in KINDS {
        for plan in &plans {
            let case = async {
                let inner = memory();
                let id = kind.commit(&faulty(&inner, plan.clone()), "run").await.unwrap();
                assert!(there(inner.as_ref(), kind).await.unwrap().contains(&id), "another record is there");
            };
            battery.case_async(&format!("{kind:?}, {plan}"), case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_is_never_overwritten() {
    let mut battery = Battery::new("O2");
    for kind in KINDS {
        // The rival comes between our look and our put, and our answer may be lost on top of it.
        for more in [vec![], vec![(2, Fault::Before)], vec![(2, Fault::Status(503)), (3, Fault::Status(503))]]
        {
            let plan = Plan::each([(1, Fault::Meanwhile)].into_iter().chain(more)).only(puts);
            let case = async {
                let inner = memory();
                let rival = lake_over(inner.clone());
                let store = FaultStore::new(inner.clone(), plan.clone())
                    .meanwhile(async move { drop(kind.commit(&rival, "rival").await.unwrap()) });
                let refused = kind.commit(&lake_over(Arc::new(store)), "late").await.unwrap_err();
                assert_eq!(refused.code(), codes::LAKE_CONFLICT, "{refused}");
                assert_eq!(refused.blame(), Blame::Outside);
                let kept = there(inner.as_ref(), kind).await.unwrap();
                assert!(kept.contains("rival") && !kept.contains("late"), "{kept}");
            };
            battery.case_async(&format!("{kind:?}, {plan}"), case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_of_503_the_same_work_is_done() {
    let mut battery = Battery::new("O2");
    for kind in KINDS {
        for status in [503, 429, 409] {
            let plan = Plan::from(1, Fault::Status(status)).only(on_records);
            let case = async {
                let inner = memory();
                let refused = kind.commit(&faulty(&inner, plan.clone()), "run").await.unwrap_err();
                assert_eq!(refused.blame(), Blame::Outside, "{refused}");
                assert_eq!(there(inner.as_ref(), kind).await, None);
                kind.commit(&lake_over(inner), "run").await.unwrap();
            };
            battery.case_async(&format!("{kind:?}, {plan}"), case).await;
        }
    }
}

/// Two commits, one after the other, each over a store that fails by chance.
async fn two_commits(kind: Kind, seed: u64) {
    const FAULTS: &[Fault] = &[
        Fault::Before,
        Fault::After,
        Fault::Half,
        Fault::Status(409),
        Fault::Status(412),
        Fault::Status(503),
        Fault::Late(5),
    ];
    let inner = memory();
    let plan = Plan::seeded(seed, 40, FAULTS).only(on_records);
    let first = kind.commit(&faulty(&inner, plan.clone()), "first").await;
    let kept = there(inner.as_ref(), kind).await;
    match &first {
        Ok(id) => assert!(kept.as_ref().unwrap().contains(id), "told as done, and not there"),
        Err(error) => assert_eq!(error.blame(), Blame::Outside, "{error}"),
    }
    let second = kind.commit(&faulty(&inner, plan), "second").await;
    let there = there(inner.as_ref(), kind).await;
    match (&kept, second) {
        (Some(_), second) => {
            assert_eq!(kept, there, "the first record was overwritten");
            assert_eq!(second.unwrap_err().blame(), Blame::Outside);
        }
        (None, Ok(id)) => assert!(there.unwrap().contains(&id)),
        (None, Err(error)) => assert_eq!(error.blame(), Blame::Outside, "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_chance_does_a_commit_is_there_or_is_not() {
    let test = "whatever_chance_does_a_commit_is_there_or_is_not";
    let cases = seeds(if long() { 2_000 } else { 150 }).into_iter().flat_map(|seed| {
        KINDS.map(|kind| {
            let replay = replay("lagar-lake", "lake", test, &[("LAGAR_SEED", seed)]);
            (format!("{kind:?}: {replay}"), two_commits(kind, seed))
        })
    });
    Battery::new("O2").all(CASES_AT_ONCE, cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_commit_again_is_no_second_one() {
    let mut battery = Battery::new("O2");
    let case = async {
        let inner = memory();
        let commit = table_commit("run");
        // All answers are lost for so long that the first try gives up.
        let plan =
            Plan::each([(1, Fault::After)].into_iter().chain((2..40).map(|call| (call, Fault::Before))));
        let first = faulty(&inner, plan.only(on_records)).commit_table(commit.clone()).await;
        assert_eq!(first.unwrap_err().blame(), Blame::Outside);
        let again = lake_over(inner.clone()).commit_table(commit).await.unwrap();
        assert_eq!(again.version, 0);
        assert_eq!(lake_over(inner).table(&events_table(), None).await.unwrap().unwrap().version, 0);
    };
    battery.case_async("a table's commit", case).await;
}
