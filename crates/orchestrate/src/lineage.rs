//! What comes from what: tables by what their models read, columns by the plans of their SELECTs. No row is
//! read.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use lagar_engine::{
    Engine,
    lineage::{ColumnOf, Origin, Step},
    model::Model,
    suggest,
};
use lagar_flow::{Error, Name, Result, TableName, Zone, codes, schema_of};
use lagar_lake::Release;
use serde::{Serialize, Serializer};

use crate::{
    check,
    config::PredictorDef,
    graph,
    history::{History, StepRecord},
    predictor,
    project::Project,
    workplace::Workplace,
};

/// Which way to go from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To what it is made from.
    Up,
    /// To what is made from it.
    Down,
}

/// Tables and what lies between them.
#[derive(Debug, Clone, Serialize)]
pub struct Lineage {
    pub direction: Direction,
    /// Where a drawing begins: the table that was asked for, else those at the end.
    #[serde(serialize_with = "names")]
    pub roots: Vec<TableName>,
    pub tables: Vec<Node>,
    pub edges: Vec<Edge>,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    #[serde(serialize_with = "name")]
    pub table: TableName,
    /// The type of its source; `None` for a table that a model makes, or of which only the lake knows.
    pub source: Option<&'static str>,
    /// Where the source reads from, without secrets.
    pub address: Option<String>,
    /// The model's file.
    pub file: Option<String>,
    /// The newest load, or the released version.
    pub version: Option<u64>,
    pub at: Option<DateTime<Utc>>,
    /// Of the released version.
    pub rows: Option<u64>,
    pub last_run: Option<LastRun>,
}

/// The newest run that had the table for a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastRun {
    pub run_id: String,
    pub status: String,
    pub started_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// The SELECT reads it.
    Reads,
    /// Only a check does.
    Checks,
    /// A predictor that the SELECT asks learns from it.
    Learns,
}

/// `to` is made from `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    #[serde(serialize_with = "name")]
    pub from: TableName,
    #[serde(serialize_with = "name")]
    pub to: TableName,
    pub by: EdgeKind,
    /// The load or version of `from` that the released version of `to` was made from.
    pub used: Option<u64>,
    /// The predictors that the SELECT asks, and that learn from `from`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predictors: Vec<AskedPredictor>,
}

/// A predictor that a table asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskedPredictor {
    pub name: Name,
    /// The version that answered for the released version of the table.
    pub version: Option<u64>,
}

fn name<S: Serializer>(name: &TableName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

fn names<S: Serializer>(names: &[TableName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(TableName::to_string))
}

/// The tables that `table` is made from, or that are made from it; of all tables without one.
///
/// # Errors
/// [`codes::TABLE_MISSING`] if there is no such table; the lake cannot be read.
pub async fn lineage(
    workplace: &Workplace,
    table: Option<&TableName>,
    direction: Direction,
) -> Result<Lineage> {
    let release = workplace.lake.current_release().await?;
    let graph = TableGraph::of(workplace, release.as_ref()).await?;
    let roots = match table {
        Some(table) if graph.reads.contains_key(table) => vec![table.clone()],
        Some(table) => return Err(graph.unknown(table)),
        None => graph.ends(direction),
    };
    let shown = graph.reach(&roots, direction);
    let runs = newest_steps(workplace).await;
    let mut tables = Vec::new();
    for table in &shown {
        tables.push(node(workplace, release.as_ref(), table, runs.get(&table.to_string())).await?);
    }
    let edges = graph.edges.into_iter().filter(|edge| shown.contains(&edge.from) && shown.contains(&edge.to));
    Ok(Lineage { direction, roots, tables, edges: edges.collect() })
}

/// The history is a memory aid: without it the rest is no less true, and who only looks makes none.
async fn newest_steps(workplace: &Workplace) -> BTreeMap<String, StepRecord> {
    let read = async {
        if !History::is_in(&workplace.project.state_dir()?) {
            return Ok(BTreeMap::new());
        }
        workplace.history().await?.newest_steps().await
    };
    let read: Result<_> = read.await;
    read.unwrap_or_else(|error| {
        tracing::warn!("the newest runs are not shown: {error}");
        BTreeMap::new()
    })
}

async fn node(
    workplace: &Workplace,
    release: Option<&Release>,
    table: &TableName,
    run: Option<&StepRecord>,
) -> Result<Node> {
    let project = &workplace.project;
    let source = project.sources.get(&table.name).filter(|_| table.zone == Zone::Raw);
    let mut node = Node {
        table: table.clone(),
        source: source.map(|source| source.kind),
        address: source.map(|source| project.secrets.text(&source.source.address())),
        file: project.models.get(table).map(|model| model.path.clone()),
        version: None,
        at: None,
        rows: None,
        last_run: run.map(|step| LastRun {
            run_id: step.run_id.clone(),
            status: step.status.clone(),
            started_at: step.started_at,
        }),
    };
    if table.zone == Zone::Raw {
        let newest = workplace.lake.newest_load(&table.name).await?;
        node.version = newest.as_ref().map(|load| load.number);
        node.at = newest.map(|load| load.created_at);
    } else if let Some(version) = release.and_then(|release| release.tables.get(table)) {
        let found = workplace.lake.table(table, Some(*version)).await?;
        node.version = Some(*version);
        node.at = found.as_ref().map(|table| table.committed_at);
        node.rows = found.map(|table| table.files.iter().map(|file| file.rows).sum());
    }
    Ok(node)
}

/// All tables of the project and of the lake.
struct TableGraph {
    reads: BTreeMap<TableName, BTreeSet<TableName>>,
    read_by: BTreeMap<TableName, BTreeSet<TableName>>,
    edges: Vec<Edge>,
}

impl TableGraph {
    async fn of(workplace: &Workplace, release: Option<&Release>) -> Result<Self> {
        let project = &workplace.project;
        let mut graph = Self { reads: BTreeMap::new(), read_by: BTreeMap::new(), edges: Vec::new() };
        let sources = workplace.lake.sources().await?;
        for source in project.source_names.iter().chain(&sources) {
            graph.add(TableName::new(Zone::Raw, source.clone()));
        }
        let released = release.map(|release| release.tables.clone()).unwrap_or_default();
        let tables: BTreeSet<&TableName> = project.models.keys().chain(released.keys()).collect();
        for table in tables {
            graph.add(table.clone());
            let version = match released.get(table) {
                Some(version) => workplace.lake.table(table, Some(*version)).await?,
                None => None,
            };
            let used = version.and_then(|version| version.meta).map(|meta| meta.inputs).unwrap_or_default();
            let mut inputs = BTreeMap::new();
            match project.models.get(table) {
                Some(model) => inputs_of(model, project, &mut inputs),
                // Another project makes it, or none any more: its last commit says from what.
                None => inputs.extend(
                    used.keys().filter_map(|name| Some((name.parse::<TableName>().ok()?, EdgeKind::Reads))),
                ),
            }
            let asked = project.models.get(table).map(|model| asked_by(model, project)).unwrap_or_default();
            for (from, by) in inputs {
                let predictors = asked.iter().filter(|predictor| predictor.spec.from == from);
                let predictors = predictors.map(|predictor| AskedPredictor {
                    name: predictor.name.clone(),
                    version: used.get(&graph::Node::Predictor(predictor.name.clone()).to_string()).copied(),
                });
                let predictors = predictors.collect();
                let used = used.get(&from.to_string()).copied();
                graph.edges.push(Edge { from: from.clone(), to: table.clone(), by, used, predictors });
                graph.add(from.clone());
                graph.reads.entry(table.clone()).or_default().insert(from.clone());
                graph.read_by.entry(from).or_default().insert(table.clone());
            }
        }
        Ok(graph)
    }

    fn add(&mut self, table: TableName) {
        self.reads.entry(table.clone()).or_default();
        self.read_by.entry(table).or_default();
    }

    fn next(&self, table: &TableName, direction: Direction) -> impl Iterator<Item = &TableName> {
        let next = match direction {
            Direction::Up => self.reads.get(table),
            Direction::Down => self.read_by.get(table),
        };
        next.into_iter().flatten()
    }

    /// `roots` and all that lies in this direction.
    fn reach(&self, roots: &[TableName], direction: Direction) -> BTreeSet<TableName> {
        let mut found: BTreeSet<TableName> = roots.iter().cloned().collect();
        let mut todo = roots.to_vec();
        while let Some(table) = todo.pop() {
            for next in self.next(&table, direction) {
                if found.insert(next.clone()) {
                    todo.push(next.clone());
                }
            }
        }
        found
    }

    /// The tables from which all others are reached: those that nobody reads, or that read nobody. Of models in
    /// a circle, which have no end, the first.
    fn ends(&self, direction: Direction) -> Vec<TableName> {
        let back = match direction {
            Direction::Up => &self.read_by,
            Direction::Down => &self.reads,
        };
        let mut ends: Vec<TableName> =
            back.iter().filter(|(_, others)| others.is_empty()).map(|(table, _)| table.clone()).collect();
        let mut reached = self.reach(&ends, direction);
        for table in self.reads.keys() {
            if !reached.contains(table) {
                ends.push(table.clone());
                reached.extend(self.reach(std::slice::from_ref(table), direction));
            }
        }
        ends
    }

    fn unknown(&self, table: &TableName) -> Error {
        let error = Error::new(codes::TABLE_MISSING, format!("there is no table `{table}`"));
        let known: Vec<String> = self.reads.keys().map(TableName::to_string).collect();
        match suggest::nearest(&table.to_string(), known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`lagar ls` lists what there is"),
        }
    }
}

/// The predictors of the project that the model asks.
fn asked_by<'p>(model: &Model, project: &'p Project) -> Vec<&'p PredictorDef> {
    model.asks().into_iter().filter_map(|name| project.predictors.get(name)).collect()
}

fn inputs_of(model: &Model, project: &Project, inputs: &mut BTreeMap<TableName, EdgeKind>) {
    let asked = asked_by(model, project).into_iter();
    inputs.extend(asked.map(|predictor| (predictor.spec.from.clone(), EdgeKind::Learns)));
    inputs.extend(model.check_reads.iter().map(|read| (read.table.clone(), EdgeKind::Checks)));
    // What both read is read by the SELECT.
    inputs.extend(model.reads.iter().map(|read| (read.table.clone(), EdgeKind::Reads)));
}

/// A column, and the columns that it comes from or that come from it.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnLineage {
    pub direction: Direction,
    pub root: ColumnOf,
    pub columns: Vec<ColumnNode>,
    pub edges: Vec<ColumnEdge>,
}

/// `to` is computed from `from`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ColumnEdge {
    pub from: ColumnOf,
    pub to: ColumnOf,
}

/// A column of a table.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnNode {
    #[serde(flatten)]
    pub name: ColumnOf,
    /// How the model computes it, from the outermost SELECT inwards; nothing where it is only passed on.
    pub steps: Vec<Step>,
    /// Tables of which only the number or existence of rows counts.
    pub rows_of: BTreeSet<String>,
    /// Nothing is read for it: it is the same in every row, or made of the time or of chance.
    pub is_constant: bool,
}

/// The columns that `column` of `table` comes from, or that come from it, through all models.
///
/// # Errors
/// [`codes::TABLE_MISSING`] and [`codes::SQL_UNKNOWN_COLUMN`] for what is not there; a model between that
/// cannot be planned, also because a source that it needs has no load yet.
pub async fn column_lineage(
    workplace: &Workplace,
    table: &TableName,
    column: &str,
    direction: Direction,
) -> Result<ColumnLineage> {
    let release = workplace.lake.current_release().await?;
    let graph = TableGraph::of(workplace, release.as_ref()).await?;
    if !graph.reads.contains_key(table) {
        return Err(graph.unknown(table));
    }
    let concerned = graph.reach(std::slice::from_ref(table), direction);
    // To plan a model all its inputs are needed, whichever way was asked for.
    let needed = graph.reach(&concerned.iter().cloned().collect::<Vec<_>>(), Direction::Up);
    let scratch = workplace.scratch()?;
    let engine = workplace.engine(&scratch)?;
    let mut plans = Plans { workplace, engine, release, schemas: BTreeMap::new(), origins: BTreeMap::new() };
    for table in in_order(&graph, &needed) {
        plans.add(&table, concerned.contains(&table)).await?;
    }
    let schema = plans.schema(table)?;
    if schema.column_with_name(column).is_none() && !is_place_of(table, column) {
        let error = Error::new(codes::SQL_UNKNOWN_COLUMN, format!("`{table}` has no column `{column}`"));
        let known = schema.fields().iter().map(|field| field.name().as_str());
        return Err(match suggest::hint(column, known) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let root = ColumnOf { table: table.to_string(), column: column.to_owned() };
    Ok(plans.follow(root, direction))
}

/// The columns that every raw table has, of which no load tells.
fn is_place_of(table: &TableName, column: &str) -> bool {
    table.zone == Zone::Raw && column.starts_with('_')
}

/// `tables`, each behind those that it reads; circles as they come.
fn in_order(graph: &TableGraph, tables: &BTreeSet<TableName>) -> Vec<TableName> {
    let needs: lagar_engine::graph::Needs = tables
        .iter()
        .map(|table| (table.to_string(), graph.reads[table].iter().map(TableName::to_string).collect()))
        .collect();
    let order = lagar_engine::graph::order(&needs).nodes;
    order.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The columns of tables, as far as they were planned.
struct Plans<'w> {
    workplace: &'w Workplace,
    engine: Engine,
    release: Option<Release>,
    schemas: BTreeMap<TableName, SchemaRef>,
    origins: BTreeMap<TableName, Vec<Origin>>,
}

impl Plans<'_> {
    /// Learns the columns of `table`, and where they come from if it is `concerned`.
    async fn add(&mut self, table: &TableName, concerned: bool) -> Result<()> {
        let project = &self.workplace.project;
        if let Some(model) = project.models.get(table) {
            let session = self.engine.session();
            for read in &model.reads {
                session.add_empty(&read.table, self.schema(&read.table)?.clone())?;
            }
            for predictor in asked_by(model, project) {
                let columns = self.schema(&predictor.spec.from)?;
                // Where columns come from is the same for any number of classes.
                let classes = predictor::known_classes(&self.workplace.lake, predictor, columns).await;
                let planned = predictor::planned(predictor, columns, Some(&classes.unwrap_or_default()))?;
                session.add_predictor(&predictor.name, planned);
            }
            let schema = session.describe_stored(&model.sql).await.map_err(|error| model.locate(&error))?;
            if concerned {
                let origins = session.lineage(&model.sql).await.map_err(|error| model.locate(&error))?;
                self.origins.insert(table.clone(), origins);
            }
            self.schemas.insert(table.clone(), schema);
            return Ok(());
        }
        let found = match (table.zone, project.sources.get(&table.name)) {
            (Zone::Raw, Some(source)) => check::columns_of(self.workplace, source).await?,
            (Zone::Raw, None) => {
                let newest = self.workplace.lake.newest_load(&table.name).await?;
                newest.map(|load| schema_of(&load.columns)).transpose()?
            }
            _ => {
                let version = self.release.as_ref().and_then(|release| release.tables.get(table));
                let found = match version {
                    Some(version) => self.workplace.lake.table(table, Some(*version)).await?,
                    None => None,
                };
                found.map(|table| table.schema)
            }
        };
        self.schemas.extend(found.map(|schema| (table.clone(), schema)));
        Ok(())
    }

    fn schema(&self, table: &TableName) -> Result<&SchemaRef> {
        self.schemas.get(table).ok_or_else(|| {
            let error = Error::new(codes::TABLE_MISSING, format!("the columns of `{table}` are not known"));
            match table.zone {
                Zone::Raw => error.hint(format!("it has no load yet: lagar run -s {table}")),
                _ => {
                    error.hint("it was never released, and no model of the project that can be read makes it")
                }
            }
        })
    }

    /// What can be reached from `root`.
    fn follow(&self, root: ColumnOf, direction: Direction) -> ColumnLineage {
        let mut all: BTreeMap<ColumnOf, &Origin> = BTreeMap::new();
        let mut edges: BTreeSet<ColumnEdge> = BTreeSet::new();
        for (table, origins) in &self.origins {
            for origin in origins {
                let to = ColumnOf { table: table.to_string(), column: origin.column.clone() };
                edges
                    .extend(origin.from.iter().map(|from| ColumnEdge { from: from.clone(), to: to.clone() }));
                all.insert(to, origin);
            }
        }
        let mut next: BTreeMap<&ColumnOf, Vec<&ColumnOf>> = BTreeMap::new();
        for ColumnEdge { from, to } in &edges {
            let (here, there) = if direction == Direction::Up { (to, from) } else { (from, to) };
            next.entry(here).or_default().push(there);
        }
        let mut found: BTreeSet<ColumnOf> = BTreeSet::from([root.clone()]);
        let mut todo = vec![root.clone()];
        while let Some(column) = todo.pop() {
            for there in next.get(&column).into_iter().flatten() {
                if found.insert((*there).clone()) {
                    todo.push((*there).clone());
                }
            }
        }
        let columns = found.iter().map(|column| {
            let origin = all.get(column);
            ColumnNode {
                name: column.clone(),
                steps: origin.map(|origin| origin.steps.clone()).unwrap_or_default(),
                rows_of: origin.map(|origin| origin.rows_of.clone()).unwrap_or_default(),
                is_constant: origin.is_some_and(|origin| origin.from.is_empty() && origin.rows_of.is_empty()),
            }
        });
        let columns = columns.collect();
        let edges =
            edges.into_iter().filter(|edge| found.contains(&edge.from) && found.contains(&edge.to)).collect();
        ColumnLineage { direction, root, columns, edges }
    }
}
