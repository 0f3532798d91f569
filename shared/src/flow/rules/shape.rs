//! How the nodes of a graph hang together. A body can hold tens of thousands of nodes in one chain, so
//! nothing here recurses, and everything takes time in proportion to nodes and edges.

use std::collections::{HashMap, VecDeque};
use std::slice;

use crate::flow::Graph;

/// Which nodes feed which, by their places. Edges of a node to itself are left out.
pub(super) struct Shape {
    after: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    looped: Vec<bool>,
    is_whole: bool,
}

impl Shape {
    pub(super) fn of(graph: &Graph) -> Self {
        let nodes = graph.nodes.iter().enumerate().filter(|(_, node)| !node.id.is_empty());
        let places: HashMap<&str, usize> = nodes.map(|(place, node)| (node.id.as_str(), place)).collect();
        let count = graph.nodes.len();
        let mut is_whole = places.len() == count
            && (count < 2 || graph.edges.value().is_some_and(|edges| !edges.is_empty()));
        let mut after = vec![Vec::new(); count];
        let mut before = after.clone();
        let mut looped = vec![false; count];
        for edge in graph.edges.value().into_iter().flatten() {
            let ends = (places.get(edge.source.as_str()), places.get(edge.target.as_str()));
            is_whole &= ends.0.is_some() && ends.1.is_some();
            if let (Some(&source), Some(&target)) = ends
                && source != target
                && let (Some(after), Some(before)) = (after.get_mut(source), before.get_mut(target))
            {
                after.push(target);
                before.push(source);
            } else if let (Some(&source), Some(_)) = ends
                && let Some(looped) = looped.get_mut(source)
            {
                *looped = true;
            }
        }
        Self { after, before, looped, is_whole }
    }

    /// Whether every node and both ends of every edge are known, as they are but in a draft: else a node may
    /// have an edge that is not seen.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether an edge leads from this node to itself.
    pub(super) fn is_looped(&self, node: usize) -> bool {
        self.looped.get(node) == Some(&true)
    }

    /// The nodes that no other feeds.
    pub(super) fn starts(&self) -> Vec<usize> {
        let nodes = self.before.iter().enumerate();
        nodes.filter(|(_, before)| before.is_empty()).map(|(node, _)| node).collect()
    }

    /// The nodes to which no way leads from these.
    pub(super) fn unreachable(&self, starts: &[usize]) -> Vec<usize> {
        let mut seen = vec![false; self.after.len()];
        for &start in starts {
            flood(start, &self.after, &mut seen);
        }
        seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(node, _)| node).collect()
    }

    /// A cycle of each group of nodes that all feed each other: the shortest one through the first node
    /// of the group, beginning with that. In the order of these nodes.
    pub(super) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut group_of = vec![usize::MAX; self.after.len()];
        let mut firsts = Vec::new();
        // Kosaraju: against the edges, from the node that was left last, one gets no further than its group.
        let mut seen = vec![false; self.before.len()];
        for node in self.order_of_leaving().into_iter().rev() {
            let group = flood(node, &self.before, &mut seen);
            for &member in &group {
                if let Some(group) = group_of.get_mut(member) {
                    *group = node;
                }
            }
            if group.len() > 1 {
                firsts.extend(group.into_iter().min());
            }
        }
        firsts.sort_unstable();
        firsts.into_iter().map(|first| self.cycle_through(first, &group_of)).collect()
    }

    /// The order in which a walk along the edges leaves nodes for good.
    fn order_of_leaving(&self) -> Vec<usize> {
        let mut seen = vec![false; self.after.len()];
        let mut order = Vec::with_capacity(self.after.len());
        for start in 0..self.after.len() {
            let mut path: Vec<(usize, slice::Iter<'_, usize>)> = Vec::new();
            if visit(start, &mut seen) {
                path.push((start, neighbours(&self.after, start)));
            }
            while let Some((node, ahead)) = path.last_mut() {
                if let Some(&next) = ahead.find(|next| visit(**next, &mut seen)) {
                    path.push((next, neighbours(&self.after, next)));
                } else {
                    order.push(*node);
                    path.pop();
                }
            }
        }
        order
    }

    /// The shortest way from this node back to it, within its group.
    fn cycle_through(&self, first: usize, group_of: &[usize]) -> Vec<usize> {
        let mut came_from = HashMap::new();
        let mut queue = VecDeque::from([first]);
        while let Some(node) = queue.pop_front() {
            for &next in neighbours(&self.after, node) {
                if next == first {
                    let mut cycle: Vec<usize> =
                        std::iter::successors(Some(node), |node| came_from.get(node).copied()).collect();
                    cycle.reverse();
                    return cycle;
                }
                if group_of.get(next) == group_of.get(first) && !came_from.contains_key(&next) {
                    came_from.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        vec![first]
    }
}

/// Whether the node is seen for the first time.
fn visit(node: usize, seen: &mut [bool]) -> bool {
    seen.get_mut(node).is_some_and(|seen| !std::mem::replace(seen, true))
}

fn neighbours(of: &[Vec<usize>], node: usize) -> slice::Iter<'_, usize> {
    of.get(node).map(Vec::as_slice).unwrap_or_default().iter()
}

/// The nodes not seen before to which ways lead from this one, itself included.
fn flood(start: usize, ways: &[Vec<usize>], seen: &mut [bool]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut ahead = vec![start];
    while let Some(node) = ahead.pop() {
        if visit(node, seen) {
            found.push(node);
            ahead.extend(neighbours(ways, node));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{Edge, Field, Node};

    fn shape(nodes: usize, edges: &[(usize, usize)]) -> Shape {
        let nodes = (0..nodes).map(|id| Node { id: id.to_string(), ..Node::default() }).collect();
        let edges = edges.iter().map(|(source, target)| Edge {
            source: source.to_string(),
            target: target.to_string(),
            ..Edge::default()
        });
        Shape::of(&Graph { nodes, edges: Field::Value(edges.collect()) })
    }

    #[test]
    fn each_group_has_one_cycle_the_shortest_through_its_first_node() {
        // 1 and 2 feed each other, as do 4 to 7, of which 4, 6, 7 are the shorter way; 3 is between.
        let edges =
            [(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (4, 5), (5, 6), (4, 6), (6, 7), (7, 4), (7, 7), (8, 8)];
        let shape = shape(9, &edges);
        assert_eq!(shape.cycles(), [vec![1, 2], vec![4, 6, 7]]);
        assert_eq!(shape.starts(), [0, 8]);
        assert_eq!(shape.unreachable(&[0]), [8]);
        assert_eq!(shape.unreachable(&[3]), [0, 1, 2, 8]);
    }

    #[test]
    fn long_chains_and_rings_need_no_stack() {
        let mut edges: Vec<_> = (1..200_000).map(|node| (node - 1, node)).collect();
        assert!(shape(200_000, &edges).cycles().is_empty());
        edges.push((199_999, 0));
        let ring = shape(200_000, &edges);
        assert_eq!((ring.cycles().len(), ring.cycles()[0].len(), ring.starts().len()), (1, 200_000, 0));
    }

    proptest! {
        #[test]
        fn what_reaches_itself_is_in_a_group_with_a_cycle(
            edges in prop::collection::vec((0_usize..9, 0_usize..9), 0..20)
        ) {
            let mut reaches = [[false; 9]; 9];
            for &(source, target) in edges.iter().filter(|(source, target)| source != target) {
                reaches[source][target] = true;
            }
            let direct = reaches;
            for by in 0..9 {
                for from in 0..9 {
                    for to in 0..9 {
                        reaches[from][to] |= reaches[from][by] && reaches[by][to];
                    }
                }
            }
            let first_of_group =
                |node: &usize| reaches[*node][*node] && !(0..*node).any(|other| reaches[other][*node] && reaches[*node][other]);
            let cycles = shape(9, &edges).cycles();
            let firsts: Vec<_> = cycles.iter().map(|cycle| cycle[0]).collect();
            prop_assert_eq!(firsts, (0..9).filter(first_of_group).collect::<Vec<_>>());
            for cycle in cycles {
                for (place, &node) in cycle.iter().enumerate() {
                    prop_assert!(direct[node][cycle[(place + 1) % cycle.len()]]);
                }
            }
        }
    }
}
