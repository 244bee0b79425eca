//! What of a project needs what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use lagar_engine::graph;
use lagar_flow::{Error, Name, Place, Result, TableName, Zone, codes};

use crate::{project::Project, report::StepKind};

/// Something that a run makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// By a source or a model.
    Table(TableName),
    Predictor(Name),
}

/// In front of the name of a predictor, where one of a table has its zone.
const PREDICTORS: &str = "predictors.";

impl Node {
    pub fn table(&self) -> Option<&TableName> {
        match self {
            Node::Table(table) => Some(table),
            Node::Predictor(_) => None,
        }
    }

    pub fn kind(&self) -> NodeKind {
        match self {
            Node::Table(table) if table.zone == Zone::Raw => NodeKind::Source,
            Node::Table(_) => NodeKind::Model,
            Node::Predictor(_) => NodeKind::Predictor,
        }
    }
}

impl From<TableName> for Node {
    fn from(table: TableName) -> Self {
        Node::Table(table)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Table(table) => table.fmt(f),
            Node::Predictor(name) => write!(f, "{PREDICTORS}{name}"),
        }
    }
}

impl FromStr for Node {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix(PREDICTORS) {
            Some(name) => name.parse().map(Node::Predictor),
            None => text.parse().map(Node::Table),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Source,
    Model,
    Predictor,
}

impl NodeKind {
    pub fn step(self) -> StepKind {
        match self {
            NodeKind::Source => StepKind::Load,
            NodeKind::Model => StepKind::Model,
            NodeKind::Predictor => StepKind::Predictor,
        }
    }
}

/// The sources, models and predictors of a project, each after what it needs.
pub struct Graph {
    order: Vec<Node>,
    needs: BTreeMap<Node, BTreeSet<Node>>,
    labels: BTreeMap<String, graph::Labels>,
}

impl Graph {
    /// # Errors
    /// What needs each other in a circle, all of them.
    pub fn of(project: &Project) -> Result<Self> {
        let (graph, circles) = Self::without_circles(project)?;
        Error::all(circles).map_or(Ok(graph), Err)
    }

    /// The graph, in whose order are all nodes but those in a circle and those that need them; and an error
    /// for every circle.
    pub fn without_circles(project: &Project) -> Result<(Self, Vec<Error>)> {
        let mut needs: BTreeMap<Node, BTreeSet<Node>> = BTreeMap::new();
        let mut labels = BTreeMap::new();
        let mut add = |node: Node, needed: BTreeSet<Node>, tags: &[String], path: &str| {
            labels.insert(node.to_string(), graph::Labels { tags: tags.to_vec(), path: path.to_owned() });
            needs.insert(node, needed);
        };
        for (name, source) in &project.sources {
            let node = TableName::new(Zone::Raw, name.clone());
            add(node.into(), BTreeSet::new(), &source.common.tags, "lagar.yaml");
        }
        for (name, model) in &project.models {
            let tables = model.inputs().into_iter().cloned().map(Node::Table);
            let needed = tables.chain(model.asks().into_iter().cloned().map(Node::Predictor)).collect();
            add(name.clone().into(), needed, &model.front.tags, &model.path);
        }
        for (name, predictor) in &project.predictors {
            let needed = BTreeSet::from([Node::Table(predictor.spec.from.clone())]);
            add(Node::Predictor(name.clone()), needed, &predictor.spec.tags, "lagar.yaml");
        }
        // What is in neither list is reported by `check`, with its place; the order is not concerned.
        let known: BTreeSet<Node> = needs.keys().cloned().collect();
        for needed in needs.values_mut() {
            needed.retain(|node| known.contains(node));
        }
        let ordered = graph::order(&by_text(&needs));
        let order = ordered.nodes.iter().map(|node| node.parse()).collect::<Result<_>>()?;
        let circles = ordered.circles.iter().map(|circle| in_a_circle(project, circle)).collect();
        Ok((Self { order, needs, labels }, circles))
    }

    /// `nodes` and all that they need.
    pub fn with_needs(&self, nodes: &BTreeSet<Node>) -> BTreeSet<Node> {
        let mut found = nodes.clone();
        let mut todo: Vec<Node> = nodes.iter().cloned().collect();
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
    pub fn order(&self) -> &[Node] {
        &self.order
    }

    /// What `node` needs, directly.
    pub fn needs(&self, node: &Node) -> &BTreeSet<Node> {
        static NOTHING: BTreeSet<Node> = BTreeSet::new();
        self.needs.get(node).unwrap_or(&NOTHING)
    }

    /// The nodes that the selections name; no selection means all.
    ///
    /// # Errors
    /// A selection that matches nothing.
    pub fn select(&self, selections: &[String]) -> Result<BTreeSet<Node>> {
        if selections.is_empty() {
            return Ok(self.needs.keys().cloned().collect());
        }
        let selected = graph::select(&selections.join(" "), &by_text(&self.needs), &self.labels)?;
        selected.iter().map(|node| node.parse()).collect()
    }
}

fn by_text(needs: &BTreeMap<Node, BTreeSet<Node>>) -> BTreeMap<String, BTreeSet<String>> {
    needs
        .iter()
        .map(|(node, needed)| (node.to_string(), needed.iter().map(Node::to_string).collect()))
        .collect()
}

/// Names each member of a circle and where it names the next one.
fn in_a_circle(project: &Project, circle: &[String]) -> Error {
    let place = |pair: &[String]| -> Option<Place> {
        match pair[0].parse().ok()? {
            Node::Predictor(name) => Some(project.predictors.get(&name)?.place.clone()),
            Node::Table(table) => {
                let model = project.models.get(&table)?;
                let mut reads = model.reads.iter().chain(&model.check_reads);
                let read = reads.find(|read| read.table.to_string() == pair[1]);
                let asked = || {
                    let next = pair[1].strip_prefix(PREDICTORS)?;
                    model.predictors.iter().find(|asked| asked.name.as_str() == next)
                };
                match read {
                    Some(read) => Some(model.place_of(read)),
                    None => asked().map(|asked| model.place_of_predictor(asked)),
                }
            }
        }
    };
    let mut steps = circle.windows(2).map(|pair| (pair, place(pair)));
    let what = match circle.iter().any(|node| node.starts_with(PREDICTORS)) {
        true => "models and predictors need each other in a circle",
        false => "models read each other in a circle",
    };
    let error = Error::new(codes::CYCLE, format!("{what}: {}", circle.join(" → ")));
    let error = match steps.next() {
        Some((_, Some(place))) => error.at_place(place),
        _ => error,
    };
    let others: Vec<String> = steps
        .filter_map(|(pair, place)| Some(format!("`{}` names `{}` at {}", pair[0], pair[1], place?)))
        .collect();
    error.hint(format!("{}; let one of them read what the next one reads", others.join(", ")))
}
