//! Names as they appear in paths, SQL and metrics: `[a-z][a-z0-9_]*`, nothing to quote or escape.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result, codes};

/// The longest name: it becomes a folder, a table and a metric label.
const NAME_BYTES_MAX: usize = 128;

/// A checked name: no separator, no quote, no `..` can be in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = text.bytes();
        let fits = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text.len() <= NAME_BYTES_MAX;
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(codes::NAME, format!("`{}` is not a name", text.escape_debug())).hint(format!(
            "a name begins with a letter and has only a-z, 0-9 and _, at most {NAME_BYTES_MAX} of them"
        )))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}

/// A prefix of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    Raw,
    Trusted,
    Refined,
}

impl Zone {
    pub const ALL: [Zone; 3] = [Zone::Raw, Zone::Trusted, Zone::Refined];

    pub fn as_str(self) -> &'static str {
        match self {
            Zone::Raw => "raw",
            Zone::Trusted => "trusted",
            Zone::Refined => "refined",
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `zone.name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub zone: Zone,
    pub name: Name,
}

impl TableName {
    pub fn new(zone: Zone, name: Name) -> Self {
        Self { zone, name }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.zone, self.name)
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(codes::NAME, format!("`{}` is not the name of a table", text.escape_debug()))
                .hint("a table is named raw.NAME, trusted.NAME or refined.NAME")
        };
        let (zone, name) = text.split_once('.').ok_or_else(wrong)?;
        let zone = Zone::ALL.into_iter().find(|z| z.as_str() == zone).ok_or_else(wrong)?;
        Ok(Self { zone, name: name.parse()? })
    }
}

impl Serialize for TableName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder_or_its_quotes() {
        for bad in
            ["", "../x", "a/b", "a.b", "A", "1a", "a-b", "a\"b", "a'b", "a\0", "ñ", "a b", &"a".repeat(129)]
        {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["a", "orders_2024", &"a".repeat(128)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_table_name_is_a_zone_and_a_name() {
        let name: TableName = "trusted.orders".parse().unwrap();
        assert_eq!((name.zone, name.name.as_str()), (Zone::Trusted, "orders"));
        assert_eq!(name.to_string(), "trusted.orders");
        for bad in ["orders", "gold.orders", "raw.", "raw.a.b", "raw.../x"] {
            assert!(bad.parse::<TableName>().is_err(), "{bad:?}");
        }
    }
}
