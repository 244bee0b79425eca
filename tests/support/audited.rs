//! A project whose sources hold rows that are all known, and an auditor that is not Lagar.

use std::{fs, path::PathBuf};

use lagar_testing::Peer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Place, copy,
    http::{self, Server},
};

/// Rows that each source gets a round; one of five readings is left out by a check.
const ROWS: u64 = 5;
pub const SOURCES: [&str; 3] = ["events", "readings", "orders"];
/// The sources of which some rows are newer versions of older ones.
const CHANGING: [&str; 2] = ["readings", "orders"];

const EVENTS: &str = "-- One row an event.\n/*---\nmaterialize: append\nincremental: raw.events\nkey: [id]\n---*/\nSELECT id, n, amount, sum FROM raw.events\n";
const ORDERS: &str = "-- One row an order, the newest.\n/*---\nmaterialize: merge\nincremental: raw.orders\nkey: [id]\nlatest_by: [n]\n---*/\nSELECT id, n, amount, sum FROM raw.orders\n";
const READINGS: &str = "-- One row a reading, the newest, every fifth left out.\n/*---\nmaterialize: merge\nincremental: raw.readings\nkey: [id]\nlatest_by: [n]\nchecks:\n  - {name: no_fifth, sql: n % 5 <> 0, severity: drop}\n---*/\nSELECT id, n, amount, sum FROM raw.readings WHERE _newest\n";
const TOTALS: &str = "-- One row a table.\n/*---\nmaterialize: partition\nincremental: [trusted.events, trusted.orders, trusted.readings]\npartition_by: [source]\n---*/\nSELECT 'events' AS source, count(*) AS rows, sum(amount) AS amount FROM trusted.events\nUNION ALL SELECT 'orders', count(*), sum(amount) FROM trusted.orders\nUNION ALL SELECT 'readings', count(*), sum(amount) FROM trusted.readings\n";

const GUESSES: &str = "-- One row an event: what is learned from all of them.\n/*---\nkey: [id]\n---*/\nSELECT id, n, predict('level') AS guess FROM trusted.events\n";

/// Files, an API and a database → raw → trusted (appended to and merged) → refined (by partition) → release.
pub struct Audited {
    pub place: Place,
    pub lake: PathBuf,
    pub server: Server,
    outside: TempDir,
    auditor: Peer,
    rounds: u64,
}

/// What the auditor found; nothing of it is wrong.
pub struct Found {
    pub releases: u64,
    /// How many rows a source the current release shows.
    pub state: Option<u64>,
    /// The same of the newest versions, for a reader that knows of no release.
    pub newest: Option<u64>,
    pub raw: Value,
    /// Versions by merged table that hold files written again in the place of older ones.
    rewritten: Value,
}

impl Audited {
    /// With empty sources; `None`, and said, without a Python that can audit.
    pub fn new() -> Option<Self> {
        Self::with_lake(None)
    }

    /// The same with the lake somewhere else than beside the project.
    pub fn with_lake(lake: Option<PathBuf>) -> Option<Self> {
        let Some(auditor) = Peer::start(include_str!("../audit.py")) else {
            println!("skipped: LAGAR_TEST_PYTHON is not set");
            return None;
        };
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("in")).unwrap();
        let server = Server::start();
        let place = Place::project(&[]);
        let lake = lake.unwrap_or_else(|| place.lake());
        let audited = Self { place, lake, server, outside, auditor, rounds: 0 };
        audited.write_project(&audited.place);
        Some(audited)
    }

    /// The same project on another machine: a folder and a history of its own, the same sources and lake.
    pub fn another_machine(&self) -> Place {
        let place = Place::project(&[]);
        self.write_project(&place);
        place
    }

    fn write_project(&self, place: &Place) {
        let (lake, outside, url) = (self.lake.display(), self.outside.path().display(), &self.server.url);
        let yaml = format!(
            "name: ledger\nlake: {lake}\nsteps_table: refined.steps\nsources:\n  \
             events: {{type: file, url: '{outside}/in/*.csv', columns: {{n: int}}, max_rejected: 1000000}}\n  \
             readings: {{type: rest, url: '{url}/readings'}}\n  \
             orders: {{type: sql, url: 'sqlite:{outside}/shop.db', table: orders, cursor: n}}\n\
             predictors:\n  \
             level: {{algorithm: regression_tree, from: trusted.events, target: amount, features: [n], key: [id], \
             split: {{validate: 0, test: 0}}, allow_leak: [n]}}\n"
        );
        place.write("lagar.yaml", yaml);
        place.write("trusted/events.sql", EVENTS);
        place.write("trusted/orders.sql", ORDERS);
        place.write("trusted/readings.sql", READINGS);
        place.write("refined/totals.sql", TOTALS);
        place.write("refined/guesses.sql", GUESSES);
    }

    /// Rows that each source has.
    pub fn rows(&self) -> u64 {
        self.rounds * ROWS
    }

    /// Each source gets new rows, newer versions of older ones among them, and the file one that cannot be
    /// taken.
    pub fn grow(&mut self) {
        let first = self.rows() + 1;
        self.rounds += 1;
        let last = self.rows();
        let mut csv = String::from("id,n,amount,sum\n");
        for n in first..=last {
            let (id, amount, sum) = row("events", n);
            csv.push_str(&format!("{id},{n},{amount},{sum}\n"));
        }
        csv.push_str(&format!("broken-{},x,0,\n", self.rounds));
        fs::write(self.outside.path().join(format!("in/{:06}.csv", self.rounds)), csv).unwrap();
        // What was changed is sent once more behind the newer version of it.
        let readings: Vec<Value> = (1..=last)
            .rev()
            .map(|n| {
                let (id, amount, sum) = row("readings", n);
                json!({"id": id, "n": n, "amount": amount, "sum": sum})
            })
            .collect();
        self.server.on("/readings", vec![http::json(serde_json::to_vec(&readings).unwrap())]);
        let database = self.outside.path().join("shop.db");
        ask(&self.auditor, &json!({"insert": database, "from": first, "to": last}));
    }

    /// Fails unless the lake is whole and its release shows one of `states`.
    #[track_caller]
    pub fn look(&mut self, states: &[u64]) -> Found {
        self.audit(states, false)
    }

    #[track_caller]
    fn audit(&mut self, states: &[u64], newest: bool) -> Found {
        let elsewhere = tempfile::tempdir().unwrap();
        let lake = match self.lake.starts_with("/proc") {
            // In the namespace of another process: delta-rs resolves the path, and ends in ours.
            true => {
                let lake = elsewhere.path().join("copy");
                copy(&self.lake, &lake);
                lake
            }
            false => self.lake.clone(),
        };
        let answer = ask(&self.auditor, &json!({"audit": lake, "states": states, "newest": newest}));
        Found {
            releases: answer["releases"].as_u64().unwrap(),
            state: answer["state"].as_u64(),
            newest: answer["newest"].as_u64(),
            raw: answer["raw"].clone(),
            rewritten: answer["rewritten"].clone(),
        }
    }

    /// Fails unless every row is where it belongs, once, and nothing else is.
    #[track_caller]
    pub fn exact(&mut self) -> Found {
        let rows = self.rows();
        let found = self.audit(&[rows], true);
        assert_eq!(found.state, Some(rows), "the release");
        assert_eq!(found.newest, Some(rows), "the newest versions");
        for source in SOURCES {
            assert_eq!(found.raw[source]["rows"], rows, "raw.{source}");
        }
        assert_eq!(found.raw["events"]["rejected"], self.rounds, "rejected rows");
        for source in CHANGING {
            // Else none of the runs that were broken off was in such a merge.
            let rewritten = found.rewritten[source].as_u64().unwrap();
            assert!(rewritten >= (self.rounds - 1) / 2, "{rewritten} merges of {source} wrote a file again");
        }
        found
    }
}

/// Row `n` of a source: id, amount, checksum over all three. `audit.py` makes the same.
fn row(source: &str, n: u64) -> (String, u64, String) {
    let (id, amount) = (format!("{source}-{}", origin(source, n)), n * 7919 % 1000);
    let text = format!("{id}|{n}|{amount}");
    let sum = text
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    (id, amount, format!("{sum:016x}"))
}

/// The row with which the id of row `n` came. In a round two rows are newer versions of rows of an older
/// round, which lie in one file; in every third, in turn by source, none is, so that there is more than one.
/// (Of readings the later one of the two is left out by the check, and takes no other's place.)
fn origin(source: &str, n: u64) -> u64 {
    let (round, place) = ((n - 1) / ROWS, (n - 1) % ROWS);
    let turn = CHANGING.iter().position(|changing| *changing == source);
    match turn.map(|turn| round % 3 == 2 - turn as u64) {
        Some(false) if round > 0 && place % 3 == 1 => round / 2 * ROWS + 1 + place / 2,
        _ => n,
    }
}

/// The answer of `audit.py`; fails if something is wrong.
#[track_caller]
fn ask(auditor: &Peer, question: &Value) -> Value {
    let answer = auditor.ask(question);
    let problems = answer["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let problems: Vec<&str> = problems.iter().filter_map(Value::as_str).collect();
    assert!(problems.is_empty(), "{question}\n{}", problems.join("\n"));
    answer
}
