//! Finds the columns of a file and their types, in one pass that builds no values.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use lagar_flow::{ColumnType, Error, Note, Result, codes};

use super::{
    NewColumns,
    columns::{Problem, not_an_object},
    keys::Keys,
    rows::Row,
    scan::{DEPTH_MAX, Scanner, Syntax, Token},
    value::{Look, Parse, number_look},
};

/// More columns than this are a file in the wrong shape.
const COLUMNS_MAX: usize = 10_000;
/// An object with more names than this is a dictionary: it is kept as JSON text.
const NAMES_MAX: usize = 1000;

/// What is nested deeper is kept as JSON text: nobody asks that far down, and everything that is written
/// about the columns, such as a load's manifest, nests twice as deep as they do.
pub(super) const NESTING_MAX: usize = 20;

/// What was seen in a column, as a set.
mod seen {
    pub const BOOL: u16 = 1;
    pub const INT: u16 = 1 << 1;
    pub const LONG_INT: u16 = 1 << 2;
    pub const HUGE: u16 = 1 << 3;
    pub const DOUBLE: u16 = 1 << 4;
    pub const GROUPED: u16 = 1 << 5;
    pub const DATE: u16 = 1 << 6;
    pub const TIMESTAMP: u16 = 1 << 7;
    pub const INSTANT: u16 = 1 << 8;
    pub const TEXT: u16 = 1 << 9;
    pub const LIST: u16 = 1 << 10;
    pub const OBJECT: u16 = 1 << 11;
    pub const DICTIONARY: u16 = 1 << 12;

    pub const INTS: u16 = INT | LONG_INT;
    pub const NUMBERS: u16 = INTS | DOUBLE | GROUPED;
}

/// What was seen at one place of the rows.
#[derive(Debug, Default)]
struct Seen {
    set: u16,
    names: Option<Box<Names>>,
    item: Option<Box<Seen>>,
}

#[derive(Debug, Default)]
struct Names {
    keys: Keys,
    list: Vec<(String, Seen)>,
}

impl Names {
    /// The index of `name`, which is added unless there are `max` already.
    fn index(&mut self, guess: &mut usize, name: &str, max: usize) -> Option<usize> {
        if let Some(Some(index)) = self.keys.find(guess, name) {
            return Some(index);
        }
        if self.list.len() >= max {
            return None;
        }
        let index = self.list.len();
        self.list.push((name.to_owned(), Seen::default()));
        self.keys.learn(guess, name, Some(index));
        Some(index)
    }
}

/// The first pass over a file's rows.
pub(super) struct Inference {
    columns: Names,
    parse: Parse,
    scratch: String,
    /// The columns of the CSV fields, for the header they were made for.
    header: Arc<[String]>,
    fields: Vec<usize>,
    /// Columns that are text as soon as one text is seen.
    free: Vec<bool>,
    known: Option<Arc<Schema>>,
}

/// The columns that were found.
pub(super) struct Found {
    pub schema: Schema,
    /// Those with values that may not fit their type.
    pub doubtful: Schema,
    /// There are values that no column of `schema` has a place for.
    pub strangers: bool,
    /// All that is there, as it looks by itself.
    pub present: Schema,
    pub notes: Vec<Note>,
}

impl Inference {
    pub fn new(parse: Parse, known: Option<&Schema>) -> Self {
        Self {
            columns: Names::default(),
            parse,
            scratch: String::new(),
            header: Arc::new([]),
            fields: Vec::new(),
            free: Vec::new(),
            known: known.map(|schema| Arc::new(schema.clone())),
        }
    }

    /// Looks at one row; says why it is none. The outer error ends the file.
    pub fn observe(&mut self, row: &Row<'_>) -> Result<std::result::Result<(), Problem>> {
        let seen = match row {
            Row::Json(bytes) => self.observe_json(bytes),
            Row::Csv(record) => {
                if !Arc::ptr_eq(&self.header, record.header()) {
                    self.learn_header(record.header());
                }
                record.fields().map(|fields| self.observe_fields(fields))
            }
        };
        if self.columns.list.len() > COLUMNS_MAX {
            return Err(Error::new(codes::DECODE, format!("the rows have more than {COLUMNS_MAX} columns"))
                .hint("data that grows in its names is better kept as a list of rows"));
        }
        Ok(seen)
    }

    /// Columns of a CSV exist as soon as there is a header, even without rows.
    pub fn learn_header(&mut self, header: &Arc<[String]>) {
        self.header = header.clone();
        let columns = &mut self.columns;
        self.fields = header.iter().filter_map(|name| columns.index(&mut 0, name, COLUMNS_MAX + 1)).collect();
        let known = known_types(self.known.as_deref());
        self.free = columns.list.iter().map(|(name, _)| !known.contains_key(name.as_str())).collect();
    }

    fn observe_fields<'a>(&mut self, fields: impl Iterator<Item = Option<&'a str>>) {
        for (field, index) in fields.zip(&self.fields) {
            let seen = &mut self.columns.list[*index].1;
            if let Some(text) = field
                && !(seen.set & seen::TEXT != 0 && self.free[*index])
            {
                seen.set |= bit(self.parse.look(text));
            }
        }
    }

    fn observe_json(&mut self, bytes: &[u8]) -> std::result::Result<(), Problem> {
        let text = utf8(bytes)?;
        let mut scanner = Scanner::new(text);
        match scanner.token()? {
            Token::Object => {}
            token => return Err(not_an_object(token)),
        }
        observe_object(&mut self.columns, &mut scanner, 0, COLUMNS_MAX + 1, &mut self.scratch)?;
        Ok(scanner.end()?)
    }

    /// The types: asked ones first, then those of earlier loads, then what was seen. `note_missing` says
    /// which asked columns were not seen.
    pub fn found(
        &self,
        asked: &BTreeMap<String, ColumnType>,
        new_columns: NewColumns,
        note_missing: bool,
    ) -> Found {
        let (mut fields, mut doubtful, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut strangers = false;
        let grows = new_columns == NewColumns::Take;
        let all_known = known_types(self.known.as_deref());
        for (name, seen) in &self.columns.list {
            let known = all_known.get(name.as_str()).copied();
            let data_type = match (asked.get(name), known) {
                (Some(asked), _) => asked.data_type(),
                (None, Some(known)) if !grows => known.clone(),
                (None, None) if !grows => {
                    strangers |= seen.set != 0;
                    continue;
                }
                (None, known) => {
                    let (data_type, is_cut) = clip(&seen.near(known, name, &mut notes), NESTING_MAX);
                    if is_cut {
                        notes.push(Note(format!(
                            "`{name}` is nested more than {NESTING_MAX} deep; what is below is read as text"
                        )));
                    }
                    data_type
                }
            };
            strangers |= !grows && seen.has_strangers(&data_type);
            let fits = seen.fits(&data_type);
            let field: FieldRef = Arc::new(Field::new(name, data_type, true));
            if !fits {
                doubtful.push(field.clone());
            }
            fields.push(field);
        }
        for (name, column_type) in asked {
            if !self.columns.list.iter().any(|(found, _)| found == name) {
                fields.push(Arc::new(Field::new(name, column_type.data_type(), true)));
                if note_missing {
                    notes.push(Note(format!("the asked column `{name}` is not in the file; it is null")));
                }
            }
        }
        let present = self.columns.list.iter().map(|(name, seen)| Field::new(name, seen.found(), true));
        Found {
            schema: Schema::new(fields),
            doubtful: Schema::new(doubtful),
            strangers,
            present: Schema::new(present.collect::<Vec<_>>()),
            notes,
        }
    }
}

fn known_types(known: Option<&Schema>) -> HashMap<&str, &DataType> {
    let fields = known.into_iter().flat_map(|known| known.fields());
    fields.map(|field| (field.name().as_str(), field.data_type())).collect()
}

/// The text of a row of JSON.
pub(super) fn utf8(bytes: &[u8]) -> std::result::Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|e| {
        let byte = bytes.get(e.valid_up_to()).copied().unwrap_or_default();
        Problem::row(format!("byte 0x{byte:02X} at {} is not UTF-8, which JSON must be", e.valid_up_to() + 1))
    })
}

/// `data_type` with text in place of the lists and objects that lie below `levels` of them, and whether
/// there were any.
pub(super) fn clip(data_type: &DataType, levels: usize) -> (DataType, bool) {
    let inner = |field: &FieldRef| {
        let (data_type, is_cut) = clip(field.data_type(), levels - 1);
        (Arc::new(field.as_ref().clone().with_data_type(data_type)), is_cut)
    };
    match data_type {
        DataType::List(_) | DataType::Struct(_) if levels == 0 => (DataType::Utf8, true),
        DataType::List(item) => {
            let (item, is_cut) = inner(item);
            (DataType::List(item), is_cut)
        }
        DataType::Struct(fields) => {
            let (fields, cuts): (Vec<FieldRef>, Vec<bool>) = fields.iter().map(inner).unzip();
            (DataType::Struct(fields.into()), cuts.contains(&true))
        }
        plain => (plain.clone(), false),
    }
}

fn bit(look: Look) -> u16 {
    match look {
        Look::Bool => seen::BOOL,
        Look::Int => seen::INT,
        Look::LongInt => seen::LONG_INT,
        Look::Huge => seen::HUGE,
        Look::Double => seen::DOUBLE,
        Look::Grouped => seen::GROUPED,
        Look::Date => seen::DATE,
        Look::Timestamp => seen::TIMESTAMP,
        Look::Instant => seen::INSTANT,
        Look::Text => seen::TEXT,
    }
}

fn observe(
    seen: &mut Seen,
    scanner: &mut Scanner<'_>,
    depth: usize,
    scratch: &mut String,
) -> std::result::Result<(), Syntax> {
    match scanner.token()? {
        Token::Null => {}
        Token::Bool(_) => seen.set |= seen::BOOL,
        Token::Number(text) => seen.set |= number_look(text).map_or(seen::TEXT, bit),
        Token::Text(_) => seen.set |= seen::TEXT,
        token if depth > DEPTH_MAX => scanner.skip(token, depth)?,
        Token::List => {
            seen.set |= seen::LIST;
            let item = seen.item.get_or_insert_default();
            let mut first = true;
            while scanner.item(first)? {
                first = false;
                observe(item, scanner, depth + 1, scratch)?;
            }
        }
        Token::Object => {
            seen.set |= seen::OBJECT;
            let names = seen.names.get_or_insert_default();
            if !observe_object(names, scanner, depth, NAMES_MAX, scratch)? {
                seen.set |= seen::DICTIONARY;
            }
        }
    }
    Ok(())
}

/// `false` if there were more than `max` names. The brace was read.
fn observe_object(
    names: &mut Names,
    scanner: &mut Scanner<'_>,
    depth: usize,
    max: usize,
    scratch: &mut String,
) -> std::result::Result<bool, Syntax> {
    let (mut first, mut guess, mut all) = (true, 0, true);
    while let Some(key) = scanner.key(first)? {
        first = false;
        match names.index(&mut guess, key.decode(scratch), max) {
            Some(index) => observe(&mut names.list[index].1, scanner, depth + 1, scratch)?,
            None => {
                all = false;
                let token = scanner.token()?;
                scanner.skip(token, depth + 1)?;
            }
        }
    }
    Ok(all)
}

impl Seen {
    fn only(&self, allowed: u16) -> bool {
        self.set & !allowed == 0
    }

    fn any(&self, of: u16) -> bool {
        self.set & of != 0
    }

    /// The type of a column that earlier loads had as `known`: it stays, except that integers widen to
    /// doubles and lists and objects grow inside, as [`lagar_flow::evolve`] lets them.
    fn near(&self, known: Option<&DataType>, path: &str, notes: &mut Vec<Note>) -> DataType {
        match known {
            None | Some(DataType::Null) => self.plain(path, notes),
            Some(DataType::Int64) if self.any(seen::DOUBLE) && !self.any(seen::LONG_INT | seen::HUGE) => {
                DataType::Float64
            }
            Some(DataType::List(item)) if self.any(seen::LIST) => {
                let inner = self.item.as_deref().map(|seen| seen.near(Some(item.data_type()), path, notes));
                let inner = inner.unwrap_or_else(|| item.data_type().clone());
                DataType::List(Arc::new(Field::new(item.name(), inner, true)))
            }
            Some(DataType::Struct(fields)) if self.any(seen::OBJECT) && !self.any(seen::DICTIONARY) => {
                DataType::Struct(self.near_fields(fields, path, notes))
            }
            Some(known) => known.clone(),
        }
    }

    fn near_fields(&self, known: &Fields, path: &str, notes: &mut Vec<Note>) -> Fields {
        let list = self.names.as_deref().map_or(&[][..], |names| &names.list);
        let mut fields: Vec<FieldRef> = Vec::new();
        for field in known {
            let seen = list.iter().find(|(name, _)| name == field.name());
            let data_type = match seen {
                Some((name, seen)) => seen.near(Some(field.data_type()), &format!("{path}.{name}"), notes),
                None => field.data_type().clone(),
            };
            fields.push(Arc::new(Field::new(field.name(), data_type, true)));
        }
        for (name, seen) in list {
            if known.find(name).is_none() {
                let data_type = seen.plain(&format!("{path}.{name}"), notes);
                fields.push(Arc::new(Field::new(name, data_type, true)));
            }
        }
        fields.into()
    }

    /// What the values look like by themselves; null if there is none.
    fn found(&self) -> DataType {
        if self.set == 0 { DataType::Null } else { clip(&self.plain("", &mut Vec::new()), NESTING_MAX).0 }
    }

    /// Whether an object that is read as `data_type` has values for which there is no field in it.
    fn has_strangers(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::List(item) => {
                self.item.as_deref().is_some_and(|seen| seen.has_strangers(item.data_type()))
            }
            DataType::Struct(fields) => {
                let list = self.names.as_deref().map_or(&[][..], |names| &names.list);
                // Of a dictionary not all names are known.
                self.any(seen::DICTIONARY)
                    || list.iter().any(|(name, seen)| match fields.find(name) {
                        Some((_, field)) => seen.has_strangers(field.data_type()),
                        None => seen.set != 0,
                    })
            }
            _ => false,
        }
    }

    /// The type of a new column.
    fn plain(&self, path: &str, notes: &mut Vec<Note>) -> DataType {
        use seen::*;
        if self.set == 0 {
            return DataType::Utf8;
        }
        if self.only(BOOL) {
            return DataType::Boolean;
        }
        if self.only(INTS) {
            return DataType::Int64;
        }
        if self.only(NUMBERS) && self.any(DOUBLE) && !self.any(LONG_INT) {
            return DataType::Float64;
        }
        if self.only(DATE) {
            return DataType::Date32;
        }
        if self.only(DATE | TIMESTAMP) {
            return DataType::Timestamp(TimeUnit::Microsecond, None);
        }
        if self.only(INSTANT) {
            return DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        }
        if self.only(LIST) {
            let item = self.item.as_deref().map_or(DataType::Utf8, |item| item.plain(path, notes));
            return DataType::List(Arc::new(Field::new("item", item, true)));
        }
        if self.only(OBJECT)
            && let Some(names) = self.names.as_deref().filter(|names| !names.list.is_empty())
        {
            let fields = names
                .list
                .iter()
                .map(|(name, seen)| Field::new(name, seen.plain(&format!("{path}.{name}"), notes), true));
            return DataType::Struct(fields.collect());
        }
        notes.extend(self.why_text(path));
        DataType::Utf8
    }

    /// Why a column that is not all text is read as text.
    fn why_text(&self, path: &str) -> Option<Note> {
        use seen::*;
        let why = if self.any(DICTIONARY) {
            format!("objects with more than {NAMES_MAX} different names")
        } else if self.any(LIST | OBJECT) && !self.only(OBJECT) {
            format!("{} beside other values", if self.any(OBJECT) { "objects" } else { "lists" })
        } else if self.only(INTS | HUGE | DOUBLE) && self.any(HUGE | LONG_INT) {
            "numbers that a double cannot hold exactly".to_owned()
        } else if self.any(TEXT) && self.any(NUMBERS | HUGE | BOOL) {
            format!("texts beside {}", if self.any(BOOL) { "true and false" } else { "numbers" })
        } else if self.any(BOOL) && self.any(NUMBERS | HUGE) {
            "numbers beside true and false".to_owned()
        } else {
            return None;
        };
        Some(Note(format!("`{path}` has {why}; it is read as text")))
    }

    /// Whether all that was seen surely fits `data_type`.
    fn fits(&self, data_type: &DataType) -> bool {
        use seen::*;
        match data_type {
            DataType::Utf8 => true,
            DataType::Boolean => self.only(BOOL),
            DataType::Int64 => self.only(INTS),
            // Of the long integers not all fit.
            DataType::Float64 => self.only(NUMBERS & !LONG_INT),
            DataType::Date32 => self.only(DATE),
            DataType::Timestamp(TimeUnit::Microsecond, None) => self.only(DATE | TIMESTAMP),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => self.only(INSTANT),
            DataType::List(item) => {
                self.only(LIST) && self.item.as_deref().is_none_or(|seen| seen.fits(item.data_type()))
            }
            DataType::Struct(fields) => self.only(OBJECT) && self.names_fit(fields),
            _ => self.set == 0,
        }
    }

    fn names_fit(&self, fields: &Fields) -> bool {
        let list = self.names.as_deref().map_or(&[][..], |names| &names.list);
        list.iter()
            .all(|(name, seen)| fields.find(name).is_none_or(|(_, field)| seen.fits(field.data_type())))
    }
}
