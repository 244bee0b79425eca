//! A server with the manners of SODA (Socrata) over rows that the test gives: values are texts, what is null
//! is left out, and rows come in no order unless one is asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use lagar_testing::{
    http::{self, Reply, Request, reply_and_stay},
    mix,
};
use serde_json::{Map, Value, json};

/// Rows of an answer when nobody says how many.
const LIMIT_DEFAULT: usize = 1000;

pub type Row = Map<String, Value>;

#[derive(Clone)]
pub struct Soda {
    pub url: String,
    server: http::Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By `:id`.
    rows: BTreeMap<String, Row>,
    /// No answer has more rows, whatever is asked.
    limit_max: Option<usize>,
    /// Statuses of the next answers.
    refusals: Vec<u16>,
    /// Put in, one at a time, before a page that is not the first.
    between: Vec<Row>,
    /// `$offset` is not heeded.
    is_stuck: bool,
    asked: u64,
}

impl Soda {
    pub fn start(rows: impl IntoIterator<Item = Row>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let known = state.clone();
        let server = http::Server::new(move |_, request| known.lock().unwrap().answer(request));
        let soda = Self { url: server.url.clone(), server, state };
        rows.into_iter().for_each(|row| soda.insert(row));
        soda
    }

    /// Puts a row behind the others, in the order of `:id`.
    pub fn insert(&self, row: Row) {
        let mut state = self.state.lock().unwrap();
        let id = format!("row-{:08}", state.rows.len());
        state.rows.insert(id, row);
    }

    /// Puts a row in, anywhere in the order, before the next page that is not the first one.
    pub fn insert_between(&self, row: Row) {
        self.state.lock().unwrap().between.push(row);
    }

    /// Changes every row that `change` says yes to.
    pub fn change(&self, mut change: impl FnMut(&mut Row)) {
        self.state.lock().unwrap().rows.values_mut().for_each(&mut change);
    }

    /// No answer has more than `rows`, without a word about it.
    pub fn cap(&self, rows: usize) {
        self.state.lock().unwrap().limit_max = Some(rows);
    }

    /// The next answers have these statuses.
    pub fn refuse(&self, statuses: &[u16]) {
        self.state.lock().unwrap().refusals.extend(statuses);
    }

    /// Gives the first page for ever.
    pub fn stick(&self) {
        self.state.lock().unwrap().is_stuck = true;
    }

    pub fn rows(&self) -> Vec<Row> {
        self.state.lock().unwrap().rows.values().cloned().collect()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The parameters of every request so far.
    pub fn queries(&self) -> Vec<BTreeMap<String, String>> {
        self.requests().iter().map(query).collect()
    }

    /// The first days that were asked for since request `since`, each once and in order.
    pub fn days_asked(&self, since: usize) -> Vec<String> {
        let mut days: Vec<String> = Vec::new();
        for query in &self.queries()[since..] {
            let day = query["$where"].split('\'').nth(1).unwrap()[..10].to_owned();
            if days.last() != Some(&day) {
                days.push(day);
            }
        }
        days
    }
}

fn query(request: &Request) -> BTreeMap<String, String> {
    let url = url::Url::parse(&format!("http://a.example{}", request.target)).unwrap();
    url.query_pairs().into_owned().collect()
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        self.asked += 1;
        let json = |status: u16, body: Value| {
            reply_and_stay(status, &[("Content-Type", "application/json;charset=utf-8")], body.to_string())
        };
        if !self.refusals.is_empty() {
            return json(self.refusals.remove(0), json!({"message": "come back later"}));
        }
        let name = request.path().strip_prefix("/resource/").and_then(|name| name.strip_suffix(".json"));
        if name.is_none() {
            return json(404, json!({"error": true, "message": "Not found"}));
        }
        match self.rows_of(&query(request)) {
            Ok(rows) => json(200, Value::from(rows)),
            Err(message) => json(400, json!({"error": true, "errorCode": "query.soql", "message": message})),
        }
    }

    fn rows_of(&mut self, query: &BTreeMap<String, String>) -> Result<Vec<Value>, String> {
        let known = ["$where", "$order", "$limit", "$offset", "$select"];
        if let Some(other) = query.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("unrecognized argument {other}"));
        }
        let number = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
        let limit = number("$limit").map_err(|_| "$limit is no number")?.unwrap_or(LIMIT_DEFAULT);
        let limit = limit.min(self.limit_max.unwrap_or(limit));
        let mut offset = number("$offset").map_err(|_| "$offset is no number")?.unwrap_or(0);
        if offset > 0 && !self.between.is_empty() {
            let row = self.between.remove(0);
            let place = mix(self.asked) % self.rows.len() as u64;
            self.rows.insert(format!("row-{place:08}-{}", self.asked), row);
        }
        if self.is_stuck {
            offset = 0;
        }
        let mut rows: Vec<Row> = self.rows.iter().map(|(id, row)| with_system_fields(id, row)).collect();
        if let Some(condition) = query.get("$where") {
            let (field, from, to) = between(condition).ok_or(format!("cannot parse {condition}"))?;
            let is_between = |value: &str| from.as_str() <= value && value <= to.as_str();
            rows.retain(|row| row.get(&field).and_then(Value::as_str).is_some_and(is_between));
        }
        match query.get("$order") {
            Some(order) => sort(&mut rows, order),
            // Another order for each request.
            None => rows.sort_by_key(|row| mix(hash(&text(row, ":id")) ^ self.asked)),
        }
        let with_system = match query.get("$select").map(String::as_str) {
            None | Some("*") => false,
            Some(":*,*") => true,
            Some(other) => return Err(format!("cannot select {other}")),
        };
        let shown = |mut row: Row| {
            row.retain(|name, value| !value.is_null() && (with_system || !name.starts_with(':')));
            Value::Object(row)
        };
        Ok(rows.into_iter().skip(offset).take(limit).map(shown).collect())
    }
}

fn with_system_fields(id: &str, row: &Row) -> Row {
    let mut whole = row.clone();
    whole.insert(":id".into(), id.into());
    for field in [":created_at", ":updated_at"] {
        whole.insert(field.into(), "2024-06-01T00:00:00.000Z".into());
    }
    whole
}

/// `FIELD between 'A' and 'B'`
fn between(condition: &str) -> Option<(String, String, String)> {
    let (field, range) = condition.split_once(" between ")?;
    let (from, to) = range.split_once(" and ")?;
    let unquoted = |text: &str| Some(text.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_owned());
    Some((field.trim().to_owned(), unquoted(from)?, unquoted(to)?))
}

/// `a, b DESC`
fn sort(rows: &mut [Row], order: &str) {
    let keys: Vec<(String, bool)> = order
        .split(',')
        .map(|key| match key.trim().split_once(' ') {
            Some((name, way)) => (name.to_owned(), way.trim().eq_ignore_ascii_case("desc")),
            None => (key.trim().to_owned(), false),
        })
        .collect();
    rows.sort_by(|a, b| {
        let compared = keys.iter().map(|(name, descends)| {
            let order = text(a, name).cmp(&text(b, name));
            if *descends { order.reverse() } else { order }
        });
        compared.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
}

fn text(row: &Row, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}
