//! What of a predictor's settings does not fit the columns of its table: the same before a run and when it is
//! trained.

use arrow::datatypes::{DataType, Schema};
use lagar_flow::{Error, Result, codes};

use super::{Encode, Impute, Imputer, Promote, Spec, Split};
use crate::{
    algorithm::{Task, algorithm},
    frame::{Kind, no_kind, said},
    predictor::LabelKind,
    split::{check_text_form, check_time},
};

/// Measures that only two classes have.
pub(crate) const OF_TWO_CLASSES: [&str; 4] = ["f1", "precision", "recall", "pr_auc"];

impl Spec {
    /// What does not fit a table with these columns.
    pub fn misfits(&self, columns: &Schema) -> Vec<Error> {
        let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let features = match self.feature_columns(&names) {
            Ok(features) => features,
            Err(error) => return vec![error],
        };
        let task = match algorithm(&self.algorithm) {
            Ok(entry) => entry.task,
            Err(error) => return vec![error],
        };
        let mut checked: Vec<Result<()>> = Vec::new();
        for (name, data_type) in typed(columns, &self.target) {
            checked.push(LabelKind::of(name, data_type, task).map(drop));
        }
        for (name, data_type) in typed(columns, &self.time) {
            checked.push(check_time(name, data_type));
        }
        for (key, names) in [("key", &self.key), ("series", &self.series)] {
            checked.extend(typed(columns, names).map(|(name, of)| check_text_form(key, name, of)));
        }
        for (name, data_type) in typed(columns, &self.group_by) {
            checked.push(check_text_form("group_by", name, data_type));
        }
        if task != Task::Forecast {
            for (name, data_type) in typed(columns, &features) {
                let (encode, impute) = (self.encode.get(name), self.impute.get(name));
                checked.push(asked_kind(name, data_type, encode, impute).map(drop));
            }
        }
        checked.into_iter().filter_map(Result::err).collect()
    }

    /// Whether a classifier tells two classes apart, whatever its rows are. `target`: the type of its target.
    pub fn has_two_classes(&self, target: Option<&DataType>) -> bool {
        // By a measure that more classes do not have no version of them is ever promoted.
        let by_two = |promote: &Promote| OF_TWO_CLASSES.contains(&promote.metric.as_str());
        matches!(target, Some(DataType::Boolean)) || self.promote.as_ref().is_some_and(by_two)
    }
}

/// The kind of a column with that type, which can be the feature that is asked for.
///
/// # Errors
/// [`codes::CONFIG`]: what is asked for does not fit the type, or is missing.
pub(crate) fn asked_kind(
    name: &str,
    data_type: &DataType,
    encode: Option<&Encode>,
    impute: Option<&Impute>,
) -> Result<Kind> {
    let wrong = |what: String| Error::new(codes::CONFIG, what);
    let kind = Kind::known(data_type).ok_or_else(|| no_kind(codes::CONFIG, name, data_type))?;
    match (encode, kind) {
        (Some(Encode::Parts(parts)), _) if parts.is_empty() => return Err(no_parts(name)),
        (Some(Encode::Parts(_)), kind) if kind != Kind::Time => {
            let what =
                format!("`encode: {name}` asks for parts of a date, and the column is {}", said(data_type));
            return Err(wrong(what).hint("leave it out, or name `one_hot`, `ordinal` or `target`"));
        }
        (None, Kind::Text) => {
            return Err(wrong(format!("the feature `{name}` is text")).hint(format!(
                "declare what it becomes: `encode: {{{name}: one_hot}}` (or ordinal, target)"
            )));
        }
        (None, Kind::Time) => {
            return Err(wrong(format!("the feature `{name}` is a date"))
                .hint(format!("declare its parts: `encode: {{{name}: [month, day_of_week]}}`")));
        }
        _ => {}
    }
    if let Some(impute) = impute {
        let by_value = matches!(encode, Some(Encode::By(_)));
        asked_missing(name, kind, by_value, impute, data_type)?;
    }
    Ok(kind)
}

/// A list of parts of a date in which none stands.
pub(crate) fn no_parts(name: &str) -> Error {
    Error::new(codes::CONFIG, format!("`encode: {name}` names no part of a date"))
        .hint(format!("name some: `encode: {{{name}: [month, day_of_week]}}`"))
}

/// Whether what stands in place of null is of the kind of the values.
fn asked_missing(
    name: &str,
    kind: Kind,
    by_value: bool,
    impute: &Impute,
    data_type: &DataType,
) -> Result<()> {
    let text = by_value || kind == Kind::Text;
    let fits = match impute {
        Impute::Text(_) | Impute::By(Imputer::MostFrequent) if text => true,
        Impute::Number(_) | Impute::Bool(_) if by_value => true,
        _ if text => false,
        Impute::Number(constant) => kind == Kind::Number && constant.is_finite(),
        Impute::Bool(_) => kind == Kind::Boolean,
        Impute::By(_) => matches!(kind, Kind::Number | Kind::Boolean),
        Impute::Text(_) => false,
    };
    if fits {
        return Ok(());
    }
    let what = match impute {
        Impute::Text(_) => "text",
        Impute::Number(constant) if !constant.is_finite() => "not finite",
        Impute::Number(_) => "a number",
        Impute::Bool(_) => "true or false",
        Impute::By(Imputer::Mean) => "a mean",
        Impute::By(Imputer::Median) => "a median",
        Impute::By(Imputer::MostFrequent) => "the most frequent value",
    };
    let values = if by_value { ", encoded by its values" } else { "" };
    let what = format!("`impute: {name}` is {what}, and the column is {}{values}", said(data_type));
    Err(Error::new(codes::CONFIG, what).hint(match (text, kind) {
        (true, _) => "possible here: a constant or `most_frequent`",
        (_, Kind::Number) => "possible here: a number, `mean`, `median` or `most_frequent`",
        (_, Kind::Boolean) => "possible here: `true`, `false`, `mean`, `median` or `most_frequent`",
        _ => "no part of a date stands in place of null: leave the rows out in the SQL that makes the table",
    }))
}

/// The columns of these names, with their types.
fn typed<'a>(
    columns: &'a Schema,
    names: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = (&'a str, &'a DataType)> {
    let names = names.into_iter();
    names.filter_map(move |name| Some((name.as_str(), columns.field_with_name(name).ok()?.data_type())))
}

/// There are no rows to compare parameters by.
pub(crate) fn without_validation(split: Split) -> Error {
    let what = "`search` needs validation rows, and none are left";
    match split.validate > 0.0 {
        true => Error::new(codes::PREDICTOR_DATA, what).hint("raise `split.validate`, or give more rows"),
        false => Error::new(codes::CONFIG, what).hint("raise `split.validate`, which is 0"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};
    use serde_json::{Value, json};

    use super::*;

    fn table() -> Schema {
        Schema::new(
            [
                ("id", DataType::Int64),
                ("day", DataType::Timestamp(TimeUnit::Microsecond, None)),
                ("place", DataType::Utf8),
                ("size", DataType::Float64),
                ("open", DataType::Boolean),
                ("kind", DataType::Utf8),
                ("parts", DataType::new_list(DataType::Int64, true)),
            ]
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .to_vec(),
        )
    }

    fn spec(more: &Value) -> Spec {
        let mut keys = json!({
            "algorithm": "decision_tree", "from": "refined.x", "target": "kind", "features": ["place", "size"],
            "encode": {"place": "one_hot"},
        });
        for (key, value) in more.as_object().unwrap() {
            keys[key.as_str()] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    #[test]
    fn what_does_not_fit_the_columns_is_told_with_what_would() {
        assert_eq!(spec(&json!({})).misfits(&table()).len(), 0);
        for (more, says, hint) in [
            (json!({"encode": {}}), "the feature `place` is text", "one_hot"),
            (
                json!({"features": ["size", "day"], "encode": {}}),
                "the feature `day` is a date",
                "day_of_week",
            ),
            (json!({"features": ["parts"], "encode": {}}), "the feature `parts` is a list", "leave it out"),
            (
                json!({"encode": {"place": "one_hot", "size": ["month"]}}),
                "asks for parts of a date",
                "one_hot",
            ),
            (
                json!({"impute": {"size": "unknown"}}),
                "`impute: size` is text, and the column is a double",
                "mean",
            ),
            (json!({"impute": {"size": true}}), "`impute: size` is true or false", "mean"),
            (json!({"impute": {"place": "mean"}}), "`impute: place` is a mean", "most_frequent"),
            (
                json!({"encode": {"place": "one_hot", "size": "ordinal"}, "impute": {"size": "median"}}),
                "`impute: size` is a median, and the column is a double, encoded by its values",
                "most_frequent",
            ),
            (
                json!({"features": ["open"], "encode": {}, "impute": {"open": 0}}),
                "`impute: open` is a number",
                "true",
            ),
            (json!({"time": "place"}), "`time: place` is text", "SQL"),
            (
                json!({"target": "size", "features": ["id"], "encode": {}}),
                "`target: size` is a double",
                "regression",
            ),
            (
                json!({"algorithm": "linear"}),
                "`target: kind` is text: `regression` cannot learn it",
                "numbers",
            ),
            (json!({"features": ["plaze"]}), "`refined.x` has no column `plaze`", "did you mean `place`?"),
        ] {
            let misfits = spec(&more).misfits(&table());
            assert_eq!(misfits.len(), 1, "{more}: {misfits:?}");
            assert_eq!(misfits[0].code(), codes::CONFIG, "{more}");
            assert!(misfits[0].message().contains(says), "{more}: {}", misfits[0]);
            assert!(misfits[0].hint_text().unwrap_or_default().contains(hint), "{more}: {misfits:?}");
        }
        // All at once.
        let all = spec(&json!({"time": "place", "encode": {}, "impute": {"size": "none"}})).misfits(&table());
        assert_eq!(all.len(), 3, "{all:?}");
        let ahead: Spec = serde_json::from_value(json!({
            "algorithm": "drift", "from": "refined.x", "target": "kind", "time": "place", "series": ["open"],
            "horizon": 3,
        }))
        .unwrap();
        assert_eq!(ahead.misfits(&table()).len(), 2, "{:?}", ahead.misfits(&table()));
    }

    #[test]
    fn two_classes_are_known_by_the_type_of_the_target_or_by_the_measure() {
        assert!(spec(&json!({})).has_two_classes(Some(&DataType::Boolean)));
        assert!(!spec(&json!({})).has_two_classes(Some(&DataType::Utf8)));
        assert!(spec(&json!({"promote": {"metric": "f1"}})).has_two_classes(Some(&DataType::Utf8)));
        assert!(!spec(&json!({"promote": {"metric": "accuracy"}})).has_two_classes(None));
    }
}
