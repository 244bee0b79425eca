//! What a vacuum takes away and what it must not, after crashes, beside writers, and when it is itself
//! broken off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use lagar_flow::{Clock, FixedClock, Reject, Result, Scope, codes};
use lagar_lake::{Contents, Lake, LeftOut, Release, VacuumOptions, VacuumReport, vacuum::Why};
use lagar_testing::{
    Battery, Fault, FaultStore, Op, Plan, env_number,
    http::{Server, reply},
    long,
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{dated::Dated, predictors::version_after};
use crate::support::*;

const EVENTS: &str = "events";
const DAY: i64 = 24;

fn events() -> lagar_flow::TableName {
    table_name("trusted.events")
}

fn sums() -> lagar_flow::TableName {
    table_name("refined.sums")
}

fn older_than(days: u64, keep_releases: usize) -> VacuumOptions {
    VacuumOptions {
        older_than: Duration::from_secs(days * 86_400),
        keep_releases: Some(keep_releases),
        only: vec![],
        dry_run: false,
    }
}

fn dry(options: &VacuumOptions) -> VacuumOptions {
    VacuumOptions { dry_run: true, ..options.clone() }
}

/// What a run does for generation `number`: a load, one table that grows, one that is made anew, a release.
/// Doing it again does only what is missing.
async fn run(lake: &Lake, number: u64) -> Result<()> {
    let source = name(EVENTS);
    let loads = lake.loads(&source).await?;
    if (loads.len() as u64) < number {
        let mut load = lake.begin_load(&source, "run");
        load.add(&chunk("x\n{\"id\":1}\n", vec![Reject::new(1, None, "bad", "x")])).await?;
        load.commit(loads.last().map(|l| l.number), None, Scope::Increment, vec![]).await?;
    }
    let mut versions = BTreeMap::new();
    for (table, grows) in [(events(), true), (sums(), false)] {
        let newest = lake.table(&table, None).await?;
        let base = newest.as_ref().map(|t| t.version);
        if base.is_none_or(|version| version + 1 < number) {
            let first = number as i64 * 10;
            let batch = rows(first..first + 10, |id| Some(format!("{}", id % 2)));
            let mut files = newest.filter(|_| grows).map(|t| t.files).unwrap_or_default();
            files.extend(write_files(lake, &table, std::slice::from_ref(&batch), &["kind"]).await?);
            let mut commit = commit_of(&table, batch.schema(), &["kind"], files, base, &[]);
            if !grows {
                let out = rows(first..first + 1, |_| Some("out".into()));
                let files = write_files(lake, &table, std::slice::from_ref(&out), &["kind"]).await?;
                commit.meta.left_out = Some(LeftOut::new(&out.schema(), &["kind".into()], files));
            }
            lake.commit_table(commit).await?;
        }
        versions.insert(table, number - 1);
    }
    let learned = lake.newest_predictor(&name("p")).await?.map(|newest| newest.number);
    if learned.is_none_or(|learned| learned < number) {
        lake.put_predictor(version_after(learned, number)).await?;
    }
    let predictors = BTreeMap::from([(name("p"), number)]);
    let contents = Contents { tables: versions, predictors, ..Contents::default() };
    let current = lake.current_release().await?;
    if current.as_ref().is_none_or(|release| release.number < number) {
        lake.publish(current.map(|release| release.number), contents, "run", None).await?;
    }
    Ok(())
}

/// All objects with their lengths.
async fn objects(store: &dyn ObjectStore) -> BTreeMap<String, u64> {
    store.list(None).map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect().await.unwrap()
}

fn removed(report: &VacuumReport) -> BTreeSet<String> {
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    report.places.iter().flat_map(|place| &place.removed).map(|garbage| garbage.object.clone()).collect()
}

/// Fails unless every load, every version of every release and the newest versions are there with their rows.
async fn whole(lake: &Lake) {
    let source = name(EVENTS);
    let spool = tempfile::tempdir().unwrap();
    for load in lake.loads(&source).await.unwrap() {
        for file in &load.files {
            lake.raw_body(&source, file, spool.path()).await.unwrap();
        }
        assert_eq!(lake.rejects(&source, &load).await.unwrap().len() as u64, load.rejected);
    }
    let mut versions: BTreeSet<_> = BTreeSet::new();
    for release in lake.releases().await.unwrap() {
        for (predictor, version) in &release.predictors {
            lake.predictor(predictor, *version).await.unwrap();
        }
        versions.extend(release.tables.into_iter().map(|(table, version)| (table, Some(version))));
    }
    versions.extend(lake.tables().await.unwrap().into_iter().map(|table| (table, None)));
    for (table, version) in versions {
        let found = lake.table(&table, version).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{table} {version:?}"));
        let left_out = found.meta.and_then(|meta| meta.left_out).map_or(vec![], |rows| rows.files);
        assert_eq!(left_out.len(), usize::from(table == sums()));
        for file in found.files.into_iter().chain(left_out) {
            let object = lake.file_path(&table, &file).unwrap();
            let length = lake.store().head(&object).await.map(|meta| meta.size);
            assert_eq!(length.ok(), Some(file.bytes), "version {version:?} of {table} needs {object}");
        }
    }
}

/// Runs generations up to `number`, a month apart, then a month passes.
async fn grown(number: u64) -> (Dated, Lake) {
    let store = Dated::default();
    let lake = store.lake(Arc::new(store.clone()));
    for generation in 1..=number {
        run(&lake, generation).await.unwrap();
        store.hours_later(30 * DAY);
    }
    (store, lake)
}

/// How the process dies at `call`. Each change tries one way a call, in turn; the long lane all.
fn dead_at(call: u64) -> Vec<Plan> {
    let all = [Fault::Before, Fault::After, Fault::Half].map(|fault| Plan::at(call, fault).then_crash());
    match long() || env_number("LAGAR_CALL").is_some() {
        true => all.to_vec(),
        false => vec![all[call as usize % 3].clone()],
    }
}

/// A run that died at a call, the same run in full, then a vacuum. Whether the call was reached.
async fn orphaned(plan: Plan, ideal: Arc<BTreeMap<String, u64>>) -> Result<bool, String> {
    let (store, lake) = grown(1).await;
    let faulty = Arc::new(FaultStore::new(Arc::new(store.clone()), plan));
    let died = run(&store.lake(faulty.clone()), 2).await;
    if !faulty.struck() {
        died.unwrap();
        return Ok(false);
    }
    store.hours_later(30 * DAY);
    run(&lake, 2).await.unwrap();
    run(&lake, 3).await.unwrap();
    store.hours_later(30 * DAY);

    let options = older_than(7, 1);
    let before = objects(&store).await;
    let would_go = removed(&lake.vacuum(&dry(&options)).await.unwrap());
    assert_eq!(objects(&store).await, before, "a dry run changes nothing");
    let gone = removed(&lake.vacuum(&options).await.unwrap());
    assert_eq!(would_go, gone, "what was said is what was done");
    let after = objects(&store).await;
    let marks = after.keys().filter(|name| name.contains("_forgotten")).count();
    let really: BTreeSet<String> = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
    // One of the releases, one of the predictor.
    assert_eq!((gone, marks), (really, 2), "and nothing else");
    whole(&lake).await;
    let released = lake.releases().await.unwrap();
    assert_eq!(released.iter().map(|release| release.number).collect::<Vec<_>>(), [3]);

    let bytes = |all: &BTreeMap<String, u64>| all.values().sum::<u64>() as f64;
    let (ours, ideal_bytes) = (bytes(&after), bytes(ideal.as_ref()));
    if ideal.len() != after.len() || (ours / ideal_bytes - 1.0).abs() > 0.01 {
        return Err(format!(
            "{} objects, {ours} bytes; ideal: {} objects, {ideal_bytes} bytes\n{after:#?}",
            after.len(),
            ideal.len()
        ));
    }
    Ok(true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_of_every_crash_are_found_and_nothing_else() {
    let mut battery = Battery::new("R8");
    let test = "orphans_of_every_crash_are_found_and_nothing_else";
    // The same without a crash: nothing more may lie there.
    let (store, lake) = grown(3).await;
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    let ideal = Arc::new(objects(&store).await);
    let case = |plan| {
        let ideal = ideal.clone();
        async move { orphaned(plan, ideal).await.unwrap_or_else(|why| panic!("{why}")) }
    };
    at_every_call(&mut battery, (test, ""), 12, dead_at, case).await;
}

/// A lake in which everything that a vacuum removes is to be found.
async fn littered() -> (Dated, Lake) {
    let (store, lake) = grown(3).await;
    let batch = rows(0..5, |_| Some("0".into()));
    write_files(&lake, &events(), std::slice::from_ref(&batch), &["kind"]).await.unwrap();
    let new = table_name("trusted.never_committed");
    write_files(&lake, &new, std::slice::from_ref(&batch), &[]).await.unwrap();
    let files = write_files(&lake, &sums(), std::slice::from_ref(&batch), &["kind"]).await.unwrap();
    let rows = LeftOut::new(&batch.schema(), &["kind".into()], files);
    lake.refuse_version(&sums(), "run", Some(2), rows).await.unwrap();
    let source = name(EVENTS);
    let mut load = lake.begin_load(&source, "run");
    load.add(&chunk("x\n", vec![Reject::new(1, None, "bad", "x")])).await.unwrap();
    load.refuse(Some(3)).await.unwrap();
    let mut load = lake.begin_load(&name("only_begun"), "run");
    load.add(&chunk("{\"id\":1}\n", vec![])).await.unwrap();
    drop(load);
    store.put(&Path::from("_probe/x"), "1".into()).await.unwrap();
    store.put(&Path::from("releases/_holds/x.json"), "{}".into()).await.unwrap();
    (store, lake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_litter_goes_when_it_is_old_and_not_before() {
    let mut battery = Battery::new("R8");
    let (store, lake) = littered().await;
    // What others put there is not ours to judge.
    let foreign =
        ["trusted/events/README.txt", "raw/events/notes.json", "trusted/events/part-0.parquet", "x/y"];
    for name in foreign {
        store.put(&Path::from(name), "theirs".into()).await.unwrap();
    }
    battery
        .case_async("young", async {
            store.hours_later(6 * DAY);
            store.delete(&Path::from("releases/_holds/x.json")).await.unwrap();
            let before = objects(&store).await;
            let report = lake.vacuum(&older_than(7, 10)).await.unwrap();
            // Release 1 and 2 stay with their versions.
            assert_eq!(removed(&report), BTreeSet::new());
            assert_eq!(objects(&store).await, before);
            store.put(&Path::from("releases/_holds/x.json"), "{}".into()).await.unwrap();
        })
        .await;
    battery
        .case_async("old", async {
            store.hours_later(8 * DAY);
            let options = older_than(7, 1);
            let report = lake.vacuum(&options).await.unwrap();
            let of = |why: Why| {
                let all = report.places.iter().flat_map(|place| &place.removed);
                all.filter(|garbage| garbage.why == why).count()
            };
            let counts = [Why::NoLoad, Why::NoVersion, Why::Refused, Why::Release, Why::Leftover].map(of);
            // Files: of `only_begun`, and the quarantine of the refused load · staged for `events`, for the new
            // table, and of each of two old versions of `sums` two partitions and what it left out · the notes,
            // and a file ·
            // releases 1 and 2 · a probe and a hold.
            assert_eq!(counts, [2, 8, 3, 2, 2], "{:#?}", report.places);
            assert!(lake.refused_version(&sums()).await.unwrap().is_none());
            whole(&lake).await;
            let left = objects(&store).await;
            assert!(foreign.iter().all(|name| left.contains_key(*name)));
            assert!(left.keys().filter(|name| name.contains("_delta_log")).count() >= 6, "the log stays");
            assert_eq!(removed(&lake.vacuum(&options).await.unwrap()), BTreeSet::new(), "once is enough");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_doctor_left_goes_when_it_is_old() {
    let (store, lake) = grown(1).await;
    let before = objects(&store).await;
    // Two objects are put by then.
    let plan = Plan::at(3, Fault::Before).then_crash();
    let faulty = Arc::new(FaultStore::new(Arc::new(store.clone()), plan));
    store.lake(faulty.clone()).try_store().await;
    assert!(faulty.struck());
    let left = objects(&store).await.into_keys().filter(|name| !before.contains_key(name));
    let left: BTreeSet<String> = left.collect();
    assert_eq!(left.len(), 2, "{left:?}");
    store.hours_later(6 * DAY);
    assert_eq!(removed(&lake.vacuum(&older_than(7, 1)).await.unwrap()), BTreeSet::new());
    store.hours_later(2 * DAY);
    assert_eq!(removed(&lake.vacuum(&older_than(7, 1)).await.unwrap()), left);
    assert_eq!(objects(&store).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_current_of_late_stays() {
    let store = Dated::default();
    let lake = store.lake(Arc::new(store.clone()));
    for generation in 1..=3 {
        run(&lake, generation).await.unwrap();
        store.hours_later(30 * DAY);
    }
    // Release 3 was current until yesterday: whoever reads it still does.
    run(&lake, 4).await.unwrap();
    store.hours_later(DAY);
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    let numbers = async || lake.releases().await.unwrap().iter().map(|r| r.number).collect::<Vec<_>>();
    assert_eq!(numbers().await, [3, 4]);
    whole(&lake).await;
    // And a version, without any release.
    let loose = table_name("trusted.loose");
    let batch = [rows(0..3, |_| None)];
    let old = replace(&lake, &loose, &batch, &[], None).await.unwrap();
    store.hours_later(30 * DAY);
    replace(&lake, &loose, &batch, &[], Some(0)).await.unwrap();
    let files = async || {
        let object = lake.file_path(&loose, &old.files[0]).unwrap();
        lake.vacuum(&older_than(7, 1)).await.unwrap();
        store.head(&object).await.is_ok()
    };
    store.hours_later(6 * DAY);
    assert!(files().await, "it was the newest until six days ago");
    store.hours_later(2 * DAY);
    assert!(!files().await);
    store.hours_later(30 * DAY);
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    assert_eq!(numbers().await, [4]);
    whole(&lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_table_alone_is_vacuumed() {
    let (store, lake) = littered().await;
    store.hours_later(30 * DAY);
    let only = |names: &[&str]| VacuumOptions {
        only: names.iter().map(|name| table_name(name)).collect(),
        ..older_than(7, 1)
    };
    let report = lake.vacuum(&only(&["raw.only_begun"])).await.unwrap();
    let gone = removed(&report);
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone.iter().all(|name| name.starts_with("raw/only_begun/")));
    assert_eq!(lake.releases().await.unwrap().len(), 3, "releases belong to all tables");
    let missing = lake.vacuum(&only(&["trusted.nothing"])).await.unwrap_err();
    assert_eq!(missing.code(), codes::TABLE_MISSING, "{missing}");
}

/// A vacuum that dies at a call and is done again. Whether the call was reached.
async fn broken_off(plan: Plan, ideal: Arc<BTreeMap<String, u64>>) -> bool {
    let (store, lake) = littered().await;
    store.hours_later(30 * DAY);
    let faulty = Arc::new(FaultStore::new(Arc::new(store.clone()), plan));
    let died = store.lake(faulty.clone()).vacuum(&older_than(7, 1)).await;
    if !faulty.struck() {
        died.unwrap();
        return false;
    }
    whole(&lake).await;
    store.hours_later(30 * DAY);
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    whole(&lake).await;
    let after = objects(&store).await;
    let shape = |all: &BTreeMap<String, u64>| {
        let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (name, bytes) in all {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            let sum = folders.entry(folder).or_default();
            *sum = (sum.0 + 1, sum.1 + bytes);
        }
        folders
    };
    assert_eq!(shape(&after), shape(&ideal));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vacuum_broken_off_anywhere_can_be_done_again() {
    let mut battery = Battery::new("R8");
    let test = "a_vacuum_broken_off_anywhere_can_be_done_again";
    let (store, lake) = littered().await;
    store.hours_later(30 * DAY);
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    let ideal = Arc::new(objects(&store).await);
    at_every_call(&mut battery, (test, ""), 24, dead_at, |plan| broken_off(plan, ideal.clone())).await;
}

/// At each call of a vacuum another process does `work`, which says how it went; `None`: it found nothing to do.
/// Returns how often it was done, and how often refused.
async fn beside_a_vacuum<W>(work: impl Fn(Lake) -> W) -> (u32, u32)
where
    W: Future<Output = Option<Result<Release>>> + Send + 'static,
{
    let mut battery = Battery::new("R8");
    let (mut done, mut refused) = (0, 0);
    for call in 1.. {
        let (store, lake) = grown(3).await;
        let outcome = Arc::new(std::sync::Mutex::new(None));
        let (told, working) = (outcome.clone(), work(lake.clone()));
        let faulty = FaultStore::new(Arc::new(store.clone()), Plan::at(call, Fault::Meanwhile));
        let faulty = Arc::new(faulty.meanwhile(async move { *told.lock().unwrap() = working.await }));
        let case = async {
            store.lake(faulty.clone()).vacuum(&older_than(7, 1)).await.unwrap();
            whole(&lake).await;
            match outcome.lock().unwrap().take() {
                Some(Ok(_)) => done += 1,
                Some(Err(error)) => {
                    assert_eq!(error.code(), codes::TABLE_MISSING, "{error}");
                    refused += 1;
                }
                None => {}
            }
        };
        battery.case_async(&format!("CALL={call}"), case).await;
        if !faulty.struck() {
            break;
        }
    }
    (done, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_beside_a_vacuum_is_whole_or_refused() {
    let (done, refused) = beside_a_vacuum(|lake| async move {
        let first = lake.releases().await.unwrap().into_iter().find(|release| release.number == 1)?;
        Some(lake.publish(Some(3), first.contents(), "back", Some(1)).await)
    })
    .await;
    assert!(done >= 3, "who comes early enough is not refused: {done} done, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_predictor_that_is_current_again_beside_a_vacuum_is_there_or_refused() {
    let (done, refused) = beside_a_vacuum(|lake| async move {
        lake.predictor(&name("p"), 1).await.ok()?;
        let mut contents = lake.current_release().await.unwrap().unwrap().contents();
        contents.predictors.insert(name("p"), 1);
        Some(lake.publish(Some(3), contents, "by hand", None).await)
    })
    .await;
    assert!(done >= 3 && refused >= 1, "{done} done, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_predictor_that_goes_is_not_made_current_and_one_that_is_named_stays() {
    let back = |lake: Lake| async move {
        let mut contents = lake.current_release().await.unwrap().unwrap().contents();
        contents.predictors.insert(name("p"), 1);
        lake.publish(Some(2), contents, "by hand", None).await
    };
    // The vacuum comes before the hold: what it took is refused.
    let (store, lake) = grown(2).await;
    let rival = lake.clone();
    let plan = Plan::at(1, Fault::Meanwhile).only(|op, path| op == Op::Put && path.contains("_holds"));
    let faulty = FaultStore::new(Arc::new(store.clone()), plan);
    let faulty = faulty.meanwhile(async move { drop(rival.vacuum(&older_than(7, 1)).await.unwrap()) });
    let late = back(store.lake(Arc::new(faulty))).await.unwrap_err();
    assert_eq!(late.code(), codes::TABLE_MISSING, "{late}");
    assert!(late.message().contains("version 1 of the predictor `p`"), "{late}");
    whole(&lake).await;
    // It comes behind the hold, before the release: it sees the hold, and leaves the version alone.
    let (store, lake) = grown(2).await;
    let rival = lake.clone();
    let plan = Plan::at(1, Fault::Meanwhile)
        .only(|op, path| op == Op::Put && path == "releases/00000000000000000003.json");
    let faulty = FaultStore::new(Arc::new(store.clone()), plan);
    let faulty = faulty.meanwhile(async move { drop(rival.vacuum(&older_than(7, 1)).await.unwrap()) });
    back(store.lake(Arc::new(faulty))).await.unwrap();
    whole(&lake).await;
    lake.predictor(&name("p"), 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_vacuum_began_is_ended_by_the_next() {
    let (store, lake) = grown(3).await;
    // It has taken one of two versions away.
    let plan = Plan::at(2, Fault::Before)
        .only(|op, path| op == Op::Delete && path.starts_with("refined/_predictors/p/0"))
        .then_crash();
    let dead = Arc::new(FaultStore::new(Arc::new(store.clone()), plan));
    let _ = store.lake(dead.clone()).vacuum(&older_than(7, 1)).await;
    assert!(dead.struck());
    let versions = || async { lake.predictor_numbers(&name("p")).await.unwrap().map_or(0, Iterator::count) };
    assert_eq!(versions().await, 2);
    // What it was about to take is not made current again, whoever comes in between.
    for _ in 0..2 {
        let mut contents = lake.current_release().await.unwrap().unwrap().contents();
        contents.predictors.insert(name("p"), 2);
        let refused = lake.publish(Some(3), contents, "by hand", None).await.unwrap_err();
        assert_eq!(refused.code(), codes::TABLE_MISSING, "{refused}");
        let report = lake.vacuum(&older_than(7, 1)).await.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert_eq!(versions().await, 1);
        whole(&lake).await;
    }
    let left = objects(&store).await.into_keys().filter(|name| name.contains("_going")).count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_was_overtaken_is_refused_and_leaves_nothing() {
    let (store, lake) = grown(2).await;
    let first = lake.releases().await.unwrap().remove(0);
    // The vacuum comes between the rollback's look at the releases and its own record.
    let rival = lake.clone();
    let plan = Plan::at(1, Fault::Meanwhile).only(|op, path| op == Op::Put && path.contains("_holds"));
    let faulty = FaultStore::new(Arc::new(store.clone()), plan);
    let faulty = faulty.meanwhile(async move { drop(rival.vacuum(&older_than(7, 1)).await.unwrap()) });
    let late =
        store.lake(Arc::new(faulty)).publish(Some(2), first.tables, "back", Some(1)).await.unwrap_err();
    assert_eq!(late.code(), codes::TABLE_MISSING, "{late}");
    assert!(late.message().contains("release 1"), "{late}");
    let held = objects(&store).await.into_keys().filter(|name| name.contains("_holds")).count();
    assert_eq!((held, lake.current_release().await.unwrap().unwrap().number), (0, 2));
    whole(&lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_has_said_so_is_waited_for() {
    let (store, lake) = grown(2).await;
    let first = lake.releases().await.unwrap().remove(0);
    // The vacuum comes between the rollback's last look and its release.
    let rival = lake.clone();
    let plan = Plan::at(1, Fault::Meanwhile)
        .only(|op, path| op == Op::Put && path == "releases/00000000000000000003.json");
    let faulty = FaultStore::new(Arc::new(store.clone()), plan);
    let faulty = faulty.meanwhile(async move { drop(rival.vacuum(&older_than(7, 1)).await.unwrap()) });
    let back = store.lake(Arc::new(faulty)).publish(Some(2), first.tables, "back", Some(1)).await.unwrap();
    let numbers: Vec<u64> = lake.releases().await.unwrap().iter().map(|release| release.number).collect();
    assert_eq!((back.number, numbers), (3, vec![2, 3]), "release 1 went, and what it named stayed");
    whole(&lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_lands_during_a_vacuum_keeps_its_files() {
    // Files that waited for long, and that are named between the list and the look at the log.
    let (store, lake) = grown(1).await;
    let batch = rows(0..5, |_| Some("0".into()));
    let files = write_files(&lake, &events(), std::slice::from_ref(&batch), &["kind"]).await.unwrap();
    let commit = commit_of(&events(), batch.schema(), &["kind"], files, Some(0), &[]);
    store.hours_later(30 * DAY);
    let plan = Plan::at(1, Fault::Meanwhile)
        .only(|op, path| op == Op::Get && path.starts_with("trusted/events/_delta_log/"));
    let rival = lake.clone();
    let faulty = FaultStore::new(Arc::new(store.clone()), plan);
    let faulty = Arc::new(faulty.meanwhile(async move { drop(rival.commit_table(commit).await.unwrap()) }));
    store.lake(faulty.clone()).vacuum(&older_than(7, 1)).await.unwrap();
    assert!(faulty.struck());
    whole(&lake).await;
    assert_eq!(lake.table(&events(), None).await.unwrap().unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_longer_than_the_retention_does_not_commit_what_has_gone() {
    let (store, lake) = grown(1).await;
    let batch = rows(0..5, |_| Some("0".into()));
    let files = write_files(&lake, &events(), std::slice::from_ref(&batch), &["kind"]).await.unwrap();
    let mut load = lake.begin_load(&name(EVENTS), "run");
    load.add(&chunk("{\"id\":2}\n", vec![])).await.unwrap();
    store.hours_later(30 * DAY);
    lake.vacuum(&older_than(7, 1)).await.unwrap();
    let late = lake.commit_table(commit_of(&events(), batch.schema(), &["kind"], files, Some(0), &[])).await;
    let late = late.unwrap_err();
    assert_eq!(late.code(), codes::LAKE_CORRUPT, "{late}");
    assert!(late.message().contains("trusted/events/kind=0/part-"), "{late}");
    let late = load.commit(Some(1), None, Scope::Increment, vec![]).await.unwrap_err();
    assert_eq!(late.code(), codes::LAKE_CORRUPT, "{late}");
    assert!(late.message().contains("raw/events/load_date="), "{late}");
    whole(&lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_this_machine_does_not_matter() {
    let (store, _) = grown(1).await;
    let batch = rows(0..5, |_| Some("0".into()));
    for days in [-4000, 4000] {
        let clock = FixedClock::new(store.now() + chrono::TimeDelta::days(days));
        let root = lagar_lake::Root { url: "memory".into(), local: None };
        let lake = Lake::with_store(Arc::new(store.clone()), root, Arc::new(clock));
        write_files(&lake, &events(), std::slice::from_ref(&batch), &["kind"]).await.unwrap();
        assert_eq!(removed(&lake.vacuum(&older_than(7, 1)).await.unwrap()), BTreeSet::new());
        store.hours_later(8 * DAY);
        assert_eq!(removed(&lake.vacuum(&older_than(7, 1)).await.unwrap()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_table_is_left_alone_and_the_others_are_not() {
    let (store, lake) = littered().await;
    store.hours_later(30 * DAY);
    let entry = Path::from("trusted/events/_delta_log/00000000000000000001.json");
    store.put(&entry, "{".into()).await.unwrap();
    let before = objects(&store).await;
    let report = lake.vacuum(&older_than(7, 1)).await.unwrap();
    let [(place, error)] = &report.failed[..] else { panic!("{:?}", report.failed) };
    assert_eq!((place.as_str(), error.code()), ("trusted.events", codes::LAKE_CORRUPT));
    let after = objects(&store).await;
    let events = |all: &BTreeMap<String, u64>| {
        all.keys().filter(|name| name.starts_with("trusted/events/")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(events(&after), events(&before));
    assert!(after.keys().all(|name| !name.starts_with("raw/only_begun/")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_a_name_in_a_folder_go_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    run(&lake, 1).await.unwrap();
    let root = lake.local_path().unwrap().to_owned();
    let old = [
        "raw/events/load_date=2026-11-21/.lagar-tmp-1",
        "trusted/events/_delta_log/.lagar-tmp-2",
        "releases/.lagar-tmp-3",
    ];
    let young = ["trusted/events/kind=0/.lagar-tmp-4"];
    for name in old.iter().chain(&young) {
        std::fs::write(root.join(name), "half").unwrap();
    }
    for name in old {
        let file = std::fs::File::options().write(true).open(root.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(8 * 86_400)).unwrap();
    }
    let options = older_than(7, 1);
    let would_go = removed(&lake.vacuum(&dry(&options)).await.unwrap());
    assert_eq!(would_go, old.iter().map(|name| (*name).to_owned()).collect());
    assert!(old.iter().all(|name| root.join(name).exists()));
    assert_eq!(removed(&lake.vacuum(&options).await.unwrap()), would_go);
    assert!(old.iter().all(|name| !root.join(name).exists()));
    assert!(young.iter().all(|name| root.join(name).exists()));
    whole(&lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_missing_is_told_from_one_that_was_taken_away() {
    let (store, lake) = grown(4).await;
    lake.vacuum(&older_than(7, 2)).await.unwrap();
    assert_eq!(lake.releases().await.unwrap().len(), 2);
    assert_eq!(lake.current_release().await.unwrap().unwrap().number, 4);
    let third = Path::from("releases/00000000000000000003.json");
    let bytes = store.get(&third).await.unwrap().bytes().await.unwrap();
    store.delete(&third).await.unwrap();
    let error = lake.releases().await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CORRUPT, "{error}");
    assert!(error.message().contains("00000000000000000003.json is missing"), "{error}");
    store.put(&third, bytes.into()).await.unwrap();
    lake.publish(Some(4), BTreeMap::new(), "run", None).await.unwrap();
    // All of them lost is not the same as none made.
    for number in 3..=5 {
        store.delete(&Path::from(format!("releases/{number:020}.json"))).await.unwrap();
    }
    assert_eq!(lake.current_release().await.unwrap_err().code(), codes::LAKE_CORRUPT);
}

/// A bucket with nothing in it but uploads that were begun: what S3 says to each request of a vacuum.
fn bucket_with_uploads(refuse: bool) -> Server {
    let upload = |key: &str, id: &str, begun: &str| {
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>")
    };
    let page = |uploads: String, next: &str| {
        let head = r#"<?xml version="1.0"?><ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#;
        format!("{head}<Bucket>b</Bucket>{next}{uploads}</ListMultipartUploadsResult>")
    };
    let id = "019a9f0c-7a3e-7000-8000-000000000001";
    let part = format!("lake/trusted/x/kind%3Da%252Fb/part-{id}.zstd.parquet");
    let raw = format!("lake/raw/events/load_date%3D2026-11-01/{id}-1.json");
    let old = "2026-11-01T10:00:00.000Z";
    let first = page(
        [upload(&part, "old", old), upload(&part, "young", "2026-11-21T10:00:00.000Z")].concat(),
        &format!(
            "<IsTruncated>true</IsTruncated><NextKeyMarker>{part}</NextKeyMarker><NextUploadIdMarker>young</NextUploadIdMarker>"
        ),
    );
    let second = page(
        [
            upload(&raw, "raw", old),
            upload("lake/trusted/x/theirs.bin", "foreign", old),
            upload("lake/_probe/x/upload", "probe", old),
        ]
        .concat(),
        "<IsTruncated>false</IsTruncated>",
    );
    Server::new(move |_, request| {
        let modified = ("Last-Modified", "Sun, 22 Nov 2026 10:00:00 GMT");
        match (request.method.as_str(), request.parameter("uploads"), request.parameter("uploadId")) {
            ("GET", Some(_), _) if refuse => reply(501, &[], "<Error><Code>NotImplemented</Code></Error>"),
            ("GET", Some(_), _) if request.parameter("upload-id-marker").is_none() => reply(200, &[], &first),
            ("GET", Some(_), _) => reply(200, &[], &second),
            ("DELETE", _, Some(_)) => reply(204, &[], ""),
            ("HEAD", ..) => reply(200, &[modified, ("ETag", "\"e\"")], "{}"),
            ("GET", ..) => {
                reply(200, &[], "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
            }
            ("POST", ..) => reply(200, &[], "<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>"),
            _ => reply(200, &[("ETag", "\"e\"")], ""),
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_never_ended_are_aborted() {
    let server = bucket_with_uploads(false);
    let lake = lake_at("s3://b/lake", &server.url, "key", "key").await;
    let aborted = || -> Vec<String> {
        let requests = server.requests().into_iter().filter(|request| request.method == "DELETE");
        requests.filter_map(|request| request.parameter("uploadId").map(str::to_owned)).collect()
    };
    let would_go = removed(&lake.vacuum(&dry(&older_than(7, 1))).await.unwrap());
    assert_eq!(aborted(), Vec::<String>::new());
    let gone = removed(&lake.vacuum(&older_than(7, 1)).await.unwrap());
    assert_eq!(gone, would_go);
    let id = "019a9f0c-7a3e-7000-8000-000000000001";
    let expected = [
        "_probe/x/upload".to_owned(),
        format!("raw/events/load_date=2026-11-01/{id}-1.json"),
        format!("trusted/x/kind=a%2Fb/part-{id}.zstd.parquet"),
    ];
    assert_eq!(gone, BTreeSet::from(expected));
    assert_eq!(aborted(), ["old", "raw", "probe"], "not the young one, not a foreign one");
    let lists = server.requests().into_iter().filter(|request| request.parameter("uploads").is_some());
    for list in lists {
        assert!(list.target.starts_with("/b?uploads=&encoding-type=url&prefix=lake%2F"), "{}", list.target);
        assert!(list.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=key/"));
    }

    let server = bucket_with_uploads(true);
    let lake = lake_at("s3://b/lake", &server.url, "key", "key").await;
    let report = lake.vacuum(&older_than(7, 1)).await.unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
    assert!(note.contains("501") && note.contains("lifecycle rule"), "{note}");
}
