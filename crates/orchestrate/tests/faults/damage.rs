//! Every object of a finished lake is damaged in turn. A query or a run over it names the object, or its
//! answer is the same as before; it is never another one.

use std::{collections::BTreeMap, fs, sync::Arc};

use arrow::util::pretty::pretty_format_batches;

use futures::TryStreamExt;
use lagar_flow::{Blame, Error, codes};
use lagar_orchestrate::Reader;
use lagar_testing::{Battery, Ledger, env_number, long, replay, with_wrong_bit};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio_util::bytes::Bytes;

use crate::support::*;

const QUERIES: [&str; 6] = [
    "SELECT id, owner, seq, checksum FROM raw.orders ORDER BY _load, _row",
    "SELECT id, owner, seq, checksum FROM raw.events ORDER BY _load, id",
    "SELECT * FROM trusted.orders ORDER BY id",
    "SELECT * FROM trusted.events ORDER BY id",
    "SELECT * FROM refined.totals ORDER BY owner",
    "SELECT count(*) FROM trusted.orders WHERE id >= 0",
];
/// Of a lake with rows that did not fit, and rows that a check left out.
const REFUSED_QUERIES: [&str; 5] = [
    "SELECT * FROM quarantine.notes ORDER BY _load, _row",
    "SELECT n, _failed_check FROM refused.trusted.notes ORDER BY n",
    "SELECT * FROM trusted.notes ORDER BY n",
    "SELECT _row, _value FROM quarantine.worse",
    "SELECT * FROM refused.refined.never ORDER BY n",
];
const CASES_AT_ONCE: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit, by a seed.
    Bit(u64),
    Cut,
    Emptied,
    Deleted,
}

impl Damage {
    /// `None`: the object is gone.
    fn apply(self, whole: &Bytes) -> Option<Bytes> {
        match self {
            Damage::Bit(seed) => Some(with_wrong_bit(whole, seed)),
            Damage::Cut => Some(whole.slice(..whole.len() / 2)),
            Damage::Emptied => Some(Bytes::new()),
            Damage::Deleted => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    Named,
    Harmless,
    /// Without its newest record a lake is what it was before that.
    Earlier,
}

/// The answers to all queries. A new handle each time: nothing is remembered from before.
async fn answers(place: &Place, queries: &[&str]) -> Vec<Result<String, Error>> {
    let workplace = place.workplace(place.store(), clock()).await;
    let reader = match Reader::open(&workplace).await {
        Ok(reader) => reader,
        Err(error) => return queries.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut answers = Vec::new();
    for sql in queries {
        let answer = async { reader.query(sql).await?.collect().await };
        answers.push(answer.await.map(|rows| pretty_format_batches(&rows).unwrap().to_string()));
    }
    answers
}

/// Does the error say which object is damaged, and that trying again does not help? A record that is gone
/// is told by its source or table.
fn is_named(error: &Error, object: &str) -> bool {
    let said = error.to_string();
    let owner = object.splitn(3, '/').take(2).collect::<Vec<_>>().join(".");
    let by_owner = is_record(object) && said.contains(&owner);
    error.blame() == Blame::Data && (said.contains(object) || by_owner)
}

fn is_record(object: &str) -> bool {
    object.ends_with(".json")
}

async fn damage(store: &dyn ObjectStore, object: &Path, damage: Damage) {
    let whole = store.get(object).await.unwrap().bytes().await.unwrap();
    match damage.apply(&whole) {
        Some(bytes) => drop(store.put(object, bytes.into()).await.unwrap()),
        None => store.delete(object).await.unwrap(),
    }
}

/// What is asked of a lake, its answers now, and those of its generation before.
struct Asked {
    queries: &'static [&'static str],
    now: Vec<String>,
    /// `None` where it could not be asked.
    earlier: Vec<Option<String>>,
}

impl Asked {
    async fn new(queries: &'static [&'static str], now: &Place, earlier: &Place) -> Arc<Self> {
        Arc::new(Self {
            queries,
            now: answers(now, queries).await.into_iter().map(Result::unwrap).collect(),
            earlier: answers(earlier, queries).await.into_iter().map(Result::ok).collect(),
        })
    }
}

async fn queried(base: Arc<Place>, object: Path, how: Damage, asked: Arc<Asked>) -> Outcome {
    let place = base.copy();
    damage(place.store().as_ref(), &object, how).await;
    let mut outcome = Outcome::Harmless;
    let is_newest_record = object.as_ref().starts_with("releases/") || object.as_ref().contains("/_loads/");
    // What was refused is noted for people alone; without the note nothing was.
    if matches!(how, Damage::Deleted) && object.as_ref().ends_with("refused.json") {
        return Outcome::Earlier;
    }
    for (n, answer) in answers(&place, asked.queries).await.iter().enumerate() {
        let sql = asked.queries[n];
        match answer {
            Ok(answer) if *answer == asked.now[n] => {}
            Ok(answer) => {
                let may_be_gone = matches!(how, Damage::Deleted) && is_newest_record;
                assert!(
                    may_be_gone && Some(answer) == asked.earlier[n].as_ref(),
                    "{sql}: another answer, and no error:\n{answer}"
                );
                outcome = Outcome::Earlier;
            }
            Err(error) => {
                assert!(is_named(error, object.as_ref()), "{sql}: {} {error}", error.code().id);
                outcome = Outcome::Named;
            }
        }
    }
    outcome
}

/// A run with new rows: it stops and writes nothing, or the damage does not touch what it makes.
async fn run(base: Arc<Place>, object: Path, how: Damage, ledger: Option<Arc<Ledger>>) -> Outcome {
    let mut place = base.copy();
    place.grow(3).await;
    let store = place.store();
    let releases = place.lake(store.clone()).releases().await.unwrap().len();
    damage(store.as_ref(), &object, how).await;
    let result = place.run(store.clone()).await;
    let errors = errors(&result);
    if errors.is_empty() {
        // The ledger checks the hashes of the raw files too, of which an old one may be the damaged one.
        if !object.as_ref().starts_with("raw/") && !object.as_ref().starts_with("releases/") {
            place.is_exact(ledger.as_deref(), Some(releases as u64 + 1)).await;
        }
        return Outcome::Harmless;
    }
    let named = errors.iter().any(|error| is_named(error, object.as_ref()));
    assert!(named, "{errors:#?}");
    for error in errors {
        assert!(
            error.blame() == Blame::Data || error.code() == codes::LAKE_STORE,
            "{} {error}",
            error.code().id
        );
    }
    let listed: Vec<_> = store.list(Some(&Path::from("releases"))).try_collect().await.unwrap();
    assert!(listed.len() <= releases, "a release was published");
    Outcome::Named
}

async fn objects(store: &dyn ObjectStore) -> BTreeMap<String, u64> {
    store.list(None).map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect().await.unwrap()
}

fn damages(kind: Kind) -> Vec<Damage> {
    let bits = match (long(), kind) {
        (true, _) => 60,
        (false, Kind::Memory) => 4,
        (false, Kind::Folder) => 1,
    };
    let bits = env_number("LAGAR_SEED").map_or(1..=bits, |seed| seed..=seed).map(Damage::Bit);
    [Damage::Cut, Damage::Emptied, Damage::Deleted].into_iter().chain(bits).collect()
}

async fn damaged_everywhere(kind: Kind, test: &str) {
    let mut battery = Battery::new("O6");
    let ledger = ledger().map(Arc::new);
    let base = Arc::new(Place::at(kind, 4, 2).await);
    let asked = Asked::new(&QUERIES, &base, &Place::at(kind, 4, 1).await).await;
    let mut counts = BTreeMap::new();
    let objects = objects(base.store().as_ref()).await;
    assert!(objects.len() >= 15, "{objects:?}");
    let replay = |how: Damage| match how {
        Damage::Bit(seed) => replay("lagar-orchestrate", "faults", test, &[("LAGAR_SEED", seed)]),
        _ => replay("lagar-orchestrate", "faults", test, &[]),
    };
    let cases = || {
        let each = |object: &String| {
            damages(kind).into_iter().map(|how| (Path::from(object.as_str()), how)).collect::<Vec<_>>()
        };
        objects.keys().flat_map(each).collect::<Vec<_>>()
    };
    let queries = cases().into_iter().map(|(object, how)| {
        (
            format!("query, {how:?} of {object}: {}", replay(how)),
            queried(base.clone(), object, how, asked.clone()),
        )
    });
    for outcome in battery.all(CASES_AT_ONCE, queries).await {
        *counts.entry(format!("query {outcome:?}")).or_insert(0) += 1;
    }
    // A run reads less than the queries, and takes longer.
    let rarely = if long() { 4 } else { 24 };
    let runs = cases().into_iter().step_by(rarely).map(|(object, how)| {
        (format!("run, {how:?} of {object}: {}", replay(how)), run(base.clone(), object, how, ledger.clone()))
    });
    for outcome in battery.all(CASES_AT_ONCE, runs).await {
        *counts.entry(format!("run {outcome:?}")).or_insert(0) += 1;
    }
    println!("{kind:?}, {} objects: {counts:?}", objects.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_memory_is_named_or_harmless() {
    damaged_everywhere(Kind::Memory, "damage_in_memory_is_named_or_harmless").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_folder_is_named_or_harmless() {
    damaged_everywhere(Kind::Folder, "damage_in_a_folder_is_named_or_harmless").await;
}

/// The lake of `support`, and beside it a source of whose rows one does not fit and others fail a check; the
/// same one generation later, whose last run refused a load and a table.
async fn refusing() -> [Place; 2] {
    let mut place = Place::new(Kind::Memory, 4);
    let file = |name: &str| place.dir.path().join(name);
    let add_source = |place: &Place, source: &str| {
        let file = place.dir.path().join("lagar.yaml");
        fs::write(&file, fs::read_to_string(&file).unwrap() + source).unwrap();
    };
    let model = |check: &str| {
        format!("/*---\nchecks: [{{name: big, {check}}}]\n---*/\nSELECT n FROM raw.notes WHERE _newest")
    };
    add_source(&place, "  notes: {type: file, url: notes.csv, columns: {n: int}, max_rejected: 9}\n");
    fs::write(file("trusted/notes.sql"), model("sql: n > 1, severity: drop")).unwrap();
    let notes = file("notes.csv");
    fs::write(&notes, "n\n0\n1\nx\n2\n13\n").unwrap();
    place.grow(1).await;
    let report = place.run(place.store()).await.unwrap();
    assert!(succeeded(&report), "{report:#?}");
    let before = place.copy();

    fs::write(&notes, "n\n0\n1\ny\n2\n23\n").unwrap();
    place.grow(2).await;
    let report = place.run(place.store()).await.unwrap();
    assert!(succeeded(&report), "{report:#?}");
    let file = |name: &str| place.dir.path().join(name);
    add_source(&place, "  worse: {type: file, url: worse.csv, columns: {n: int}}\n");
    fs::write(file("worse.csv"), "n\n1\nz\n").unwrap();
    fs::write(file("refined/never.sql"), model("sql: n > 2")).unwrap();
    assert_eq!(errors(&place.run(place.store()).await).len(), 2);
    [before, place]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_of_refused_rows_is_named_or_harmless() {
    let test = "damage_of_refused_rows_is_named_or_harmless";
    let mut battery = Battery::new("O6");
    let [before, base] = refusing().await;
    let base = Arc::new(base);
    let asked = Asked::new(&REFUSED_QUERIES, &base, &before).await;
    assert!(asked.now[0].contains("| y ") && asked.now[1].contains("big"), "{:#?}", asked.now);
    let objects = objects(base.store().as_ref()).await;
    let ours = ["/notes/", "/worse/", "/never/"];
    let of_notes: Vec<_> =
        objects.keys().filter(|name| ours.iter().any(|of| name.contains(of))).cloned().collect();
    let mut cases = Vec::new();
    for object in &of_notes {
        for how in damages(Kind::Memory) {
            let replay = match how {
                Damage::Bit(seed) => replay("lagar-orchestrate", "faults", test, &[("LAGAR_SEED", seed)]),
                _ => replay("lagar-orchestrate", "faults", test, &[]),
            };
            let case = queried(base.clone(), Path::from(object.as_str()), how, asked.clone());
            cases.push((format!("{how:?} of {object}: {replay}"), case));
        }
    }
    let outcomes = battery.all(CASES_AT_ONCE, cases).await;
    let named = outcomes.iter().filter(|outcome| **outcome == Outcome::Named).count();
    println!("{} objects, {} damages, {named} named:\n{of_notes:#?}", of_notes.len(), outcomes.len());
}
