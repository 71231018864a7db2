//! How many sets are computed at once: as many as the memory allowed for it holds.
//!
//! Counted is what is alive at the same time at the worst moment of a batch, on the host and on the device together, the
//! model itself left out. The counts follow the code of [`recorded_pass`](crate::recorded_pass), [`output`](crate::output) and
//! [`closed_form`](crate::closed_form).

use tributary_backend::{AttributionBackend, Dtype, Element};
use tributary_model::{CiSet, Layer, Role};

use crate::closed_form::{CHUNK, gathered_at_once};
use crate::support::SetSupports;
use crate::{Method, Model};

/// What libraries take beside the tensors: code, thread pools, buffers of files.
const OVERHEAD: usize = 64 << 20;

/// Bytes that `sets` CI sets of a batch take while they are computed, beside the model and the inputs.
pub(crate) fn working_set<B: AttributionBackend>(
    model: &Model<B>,
    supports: &SetSupports,
    sets: usize,
    positions: usize,
    method: Method,
) -> u64 {
    let a = &model.architecture;
    let rows = sets * positions;
    let sizes: Vec<(Layer, usize)> = supports.sizes().collect();
    let widths = |layer| a.linear(layer).map_or((0, 0), |linear| (linear.d_in, linear.d_out));
    // V and U of the support; importances, activations and, where all of it is alive, the host's copies of both with
    // their indices; outputs.
    let layers: usize = sizes
        .iter()
        .map(|&(layer, size)| {
            let (d_in, d_out) = widths(layer);
            size * (d_in + d_out) + rows * (5 * size + d_out)
        })
        .sum();
    let largest = |role| {
        let of_role = sizes.iter().filter(|(layer, _)| layer.role() == role);
        of_role.map(|&(_, size)| size).max().unwrap_or(0)
    };
    let widest = sizes.iter().map(|&(_, size)| size).max().unwrap_or(0);
    // Probabilities and scores of one attention, on the device and on the host, the values its targets read, the virtual
    // weights of values on outputs by head, and the rotated rows of U of what is alive in queries or keys.
    let turned = largest(Role::Query).max(largest(Role::Key));
    let attention = rows * a.n_heads * (4 * positions + 4 * largest(Role::AttentionOutput))
        + 3 * a.n_heads * largest(Role::Value) * largest(Role::AttentionOutput)
        + 4 * positions * turned * a.n_heads * a.d_head;
    // A target's readers, virtual weights on device and host, and what it is normalised against.
    let reads = 2 * widest * widest + rows * (2 * widest + 6 * a.d_model) + 3 * widest * a.d_model;
    // The stream, and the rows of everything that wrote to it, centred and once more on the host: kept to the end.
    let written = largest(Role::AttentionOutput) + largest(Role::MlpDown);
    let stream = 2 * a.n_blocks * written * a.d_model + 3 * rows * a.d_model;
    // The hidden layer of the MLP in the steps of its nonlinearity, and the rows of its two layers on the host.
    let hidden = 6 * rows * a.d_mlp + (largest(Role::MlpUp) + largest(Role::MlpDown)) * a.d_mlp;
    let output = positions * a.vocab * 5;
    let gathered = CHUNK.max(4 * gathered_at_once(&model.backend));
    let closed_form = 3 * CHUNK + gathered + stream + attention.max(reads).max(hidden);
    // The tape holds every intermediate of a segment, and gradients as large.
    let autograd = stream + 4 * attention + 4 * hidden + 6 * rows * (widest + 8 * a.d_model);
    let passes = match method {
        Method::ClosedForm => closed_form,
        Method::Autograd => autograd,
        Method::Mixed => closed_form.max(autograd),
    };
    let element = match B::Element::DTYPE {
        Dtype::F32 => 4,
        Dtype::F64 => 8,
    };
    ((layers + passes.max(output)) * element + OVERHEAD) as u64
}

/// Bytes that CI sets take on the host.
pub(crate) fn inputs(sets: &[CiSet]) -> u64 {
    let values = sets.iter().flat_map(|set| set.layers.values()).map(|ci| ci.values.len());
    (values.sum::<usize>() * size_of::<f32>()) as u64
}
