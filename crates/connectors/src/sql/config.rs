//! The keys of a `sql` source.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lagar_flow::{Error, Result, Secret, codes, redact_url};
use schemars::JsonSchema;
use serde::Deserialize;

use super::quote::Dialect;
use crate::{
    config::{ConfigError, duration, parse, parse_duration},
    spool::hash_bytes,
    window::{SqlWindow, Windows},
};

/// A table or query of a database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// postgres://…, postgresql://…, mysql://…, mariadb://… or sqlite:PATH
    #[schemars(with = "String")]
    url: Secret,
    /// `name` or `schema.name`
    #[serde(default)]
    table: Option<String>,
    /// One SELECT, instead of `table`
    #[serde(default)]
    query: Option<String>,
    /// A column that only grows: rows below the newest value seen are not read again
    #[serde(default)]
    pub(super) cursor: Option<String>,
    /// How far behind the newest value to look again, for rows that were committed late: a duration for
    /// a time (`10m`), a number for a number
    #[serde(default)]
    lag: Option<LagText>,
    /// Read by windows of time, one load each, instead of by `cursor`
    #[serde(default)]
    pub(super) window: Option<SqlWindow>,
    #[serde(default)]
    pub(super) split: Split,
    #[serde(default)]
    pub(super) timeout: Timeout,
    #[serde(default)]
    pub(super) retry: Retry,
}

/// A lag as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a duration (10m) for a time, a number for a number")]
enum LagText {
    Number(serde_json::Number),
    Duration(String),
}

/// How the rows are laid out in files. They are read by one statement in one transaction, so that no row
/// is lost or doubled between two files: statements of their own for each range of keys would see a query
/// or view with `now()`, `random()` or `row_number()` differently each time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Split {
    /// The column that orders the rows, so that each file is a range of it; default: the primary key
    pub(super) by: Option<String>,
    /// Rows of a file at most
    pub(super) rows: u64,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: None, rows: 1_000_000 }
    }
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeout {
    /// Until a connection stands
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub(super) connect: Duration,
    /// The longest wait for an answer, be it the first row or the next one
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub(super) statement: Duration,
}

impl Default for Timeout {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), statement: Duration::from_secs(600) }
    }
}

/// When a connection cannot be made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    /// Before the second attempt; it doubles from then on
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub(super) wait: Duration,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub(super) max_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, wait: Duration::from_secs(1), max_wait: Duration::from_secs(30) }
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// As it was written: `name` or `schema.name`.
    Table(String),
    /// Without a semicolon at its end.
    Query(String),
}

impl Subject {
    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Subject::Table(name) => format!("`{name}`"),
            Subject::Query(_) => "the query".to_owned(),
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Server { dialect: Dialect, url: Secret },
    File(PathBuf),
}

impl Address {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Address::Server { dialect, .. } => *dialect,
            Address::File(_) => Dialect::Sqlite,
        }
    }

    /// What tells one database from another, whoever logs in and however the connection is made.
    fn database(&self) -> Vec<String> {
        let url = match self {
            Address::Server { url, .. } => url::Url::parse(url.expose()).ok(),
            Address::File(path) => return vec!["sqlite".to_owned(), path.to_string_lossy().into_owned()],
        };
        let Some(url) = url else { return Vec::new() };
        let default_port = if url.scheme() == "postgres" { 5432 } else { 3306 };
        let mut database = vec![
            url.scheme().to_owned(),
            url.host_str().unwrap_or_default().to_ascii_lowercase(),
            url.port().unwrap_or(default_port).to_string(),
            // Where the address names no database, Postgres takes the one that is called like the user.
            match url.path().trim_matches('/') {
                "" => format!("of {}", url.username()),
                path => path.to_owned(),
            },
        ];
        let mut parameters: Vec<String> = url
            .query_pairs()
            .filter(|(name, _)| names_database(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parameters.sort();
        database.extend(parameters);
        database
    }

    /// The address of a server in its driver's words. Relative paths of certificates start at `project_dir`.
    pub(super) fn for_driver(&self, project_dir: &Path) -> Result<String> {
        let wrong = |message: String| Error::new(codes::CONFIG, message);
        let Address::Server { dialect, url } = self else {
            return Err(Error::bug("a file was taken for a server"));
        };
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // The drivers panic without one at `verify-ca`. It fails only if somebody was faster.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let mut url = url::Url::parse(url.expose()).map_err(|error| wrong(error.to_string()))?;
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        if pairs.is_empty() {
            return Ok(url.into());
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &pairs {
            let (name, mut value) = parameter(*dialect, name, value).map_err(wrong)?;
            let is_file = matches!(name, "sslrootcert" | "ssl-ca" | "ssl-cert" | "ssl-key");
            // The drivers take the text of a certificate, too.
            if is_file && !value.starts_with("-----BEGIN") {
                let path = project_dir.join(&value);
                if !path.is_file() {
                    return Err(wrong(format!(
                        "`{name}` in `url` names {}, which is no file",
                        path.display()
                    ))
                    .hint(format!("a relative path starts at {}", project_dir.display())));
                }
                value = path.to_string_lossy().into_owned();
            }
            query.append_pair(name, &value);
        }
        url.set_query(Some(&query.finish()));
        Ok(url.into())
    }

    /// True if the address itself says that nothing is to be encrypted.
    pub(super) fn is_plain(&self) -> bool {
        let Address::Server { url, .. } = self else { return false };
        url::Url::parse(url.expose()).is_ok_and(|url| {
            let mut modes = url.query_pairs().filter(|(name, _)| matches!(&**name, "sslmode" | "ssl-mode"));
            modes.any(|(_, value)| matches!(&*value.to_ascii_lowercase(), "disable" | "disabled"))
        })
    }

    /// Fit to be shown.
    pub(super) fn shown(&self) -> String {
        match self {
            Address::Server { url, .. } => redact_url(url.expose()),
            Address::File(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// How far behind the newest value of the cursor to look again.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lag {
    Time(Duration),
    /// As it was written.
    Number(String),
}

/// A configuration that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) address: Address,
    pub(super) subject: Subject,
    pub(super) lag: Option<Lag>,
    pub(super) windows: Option<Windows>,
    pub(super) config: Config,
}

impl Checked {
    pub(super) fn parse(value: &serde_json::Value) -> Result<Self, ConfigError> {
        let config: Config = parse(value)?;
        let address =
            parse_address(config.url.expose()).map_err(|message| ConfigError::new(&["url"], message))?;
        let subject = match (&config.table, &config.query) {
            (Some(table), None) => Subject::Table(parse_table(table)?),
            (None, Some(query)) => Subject::Query(parse_query(query)?),
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(&["query"], "give either `table` or `query`, not both"));
            }
            (None, None) => return Err(ConfigError::new(&[], "`table` or `query` is missing")),
        };
        let lag = config.lag.as_ref().map(parse_lag).transpose()?;
        if lag.is_some() && config.cursor.is_none() {
            return Err(ConfigError::new(&["lag"], "`lag` needs a `cursor`"));
        }
        if config.window.is_some() && config.cursor.is_some() {
            return Err(ConfigError::new(&["window"], "give either `cursor` or `window`, not both"));
        }
        let windows = config.window.as_ref().map(|window| window.windows()).transpose()?;
        if config.split.rows == 0 {
            return Err(ConfigError::new(&["split", "rows"], "a file needs at least one row"));
        }
        if config.retry.attempts == 0 {
            return Err(ConfigError::new(&["retry", "attempts"], "at least one attempt is needed"));
        }
        Ok(Self { address, subject, lag, windows, config })
    }

    /// A hash of all that a position by cursor holds for: the database, what is read of it, and how.
    pub(super) fn reads(&self) -> String {
        let subject = match &self.subject {
            Subject::Table(table) => ["table", table],
            Subject::Query(query) => ["query", query],
        };
        let lag = match &self.lag {
            None => String::new(),
            Some(Lag::Number(number)) => number.clone(),
            Some(Lag::Time(lag)) => format!("{} ns", lag.as_nanos()),
        };
        let all = serde_json::json!([self.address.database(), subject, self.config.cursor, lag]);
        hash_bytes(all.to_string().as_bytes())
    }
}

/// The text of `url` is in no message: it may hold a password.
fn parse_address(url: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    let dialect = match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => Dialect::Postgres,
        "mysql" | "mariadb" => Dialect::MySql,
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return match path {
                "" => Err("the path of the file is missing: write sqlite:PATH".to_owned()),
                ":memory:" => Err("a database in memory has nothing to read; write sqlite:PATH".to_owned()),
                path if path.contains('\0') => Err("a path cannot hold a NUL".to_owned()),
                path => Ok(Address::File(PathBuf::from(path))),
            };
        }
        _ => {
            return Err("the address of a database begins with postgres://, mysql://, mariadb:// or sqlite:"
                .to_owned());
        }
    };
    let scheme = if dialect == Dialect::Postgres { "postgres" } else { "mysql" };
    let url = format!("{scheme}:{rest}");
    let parsed =
        url::Url::parse(&url).map_err(|error| format!("this is not the address of a database: {error}"))?;
    if !rest.starts_with("//") {
        return Err(format!("the address of a server is written {scheme}://USER:PASSWORD@HOST/DATABASE"));
    }
    // The drivers write parameters that they do not know to their log, with the value.
    for (name, value) in parsed.query_pairs() {
        parameter(dialect, &name, &value)?;
    }
    Ok(Address::Server { dialect, url: Secret::new(url) })
}

/// A parameter of the address in the words of the driver. One set of words holds for every database.
fn parameter<'n>(dialect: Dialect, name: &'n str, value: &str) -> Result<(&'n str, String), String> {
    let postgres = dialect == Dialect::Postgres;
    let word = match name {
        "sslmode" | "ssl-mode" if postgres => "sslmode",
        "sslmode" | "ssl-mode" => "ssl-mode",
        "sslrootcert" | "ssl-root-cert" | "sslca" | "ssl-ca" if postgres => "sslrootcert",
        "sslrootcert" | "ssl-root-cert" | "sslca" | "ssl-ca" => "ssl-ca",
        "sslcert" | "ssl-cert" => "ssl-cert",
        "sslkey" | "ssl-key" => "ssl-key",
        "statement-cache-capacity" => name,
        "host" | "hostaddr" | "port" | "dbname" | "user" | "password" | "application_name" | "options"
            if postgres =>
        {
            name
        }
        _ if postgres && name.starts_with("options[") => name,
        "charset" | "collation" | "socket" | "timezone" | "time-zone" if !postgres => name,
        _ => return Err(format!("`{name}` is not a parameter of the address; the usual one is `sslmode`")),
    };
    if !matches!(word, "sslmode" | "ssl-mode") {
        return Ok((word, value.to_owned()));
    }
    const MODES: [(&str, &str); 5] = [
        ("disable", "disabled"),
        ("prefer", "preferred"),
        ("require", "required"),
        ("verify-ca", "verify_ca"),
        ("verify-full", "verify_identity"),
    ];
    let asked = value.to_ascii_lowercase();
    let (of_postgres, of_mysql) = MODES
        .into_iter()
        .find(|(a, b)| [*a, *b].contains(&asked.as_str()))
        .ok_or_else(|| format!("`{name}` is one of {}", MODES.map(|(mode, _)| mode).join(", ")))?;
    Ok((word, if postgres { of_postgres } else { of_mysql }.to_owned()))
}

/// Whether a parameter of the address has a say in what a name in a statement means.
fn names_database(parameter: &str) -> bool {
    matches!(parameter, "host" | "hostaddr" | "port" | "dbname" | "socket" | "options")
        || parameter.starts_with("options[")
}

fn parse_table(table: &str) -> Result<String, ConfigError> {
    if table.is_empty() || table.contains('\0') {
        return Err(ConfigError::new(&["table"], "this is not the name of a table"));
    }
    Ok(table.to_owned())
}

fn parse_query(query: &str) -> Result<String, ConfigError> {
    let query = query.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let start = skip_comments(query);
    let word: String =
        start.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase();
    if start.starts_with('(') || matches!(word.as_str(), "SELECT" | "WITH" | "VALUES" | "TABLE") {
        Ok(query.to_owned())
    } else {
        Err(ConfigError::new(&["query"], "a query is one SELECT"))
    }
}

fn skip_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        text = if let Some(rest) = text.strip_prefix("--") {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(rest) = text.strip_prefix("/*") {
            rest.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return text;
        };
    }
}

fn parse_lag(text: &LagText) -> Result<Lag, ConfigError> {
    let wrong = |message: String| ConfigError::new(&["lag"], message);
    match text {
        LagText::Number(number) if number.as_f64().is_some_and(|n| n >= 0.0) => {
            Ok(Lag::Number(number.to_string()))
        }
        LagText::Number(_) => Err(wrong("a lag is not negative".to_owned())),
        LagText::Duration(text) => parse_duration(text).map(Lag::Time).map_err(wrong),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_address_is_known_and_shown_without_secrets() {
        for (url, shown) in [
            ("postgres://u:p@h:5432/d", "postgres://***@h:5432/d"),
            ("postgresql://u:p@h/d?sslmode=disable", "postgres://***@h/d?sslmode=disable"),
            ("mysql://u:p@h/d", "mysql://***@h/d"),
            ("mariadb://u:p@h/d", "mysql://***@h/d"),
            ("sqlite:data/shop.db", "sqlite:data/shop.db"),
            ("sqlite://data/shop.db", "sqlite:data/shop.db"),
            ("sqlite:///abs/shop.db", "sqlite:/abs/shop.db"),
        ] {
            assert_eq!(parse_address(url).unwrap().shown(), shown);
        }
    }

    #[test]
    fn another_database_subject_cursor_or_lag_is_another_read_and_another_login_is_not() {
        let reads = |url: &str, more: serde_json::Value| {
            let mut value = json!({"url": url, "table": "t", "cursor": "c"});
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if more.get("query").is_some() {
                value.as_object_mut().unwrap().remove("table");
            }
            Checked::parse(&value).unwrap().reads()
        };
        let url = "postgres://u:p@h/d?sslmode=disable";
        let first = reads(url, json!({}));
        for same in ["postgresql://other:secret@H:5432/d", "postgres://u@h/d?application_name=x&password=y"] {
            assert_eq!(reads(same, json!({})), first, "{same}");
        }
        for other in [
            "mysql://u:p@h/d",
            "postgres://u:p@h2/d",
            "postgres://u:p@h:5433/d",
            "postgres://u:p@h/d2",
            "postgres://u:p@h/d?options=-csearch_path%3Dx",
            "postgres://u:p@h",
            "sqlite:d",
        ] {
            assert_ne!(reads(other, json!({})), first, "{other}");
        }
        assert_ne!(reads("postgres://u@h", json!({})), reads("postgres://v@h", json!({})));
        for more in [
            json!({"table": "t2"}),
            json!({"query": "SELECT 1 AS c"}),
            json!({"query": "TABLE t"}),
            json!({"cursor": "d"}),
            json!({"lag": "1s"}),
            json!({"lag": 1}),
        ] {
            assert_ne!(reads(url, more.clone()), first, "{more}");
        }
        assert_eq!(reads(url, json!({"lag": "60s"})), reads(url, json!({"lag": "1m"})));
    }

    #[test]
    fn wrong_keys_are_named_and_a_secret_is_not_repeated() {
        for (value, path, part) in [
            (json!({"url": "oracle://u:hunter2@h/d", "table": "t"}), "url", "begins with"),
            (json!({"url": "postgres:hunter2", "table": "t"}), "url", "written postgres://"),
            (json!({"url": "postgres://u:hunter2@h:port/d", "table": "t"}), "url", "not the address"),
            (json!({"url": "postgres://h/d?pasword=hunter2", "table": "t"}), "url", "`pasword`"),
            (json!({"url": "mysql://h/d?password=hunter2", "table": "t"}), "url", "`password`"),
            (json!({"url": "mysql://h/d?sslmode=hunter2", "table": "t"}), "url", "is one of disable,"),
            (json!({"url": "sqlite:", "table": "t"}), "url", "missing"),
            (json!({"url": "sqlite::memory:", "table": "t"}), "url", "memory"),
            (json!({"url": "sqlite:x"}), "", "missing"),
            (json!({"url": "sqlite:x", "table": "t", "query": "SELECT 1"}), "query", "not both"),
            (json!({"url": "sqlite:x", "table": ""}), "table", "not the name"),
            (json!({"url": "sqlite:x", "query": "DELETE FROM t"}), "query", "one SELECT"),
            (json!({"url": "sqlite:x", "table": "t", "lag": "1h"}), "lag", "cursor"),
            (
                json!({"url": "sqlite:x", "table": "t", "cursor": "c",
                       "window": {"column": "c", "size": "1d", "from": "2024-01-01"}}),
                "window",
                "not both",
            ),
            (
                json!({"url": "sqlite:x", "table": "t",
                       "window": {"column": "c", "size": "1d", "from": "2024-02-30"}}),
                "window.from",
                "there is no 2024-02-30",
            ),
            (
                json!({"url": "sqlite:x", "table": "t", "window": {"size": "1d", "from": "2024-01-01"}}),
                "window",
                "column",
            ),
            (json!({"url": "sqlite:x", "table": "t", "cursor": "c", "lag": "soon"}), "lag", "duration"),
            (json!({"url": "sqlite:x", "table": "t", "cursor": "c", "lag": -1}), "lag", "negative"),
            (json!({"url": "sqlite:x", "table": "t", "cursor": "c", "lag": [1]}), "lag", "duration"),
            (json!({"url": "sqlite:x", "table": "t", "split": {"rows": 0}}), "split.rows", "at least one"),
            (
                json!({"url": "sqlite:x", "table": "t", "retry": {"attempts": 0}}),
                "retry.attempts",
                "at least one",
            ),
            (json!({"url": "sqlite:x", "table": "t", "tabel": 1}), "tabel", "unknown field"),
        ] {
            let error = Checked::parse(&value).unwrap_err();
            assert_eq!(error.path.join("."), path, "{value}");
            assert!(error.message.contains(part), "{}", error.message);
            assert!(!error.message.contains("hunter2"), "{}", error.message);
        }
    }

    #[test]
    fn one_set_of_words_for_encryption_holds_for_every_driver() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), "").unwrap();
        let of = |url: &str| parse_address(url).unwrap().for_driver(folder.path());
        for (words, postgres, mysql) in [
            ("sslmode=require", "sslmode=require", "ssl-mode=required"),
            ("ssl-mode=VERIFY_CA", "sslmode=verify-ca", "ssl-mode=verify_ca"),
            (
                "sslmode=verify-full&ssl-cert=-----BEGIN+A",
                "sslmode=verify-full&ssl-cert=-----BEGIN+A",
                "ssl-mode=verify_identity&ssl-cert=-----BEGIN+A",
            ),
        ] {
            assert_eq!(
                of(&format!("postgres://u:p@h/d?{words}")).unwrap(),
                format!("postgres://u:p@h/d?{postgres}")
            );
            assert_eq!(of(&format!("mysql://u:p@h/d?{words}")).unwrap(), format!("mysql://u:p@h/d?{mysql}"));
        }
        for dialect in ["postgres", "mysql"] {
            let found =
                url::Url::parse(&of(&format!("{dialect}://h/d?sslrootcert=ca.pem")).unwrap()).unwrap();
            let (_, path) = found.query_pairs().next().unwrap();
            assert_eq!(Path::new(&*path), folder.path().join("ca.pem"));
            let error = of(&format!("{dialect}://h/d?sslrootcert=gone.pem")).unwrap_err();
            assert_eq!(error.code(), codes::CONFIG);
        }
    }

    #[test]
    fn a_query_may_begin_with_a_comment_and_end_with_a_semicolon() {
        for good in [
            "SELECT 1;",
            " with x as (select 1) select * from x ;\n",
            "-- why\n/* x */ select 1",
            "(SELECT 1)",
        ] {
            assert!(!parse_query(good).unwrap().ends_with(';'));
        }
    }
}
