//! From a decomposed unembedding to the logits it writes: nothing lies between.
//!
//! ```text
//! A = post * mask * U[c_in, token]
//! ```

use tributary_backend::AttributionBackend;
use tributary_model::{Layer, Pair};

use super::context::Context;
use crate::EngineError;
use crate::edges::Edges;

/// Attributions to the output from `source`, the unembedding.
pub(crate) fn attribute<B: AttributionBackend>(
    context: &Context<'_, B>,
    source: Layer,
    edges: &mut Edges<'_, '_, B::Element>,
) -> Result<(), EngineError> {
    let Context { model, forward, sources, targets } = context;
    let b = &model.backend;
    let (from, to) = (&*sources[&source], &*targets[&Layer::output()]);
    // Those of what is alive anywhere of the output, `[components, support]`.
    let writers = b.download_vec(forward.last.readers(b, &to.components)?)?;
    let support = from.components.len();
    let pair = Pair { source, target: Layer::output(), crosses_positions: false };
    for set in 0..from.alive.len() {
        let (alive, wanted) = (&from.alive[set], &to.alive[set]);
        let (slots, tokens, weight) = (&from.slots[set], &to.slots[set], &from.weight[set]);
        edges.put(&pair, set, alive, wanted, |position, values| {
            let rows = alive.rows_at(position);
            let (slots, weight) = (&slots[rows.clone()], &weight[rows.clone()]);
            for (row, values) in wanted.rows_at(position).zip(values.chunks_exact_mut(rows.len())) {
                let of_token = &writers[tokens[row] as usize * support..][..support];
                for (value, (&slot, &weight)) in values.iter_mut().zip(slots.iter().zip(weight)) {
                    *value = weight * of_token[slot as usize];
                }
            }
        })?;
    }
    Ok(())
}
