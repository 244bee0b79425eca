//! From what a driver says to what happened, without a login in it.

use lagar_flow::{Code, Error, codes};
use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

use super::config::Address;

/// Why a part of a read failed; what the driver says becomes an [`Error`] in one place.
#[derive(Debug)]
pub(super) enum Failure {
    Driver(sqlx::Error),
    Own(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Own(error)
    }
}

impl Failure {
    /// `None` if it is an error already.
    fn driver(&self) -> Option<&sqlx::Error> {
        match self {
            Failure::Driver(error) => Some(error),
            Failure::Own(_) => None,
        }
    }

    /// True if another attempt to connect may end differently.
    pub(super) fn is_temporary(&self) -> bool {
        self.driver().map_or_else(
            || matches!(self, Failure::Own(error) if error.is_retryable()),
            |error| code_of(error) == codes::DATABASE_DOWN,
        )
    }

    /// The error to show for a database at `address`.
    pub(super) fn into_error(self, address: &Address) -> Error {
        let driver = match self {
            Failure::Own(error) => return error,
            Failure::Driver(driver) => driver,
        };
        let (code, shown) = (code_of(&driver), address.shown());
        let said = scrub(&said(&driver), address);
        match code {
            // The driver's own words name the user.
            codes::AUTH => Error::new(code, format!("{shown} refused the login"))
                .hint("check the user and the password in `url`, and what the user may read"),
            codes::DATABASE_DOWN => Error::new(code, format!("{shown} cannot be reached: {said}"))
                .hint("check that the database runs and that its host and port in `url` are right"),
            codes::CONFIG => Error::new(code, format!("the address {shown} is wrong: {said}")),
            _ => {
                let error = Error::new(code, format!("{shown}: {said}"));
                match hint_of(&driver) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }
}

fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

fn code_of(error: &sqlx::Error) -> Code {
    match error {
        sqlx::Error::Database(error) => code_of_database(error.as_ref()),
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolTimedOut => codes::DATABASE_DOWN,
        sqlx::Error::Configuration(_) => codes::CONFIG,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => codes::DATABASE_TYPE,
        _ => codes::DATABASE,
    }
}

fn code_of_database(error: &dyn DatabaseError) -> Code {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return match mysql.number() {
            1044 | 1045 | 1251 | 1524 | 1698 => codes::AUTH,
            // Too many connections, shutting down, lock wait, deadlock, connection lost.
            1040 | 1053 | 1129 | 1203 | 1205 | 1213 | 1226 | 1927 | 2006 | 2013 => codes::DATABASE_DOWN,
            _ => codes::DATABASE,
        };
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The low byte is the primary code: 5 busy, 6 locked.
        return match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(5 | 6) => codes::DATABASE_DOWN,
            Ok(14) => codes::SOURCE_IO,
            _ => codes::DATABASE,
        };
    }
    match code.as_ref() {
        "28000" | "28P01" => codes::AUTH,
        // Serialization failure (a standby's conflict with recovery), deadlock, shutdown, start-up.
        "40001" | "40P01" | "57P01" | "57P02" | "57P03" => codes::DATABASE_DOWN,
        code if code.starts_with("08") || code.starts_with("53") => codes::DATABASE_DOWN,
        _ => codes::DATABASE,
    }
}

fn hint_of(error: &sqlx::Error) -> Option<&'static str> {
    let sqlx::Error::Database(error) = error else { return None };
    let code = error.code().unwrap_or_default();
    let not_a_database = error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
        && matches!(code.as_ref(), "26" | "11");
    match code.as_ref() {
        _ if not_a_database => Some("is this file an SQLite database?"),
        "3D000" => Some("the last part of `url` names the database"),
        "42501" => Some("the user may not read this: GRANT SELECT on it"),
        _ => None,
    }
}

/// `text` without the password, and without the user in quotes.
fn scrub(text: &str, address: &Address) -> String {
    let Address::Server { url, .. } = address else { return text.to_owned() };
    let Ok(url) = url::Url::parse(url.expose()) else { return text.to_owned() };
    let mut text = text.to_owned();
    let parameter =
        |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    let passwords =
        [url.password().map(str::to_owned), url.password().map(decode_percent), parameter("password")];
    for password in passwords.into_iter().flatten().filter(|password| !password.is_empty()) {
        text = text.replace(&password, "***");
    }
    let users = [Some(decode_percent(url.username())), parameter("user")];
    for user in users.into_iter().flatten().filter(|user| !user.is_empty()) {
        text = text.replace(&format!("\"{user}\""), "***").replace(&format!("'{user}'"), "***");
    }
    text
}

/// `%40` → `@`.
fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use lagar_flow::Secret;

    use super::*;
    use crate::sql::quote::Dialect;

    #[test]
    fn no_login_is_in_a_message() {
        let address = Address::Server {
            dialect: Dialect::Postgres,
            url: Secret::new("postgres://ana:p%40ss@h/d?password=other"),
        };
        let text = scrub("role \"ana\" with p@ss or p%40ss or other at 'ana'@'h'", &address);
        assert_eq!(text, "role *** with *** or *** or *** at ***@'h'");
    }

    #[test]
    fn a_lost_connection_is_outside_and_a_bad_statement_is_not() {
        let io = Failure::from(sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
        assert!(io.is_temporary());
        assert!(!Failure::from(sqlx::Error::RowNotFound).is_temporary());
    }
}
