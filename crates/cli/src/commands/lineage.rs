use std::fmt::Write as _;

use lagar_flow::{
    Blame, Error, Result, TableName, codes,
    words::{cut, line, text_width},
};
use lagar_orchestrate::{
    AskedPredictor, ColumnLineage, ColumnNode, Direction, Edge, EdgeKind, Lineage, Node, Workplace,
    column_lineage, lineage,
};

use crate::{
    args::{Global, GraphFormat, LineageArgs},
    output::{
        self, counted, style_out,
        tree::{self, Line},
    },
};

pub async fn run(global: &Global, args: &LineageArgs) -> Result<u8> {
    let workplace = open(global).await?;
    let table: Option<TableName> = args.table.as_deref().map(str::parse).transpose()?;
    let direction = if args.down { Direction::Down } else { Direction::Up };
    let (json, graph) = match (&table, &args.column) {
        (Some(table), Some(column)) => {
            let found = column_lineage(&workplace, table, column, direction).await?;
            (serde_json::to_value(&found), Graph::of_columns(&found))
        }
        _ => {
            let found = lineage(&workplace, table.as_ref(), direction).await?;
            (serde_json::to_value(&found), Graph::of_tables(&found))
        }
    };
    let json = json.map_err(|error| Error::bug("a lineage cannot be written as JSON").caused_by(&error))?;
    output::stdout(&match args.format {
        _ if global.json => format!("{json}\n"),
        Some(GraphFormat::Mermaid) => graph.mermaid(),
        Some(GraphFormat::Dot) => graph.dot(),
        None if graph.nodes.is_empty() => "there is no table yet: `lagar init` makes a project\n".to_owned(),
        None => graph.text(),
    });
    Ok(0)
}

/// The project with its sources, so that their addresses can be told. Who does not have their logins sees the
/// same without addresses.
async fn open(global: &Global) -> Result<Workplace> {
    match super::open(global).await {
        Err(error)
            if error.blame() == Blame::Usage && error.each().all(|each| each.code() == codes::VARIABLE) =>
        {
            let reading = super::open_to_read(global).await?;
            output::warn("the addresses of sources are not shown: a variable that they need is not set");
            Ok(reading)
        }
        opened => opened,
    }
}

/// What is drawn: nodes with what is said of them, and what hangs below each.
struct Graph {
    nodes: Vec<Drawn>,
    roots: Vec<usize>,
    below: Vec<Vec<usize>>,
    /// In the direction in which the data goes.
    edges: Vec<(usize, usize)>,
    /// Said of a node where it hangs below another one.
    between: Vec<((usize, usize), String)>,
}

struct Drawn {
    name: String,
    about: String,
    /// Lines below it.
    more: Vec<String>,
}

impl Graph {
    fn of_tables(lineage: &Lineage) -> Self {
        let names: Vec<&TableName> = lineage.tables.iter().map(|node| &node.table).collect();
        let place = |table: &TableName| names.iter().position(|name| *name == table);
        let mut graph = Self {
            nodes: lineage
                .tables
                .iter()
                .map(|node| Drawn { name: node.table.to_string(), about: about(node), more: vec![] })
                .collect(),
            roots: lineage.roots.iter().filter_map(place).collect(),
            below: vec![Vec::new(); lineage.tables.len()],
            edges: Vec::new(),
            between: Vec::new(),
        };
        for edge in &lineage.edges {
            if let (Some(from), Some(to)) = (place(&edge.from), place(&edge.to)) {
                graph.hang(from, to, lineage.direction);
                let said = between(edge, &lineage.tables[from]);
                if !said.is_empty() {
                    graph.between.push(((from, to), said));
                }
            }
        }
        graph
    }

    fn of_columns(lineage: &ColumnLineage) -> Self {
        let names: Vec<_> = lineage.columns.iter().map(|column| &column.name).collect();
        let mut graph = Self {
            nodes: lineage.columns.iter().map(column).collect(),
            roots: names.iter().position(|name| **name == lineage.root).into_iter().collect(),
            below: vec![Vec::new(); lineage.columns.len()],
            edges: Vec::new(),
            between: Vec::new(),
        };
        for edge in &lineage.edges {
            let place = |wanted| names.iter().position(|name| *name == wanted);
            if let (Some(from), Some(to)) = (place(&edge.from), place(&edge.to)) {
                graph.hang(from, to, lineage.direction);
            }
        }
        graph
    }

    fn hang(&mut self, from: usize, to: usize, direction: Direction) {
        self.edges.push((from, to));
        match direction {
            Direction::Up => self.below[to].push(from),
            Direction::Down => self.below[from].push(to),
        }
    }

    /// A tree: names at the left, what is said of them behind.
    fn text(&self) -> String {
        let below = |node: usize| self.below[node].as_slice();
        let lines = tree::lines(&self.roots, &below);
        let name = |line: &Line| format!("{}{}", line.boxes, self.nodes[line.node].name);
        let widest = lines.iter().map(|line| text_width(&name(line))).max().unwrap_or(0);
        let (bold, dim) = (style_out("1"), style_out("2"));
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            let node = &self.nodes[line.node];
            let mut about = self.said(line);
            if line.is_repeated {
                about = format!("{about} (as above)").trim_start().to_owned();
            }
            let about = match output::line_width() {
                Some(width) => cut(&about, width.saturating_sub(widest + 2).max(12)),
                None => about,
            };
            let padding = " ".repeat(widest - text_width(&name(line)));
            let row = format!(
                "{}{}{padding}  {}",
                dim.paint(&line.boxes),
                bold.paint(&node.name),
                dim.paint(&about)
            );
            let _ = writeln!(text, "{}", if about.is_empty() { row.trim_end() } else { row.as_str() });
            if !line.is_repeated {
                let bars = bars_below(line, lines.get(index + 1));
                for more in &node.more {
                    let _ = writeln!(text, "{}", dim.paint(&format!("{bars}  {more}")));
                }
            }
        }
        text
    }

    fn said(&self, line: &Line) -> String {
        let edge = line.parent.and_then(|parent| {
            let mut all = self.between.iter();
            all.find(|(edge, _)| *edge == (parent, line.node) || *edge == (line.node, parent))
        });
        let said = edge.map(|(_, said)| said.as_str());
        let parts: Vec<&str> = [self.nodes[line.node].about.as_str()]
            .into_iter()
            .chain(said)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(" · ")
    }

    fn mermaid(&self) -> String {
        // Its quotes cannot be escaped but by their number.
        let quoted = |text: &str| {
            line(text).replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
        };
        let mut text = String::from("flowchart LR\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "  n{index}[\"{}\"]", quoted(&node.name));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  n{from} --> n{to}");
        }
        text
    }

    fn dot(&self) -> String {
        let quoted = |text: &str| line(text).replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = String::from("digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(text, "  n{index} [label=\"{}\"];", quoted(&node.name));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  n{from} -> n{to};");
        }
        text + "}\n"
    }
}

/// The bars that go on below a line to what hangs under it and beside it.
fn bars_below(line: &Line, next: Option<&Line>) -> String {
    let goes_on = line.boxes.replace("├─ ", "│  ").replace("└─ ", "   ");
    let has_below =
        next.is_some_and(|next| next.parent == Some(line.node) && next.boxes.starts_with(&goes_on));
    if has_below { format!("{goes_on}│") } else { format!("{goes_on} ") }
}

fn about(node: &Node) -> String {
    let mut parts = Vec::new();
    let at = node.at.map_or(String::new(), |at| format!(" of {}", at.format("%Y-%m-%d %H:%M UTC")));
    let is_raw = node.table.zone == lagar_flow::Zone::Raw;
    parts.push(match (node.version, is_raw) {
        (Some(load), true) => format!("load {load}{at}"),
        (Some(version), false) => format!("version {version}{at}"),
        (None, true) => "no load yet".to_owned(),
        (None, false) => "not released".to_owned(),
    });
    parts.extend(node.rows.map(|rows| counted(rows, "row")));
    if let Some(kind) = node.source {
        parts.push(format!("{kind} {}", line(node.address.as_deref().unwrap_or_default())));
    }
    if let Some(run) =
        node.last_run.as_ref().filter(|run| run.status == "failed" || run.status == "upstream_failed")
    {
        parts.push(format!("failed in the run of {}", run.started_at.format("%Y-%m-%d %H:%M UTC")));
    }
    parts.join(" · ")
}

fn between(edge: &Edge, from: &Node) -> String {
    let mut parts = Vec::new();
    match edge.by {
        // A predictor that learns from it is told of below.
        EdgeKind::Reads | EdgeKind::Learns => {}
        EdgeKind::Checks => parts.push("read by a check only".to_owned()),
    }
    for AskedPredictor { name, version } in &edge.predictors {
        let version = version.map(|version| format!(" (version {version} was asked)")).unwrap_or_default();
        parts.push(format!("predictors.{name} learns from it{version}"));
    }
    // The table was made before the newest load or version came.
    if let Some(used) = edge.used.filter(|used| from.version.is_some_and(|version| version != *used)) {
        parts.push(format!("{used} was used for {}", edge.to));
    }
    parts.join(", ")
}

fn column(column: &ColumnNode) -> Drawn {
    let name = format!("{}.{}", column.name.table, line(&column.name.column));
    let mut more: Vec<String> = column
        .steps
        .iter()
        .map(|step| match step.column == column.name.column {
            true => format!("= {}", line(&step.sql)),
            false => format!("{} = {}", line(&step.column), line(&step.sql)),
        })
        .collect();
    if !column.rows_of.is_empty() {
        let tables: Vec<&str> = column.rows_of.iter().map(String::as_str).collect();
        more.push(format!("counts rows of {}", tables.join(", ")));
    }
    let about = if column.is_constant { "from no table".to_owned() } else { String::new() };
    Drawn { name, about, more }
}
