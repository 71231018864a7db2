//! The multiply-adds that attributions at the target model's activations cannot do without.

use tributary_model::{AliveEntries, Architecture, CiSet, Layer, Role, Thresholds, alive_components};

/// Multiply-adds, in 10^9, of everything alive in any of some sets of one prompt, the output left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    /// What travels down the layers through deltas.
    pub(crate) transport: f64,
    /// Edges between what writes to the stream and what reads it.
    pub(crate) residual: f64,
    /// Edges to the outputs of attentions and of MLPs.
    pub(crate) inside: f64,
}

impl Floor {
    /// Of gated MLPs and heads that share keys and values none is counted.
    pub(crate) fn new(a: &Architecture, sets: &[CiSet]) -> Self {
        let layers: Vec<Layer> = a.linear_layers().collect();
        let union = |layer: Layer| {
            let alive: Vec<AliveEntries> =
                sets.iter().map(|set| alive_components(&set.layers[&layer], Thresholds::TARGET)).collect();
            AliveEntries::union(&alive.iter().collect::<Vec<_>>())
        };
        let alive: Vec<(Layer, AliveEntries)> = layers.iter().map(|&layer| (layer, union(layer))).collect();
        let positions = sets[0].prompt.tokens.len();
        let (d, heads) = (a.d_model, a.n_heads * a.d_head);
        let mut floor = Self::default();
        for (target, of_target) in &alive {
            let rows = of_target.len();
            let before = |source: Layer| source < *target && source.reading() != target.reading();
            let writers = alive.iter().filter(|(source, _)| source.role().writes_residual() && before(*source));
            let at = |entries: &AliveEntries, s: usize| entries.rows_at(s).len();
            let in_place =
                |source: &AliveEntries| (0..positions).map(|s| at(source, s) * at(of_target, s)).sum::<usize>();
            let here = |role| alive.iter().find(|(layer, _)| layer.role() == role && layer.shares_block(*target));
            match target.role() {
                Role::MlpDown => {
                    let up = here(Role::MlpUp).map_or(0, |(_, up)| in_place(up));
                    floor.inside += (up * a.d_mlp) as f64;
                }
                Role::AttentionOutput => {
                    let past = |source: &AliveEntries| {
                        (0..positions).map(|s| source.rows_at(s).end * at(of_target, s)).sum::<usize>()
                    };
                    let of = |role| here(role).map_or((0, 0), |(_, source)| (in_place(source), past(source)));
                    let (queries, keys, values) = (of(Role::Query).0, of(Role::Key).1, of(Role::Value).1);
                    let key_rows = here(Role::Key)
                        .map_or(0, |(_, keys)| (0..positions).map(|s| keys.rows_at(s).end).sum::<usize>());
                    floor.inside += (queries * heads + rows * positions / 2 * heads) as f64;
                    floor.inside += (key_rows * heads + keys * a.n_heads + values * a.n_heads) as f64;
                }
                _ => {
                    for (writer, of_writer) in writers {
                        let stage = if writer.role() == Role::AttentionOutput {
                            4 * d * heads + positions * heads
                        } else {
                            2 * d * a.d_mlp
                        };
                        floor.transport += (rows * stage) as f64;
                        floor.residual += (in_place(of_writer) * d) as f64;
                    }
                    floor.residual += (rows * d) as f64;
                }
            }
        }
        let giga = |count: f64| count / 1e9;
        Self { transport: giga(floor.transport), residual: giga(floor.residual), inside: giga(floor.inside) }
    }
}
