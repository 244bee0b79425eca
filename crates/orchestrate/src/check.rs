//! Every problem of a project that can be found without reading data.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use lagar_engine::checks;
use lagar_flow::{Error, Result, TableName, Zone, codes, schema_of};

use crate::{graph::Graph, project::Project, workplace::Workplace};

/// What was checked when no problem was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub sources: usize,
    pub models: usize,
    /// Models whose columns could not be checked, because a source has no load yet.
    pub unplanned: Vec<String>,
}

/// Plans every model against the columns that the lake knows.
///
/// # Errors
/// All problems at once.
pub async fn check(workplace: &Workplace) -> Result<Checked> {
    let project = &workplace.project;
    let mut problems = unknown_tables(project);
    let graph = match Graph::of(project) {
        Ok(graph) => graph,
        Err(error) => {
            problems.push(error);
            return Err(Error::all(problems).unwrap_or_else(|| Error::bug("a problem was lost")));
        }
    };
    let scratch = workplace.scratch()?;
    let engine = workplace.engine(&scratch)?;
    let mut schemas: BTreeMap<TableName, SchemaRef> = BTreeMap::new();
    for name in project.sources.keys() {
        if let Some(load) = workplace.lake.loads(name).await?.last() {
            schemas.insert(TableName::new(Zone::Raw, name.clone()), schema_of(&load.columns)?);
        }
    }
    let mut unplanned = Vec::new();
    for node in graph.order() {
        let Some(model) = project.models.get(node) else { continue };
        if !model.inputs().iter().all(|need| schemas.contains_key(*need)) {
            unplanned.push(node.to_string());
            continue;
        }
        let session = engine.session();
        for need in model.inputs() {
            session.add_empty(need, schemas[need].clone())?;
        }
        let planned = async {
            let schema = session.describe_stored(&model.sql).await?;
            session.add_empty(node, schema.clone())?;
            model.check_columns(&schema)?;
            checks::validate(&session, node, &model.front.checks).await?;
            Ok(schema)
        };
        match planned.await {
            Ok(schema) => {
                schemas.insert(node.clone(), schema);
            }
            Err(error) => problems.push(model.locate(&error)),
        }
    }
    match Error::all(problems) {
        Some(error) => Err(error),
        None => Ok(Checked { sources: project.sources.len(), models: project.models.len(), unplanned }),
    }
}

/// What models read and nothing makes.
pub(crate) fn unknown_tables(project: &Project) -> Vec<Error> {
    let makes: Vec<String> = project
        .sources
        .keys()
        .map(|name| format!("raw.{name}"))
        .chain(project.models.keys().map(TableName::to_string))
        .collect();
    let mut problems = Vec::new();
    for model in project.models.values() {
        for read in model.reads.iter().chain(&model.check_reads) {
            let name = read.table.to_string();
            if makes.contains(&name) {
                continue;
            }
            let error = Error::new(
                codes::SQL_UNKNOWN_TABLE,
                format!("model `{}` reads `{name}`, which no source or model makes", model.name),
            )
            .at_place(model.place_of(read));
            problems.push(match lagar_engine::suggest::nearest(&name, makes.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("`lagar ls` lists what there is"),
            });
        }
    }
    problems
}
