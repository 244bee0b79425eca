//! A graph as a tree in box characters.

use std::collections::BTreeSet;

/// A line of a tree: the boxes in front of it, and which node it is of.
pub struct Line {
    pub boxes: String,
    pub node: usize,
    /// Below which it hangs; `None` for a root.
    pub parent: Option<usize>,
    /// The node was drawn further up: what hangs below it is not drawn again.
    pub is_repeated: bool,
}

/// The lines of the trees below `roots`. `below` says what hangs below a node, in order. A node that hangs in
/// several places is drawn in full where it comes first, so that no graph makes a drawing without end.
pub fn lines<'g>(roots: &[usize], below: &dyn Fn(usize) -> &'g [usize]) -> Vec<Line> {
    let mut drawing = Drawing { below, lines: Vec::new(), drawn: BTreeSet::new() };
    for root in roots {
        drawing.node(*root, None, String::new(), "");
    }
    drawing.lines
}

struct Drawing<'d, 'g> {
    below: &'d dyn Fn(usize) -> &'g [usize],
    lines: Vec<Line>,
    drawn: BTreeSet<usize>,
}

impl Drawing<'_, '_> {
    fn node(&mut self, node: usize, parent: Option<usize>, boxes: String, indent: &str) {
        let below = (self.below)(node);
        let is_repeated = !self.drawn.insert(node) && !below.is_empty();
        self.lines.push(Line { boxes, node, parent, is_repeated });
        if is_repeated {
            return;
        }
        for (index, next) in below.iter().enumerate() {
            let (corner, bar) =
                if index + 1 == below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.node(*next, Some(node), format!("{indent}{corner}"), &format!("{indent}{bar}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(roots: &[usize], graph: &[&[usize]]) -> String {
        let below = |node: usize| graph[node];
        let line =
            |line: Line| format!("{}{}{}\n", line.boxes, line.node, if line.is_repeated { " …" } else { "" });
        lines(roots, &below).into_iter().map(line).collect()
    }

    #[test]
    fn what_is_below_twice_is_drawn_once() {
        let graph: &[&[usize]] = &[&[1, 2], &[3], &[3, 4], &[4], &[]];
        assert_eq!(drawn(&[0], graph), "0\n├─ 1\n│  └─ 3\n│     └─ 4\n└─ 2\n   ├─ 3 …\n   └─ 4\n");
        assert_eq!(drawn(&[0, 1], &[&[1], &[0]]), "0\n└─ 1\n   └─ 0 …\n1 …\n", "a circle ends");
    }
}
