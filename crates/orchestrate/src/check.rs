//! Every problem of a project that can be found without reading data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::future::join_all;
use lagar_engine::{Asked, Engine, checks, model::Model, suggest};
use lagar_flow::{Blame, Clock, Error, Name, Result, TableName, Zone, codes, schema_of};

use crate::{
    build,
    graph::{Graph, Node, NodeKind},
    predictor,
    project::{Draft, Project, SourceDef},
    workplace::Workplace,
};

/// What was found.
#[derive(Debug)]
pub struct Checked {
    pub sources: usize,
    pub models: usize,
    pub predictors: usize,
    /// Models whose columns could not be checked, because a source has no load yet, a predictor was not trained or
    /// what they read cannot be planned itself.
    pub unplanned: Vec<String>,
    /// In the order of their places.
    pub problems: Vec<Error>,
    /// What is no problem, but probably not what was meant.
    pub warnings: Vec<String>,
}

/// Looks at everything of `draft`; plans every model that can be planned against the columns that the lake
/// knows.
///
/// # Errors
/// A defect; what is wrong with the project stands in the result.
pub async fn check(draft: Draft, clock: Arc<dyn Clock>) -> Result<Checked> {
    let Draft { project, mut problems } = draft;
    problems.extend(unknown(&project));
    let (graph, circles) = Graph::without_circles(&project)?;
    problems.extend(circles);
    let mut checked = Checked {
        sources: project.source_names.len(),
        models: project.models.len(),
        predictors: project.predictors.len(),
        unplanned: Vec::new(),
        problems,
        warnings: project
            .notes
            .iter()
            .map(|note| project.secrets.text(note))
            .chain(of_sources(&project))
            .collect(),
    };
    // Without its lake nothing is known of the columns of a project.
    if !project.gaps.lake {
        match planned(Arc::new(project), &graph, clock).await {
            Ok(planned) => {
                checked.unplanned = planned.unplanned.iter().map(Node::to_string).collect();
                checked.problems.extend(planned.problems.into_iter().map(|(_, error)| error));
                checked.problems.extend(planned.unreadable);
            }
            Err(error) => checked.problems.push(error),
        }
    }
    // The first decides the exit code: what the project says wrong goes before a lake that does not answer.
    checked.problems.sort_by_key(|problem| {
        let place = problem.place().cloned().unwrap_or_default();
        (problem.blame() != Blame::Usage, place.file, place.line, place.column)
    });
    Ok(checked)
}

/// What sources say that are probably not meant as they are written.
fn of_sources(project: &Project) -> impl Iterator<Item = String> {
    let said = |source: &SourceDef| {
        let place = &source.place;
        source
            .source
            .warnings()
            .into_iter()
            .map(|what| format!("`{}`: {what} ({place})", source.name))
            .collect::<Vec<_>>()
    };
    project.sources.values().flat_map(said).collect::<Vec<_>>().into_iter()
}

async fn planned(project: Arc<Project>, graph: &Graph, clock: Arc<dyn Clock>) -> Result<Planned> {
    let workplace = Workplace::open(project, clock).await?;
    let scratch = workplace.scratch()?;
    let models = graph.order().iter().cloned().collect();
    plan_models(&workplace, &workplace.engine(&scratch)?, graph, &models).await
}

/// What planning says.
#[derive(Default)]
pub(crate) struct Planned {
    /// By model or predictor.
    pub problems: Vec<(Node, Error)>,
    pub unplanned: Vec<Node>,
    /// Why the columns of a source cannot be read.
    pub unreadable: Vec<Error>,
}

/// What is known of the tables and predictors behind a model.
#[derive(Default)]
struct Known {
    columns: BTreeMap<TableName, SchemaRef>,
    predictors: BTreeMap<Name, Asked>,
}

impl Known {
    fn has(&self, need: &Node) -> bool {
        match need {
            Node::Table(table) => self.columns.contains_key(table),
            Node::Predictor(name) => self.predictors.contains_key(name),
        }
    }
}

/// Plans those of `nodes` whose inputs have known columns, in the order of `graph`.
pub(crate) async fn plan_models(
    workplace: &Workplace,
    engine: &Engine,
    graph: &Graph,
    nodes: &BTreeSet<Node>,
) -> Result<Planned> {
    let project = &workplace.project;
    let mut planned = Planned::default();
    let mut now_known = Known::default();
    let sources: Vec<&SourceDef> = nodes
        .iter()
        .filter(|node| node.kind() == NodeKind::Source)
        .filter_map(|node| project.sources.get(&node.table()?.name))
        .collect();
    let known = join_all(sources.iter().map(|source| columns_of(workplace, source))).await;
    for (source, columns) in sources.iter().zip(known) {
        match columns {
            Ok(columns) => now_known
                .columns
                .extend(columns.map(|columns| (TableName::new(Zone::Raw, source.name.clone()), columns))),
            Err(error) => planned.unreadable.push(error),
        }
    }
    for node in graph.order().iter().filter(|node| nodes.contains(*node) && node.kind() != NodeKind::Source) {
        if !graph.needs(node).iter().all(|need| now_known.has(need)) || lacks_input(project, node) {
            planned.unplanned.push(node.clone());
            continue;
        }
        let table = match node {
            Node::Table(table) => table,
            Node::Predictor(name) => {
                let Some(predictor) = project.predictors.get(name) else { continue };
                let columns = &now_known.columns[&predictor.spec.from];
                let misfits = predictor::misfits(predictor, columns);
                let told = !misfits.is_empty();
                planned.problems.extend(misfits.into_iter().map(|error| (node.clone(), error)));
                let classes = predictor::known_classes(&workplace.lake, predictor, columns).await;
                // Whoever asks it is checked all the same, as far as its answers are known.
                match predictor::planned(predictor, columns, classes.as_deref()) {
                    Ok(asked) => {
                        now_known.predictors.insert(name.clone(), asked);
                    }
                    Err(_) if told => {}
                    Err(error) => planned.problems.push((node.clone(), error)),
                }
                continue;
            }
        };
        let Some(model) = project.models.get(table) else { continue };
        match plan_model(engine, table, model, &now_known).await {
            Ok((schema, problems)) => {
                now_known.columns.insert(table.clone(), schema);
                planned.problems.extend(problems.into_iter().map(|error| (node.clone(), error)));
            }
            // The classes of a predictor decide a type, and nobody knows them before it was trained.
            Err(error) if error.code() == codes::TABLE_MISSING => planned.unplanned.push(node.clone()),
            Err(error) => planned
                .problems
                .extend(model.locate_each(&error).into_iter().map(|error| (node.clone(), error))),
        }
    }
    Ok(planned)
}

/// Whether it reads something that is in no graph: that is told elsewhere.
fn lacks_input(project: &Project, node: &Node) -> bool {
    let is_made = |table: &TableName| match table.zone {
        Zone::Raw => project.sources.contains_key(&table.name),
        _ => project.models.contains_key(table),
    };
    match node {
        Node::Predictor(name) => project.predictors.get(name).is_some_and(|def| !is_made(&def.spec.from)),
        Node::Table(table) => project.models.get(table).is_some_and(|model| {
            !model.inputs().into_iter().all(is_made)
                || !model.asks().into_iter().all(|name| project.predictors.contains_key(name))
        }),
    }
}

/// The columns that the SELECT makes, and what of the front matter does not fit them.
async fn plan_model(
    engine: &Engine,
    name: &TableName,
    model: &Model,
    known: &Known,
) -> Result<(SchemaRef, Vec<Error>)> {
    let session = engine.session();
    for need in model.inputs() {
        session.add_empty(need, known.columns[need].clone())?;
    }
    for name in model.asks() {
        session.add_predictor(name, known.predictors[name].clone());
    }
    let schema = session.describe_stored(&model.sql).await?;
    session.add_empty(name, schema.clone())?;
    let mut problems: Vec<Error> = Vec::new();
    let columns = model.check_columns(&schema);
    // Of a check with a column that is not there nothing more can be said.
    let is_made = |column: &String| schema.column_with_name(column).is_some();
    let checks = model.front.checks.iter().filter(|check| check.rule.columns().iter().all(is_made));
    let checks = checks::validate(&session, name, &checks.cloned().collect::<Vec<_>>()).await;
    for error in [columns, checks].into_iter().filter_map(Result::err) {
        problems.extend(model.locate_each(&error));
    }
    Ok((schema, problems))
}

/// The columns of the newest load with the types that are asked for now: the next load is read so. `None`
/// without a load.
pub(crate) async fn columns_of(workplace: &Workplace, source: &SourceDef) -> Result<Option<SchemaRef>> {
    let Some(newest) = workplace.lake.newest_load(&source.name).await? else { return Ok(None) };
    let asked = &source.common.columns;
    let columns = schema_of(&newest.columns)?;
    let fields = columns.fields().iter().map(|field| match asked.get(field.name()) {
        Some(asked) => Field::new(field.name(), asked.data_type(), true),
        None => field.as_ref().clone(),
    });
    Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

/// What is certain to fail of a run of `selected`, whatever its sources bring. A column that no load has may
/// come with the next one, unless the SELECT names all that it makes: else it is refused only if it looks like
/// a typing error. What of the lake cannot be
/// read is told by the steps that need it.
pub(crate) async fn before_run(
    workplace: &Workplace,
    engine: &Engine,
    graph: &Graph,
    selected: &BTreeSet<Node>,
) -> Result<()> {
    let project = &workplace.project;
    let planned = plan_models(workplace, engine, graph, &graph.with_needs(selected)).await?;
    let mut problems = Vec::new();
    for (node, error) in planned.problems.into_iter().filter(|(node, _)| selected.contains(node)) {
        let model = node.table().and_then(|table| project.models.get(table));
        let is_fixed = error.code() == codes::FRONT_MATTER && model.is_some_and(Model::names_all_columns);
        let is_predictor = node.kind() == NodeKind::Predictor;
        let needs = graph.with_needs(&BTreeSet::from([node]));
        let asked: Vec<&Node> =
            needs.iter().filter(|need| need.kind() == NodeKind::Source && selected.contains(*need)).collect();
        let near = error.hint_text().filter(|hint| suggest::is_near(hint)).map(str::to_owned);
        let may_come =
            [codes::SQL_UNKNOWN_COLUMN, codes::SQL_PLAN, codes::FRONT_MATTER, codes::SCHEMA_CHANGE];
        let sources: Vec<String> = asked.iter().map(|source| format!("-s {source}")).collect();
        let load_first = format!("lagar run {}", sources.join(" "));
        match (asked.as_slice(), near) {
            ([], _) => problems.push(error),
            (_, None) if may_come.contains(&error.code()) && !is_fixed => {}
            (_, Some(near)) if error.code() == codes::SQL_UNKNOWN_COLUMN => {
                problems.push(
                    error.hint(format!("{near} If it comes with new data, load that first: {load_first}")),
                );
            }
            // Settings of a predictor are written for the columns that there are.
            (_, None) if is_predictor && error.code() == codes::CONFIG => {
                let hint = error.hint_text().unwrap_or("change the settings").to_owned();
                problems.push(
                    error.hint(format!("{hint}; if new data makes it fit, load that first: {load_first}")),
                );
            }
            _ => problems.push(error),
        }
    }
    Error::all(problems).map_or(Ok(()), Err)
}

/// Whether some of the `selected` models can make the given partitions again.
///
/// # Errors
/// [`codes::SELECTION`]
pub(crate) fn partitions(
    project: &Project,
    selected: &BTreeSet<Node>,
    given: &[(String, String)],
) -> Result<()> {
    let models = selected.iter().filter_map(|node| project.models.get(node.table()?));
    if given.is_empty() || models.clone().any(|model| build::can_make_again(model, given)) {
        return Ok(());
    }
    let columns: Vec<String> = given.iter().map(|(column, _)| format!("`{column}`")).collect();
    let columns = columns.join(" and ");
    Err(Error::new(
        codes::SELECTION,
        format!("no selected model is made by `materialize: partition` and partitioned by {columns}"),
    )
    .hint("only such a table can make a part of itself again; --full-refresh makes all of another"))
}

/// What models and predictors need and nothing makes.
pub(crate) fn unknown(project: &Project) -> Vec<Error> {
    let makes: Vec<String> = project
        .source_names
        .iter()
        .map(|name| format!("raw.{name}"))
        .chain(project.models.keys().chain(&project.gaps.tables).map(TableName::to_string))
        .collect();
    let mut problems = Vec::new();
    for model in project.models.values() {
        for read in model.reads.iter().chain(&model.check_reads) {
            let name = read.table.to_string();
            if makes.contains(&name) || project.gaps.may_hold(&read.table) {
                continue;
            }
            let error = Error::new(
                codes::SQL_UNKNOWN_TABLE,
                format!("model `{}` reads `{name}`, which no source or model makes", model.name),
            )
            .at_place(model.place_of(read));
            problems.push(match suggest::nearest(&name, makes.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("`lagar ls` lists what there is"),
            });
        }
        for asked in &model.predictors {
            if project.predictors.contains_key(&asked.name) || project.gaps.predictors.contains(&asked.name) {
                continue;
            }
            let what =
                format!("model `{}` asks the predictor `{}`, which is not defined", model.name, asked.name);
            let error = Error::new(codes::SQL_UNKNOWN_TABLE, what).at_place(model.place_of_predictor(asked));
            problems.push(
                match suggest::nearest(asked.name.as_str(), project.predictors.keys().map(Name::as_str)) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("define it under `predictors` in lagar.yaml"),
                },
            );
        }
    }
    for predictor in project.predictors.values() {
        let from = &predictor.spec.from;
        let name = from.to_string();
        if makes.contains(&name) && from.zone != Zone::Raw || project.gaps.may_hold(from) {
            continue;
        }
        let what = match from.zone {
            Zone::Raw => "a predictor learns from a table that a model makes".to_owned(),
            _ => format!("the predictor `{}` learns from `{name}`, which no model makes", predictor.name),
        };
        let error = Error::new(codes::SQL_UNKNOWN_TABLE, what).at_place(predictor.place.clone());
        let models: Vec<String> = project.models.keys().map(TableName::to_string).collect();
        problems.push(match suggest::nearest(&name, models.iter().map(String::as_str)) {
            Some(near) if near != name => error.hint(format!("did you mean `{near}`?")),
            _ => error.hint("name a table of `trusted` or `refined` under `from`"),
        });
    }
    problems
}
