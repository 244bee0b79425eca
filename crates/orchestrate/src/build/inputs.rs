//! What a model reads: the loads and versions that this run sees, and what of them is new.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use lagar_engine::{
    RawOptions, Session,
    model::{Materialize, Model},
};
use lagar_flow::{Error, Name, Result, Scope, TableName, Zone, codes, schema_of};
use lagar_lake::{Manifest, Table, TableMeta, newest_state};

use super::{id_of, needs_full_refresh};
use crate::{
    graph::Node,
    predictor::{self, Loaded},
    report::StepReport,
    run::Context,
    windows,
};

/// Up to where the rows of a version come, by incremental input; or why that cannot be told.
pub(super) struct Used(pub(super) Vec<(TableName, std::result::Result<u64, String>)>);

impl Used {
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// What a model reads, at the versions that this run reads.
#[derive(Clone)]
pub(super) struct Inputs {
    pub(super) raw: BTreeMap<TableName, Vec<Arc<Manifest>>>,
    /// The columns of the raw inputs, also when none of their loads is left.
    columns: BTreeMap<TableName, SchemaRef>,
    pub(super) tables: BTreeMap<TableName, Table>,
    /// Each with its version and what tells that from another of the same number.
    pub(super) predictors: BTreeMap<Name, Loaded>,
    /// Load number or table version.
    pub(super) numbers: BTreeMap<TableName, u64>,
    /// What tells this load or version from another of the same number, when a table was deleted by hand.
    pub(super) ids: BTreeMap<TableName, String>,
}

impl Inputs {
    pub(super) async fn of(context: &Context, model: &Model) -> Result<Self> {
        let mut inputs = Self {
            raw: BTreeMap::new(),
            columns: BTreeMap::new(),
            tables: BTreeMap::new(),
            predictors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        for name in model.inputs().into_iter().cloned() {
            let missing = |hint: &str| {
                Error::new(
                    codes::TABLE_MISSING,
                    format!("`{}` reads `{name}`, which has no data yet", model.name),
                )
                .hint(hint)
            };
            if name.zone == Zone::Raw {
                let mut loads = context.lake.loads(&name.name).await?;
                let newest = loads.last().map(|load| load.number);
                let pinned = context.pin(&name, newest.ok_or_else(|| missing("run its source first"))?);
                loads.retain(|load| load.number <= pinned);
                let Some(last) = loads.last() else { return Err(missing("run its source first")) };
                // A list may lag behind what this very run put. Going on without the rows would lose them:
                // the commit says that it used the load.
                if last.number < pinned {
                    return Err(not_listed(&format!("load {pinned} of `{name}`")));
                }
                windows::refuse_overlaps(&name.name, &loads)?;
                let id = last.id.to_string();
                inputs.columns.insert(name.clone(), schema_of(&last.columns)?);
                inputs.ids.insert(name.clone(), id);
                inputs.numbers.insert(name.clone(), pinned);
                inputs.raw.insert(name, loads);
            } else {
                let version =
                    context.version(&name).ok_or_else(|| missing("select it too, with `+` in front"))?;
                let table = context.lake.table(&name, Some(version)).await?;
                let table = table.ok_or_else(|| match context.released(&name) == Some(version) {
                    true => missing("its files are gone; run with --full-refresh"),
                    false => not_listed(&format!("version {version} of `{name}`")),
                })?;
                inputs.ids.insert(name.clone(), id_of(&table));
                inputs.numbers.insert(name.clone(), version);
                inputs.tables.insert(name, table);
            }
        }
        for name in model.asks() {
            inputs.predictors.insert(name.clone(), predictor::asked(context, name).await?);
        }
        Ok(inputs)
    }

    /// Up to which load or version of its incremental inputs the rows of `base` come.
    ///
    /// # Errors
    /// For an append, if that cannot be told: `base` went by other inputs, or one was deleted and made again.
    pub(super) fn used_by(&self, model: &Model, base: &Table) -> Result<Used> {
        let used = model.front.incremental.iter().map(|input| (input.clone(), self.used_of(base, input)));
        let used = Used(used.collect());
        match used.0.iter().find_map(|(_, used)| used.as_ref().err()) {
            Some(why) if model.front.materialize == Materialize::Append => {
                Err(needs_full_refresh(model, why))
            }
            _ => Ok(used),
        }
    }

    fn used_of(&self, base: &Table, incremental: &TableName) -> std::result::Result<u64, String> {
        let name = incremental.to_string();
        let meta = base.meta.as_ref().filter(|meta| meta.incremental.contains(&name));
        let Some((meta, used)) = meta.and_then(|meta| Some((meta, *meta.inputs.get(&name)?))) else {
            return Err(format!("its rows did not come by way of `{name}`"));
        };
        let id = match self.raw.get(incremental) {
            Some(loads) => loads.iter().find(|load| load.number == used).map(|load| load.id.to_string()),
            // Of a table only the version that is read now is at hand; the lake looks at the others.
            None if self.numbers.get(incremental) == Some(&used) => self.ids.get(incremental).cloned(),
            None => meta.input_ids.get(&name).cloned(),
        };
        if id.is_none() || id.as_ref() != meta.input_ids.get(&name) {
            return Err(format!("`{name}` was deleted and made again"));
        }
        Ok(used)
    }

    pub(super) fn have_nothing_new(&self, used: &Used) -> bool {
        used.0.iter().all(|(name, used)| used.as_ref().ok() == self.numbers.get(name))
    }

    /// Leaves of the incremental inputs only what `base` was not made from. Rows of a merge may come again:
    /// where it cannot be told what is new, it reads all, and says so. Whether it does.
    ///
    /// # Errors
    /// For an append: a table that was rewritten since, whose new rows cannot be told.
    pub(super) async fn leave_out_used(
        &mut self,
        context: &Context,
        model: &Model,
        base: &Table,
        used: &Used,
        report: &mut StepReport,
    ) -> Result<bool> {
        let merges = model.front.materialize == Materialize::Merge;
        let mut fresh = self.clone();
        let mut whole = Vec::new();
        for (input, used) in &used.0 {
            let used = match used {
                Ok(used) => *used,
                Err(why) => {
                    whole.push(format!("`{input}` is read whole: {why}"));
                    continue;
                }
            };
            if let Some(loads) = fresh.raw.get_mut(input) {
                // A source that the project does not have any more may have been of any kind.
                let source = context.project.sources.get(&input.name);
                let gives_states = source.is_some_and(|source| source.source.gives_states());
                if !merges && !gives_states && !replaced(loads, used).is_empty() {
                    let why = format!("`{input}` was read again: rows that are used already came once more");
                    return Err(needs_full_refresh(model, &why));
                }
                loads.retain(|load| load.number > used);
                // They are older than they come: beside all others it is seen which row is the newest.
                if loads.iter().any(|load| load.is_redriven()) {
                    whole.push(format!("`{input}` is read whole: rows came out of its quarantine"));
                }
            }
            if let Some(table) = fresh.tables.get_mut(input) {
                let id = used_id(base, input);
                let added = match merges {
                    true => context.lake.changed_since(table, used, id).await?.map(|changed| changed.added),
                    false => context.lake.added_since(table, used, id).await?,
                };
                match added {
                    Some(added) => table.files = added,
                    None if merges => whole.push(format!(
                        "`{input}` is read whole: what changed since version {used} cannot be told"
                    )),
                    None => {
                        let why = format!(
                            "`{input}` was rewritten since version {used}: which of its rows are new cannot be told"
                        );
                        return Err(needs_full_refresh(model, &why));
                    }
                }
            }
        }
        // All of them, so that what is left out of a merge is either that of all its rows or of new ones.
        let reads_all = merges && !whole.is_empty();
        match reads_all {
            true => report.notes.extend(whole),
            false => *self = fresh,
        }
        Ok(reads_all)
    }

    /// A predictor of which `base` asked another version.
    pub(super) fn other_predictor(&self, base: &Table) -> Option<String> {
        let before = |name: &str| base.meta.as_ref().and_then(|meta| meta.input_ids.get(name));
        let mut names = self.predictors.iter().map(|(name, loaded)| (node(name), &loaded.id));
        names.find(|(name, id)| before(name) != Some(*id)).map(|(name, _)| name)
    }

    /// Whether nothing is read that one of the two was not made from, although a rollback took one back: of loads that
    /// it took nothing of those that are there, of tables and predictors what is current again.
    pub(super) fn are_those_of(&self, taken_back: &TableMeta, released: &TableMeta) -> bool {
        let one_has = |name: &str, id: &String| {
            [taken_back, released].iter().any(|meta| meta.input_ids.get(name) == Some(id))
        };
        self.ids_by_name().iter().all(|(name, id)| match released.input_ids.get(name) {
            // A table or predictor is current because of the rollback, or because of what came since.
            Some(before) if !is_raw(name) => before == id,
            _ => one_has(name, id),
        })
    }

    /// The number of each input, by the name under which it stands in reports.
    pub(super) fn numbers_by_name(&self) -> BTreeMap<String, u64> {
        let tables = self.numbers.iter().map(|(table, number)| (table.to_string(), *number));
        let asked = self.predictors.iter();
        let predictors = asked.filter_map(|(name, loaded)| Some((node(name), loaded.version?)));
        tables.chain(predictors).collect()
    }

    /// What tells each input from another of its number.
    pub(super) fn ids_by_name(&self) -> BTreeMap<String, String> {
        let tables = self.ids.iter().map(|(table, id)| (table.to_string(), id.clone()));
        let predictors = self.predictors.iter().map(|(name, loaded)| (node(name), loaded.id.clone()));
        tables.chain(predictors).collect()
    }

    /// A session that sees the inputs.
    pub(super) fn session(&self, context: &Context) -> Result<Session> {
        let session = context.engine.session();
        for (name, loads) in &self.raw {
            let schema = self.columns.get(name).cloned().unwrap_or_else(|| Arc::new(Schema::empty()));
            let options = RawOptions { spool: context.spool_dir.clone() };
            session.add_raw(&name.name, &context.lake, loads.clone(), schema, options)?;
        }
        for table in self.tables.values() {
            session.add_table(table, &context.lake)?;
        }
        for (name, loaded) in &self.predictors {
            session.add_predictor(name, loaded.asked.clone());
        }
        Ok(session)
    }
}

/// Whether it is the name of loads, of which a rollback takes none.
fn is_raw(input: &str) -> bool {
    input.parse::<TableName>().is_ok_and(|table| table.zone == Zone::Raw)
}

fn node(predictor: &Name) -> String {
    Node::Predictor(predictor.clone()).to_string()
}

/// What tells the version of `input` that `base` was made from.
pub(super) fn used_id<'b>(base: &'b Table, input: &TableName) -> Option<&'b str> {
    base.meta.as_ref()?.input_ids.get(&input.to_string()).map(String::as_str)
}

/// What of the loads up to `used` a later one took the place of: each such load with these files alone, as
/// if nothing had come in their place.
pub(super) fn replaced(loads: &[Arc<Manifest>], used: u64) -> Vec<Arc<Manifest>> {
    let before: Vec<Arc<Manifest>> = loads.iter().filter(|load| load.number <= used).cloned().collect();
    let (then, now) = (newest_state(&before), newest_state(loads));
    let mut gone = Vec::new();
    for (load, (then, now)) in before.iter().zip(then.iter().zip(&now)) {
        let files = load.files.iter().zip(then.iter().zip(now));
        let files: Vec<_> =
            files.filter(|(_, (then, now))| **then && !**now).map(|(file, _)| file.clone()).collect();
        if !files.is_empty() {
            let alone = load.as_ref().clone();
            gone.push(Arc::new(Manifest { files, scope: Scope::Increment, window: None, ..alone }));
        }
    }
    gone
}

/// A step of this run made it, and a list does not show it.
fn not_listed(what: &str) -> Error {
    Error::new(codes::LAKE_STORE, format!("the store does not list {what} yet, which is there"))
        .hint("try again")
}
