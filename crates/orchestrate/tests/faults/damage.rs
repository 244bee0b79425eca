//! Every object of a finished lake is damaged in turn. A query or a run over it names the object, or its
//! answer is the same as before; it is never another one.

use std::{collections::BTreeMap, sync::Arc};

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
async fn answers(place: &Place) -> Vec<Result<String, Error>> {
    let workplace = place.workplace(place.store(), clock()).await;
    let reader = match Reader::open(&workplace).await {
        Ok(reader) => reader,
        Err(error) => return QUERIES.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut answers = Vec::new();
    for sql in QUERIES {
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

/// `now` and `earlier`: the answers of the lake, and those of its generation before.
async fn queried(
    base: Arc<Place>,
    object: Path,
    how: Damage,
    now: Arc<Vec<String>>,
    earlier: Arc<Vec<String>>,
) -> Outcome {
    let place = base.copy();
    damage(place.store().as_ref(), &object, how).await;
    let mut outcome = Outcome::Harmless;
    let is_newest_record = object.as_ref().starts_with("releases/") || object.as_ref().contains("/_loads/");
    for (n, answer) in answers(&place).await.iter().enumerate() {
        let sql = QUERIES[n];
        match answer {
            Ok(answer) if *answer == now[n] => {}
            Ok(answer) => {
                let may_be_gone = matches!(how, Damage::Deleted) && is_newest_record;
                assert!(
                    may_be_gone && *answer == earlier[n],
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
    let whole =
        async |place| Arc::new(answers(place).await.into_iter().map(Result::unwrap).collect::<Vec<_>>());
    let (now, earlier) = (whole(&base).await, whole(&Place::at(kind, 4, 1).await).await);
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
            queried(base.clone(), object, how, now.clone(), earlier.clone()),
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
