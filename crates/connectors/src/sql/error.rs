//! From what a driver says to what happened, without a login in it.

use lagar_flow::{Code, Error, codes, percent_decoded};
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

    /// The error to show for a database at `address`, which was `reached` before.
    pub(super) fn into_error(self, address: &Address, reached: bool) -> Error {
        let driver = match self {
            Failure::Own(error) => return error,
            Failure::Driver(driver) => driver,
        };
        let (code, shown) = (code_of(&driver), address.shown());
        let said = scrub(&said(&driver), address);
        match code {
            // The driver's own words name the user.
            codes::AUTH if address.is_plain() => Error::new(code, format!("{shown} refused the login"))
                .hint(
                    "check the user and the password in `url`; a database that takes encrypted connections only says the same: then write `sslmode=require`",
                ),
            codes::AUTH => Error::new(code, format!("{shown} refused the login"))
                .hint("check the user and the password in `url`, and what the user may read"),
            codes::DATABASE_TLS => Error::new(code, format!("{shown}: no encrypted connection: {said}"))
                .hint(hint_of_tls(&said)),
            codes::DATABASE_DOWN if reached => {
                Error::new(code, format!("the connection to {shown} was lost: {said}"))
                    .hint("nothing of this read is kept; the next run reads it again from where the last load ended")
            }
            codes::DATABASE_DOWN => Error::new(code, format!("{shown} cannot be reached: {said}"))
                .hint("check that the database runs and that its host and port in `url` are right"),
            codes::DEADLINE => Error::new(code, format!("{shown}: {said}")).hint(
                "the database ended the statement, by a limit of its own (statement_timeout, max_statement_time) or because somebody asked it to",
            ),
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
        // What the TLS library finds wrong arrives as invalid data.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => codes::DATABASE_TLS,
        sqlx::Error::Tls(_) => codes::DATABASE_TLS,
        // What the driver makes of a server that hangs up instead of answering.
        sqlx::Error::Protocol(said) if said.contains("SSLRequest: 0x00") => codes::DATABASE_DOWN,
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
            // Too many connections, shutting down, packets lost, lock wait, deadlock, connection lost.
            1040 | 1053 | 1129 | 1158..=1161 | 1203 | 1205 | 1213 | 1226 | 1927 | 2006 | 2013 | 4031 => {
                codes::DATABASE_DOWN
            }
            // Interrupted; too long for MariaDB, for MySQL.
            1317 | 1969 | 3024 => codes::DEADLINE,
            3159 => codes::DATABASE_TLS,
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
        // Statement, lock, idle transaction, whole transaction, idle session.
        "57014" | "55P03" | "25P03" | "25P04" | "57P05" => codes::DEADLINE,
        code if code.starts_with("08") || code.starts_with("53") => codes::DATABASE_DOWN,
        _ => codes::DATABASE,
    }
}

fn hint_of(error: &sqlx::Error) -> Option<&'static str> {
    let error = match error {
        sqlx::Error::Database(error) => error,
        // The Postgres driver looks up each type that it does not know, and fails for some, such as multiranges.
        sqlx::Error::ColumnDecode { index, .. } if index == "\"typtype\"" => {
            return Some(
                "a column has a type that the driver does not know: select it as text, `query: SELECT id, x::text AS x FROM …`",
            );
        }
        _ => return None,
    };
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

fn hint_of_tls(said: &str) -> &'static str {
    if said.contains("does not support TLS") {
        "the database is not set up for it; without encryption: `sslmode=disable` in `url`"
    } else if said.contains("for name") {
        "connect by a name that the certificate has; `sslmode=verify-ca` does not compare names"
    } else if said.contains("certificate") {
        "`sslrootcert=FILE` in `url` names the authority that signed it; `sslmode=require` encrypts without looking at it"
    } else {
        "`sslmode=require` in `url` encrypts the connection"
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
        [url.password().map(str::to_owned), url.password().map(percent_decoded), parameter("password")];
    for password in passwords.into_iter().flatten().filter(|password| !password.is_empty()) {
        text = text.replace(&password, "***");
    }
    let users = [Some(percent_decoded(url.username())), parameter("user")];
    for user in users.into_iter().flatten().filter(|user| !user.is_empty()) {
        text = text.replace(&format!("\"{user}\""), "***").replace(&format!("'{user}'"), "***");
    }
    text
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
