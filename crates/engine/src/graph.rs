//! The order of nodes that need each other, and selections of them in dbt's notation. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lagar_flow::{Error, Result, codes};

use crate::suggest;

/// Every node with the nodes that it needs directly; a node that is only needed stands here too.
pub type Needs = BTreeMap<String, BTreeSet<String>>;

/// By what else than its name a node can be selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pub tags: Vec<String>,
    /// Its file, relative to the project.
    pub path: String,
}

/// Nodes in the order of their needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// Every node behind those that it needs; nodes that are free to go either way in the order of their
    /// names, so that the order is always the same. Without those in a circle, and what needs them.
    pub nodes: Vec<String>,
    /// The circles in reading order, the first node once more at the end. Every need that is part of a
    /// circle is in one of them.
    pub circles: Vec<Vec<String>>,
}

/// Orders `needs`.
pub fn order(needs: &Needs) -> Order {
    let mut nodes: Vec<String> = Vec::with_capacity(needs.len());
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, direct) in needs {
        let known = direct.iter().filter(|need| needs.contains_key(*need));
        waiting.insert(node, known.clone().count());
        for need in known {
            needed_by.entry(need).or_default().push(node);
        }
    }
    let mut ready: BTreeSet<&str> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    while let Some(node) = ready.pop_first() {
        nodes.push(node.to_owned());
        for next in needed_by.get(node).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    let done: BTreeSet<&String> = nodes.iter().collect();
    let stuck: BTreeSet<&String> = needs.keys().filter(|node| !done.contains(node)).collect();
    let circles = circles(needs, &stuck);
    Order { nodes, circles }
}

/// For every need that leads back to its node a shortest circle, unless it is in one already.
fn circles(needs: &Needs, stuck: &BTreeSet<&String>) -> Vec<Vec<String>> {
    let mut circles: Vec<Vec<String>> = Vec::new();
    let mut told: BTreeSet<(String, String)> = BTreeSet::new();
    for node in stuck {
        for need in needs[*node].iter().filter(|need| stuck.contains(need)) {
            if told.contains(&((*node).clone(), need.clone())) {
                continue;
            }
            let Some(back) = shortest(needs, stuck, need, node) else { continue };
            let circle: Vec<String> = std::iter::once((*node).clone()).chain(back).collect();
            told.extend(circle.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())));
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from need to need that begins at `from` and ends at `to`, both in it.
fn shortest(needs: &Needs, among: &BTreeSet<&String>, from: &String, to: &String) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&String, Option<&String>> = BTreeMap::from([(from, None)]);
    let mut todo = VecDeque::from([from]);
    while let Some(node) = todo.pop_front() {
        if node == to {
            let mut way = vec![node.clone()];
            let mut at = node;
            while let Some(Some(before)) = came_from.get(at) {
                way.push((*before).clone());
                at = before;
            }
            way.reverse();
            return Some(way);
        }
        for need in needs[node].iter().filter(|need| among.contains(need)) {
            if !came_from.contains_key(need) {
                came_from.insert(need, Some(node));
                todo.push_back(need);
            }
        }
    }
    None
}

/// The nodes that `expression` selects: `name`, `+name` (with all it needs), `name+` (with all that
/// needs it), `tag:x`, `path:x` (a file or folder); a space unites, a comma intersects. A name may
/// leave out its zone, and end in `*`.
///
/// # Errors
/// `SELECTION` for a part that matches nothing.
pub fn select(
    expression: &str,
    needs: &Needs,
    labels: &BTreeMap<String, Labels>,
) -> Result<BTreeSet<String>> {
    let mut selected = BTreeSet::new();
    for union in expression.split_whitespace() {
        let mut all: Option<BTreeSet<String>> = None;
        for part in union.split(',').filter(|part| !part.is_empty()) {
            let found = part_of(part, needs, labels)?;
            all = Some(match all {
                Some(before) => before.intersection(&found).cloned().collect(),
                None => found,
            });
        }
        selected.extend(all.unwrap_or_default());
    }
    if selected.is_empty() {
        return Err(Error::new(codes::SELECTION, format!("the selection `{expression}` matches nothing"))
            .hint("a comma asks for nodes that match both sides"));
    }
    Ok(selected)
}

fn part_of(part: &str, needs: &Needs, labels: &BTreeMap<String, Labels>) -> Result<BTreeSet<String>> {
    let (name, upstream) = part.strip_prefix('+').map_or((part, false), |rest| (rest, true));
    let (name, downstream) = name.strip_suffix('+').map_or((name, false), |rest| (rest, true));
    let matches = |node: &String| match name.split_once(':') {
        Some(("tag", tag)) => labels.get(node).is_some_and(|labels| labels.tags.iter().any(|t| t == tag)),
        Some(("path", path)) => labels.get(node).is_some_and(|labels| is_below(&labels.path, path)),
        _ => named(node, name),
    };
    let mut found: BTreeSet<String> = needs.keys().filter(|node| matches(node)).cloned().collect();
    if found.is_empty() {
        let error = Error::new(codes::SELECTION, format!("the selection `{part}` matches nothing"));
        let short = needs.keys().filter_map(|node| node.split_once('.').map(|(_, short)| short));
        return Err(match suggest::nearest(name, needs.keys().map(String::as_str).chain(short)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`lagar ls` lists what there is; `tag:` and `path:` select by tag and file"),
        });
    }
    let seeds = found.clone();
    if upstream {
        spread(&mut found, &seeds, |node| needs.get(node).into_iter().flatten().collect());
    }
    if downstream {
        let users = |node: &String| {
            needs.iter().filter(|(_, direct)| direct.contains(node)).map(|(user, _)| user).collect()
        };
        spread(&mut found, &seeds, users);
    }
    Ok(found)
}

fn named(node: &str, name: &str) -> bool {
    let short = node.split_once('.').map_or(node, |(_, short)| short);
    match name.strip_suffix('*') {
        Some(start) => node.starts_with(start) || short.starts_with(start),
        None => node == name || short == name,
    }
}

fn is_below(file: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    file == path || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

/// Adds to `found` all that can be reached from `seeds`.
fn spread<'a>(
    found: &mut BTreeSet<String>,
    seeds: &'a BTreeSet<String>,
    next: impl Fn(&String) -> Vec<&'a String>,
) {
    let mut todo: Vec<String> = seeds.iter().cloned().collect();
    let mut seen = seeds.clone();
    while let Some(node) = todo.pop() {
        for reached in next(&node) {
            if seen.insert(reached.clone()) {
                todo.push(reached.clone());
            }
        }
    }
    found.extend(seen);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn needs(edges: &[(&str, &[&str])]) -> Needs {
        edges
            .iter()
            .map(|(node, direct)| (node.to_string(), direct.iter().map(ToString::to_string).collect()))
            .collect()
    }

    fn shop() -> Needs {
        needs(&[
            ("raw.a", &[]),
            ("raw.b", &[]),
            ("trusted.a", &["raw.a"]),
            ("trusted.b", &["raw.b", "trusted.a"]),
            ("refined.c", &["trusted.b"]),
        ])
    }

    #[test]
    fn every_node_comes_behind_what_it_needs() {
        let order = order(&shop());
        assert_eq!(order.nodes, ["raw.a", "raw.b", "trusted.a", "trusted.b", "refined.c"]);
        assert!(order.circles.is_empty());
    }

    #[test]
    fn every_circle_is_found_and_the_rest_is_ordered() {
        let circles = |edges: &[(&str, &[&str])]| {
            let order = order(&needs(edges));
            let circles: Vec<String> = order.circles.iter().map(|circle| circle.join(" ")).collect();
            (order.nodes.join(" "), circles)
        };
        let (free, found) =
            circles(&[("x", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("y", &["z"]), ("z", &[])]);
        assert_eq!((free.as_str(), found), ("z y", vec!["a b c a".to_owned()]));
        assert_eq!(circles(&[("a", &["a"])]).1, ["a a"]);
        // Two that have nothing in common, one between them, and two that share a node.
        let edges: &[(&str, &[&str])] = &[
            ("a", &["b"]),
            ("b", &["a", "m"]),
            ("m", &["p"]),
            ("p", &["q", "r"]),
            ("q", &["p"]),
            ("r", &["p"]),
        ];
        assert_eq!(circles(edges).1, ["a b a", "p q p", "p r p"]);
    }

    #[test]
    fn selections_unite_and_intersect() {
        let labels = BTreeMap::from([
            ("trusted.a".to_owned(), Labels { tags: vec!["daily".into()], path: "trusted/x/a.sql".into() }),
            ("trusted.b".to_owned(), Labels { tags: vec!["daily".into()], path: "trusted/b.sql".into() }),
        ]);
        let pick = |text: &str| {
            select(text, &shop(), &labels).map(|set| set.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(pick("trusted.a").unwrap(), "trusted.a");
        assert_eq!(pick("+trusted.a").unwrap(), "raw.a trusted.a");
        assert_eq!(pick("trusted.a+").unwrap(), "refined.c trusted.a trusted.b");
        assert_eq!(pick("+b").unwrap(), "raw.a raw.b trusted.a trusted.b");
        assert_eq!(pick("raw.*").unwrap(), "raw.a raw.b");
        assert_eq!(pick("tag:daily,path:trusted/x").unwrap(), "trusted.a");
        assert_eq!(pick("c raw.a").unwrap(), "raw.a refined.c");
        assert!(pick("tag:weekly").is_err());
        assert!(pick("path:trust").is_err(), "a folder, not a prefix of letters");
        let error = pick("trusted.bb").unwrap_err();
        assert!(error.hint_text().unwrap().contains("trusted.b"), "{error}");
    }
}
