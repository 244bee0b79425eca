//! What of a project needs what.

use std::collections::{BTreeMap, BTreeSet};

use lagar_engine::graph;
use lagar_flow::{Error, Place, Result, TableName, Zone, codes};

use crate::{project::Project, report::StepKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Source,
    Model,
}

impl NodeKind {
    pub fn step(self) -> StepKind {
        match self {
            NodeKind::Source => StepKind::Load,
            NodeKind::Model => StepKind::Model,
        }
    }
}

/// The sources and models of a project, each after what it needs.
pub struct Graph {
    order: Vec<TableName>,
    needs: BTreeMap<TableName, BTreeSet<TableName>>,
    labels: BTreeMap<String, graph::Labels>,
}

impl Graph {
    /// # Errors
    /// Models that read each other in a circle, all of them.
    pub fn of(project: &Project) -> Result<Self> {
        let (graph, circles) = Self::without_circles(project)?;
        Error::all(circles).map_or(Ok(graph), Err)
    }

    /// The graph, in whose order are all nodes but those in a circle and those that need them; and an error
    /// for every circle.
    pub fn without_circles(project: &Project) -> Result<(Self, Vec<Error>)> {
        let mut needs: BTreeMap<TableName, BTreeSet<TableName>> = BTreeMap::new();
        let mut labels = BTreeMap::new();
        for (name, source) in &project.sources {
            let node = TableName::new(Zone::Raw, name.clone());
            labels.insert(
                node.to_string(),
                graph::Labels { tags: source.common.tags.clone(), path: "lagar.yaml".to_owned() },
            );
            needs.insert(node, BTreeSet::new());
        }
        for (name, model) in &project.models {
            labels.insert(
                name.to_string(),
                graph::Labels { tags: model.front.tags.clone(), path: model.path.clone() },
            );
            needs.insert(name.clone(), model.inputs().into_iter().cloned().collect());
        }
        // What is in neither list is reported by `check`, with its place; the order is not concerned.
        let known: BTreeSet<TableName> = needs.keys().cloned().collect();
        for tables in needs.values_mut() {
            tables.retain(|table| known.contains(table));
        }
        let by_text: BTreeMap<String, BTreeSet<String>> = needs
            .iter()
            .map(|(node, tables)| (node.to_string(), tables.iter().map(TableName::to_string).collect()))
            .collect();
        let ordered = graph::order(&by_text);
        let order = ordered.nodes.iter().map(|node| node.parse()).collect::<Result<_>>()?;
        let circles = ordered.circles.iter().map(|circle| in_a_circle(project, circle)).collect();
        Ok((Self { order, needs, labels }, circles))
    }

    /// `nodes` and all that they need.
    pub fn with_needs(&self, nodes: &BTreeSet<TableName>) -> BTreeSet<TableName> {
        let mut found = nodes.clone();
        let mut todo: Vec<TableName> = nodes.iter().cloned().collect();
        while let Some(node) = todo.pop() {
            for need in self.needs(&node) {
                if found.insert(need.clone()) {
                    todo.push(need.clone());
                }
            }
        }
        found
    }

    /// Every node after those that it needs.
    pub fn order(&self) -> &[TableName] {
        &self.order
    }

    /// What `node` reads, directly.
    pub fn needs(&self, node: &TableName) -> &BTreeSet<TableName> {
        static NOTHING: BTreeSet<TableName> = BTreeSet::new();
        self.needs.get(node).unwrap_or(&NOTHING)
    }

    pub fn kind(&self, node: &TableName) -> NodeKind {
        if node.zone == Zone::Raw { NodeKind::Source } else { NodeKind::Model }
    }

    /// The nodes that the selections name; no selection means all.
    ///
    /// # Errors
    /// A selection that matches nothing.
    pub fn select(&self, selections: &[String]) -> Result<BTreeSet<TableName>> {
        if selections.is_empty() {
            return Ok(self.needs.keys().cloned().collect());
        }
        let by_text: BTreeMap<String, BTreeSet<String>> = self
            .needs
            .iter()
            .map(|(node, tables)| (node.to_string(), tables.iter().map(TableName::to_string).collect()))
            .collect();
        let selected = graph::select(&selections.join(" "), &by_text, &self.labels)?;
        selected.iter().map(|node| node.parse()).collect()
    }
}

/// Names each model of a circle and where it names the next one.
fn in_a_circle(project: &Project, circle: &[String]) -> Error {
    let place = |pair: &[String]| -> Option<Place> {
        let model = project.models.get(&pair[0].parse().ok()?)?;
        let mut reads = model.reads.iter().chain(&model.check_reads);
        reads.find(|read| read.table.to_string() == pair[1]).map(|read| model.place_of(read))
    };
    let mut steps = circle.windows(2).map(|pair| (pair, place(pair)));
    let message = format!("models read each other in a circle: {}", circle.join(" → "));
    let error = Error::new(codes::CYCLE, message);
    let error = match steps.next() {
        Some((_, Some(place))) => error.at_place(place),
        _ => error,
    };
    let others: Vec<String> = steps
        .filter_map(|(pair, place)| Some(format!("`{}` names `{}` at {}", pair[0], pair[1], place?)))
        .collect();
    error.hint(format!("{}; let one of them read what the next one reads", others.join(", ")))
}
