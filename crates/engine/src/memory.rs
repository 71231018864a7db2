//! How many sets are computed at once: as many as the memory allowed for it holds.
//!
//! Counted is what is alive at the same time at the worst moment of a batch, on the host and on the device together, the
//! model itself left out. The counts follow the code of [`recorded_pass`](crate::recorded_pass), [`output`](crate::output) and
//! [`closed_form`](crate::closed_form).

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Dtype, Element};
use tributary_model::{CausalImportances, CiSet, Layer, Role};

use crate::closed_form::{gathered_at_once, transported_at_once};
use crate::edges::CHUNK;
use crate::overhead::OVERHEAD;
use crate::support::SetSupports;
use crate::{DeltaGradient, Method, Model};

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
    let layers = recorded_layers(model, &sizes, rows);
    let largest = |role| {
        let of_role = sizes.iter().filter(|(layer, _)| layer.role() == role);
        of_role.map(|&(_, size)| size).max().unwrap_or(0)
    };
    let widest = sizes.iter().map(|&(_, size)| size).max().unwrap_or(0);
    // Probabilities and scores of one attention, on the device and on the host, the values its targets read, the virtual
    // weights of values on outputs by head, and the rotated rows of U of what is alive in queries or keys.
    let turned = largest(Role::Query).max(largest(Role::Key)).max(largest(Role::QueryKeyValue));
    let attention = rows * a.n_heads * (4 * positions + 4 * largest(Role::AttentionOutput))
        + 3 * a.n_heads * largest(Role::Value).max(largest(Role::QueryKeyValue)) * largest(Role::AttentionOutput)
        + 4 * positions * turned * a.n_heads * a.d_head;
    // A target's readers, virtual weights on device and host, and what it is normalised against.
    let reads = 2 * widest * widest + rows * (2 * widest + 6 * a.d_model) + 3 * widest * a.d_model;
    // The stream, and the rows of everything that wrote to it, centred and once more on the host: kept to the end.
    let written = largest(Role::AttentionOutput) + largest(Role::MlpDown);
    let stream = 2 * (a.n_blocks * written + largest(Role::TokenEmbedding)) * a.d_model + 3 * rows * a.d_model;
    // The hidden layer of the MLP in the steps of its nonlinearity, and the rows of its layers on the host.
    let into_hidden = largest(Role::MlpGate) + largest(Role::MlpUp);
    let hidden = 6 * rows * a.d_mlp + (into_hidden + largest(Role::MlpDown)) * a.d_mlp;
    let output = output(model, positions);
    let gathered = CHUNK.max(4 * gathered_at_once(&model.backend));
    let closed_form = 3 * CHUNK + gathered + stream + attention.max(reads).max(hidden);
    // The tape holds every intermediate of a segment, and gradients as large.
    let autograd = stream + 4 * attention + 4 * hidden + 6 * rows * (widest + 8 * a.d_model);
    let passes = match method {
        Method::ClosedForm => closed_form,
        Method::Autograd => autograd,
        Method::Mixed => closed_form.max(autograd),
    };
    bytes::<B>(layers + passes.max(output))
}

/// Bytes that attributions at the target model's activations take beside these: the target model's activations of one prompt,
/// the deltas, and what goes down the layers through them, `outputs` at most of the output at a position.
pub(crate) fn at_target<B: AttributionBackend>(
    model: &Model<B>,
    supports: &SetSupports,
    positions: usize,
    gradient: DeltaGradient,
    outputs: usize,
) -> u64 {
    let a = &model.architecture;
    let sizes: Vec<(Layer, usize)> = supports.sizes().collect();
    let activations = recorded_layers(model, &sizes, positions);
    let through = match gradient {
        DeltaGradient::Stopped => 0,
        DeltaGradient::Through | DeltaGradient::Both => {
            let deltas = model.component_counts.keys().filter_map(|&layer| a.linear(layer));
            let deltas: usize = deltas.map(|linear| linear.d_in * linear.d_out).sum();
            let widest = sizes.iter().map(|&(_, size)| size).max().unwrap_or(0).max(outputs);
            let stages = 2 * a.n_blocks;
            let moving = (stages + 2) * positions * widest * a.d_model;
            let of_stage = positions * (2 * a.d_model + 2 * a.d_mlp + 2 * a.n_heads * positions);
            // Steps past a layer, of so many targets that they are as large at most.
            let step = positions * widest * a.d_mlp.max(a.n_heads * a.d_head.max(positions));
            deltas + moving + stages * of_stage + 8 * step.min(transported_at_once(&model.backend))
        }
    };
    // Without what is counted once already.
    bytes::<B>(activations + through) - OVERHEAD as u64
}

/// Bytes that the target model takes on prompts of equal length that go through it together, with their own causal
/// importances.
pub(crate) fn target_pass<B: AttributionBackend>(model: &Model<B>, prompts: usize, positions: usize) -> u64 {
    let a = &model.architecture;
    let rows = prompts * positions;
    let importances: usize = model.component_counts.values().map(|components| rows * components).sum();
    // Activations of all components of a layer, and the importances before they are put in order; or the same of all layers.
    let of_layers = model.component_counts.values().copied();
    let components = if model.own_ci.is_global() { of_layers.sum() } else { of_layers.max().unwrap_or(0) };
    let functions = model.own_ci.working_set(prompts, positions) + 3 * rows * components;
    let scores = rows * a.n_heads * 4 * positions;
    let steps = functions.max(6 * rows * a.d_mlp).max(scores);
    bytes::<B>(8 * rows * a.d_model + steps) + (importances * size_of::<f32>()) as u64
}

/// Bytes that the masked forward pass on one prompt takes up to the alive tokens, for what is originally alive.
pub(crate) fn original_pass<B: AttributionBackend>(model: &Model<B>, supports: &SetSupports, positions: usize) -> u64 {
    let a = &model.architecture;
    let sizes: Vec<(Layer, usize)> = supports.sizes().collect();
    let scores = positions * a.n_heads * 4 * positions;
    let steps = scores.max(6 * positions * a.d_mlp).max(output(model, positions));
    bytes::<B>(recorded_layers(model, &sizes, positions) + 8 * positions * a.d_model + steps)
}

/// Bytes that a masked model holds between passes: what its layers have of a support, where that is not all, and the embedding.
pub(crate) fn masked_model<B: AttributionBackend>(
    model: &Model<B>,
    sizes: &BTreeMap<Layer, usize>,
    rows: usize,
) -> u64 {
    let a = &model.architecture;
    let of_layer = |(&layer, &count): (&Layer, &usize)| {
        let is_cut = count < model.component_counts[&layer];
        let widths = a.linear(layer).filter(|_| is_cut).map_or(0, |linear| linear.d_in + linear.d_out);
        count * widths
    };
    bytes::<B>(sizes.iter().map(of_layer).sum::<usize>() + rows * a.d_model) - OVERHEAD as u64
}

/// Bytes that one of its passes takes beside that, with the gradient: the tape, which holds every intermediate that a gradient
/// needs, and gradients of the largest. As measured (`tests/optimize_memory.rs`), and a tenth more.
pub(crate) fn masked_gradient<B: AttributionBackend>(
    model: &Model<B>,
    sizes: &BTreeMap<Layer, usize>,
    rows: usize,
    positions: usize,
    read: usize,
) -> u64 {
    let a = &model.architecture;
    // Masks on the host and on the device, activations, gradients, and half for those that are on their way to the host.
    let layers = rows * (9 * sizes.values().sum::<usize>()).div_ceil(2) + 4 * rows * sizes.len();
    // Both norms and the attention's projections in their steps, the nonlinearity, scores and probabilities.
    let block = rows * (6 * a.d_model + 5 * a.d_mlp + 3 * a.n_heads * positions);
    bytes::<B>(layers + a.n_blocks * block + of_a_moment(model, rows, positions, read))
}

/// The same of a pass without a gradient: masks of all layers, and what one layer or block has at a time.
pub(crate) fn masked_logits<B: AttributionBackend>(
    model: &Model<B>,
    sizes: &BTreeMap<Layer, usize>,
    rows: usize,
    positions: usize,
    read: usize,
) -> u64 {
    let widest = sizes.values().copied().max().unwrap_or(0);
    let layers = rows * (2 * sizes.values().sum::<usize>() + 2 * widest) + 4 * rows * sizes.len();
    bytes::<B>(layers + of_a_moment(model, rows, positions, read))
}

/// Elements of the steps of one block of a masked model, whichever it is in, and of the logits and what is made of them.
fn of_a_moment<B: AttributionBackend>(model: &Model<B>, rows: usize, positions: usize, read: usize) -> usize {
    let a = &model.architecture;
    rows * (4 * a.d_model + 5 * a.d_mlp + 2 * a.n_heads * positions) + 3 * read * a.vocab
}

/// Bytes that effects of nodes take, measured in `items` at once: what is recorded of them, and where a target is a function of its
/// sources the tape of that with its gradients, as of a masked model.
pub(crate) fn effects<B: AttributionBackend>(
    model: &Model<B>,
    sizes: &BTreeMap<Layer, usize>,
    items: usize,
    positions: usize,
) -> u64 {
    let a = &model.architecture;
    let rows = items * positions;
    let recorded = recorded_layers(model, &sizes.iter().map(|(&layer, &size)| (layer, size)).collect::<Vec<_>>(), rows);
    // What is added to all logits beside the components of an unembedding.
    let logits = if a.unembedding().is_some() { 2 * rows * a.vocab } else { 0 };
    let masked = masked_model(model, sizes, rows) + masked_gradient(model, sizes, rows, positions, 0);
    masked + bytes::<B>(recorded + logits) - OVERHEAD as u64
}

/// V and U of the support; importances, activations and, where all of it is alive, the host's copies of both with their
/// indices; outputs.
fn recorded_layers<B: AttributionBackend>(model: &Model<B>, sizes: &[(Layer, usize)], rows: usize) -> usize {
    let widths = |layer| model.architecture.linear(layer).map_or((0, 0), |linear| (linear.d_in, linear.d_out));
    let of_layer = |&(layer, size): &(Layer, usize)| {
        let (d_in, d_out) = widths(layer);
        size * (d_in + d_out) + rows * (5 * size + d_out)
    };
    sizes.iter().map(of_layer).sum()
}

/// Logits and probabilities of one set, in the steps from the ones to the others, and those of the target model.
fn output<B: AttributionBackend>(model: &Model<B>, positions: usize) -> usize {
    positions * model.architecture.vocab * 5
}

fn bytes<B: AttributionBackend>(elements: usize) -> u64 {
    let element = match B::Element::DTYPE {
        Dtype::F32 => 4,
        Dtype::F64 => 8,
    };
    (elements * element + OVERHEAD) as u64
}

/// Bytes that CI sets take on the host, and the lists of what each supports.
pub(crate) fn inputs(sets: &[CiSet]) -> u64 {
    let of_layer = |ci: &CausalImportances| (ci.bytes() + ci.components()) as u64;
    sets.iter().flat_map(|set| set.layers.values()).map(of_layer).sum()
}
