//! What happened to a table that is no error and that people want to find again.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One event of a run, as it stands in reports, in manifests and in `system.events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub run_id: String,
    /// What it is about, called as its step is: `raw.orders`, `trusted.orders`.
    pub table: String,
    pub kind: EventKind,
    /// With the fields it is in, `location.lat`; `None` if it is about the table as a whole.
    #[serde(default)]
    pub column: Option<String>,
    /// What was: of a drift the type of the column, `None` if it had none.
    #[serde(default)]
    pub before: Option<String>,
    /// What is now.
    #[serde(default)]
    pub after: Option<String>,
    /// Rows or values that it concerns, if they were counted.
    #[serde(default)]
    pub count: Option<u64>,
}

/// What kind of event it is. A kind that this version does not know keeps its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum EventKind {
    /// A column or nested field appeared.
    ColumnNew,
    /// A column or nested field that the loads before had is in no row of this one.
    ColumnMissing,
    /// Integers became doubles.
    TypeWidened,
    /// The source declares another type; the values are read as the type they had.
    TypeChanged,
    /// A new column was left out.
    ColumnIgnored,
    /// Values that do not fit their column were left out.
    ValueDiscarded,
    /// Rows that do not fit their columns went to quarantine.
    RowDiscarded,
    /// The values of a feature are not distributed as those that a predictor learned from.
    FeatureDrifted,
    Other(String),
}

impl EventKind {
    /// The kinds of drift, in the order in which they are told.
    pub const DRIFT: [EventKind; 7] = [
        EventKind::ColumnNew,
        EventKind::ColumnMissing,
        EventKind::TypeWidened,
        EventKind::TypeChanged,
        EventKind::ColumnIgnored,
        EventKind::ValueDiscarded,
        EventKind::RowDiscarded,
    ];

    pub fn as_str(&self) -> &str {
        match self {
            EventKind::ColumnNew => "column_new",
            EventKind::ColumnMissing => "column_missing",
            EventKind::TypeWidened => "type_widened",
            EventKind::TypeChanged => "type_changed",
            EventKind::ColumnIgnored => "column_ignored",
            EventKind::ValueDiscarded => "value_discarded",
            EventKind::RowDiscarded => "row_discarded",
            EventKind::FeatureDrifted => "feature_drifted",
            EventKind::Other(name) => name,
        }
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> String {
        kind.as_str().to_owned()
    }
}

impl From<String> for EventKind {
    fn from(name: String) -> Self {
        let known =
            Self::DRIFT.into_iter().chain([EventKind::FeatureDrifted]).find(|kind| kind.as_str() == name);
        known.unwrap_or(EventKind::Other(name))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For people, on one line and without the table: "`x` (int) is new".
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.as_deref().unwrap_or_default();
        let type_of =
            |word: &Option<String>| word.as_ref().map_or(String::new(), |word| format!(" ({word})"));
        let change = match (&self.before, &self.after) {
            (Some(before), Some(after)) if before != after => format!(" ({before}, now {after})"),
            (Some(word), _) | (None, Some(word)) => format!(" ({word})"),
            (None, None) => String::new(),
        };
        let count = |one: &str, many: &str| match self.count {
            Some(1) => format!("1 {one}"),
            Some(count) => format!("{count} {many}"),
            None => format!("some {many}"),
        };
        match &self.kind {
            EventKind::ColumnNew => write!(f, "`{column}`{} is new", type_of(&self.after)),
            EventKind::ColumnMissing => write!(f, "`{column}`{} is missing", type_of(&self.before)),
            EventKind::FeatureDrifted => {
                let predictor = self.before.as_deref().unwrap_or_default();
                let psi = self.after.as_deref().unwrap_or_default();
                write!(f, "`{column}` is not distributed as what `{predictor}` learned from ({psi})")
            }
            EventKind::TypeWidened | EventKind::TypeChanged => write!(
                f,
                "`{column}` {} from {} to {}",
                if self.kind == EventKind::TypeWidened { "widened" } else { "changed" },
                self.before.as_deref().unwrap_or("nothing"),
                self.after.as_deref().unwrap_or("nothing")
            ),
            EventKind::ColumnIgnored => match self.count {
                None | Some(0) => write!(f, "`{column}`{} is new and left out", type_of(&self.after)),
                Some(_) => write!(
                    f,
                    "`{column}`{} is new and left out, with {}",
                    type_of(&self.after),
                    count("value", "values")
                ),
            },
            EventKind::ValueDiscarded => {
                write!(
                    f,
                    "`{column}`{change}: {} left out",
                    count("value that does not fit is", "values that do not fit are")
                )
            }
            EventKind::RowDiscarded if self.before.is_none() => {
                write!(f, "`{column}`{change} is new: {} with it in quarantine", count("row", "rows"))
            }
            EventKind::RowDiscarded => {
                write!(
                    f,
                    "`{column}`{change}: {} in quarantine",
                    count("row that does not fit is", "rows that do not fit are")
                )
            }
            EventKind::Other(name) => {
                write!(f, "{name}")?;
                self.column.as_ref().map_or(Ok(()), |column| write!(f, " `{column}`"))?;
                f.write_str(&change)?;
                self.count.map_or(Ok(()), |count| write!(f, ": {count}"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_newer_version_keeps_its_name() {
        for name in ["column_new", "row_discarded", "feature_drifted", "psi_drift"] {
            let kind: EventKind = serde_json::from_value(name.into()).unwrap();
            assert_eq!(serde_json::to_value(&kind).unwrap(), name);
            assert_eq!(matches!(kind, EventKind::Other(_)), name == "psi_drift");
        }
    }

    #[test]
    fn an_event_is_a_sentence() {
        let event = |kind: EventKind, before: Option<&str>, after: Option<&str>, count| Event {
            at: DateTime::UNIX_EPOCH,
            run_id: "r".into(),
            table: "raw.a".into(),
            kind,
            column: Some("x".into()),
            before: before.map(Into::into),
            after: after.map(Into::into),
            count,
        };
        for (event, text) in [
            (event(EventKind::ColumnNew, None, Some("int"), None), "`x` (int) is new"),
            (event(EventKind::ColumnMissing, Some("int"), None, None), "`x` (int) is missing"),
            (
                event(EventKind::TypeWidened, Some("int"), Some("double"), None),
                "`x` widened from int to double",
            ),
            (
                event(EventKind::ColumnIgnored, None, Some("int"), Some(2)),
                "`x` (int) is new and left out, with 2 values",
            ),
            (
                event(EventKind::ValueDiscarded, Some("int"), Some("text"), Some(1)),
                "`x` (int, now text): 1 value that does not fit is left out",
            ),
            (
                event(EventKind::RowDiscarded, None, Some("int"), Some(3)),
                "`x` (int) is new: 3 rows with it in quarantine",
            ),
            (
                event(EventKind::RowDiscarded, Some("int"), Some("int"), Some(3)),
                "`x` (int): 3 rows that do not fit are in quarantine",
            ),
            (
                event(EventKind::FeatureDrifted, Some("predictors.p"), Some("psi 0.41"), Some(900)),
                "`x` is not distributed as what `predictors.p` learned from (psi 0.41)",
            ),
            (event(EventKind::Other("late".into()), None, None, Some(4)), "late `x`: 4"),
        ] {
            assert_eq!(event.to_string(), text);
        }
    }
}
