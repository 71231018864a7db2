//! What a run would compute and take.

use tributary_backend::Element;
use tributary_engine::{Method, Sink, SinkError};
use tributary_model::SetAttributions;
use tributary_results::{ResultWriter, Settings, set_file_size};

use crate::sets::InputSets;

/// What a run would compute and take, known after the forward pass alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The sets in the order of the input.
    pub sets: Vec<SetOutline>,
    /// Bytes of memory it takes beside the model.
    pub memory: u64,
    /// Bytes of memory it may take; `None` for any number.
    pub max_memory: Option<u64>,
    /// Batches that the sets are computed in.
    pub batches: usize,
    /// How attributions would be computed.
    pub method: Method,
}

/// Counts of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOutline {
    /// Name of the set.
    pub name: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of edges.
    pub edges: usize,
    /// Bytes of its file.
    pub bytes: u64,
}

/// Counts what begins.
pub(crate) struct Counter<'a> {
    input: &'a InputSets,
    settings: Settings,
    sets: Vec<Option<SetOutline>>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(input: &'a InputSets, settings: Settings) -> Self {
        Self { input, settings, sets: vec![None; input.sets().len()] }
    }

    pub(crate) fn into_sets(self) -> Vec<SetOutline> {
        self.sets.into_iter().flatten().collect()
    }
}

impl<E: Element> Sink<E> for Counter<'_> {
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError> {
        self.sets[set] = Some(SetOutline {
            nodes: graph.node_count(),
            edges: graph.pairs.iter().map(tributary_model::PairAttribution::edge_count).sum(),
            bytes: set_file_size(&graph, self.input.prompt(set), &self.settings),
            name: graph.name,
        });
        Ok(())
    }

    fn values(&mut self, _set: usize, _pair: usize, _values: &[E]) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }

    /// What a run would take.
    fn memory(&self, sets: usize, layers: usize, pairs: usize) -> u64 {
        ResultWriter::memory(sets, layers, pairs)
    }
}
