//! What changed in the columns of a source since its loads before, as events.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use lagar_connectors::SchemaPolicy;
use lagar_flow::{
    Chunk, Error, Event, EventKind, FormatKind, codes,
    drift::{Change, Present, changes},
    evolve, type_word,
};
use lagar_lake::Manifest;

use crate::project::SourceDef;

/// More changes than this are counted in an error and not listed.
const LISTED_MAX: usize = 50;

/// What the chunks of one load say about the columns.
pub(crate) struct Drift<'a> {
    source: &'a SourceDef,
    /// The columns of the loads before with the asked ones laid over them. Without a load that had columns
    /// nothing can change yet: then these are the asked ones.
    contract: Schema,
    is_first: bool,
    /// Those of `contract` that the load before did not have either. Of a source that is read by windows those
    /// that any load did not have: that one day more lacks a rare column is no news.
    missing_before: BTreeSet<String>,
    /// The columns of the chunk before, as read and as found: those of the next are mostly the same.
    last: Option<(SchemaRef, SchemaRef)>,
    /// The columns that this load is read as.
    read: Schema,
    present: Present,
    declared: bool,
    /// Not all names may have been seen: of a file that stays in place only the beginning is looked at.
    unsure: bool,
    discarded: BTreeMap<String, u64>,
    /// Rows with a value that does not fit, by column.
    rejected: BTreeMap<String, u64>,
}

/// What was found about a whole load.
pub(crate) struct Found {
    pub events: Vec<Event>,
    /// The columns that are in no row of this load, whether the one before had them or not.
    pub missing: Vec<String>,
}

impl<'a> Drift<'a> {
    pub fn new(source: &'a SourceDef, known: Option<&SchemaRef>, previous: Option<&Manifest>) -> Self {
        let known = known.map(|known| known.as_ref().clone()).unwrap_or_else(Schema::empty);
        let mut fields: Vec<Field> = known.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (name, asked) in &source.common.columns {
            let field = Field::new(name, asked.data_type(), true);
            match fields.iter_mut().find(|known| known.name() == name) {
                Some(known) => *known = field,
                None => fields.push(field),
            }
        }
        let contract = Schema::new(fields);
        Self {
            source,
            is_first: known.fields().is_empty(),
            missing_before: previous.map(|load| load.missing.iter().cloned().collect()).unwrap_or_default(),
            last: None,
            read: contract.clone(),
            contract,
            present: Present::default(),
            declared: false,
            unsure: false,
            discarded: BTreeMap::new(),
            rejected: BTreeMap::new(),
        }
    }

    pub fn see(&mut self, chunk: &Chunk) {
        let columns = (chunk.file.schema.clone(), chunk.drift.found.clone());
        if self.last.as_ref() != Some(&columns) {
            self.read = evolve(&self.read, &columns.0);
            self.present.add(&columns.1);
            self.last = Some(columns);
        }
        self.declared |= chunk.drift.declared;
        self.unsure |= chunk.file.rows.is_none() && !matches!(chunk.file.format.kind, FormatKind::Csv(_));
        for discarded in &chunk.drift.discarded {
            *self.discarded.entry(discarded.column.clone()).or_default() += discarded.values;
        }
        for column in chunk.rejects.iter().filter_map(|reject| reject.column.clone()) {
            *self.rejected.entry(column).or_default() += 1;
        }
    }

    /// Rows that the policy sends to quarantine: nobody needs to allow them.
    pub fn rows_discarded(&self) -> u64 {
        match self.source.common.schema {
            SchemaPolicy::DiscardRow if !self.is_first => self.rejected.values().sum(),
            _ => 0,
        }
    }

    pub fn found(&self, at: DateTime<Utc>, run_id: &str) -> Found {
        let event = |kind, column: &str, before: Option<&DataType>, after: Option<&DataType>, count| Event {
            at,
            run_id: run_id.to_owned(),
            table: format!("raw.{}", self.source.name),
            kind,
            column: Some(column.to_owned()),
            before: before.map(|before| type_word(before).into_owned()),
            after: after.map(|after| type_word(after).into_owned()),
            count,
        };
        let missing = if self.unsure { Vec::new() } else { self.present.missing(&self.contract) };
        let mut events = Vec::new();
        if !self.is_first {
            for Change { column, before, after } in changes(&self.contract, &self.read) {
                let kind = if before.is_some() { EventKind::TypeWidened } else { EventKind::ColumnNew };
                events.push(event(kind, &column, before.as_ref(), Some(&after), None));
            }
            let gone = missing.iter().filter(|(column, _)| !self.missing_before.contains(column));
            events.extend(
                gone.map(|(column, before)| {
                    event(EventKind::ColumnMissing, column, Some(before), None, None)
                }),
            );
        }
        for (column, values) in &self.discarded {
            let before = type_at(&self.contract, column).or_else(|| type_at(&self.read, column));
            let after = self.present.type_beside(column, before.as_ref());
            let kind = if before.is_some() { EventKind::ValueDiscarded } else { EventKind::ColumnIgnored };
            events.push(event(kind, column, before.as_ref(), after, Some(*values)));
        }
        if !self.is_first {
            for (column, rows) in &self.rejected {
                let before = type_at(&self.contract, column);
                let after = self.present.type_beside(column, before.as_ref());
                events.push(event(EventKind::RowDiscarded, column, before.as_ref(), after, Some(*rows)));
            }
            let told: HashSet<String> = events.iter().filter_map(|event| event.column.clone()).collect();
            for column in self.present.beyond(&self.read).iter().filter(|column| !told.contains(*column)) {
                let after = self.present.type_beside(column, None);
                events.push(event(EventKind::ColumnIgnored, column, None, after, Some(0)));
            }
            for Change { column, before, after } in
                self.retyped().filter(|change| !told.contains(&change.column))
            {
                events.push(event(EventKind::TypeChanged, &column, before.as_ref(), Some(&after), None));
            }
        }
        let mut missing: BTreeSet<String> = missing.into_iter().map(|(column, _)| column).collect();
        if self.source.source.windows().is_some() || self.present.is_empty() {
            missing.extend(self.missing_before.iter().cloned());
        }
        Found { events, missing: missing.into_iter().collect() }
    }

    /// Types that the files declare otherwise; an asked type is the user's own.
    fn retyped(&self) -> impl Iterator<Item = Change> {
        let changes = if self.declared { self.present.retyped(&self.contract) } else { Vec::new() };
        let asked = &self.source.common.columns;
        changes.into_iter().filter(move |change| !asked.contains_key(&change.column))
    }

    /// The error of a load whose columns must not change and did.
    pub fn frozen(&self, events: &[Event]) -> Option<Error> {
        if self.source.common.schema != SchemaPolicy::Freeze || self.is_first || events.is_empty() {
            return None;
        }
        let name = &self.source.name;
        let mut listed: Vec<String> = events.iter().take(LISTED_MAX).map(Event::to_string).collect();
        if events.len() > LISTED_MAX {
            listed.push(format!("and {} more", events.len() - LISTED_MAX));
        }
        let message =
            format!("the columns of `{name}` changed, and its `schema` is `freeze`: {}", listed.join("; "));
        let same_but_case =
            events.iter().filter(|event| event.kind == EventKind::ColumnNew).find_map(|event| {
                let new = event.column.as_deref()?;
                let known = self.contract.fields().iter().map(|field| field.name());
                known
                    .clone()
                    .find(|known| known.eq_ignore_ascii_case(new))
                    .map(|known| (known.clone(), new.to_owned()))
            });
        let way_out =
            "to take the change run once with `schema: evolve`; a new column may also be named in `columns`";
        let hint = match same_but_case {
            Some((known, new)) => {
                format!("`{known}` and `{new}` are different names: case counts; {way_out}")
            }
            None => way_out.to_owned(),
        };
        Some(Error::new(codes::FROZEN, message).hint(format!("nothing was loaded; {hint}")))
    }
}

/// The type of the column or nested field at `path`.
fn type_at(schema: &Schema, path: &str) -> Option<DataType> {
    fn of_field(field: &Field, rest: &str) -> Option<DataType> {
        match field.data_type() {
            DataType::Struct(fields) => type_at(&Schema::new(fields.clone()), rest),
            DataType::List(item) if rest == "item" => Some(item.data_type().clone()),
            DataType::List(item) => of_field(item, rest.strip_prefix("item.")?),
            _ => None,
        }
    }
    if let Some((_, field)) = schema.fields().find(path) {
        return Some(field.data_type().clone());
    }
    path.match_indices('.')
        .find_map(|(dot, _)| of_field(schema.fields().find(&path[..dot])?.1, &path[dot + 1..]))
}
