//! What a figure shows, and where.

use std::collections::BTreeMap;

use tributary_graph::{Entry, Graph, Limits, Selection, View};
use tributary_model::{Faithfulness, Layer, Role};
use tributary_results::{Manifest, PromptEntry, SetEntry, SetEvaluation};

use crate::Scale;
use crate::grid::{Grid, Need, Row};
use crate::scale::SMALLEST;

/// What to show of a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlotOptions {
    /// Which edges.
    pub limits: Limits,
    /// One scale for several figures; its own without.
    pub scale: Option<Scale>,
    /// How the attributions of the graph are looked at, to be told.
    pub view: View,
}

impl PlotOptions {
    /// Edges of a figure unless asked otherwise. Beyond some hundred, lines hide each other.
    pub const TOP_EDGES: usize = 300;
}

impl Default for PlotOptions {
    fn default() -> Self {
        Self { limits: Limits { min_edge: None, top_edges: Some(Self::TOP_EDGES) }, scale: None, view: View::default() }
    }
}

/// What a figure leaves out of its graph.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LeftOut {
    /// Finite edges that are not zero.
    pub edges: usize,
    /// Largest absolute value of those.
    pub largest_edge: f32,
    /// Their part of the sum of all absolute values, from 0 to 1.
    pub magnitude: f64,
    /// Nodes.
    pub nodes: usize,
    /// Ghosts.
    pub ghosts: usize,
    /// Edges that are NaN or infinite.
    pub not_finite: usize,
}

/// A figure of one graph: everything that is drawn, in pixels.
#[derive(Clone, Debug)]
pub struct Figure<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) manifest: &'a Manifest,
    pub(crate) prompt: &'a PromptEntry,
    /// The tokens of the prompt, as they are shown.
    pub(crate) labels: Vec<String>,
    pub(crate) prediction: Option<Faithfulness>,
    /// What came of putting the set to the test, where that is known.
    pub(crate) evaluation: Option<SetEvaluation>,
    /// How its attributions are looked at.
    pub(crate) view: View,
    pub(crate) grid: Grid,
    pub(crate) scale: Scale,
    /// The strongest first.
    pub(crate) edges: Vec<Line>,
    pub(crate) nodes: Vec<Mark>,
    pub(crate) ghosts: Vec<Mark>,
    /// Cells that hide nodes: right and lower end, and how many.
    pub(crate) hidden: Vec<((f64, f64), usize)>,
    pub(crate) nonzero: usize,
    pub(crate) left_out: LeftOut,
}

/// A node or ghost and the centre of its circle.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) entry: Entry,
    /// Index in the graph's nodes, or among its ghosts.
    pub(crate) index: usize,
    pub(crate) at: (f64, f64),
    pub(crate) radius: f64,
}

/// An edge, from its source to its target.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Index in the graph's edges.
    pub(crate) index: usize,
    pub(crate) from: (f64, f64),
    pub(crate) to: (f64, f64),
}

/// Entries of one layer at one position: indices of nodes and of ghosts.
#[derive(Clone, Debug, Default)]
struct Cell {
    nodes: Vec<usize>,
    ghosts: Vec<usize>,
}

impl<'a> Figure<'a> {
    /// A figure of the graph of a set, which the manifest describes.
    pub fn new(graph: &'a Graph, manifest: &'a Manifest, set: &SetEntry, options: &PlotOptions) -> Self {
        let prompt = &manifest.prompts[set.prompt];
        let positions = prompt.tokens.len();
        let layers: Vec<Layer> = manifest.run.model.node_layers().map(|(layer, _)| layer).collect();
        let selection = Selection::new(graph, options.limits);
        let mut connected = vec![false; graph.nodes.len()];
        for &edge in &selection.edges {
            let edge = graph.edges[edge as usize];
            connected[edge.source as usize] = true;
            connected[edge.target as usize] = true;
        }
        let cells = cells(graph, &layers, positions);
        let needs = cells.iter().map(|(&layer, cells)| {
            let need = |cell: &Cell| Need {
                connected: cell.nodes.iter().filter(|&&node| connected[node]).count(),
                all: cell.nodes.len() + cell.ghosts.len(),
            };
            (layer, cells.iter().map(need).collect())
        });
        let grid = Grid::new(&layers, positions, &needs.collect());
        let scale = options.scale.unwrap_or_else(|| Scale::default().including(graph));
        let left_out = LeftOut {
            edges: selection.left_out,
            largest_edge: selection.largest_left_out,
            magnitude: if selection.magnitude > 0.0 { selection.magnitude_left_out / selection.magnitude } else { 0.0 },
            not_finite: graph.not_finite(),
            ..LeftOut::default()
        };
        let mut figure = Self {
            graph,
            manifest,
            prompt,
            labels: prompt.labels(),
            prediction: set.prediction,
            evaluation: set.evaluation().and_then(Result::ok),
            view: options.view,
            scale,
            edges: Vec::new(),
            nodes: Vec::new(),
            ghosts: Vec::new(),
            hidden: Vec::new(),
            nonzero: selection.edges.len() + selection.left_out,
            left_out,
            grid: grid.clone(),
        };
        for (&layer, cells) in &cells {
            let row = grid.row(layer).unwrap_or_else(|| unreachable!("every layer has a row"));
            for (position, cell) in cells.iter().enumerate() {
                figure.fill(layer, position, cell, row, &connected);
            }
        }
        figure.connect(&selection);
        figure
    }

    /// What it leaves out.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Number of edges that are drawn.
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// Number of nodes that are drawn.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Number of ghosts that are drawn.
    pub fn ghost_count(&self) -> usize {
        self.ghosts.len()
    }

    /// Puts the entries of a cell into its slots: nodes with edges first, then the most important, then ghosts.
    fn fill(&mut self, layer: Layer, position: usize, cell: &Cell, row: &Row, connected: &[bool]) {
        let column = position as f64 * self.grid.column;
        let capacity = row.capacity(layer);
        let mut nodes = cell.nodes.clone();
        let importance = |node: usize| self.graph.nodes[node].importance;
        nodes.sort_by(|&a, &b| {
            connected[b].cmp(&connected[a]).then(importance(b).total_cmp(&importance(a))).then(a.cmp(&b))
        });
        nodes.truncate(capacity);
        let ghosts = &cell.ghosts[..cell.ghosts.len().min(capacity - nodes.len())];
        let (hidden, hidden_ghosts) = (cell.nodes.len() - nodes.len(), cell.ghosts.len() - ghosts.len());
        self.left_out.nodes += hidden;
        self.left_out.ghosts += hidden_ghosts;
        if hidden > 0 {
            let band = &row.bands[&layer];
            self.hidden.push(((column + band.left + band.width, row.top + row.height), hidden));
        }
        let nodes = nodes.into_iter().map(|index| (self.graph.nodes[index].entry, false, index));
        let ghosts = ghosts.iter().map(|&index| (self.graph.ghosts[index], true, index));
        let mut shown: Vec<(Entry, bool, usize)> = nodes.chain(ghosts).collect();
        if layer.is_output() {
            // The most probable token on top; ghosts, whose probability is below the threshold, under them.
            let probability = |&(_, is_ghost, index): &(Entry, bool, usize)| {
                if is_ghost { -1.0 } else { self.graph.nodes[index].probability.unwrap_or(0.0) }
            };
            shown.sort_by(|a, b| probability(b).total_cmp(&probability(a)).then(a.0.cmp(&b.0)));
        } else {
            shown.sort_unstable();
        }
        let count = shown.len();
        for (slot, (entry, is_ghost, index)) in shown.into_iter().enumerate() {
            let (x, y) = if layer.is_output() { row.output_slot(slot, count) } else { row.slot(layer, slot, count) };
            let radius = if is_ghost { SMALLEST } else { self.scale.radius(self.graph.nodes[index].importance) };
            let marks = if is_ghost { &mut self.ghosts } else { &mut self.nodes };
            marks.push(Mark { entry, index, at: (column + x, y), radius });
        }
    }

    fn connect(&mut self, selection: &Selection) {
        let mut at = vec![(f64::NAN, f64::NAN); self.graph.nodes.len()];
        for mark in &self.nodes {
            at[mark.index] = mark.at;
        }
        self.edges = selection
            .edges
            .iter()
            .map(|&index| {
                let edge = self.graph.edges[index as usize];
                Line { index: index as usize, from: at[edge.source as usize], to: at[edge.target as usize] }
            })
            .collect();
    }

    /// The kinds of layers there are, in the order data flows through them, each with the name of its modules: the last
    /// part of their paths, or two where another kind has the same.
    pub(crate) fn kinds(&self) -> Vec<(Role, String)> {
        let layers: Vec<Layer> = self.grid.rows.iter().flat_map(|row| row.bands.keys().copied()).collect();
        let first = |kind: Role| layers.iter().copied().find(|layer| layer.role() == kind);
        let kinds: Vec<(Role, Layer)> = Role::ALL.into_iter().filter_map(|kind| Some((kind, first(kind)?))).collect();
        let last = |layer: Layer, parts: usize| {
            let mut names: Vec<String> = layer.path().rsplit('.').take(parts).map(str::to_owned).collect();
            names.reverse();
            names.join(".")
        };
        let name = |&(kind, layer): &(Role, Layer)| {
            let is_shared = kinds.iter().any(|&(other, of)| other != kind && last(of, 1) == last(layer, 1));
            (kind, last(layer, if is_shared { 2 } else { 1 }))
        };
        kinds.iter().map(name).collect()
    }
}

/// The entries of each layer at each position.
fn cells(graph: &Graph, layers: &[Layer], positions: usize) -> BTreeMap<Layer, Vec<Cell>> {
    let mut cells: BTreeMap<Layer, Vec<Cell>> =
        layers.iter().map(|&layer| (layer, vec![Cell::default(); positions])).collect();
    let mut put = |entry: &Entry, put: &dyn Fn(&mut Cell)| {
        if let Some(cell) = cells.get_mut(&entry.layer).and_then(|cells| cells.get_mut(entry.position as usize)) {
            put(cell);
        }
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        put(&node.entry, &|cell| cell.nodes.push(index));
    }
    for (index, ghost) in graph.ghosts.iter().enumerate() {
        put(ghost, &|cell| cell.ghosts.push(index));
    }
    cells
}
