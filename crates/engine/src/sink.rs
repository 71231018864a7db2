//! Where graphs go as they are computed.

use tributary_model::SetAttributions;

use crate::{EngineError, SinkError};

/// Takes attribution graphs piece by piece, so that none has to be held whole.
///
/// For each batch, every set [begins](Self::begin); then the values of its pairs come, pair by pair in the order of the
/// pair table, the sets taking turns; then each set [ends](Self::end).
pub trait Sink<E> {
    /// Set number `set` begins: all of `graph` but the values of its pairs, which are empty.
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError>;

    /// The next values of pair number `pair` of a set, in the order of [`PairAttribution`](tributary_model::PairAttribution).
    /// Those of one pair may come in several pieces.
    fn values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError>;

    /// After all values of all pairs, the same of attributions whose gradients stop at what no component holds of the weights:
    /// where both are asked for.
    fn stopped_values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        let _ = (set, pair, values);
        Ok(())
    }

    /// All values of a set have come.
    fn end(&mut self, set: usize) -> Result<(), SinkError>;

    /// Bytes of memory that it takes at most for `sets` sets of a model with so many layers and pairs, to be counted with those
    /// of the computation; 0 for one that does not know.
    fn memory(&self, sets: usize, layers: usize, pairs: usize) -> u64 {
        let _ = (sets, layers, pairs);
        0
    }
}

/// Keeps everything.
#[derive(Debug)]
pub(crate) struct Collect<E> {
    sets: Vec<Option<SetAttributions<E>>>,
}

impl<E> Collect<E> {
    pub(crate) fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| None).collect() }
    }

    pub(crate) fn into_sets(self) -> Vec<SetAttributions<E>> {
        self.sets.into_iter().flatten().collect()
    }
}

impl<E: Copy + Default> Sink<E> for Collect<E> {
    fn begin(&mut self, set: usize, mut graph: SetAttributions<E>) -> Result<(), SinkError> {
        for pair in &mut graph.pairs {
            pair.values.reserve_exact(pair.edge_count());
        }
        self.sets[set] = Some(graph);
        Ok(())
    }

    fn values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        if let Some(graph) = &mut self.sets[set] {
            graph.pairs[pair].values.extend_from_slice(values);
        }
        Ok(())
    }

    fn stopped_values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        if let Some(graph) = &mut self.sets[set] {
            graph.pairs[pair].stopped.extend_from_slice(values);
        }
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Values of pairs on their way to a sink: `(pair, set of the batch, values)`.
pub(crate) type Emit<'a, E> = dyn FnMut(usize, usize, &[E]) -> Result<(), EngineError> + 'a;
