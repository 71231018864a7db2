//! Runs and CI sets of any size, made up: random weights, and causal importances as sparse as asked for.

use std::collections::BTreeMap;
use std::io::{self, Write};

use tributary_inputs::test_support::RandomWeights;
use tributary_model::{
    Activation, Architecture, Biases, CausalImportances, CiSet, Layer, Norm, PositionEncoding, Prompt, Role, Weights,
    published_layers,
};

/// Size of a generated run and of its CI sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) n_blocks: usize,
    pub(crate) d_model: usize,
    pub(crate) components: usize,
    pub(crate) vocab: usize,
    pub(crate) positions: usize,
    pub(crate) sets: usize,
    /// Alive at one position.
    pub(crate) alive: Alive,
}

/// How many components are alive at one position of each kind of layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    pub(crate) mlp: usize,
    pub(crate) o_proj: usize,
    pub(crate) qkv: usize,
}

impl Size {
    /// Random weights of this size.
    pub(crate) fn weights(&self) -> Weights {
        let mut random = RandomWeights::gpt2_simple(1);
        let (n_heads, d_mlp) = (self.d_model.div_ceil(64).max(4), 4 * self.d_model);
        let biases = Biases { attention: true, mlp: true };
        random.architecture = Architecture {
            model_class: "GPT2Simple".to_owned(),
            n_blocks: self.n_blocks,
            d_model: self.d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head: self.d_model / n_heads,
            d_mlp,
            vocab: self.vocab,
            max_positions: self.positions,
            norm: Norm::LayerNorm { eps: 1e-5 },
            position_encoding: PositionEncoding::Learned,
            activation: Activation::GeluTanh,
            linear: published_layers(self.n_blocks, self.d_model, self.d_model, d_mlp, biases),
        };
        random.components = random.architecture.linear_layers().map(|layer| (layer, self.components)).collect();
        random.ci_hidden = vec![self.d_model];
        random.scaled_weights()
    }

    /// CI sets of every layer.
    pub(crate) fn ci_sets(&self, layers: &[Layer]) -> Vec<CiSet> {
        let layers: Vec<Aliveness> = layers
            .iter()
            .map(|&layer| {
                let alive = match layer.role() {
                    Role::MlpUp | Role::MlpDown => self.alive.mlp,
                    Role::AttentionOutput => self.alive.o_proj,
                    _ => self.alive.qkv,
                };
                Aliveness { layer, components: self.components, alive }
            })
            .collect();
        ci_sets(self.sets, &prompt(self.positions, self.vocab), &layers)
    }
}

/// A prompt, whose words the tokenizer of a written run knows.
pub(crate) fn prompt(positions: usize, vocab: usize) -> Prompt {
    let tokens: Vec<u32> = (0..positions).map(|position| (1 + position % (vocab - 1)) as u32).collect();
    let token_strings: Vec<String> = tokens.iter().map(|token| format!("w{token}")).collect();
    Prompt { text: token_strings.join(" "), tokens, token_strings }
}

/// How many of a layer's components are alive at each position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aliveness {
    pub(crate) layer: Layer,
    pub(crate) components: usize,
    pub(crate) alive: usize,
}

/// CI sets of a prompt. What is alive at a position is drawn from four times as many components of the layer, the same
/// ones in every set: so sets and positions share components, as those of a trained run do.
pub(crate) fn ci_sets(sets: usize, prompt: &Prompt, layers: &[Aliveness]) -> Vec<CiSet> {
    let mut random = fastrand::Rng::with_seed(2);
    let mut importances = |layer: &Aliveness| {
        let pool: Vec<usize> = (0..layer.components.min(4 * layer.alive)).collect();
        let mut values = vec![0.0; prompt.tokens.len() * layer.components];
        for row in values.chunks_exact_mut(layer.components) {
            for component in random.choose_multiple(pool.iter().copied(), layer.alive) {
                row[component] = 0.1 + 0.9 * random.f32();
            }
        }
        CausalImportances::from_dense(layer.components, &values)
    };
    (0..sets)
        .map(|set| {
            let layers: BTreeMap<Layer, CausalImportances> =
                layers.iter().map(|layer| (layer.layer, importances(layer))).collect();
            CiSet { name: format!("seed_{set}"), prompt: prompt.clone(), layers }
        })
        .collect()
}

/// Writes CI sets in the first of the three formats, with spaces where Python puts them.
pub(crate) fn write_ci_sets(sets: &[CiSet], out: &mut impl Write) -> io::Result<()> {
    write!(out, "{{\"prompt\": {}, \"ci_sets\": {{", serde_json::json!(sets[0].prompt.text))?;
    for (at, set) in sets.iter().enumerate() {
        write!(out, "{}{}: {{", if at > 0 { ", " } else { "" }, serde_json::json!(set.name))?;
        for (at, (layer, ci)) in set.layers.iter().enumerate() {
            write!(out, "{}\"{layer}\": [", if at > 0 { ", " } else { "" })?;
            for (at, row) in ci.to_dense().chunks_exact(ci.components()).enumerate() {
                write!(out, "{}[", if at > 0 { ", " } else { "" })?;
                for (at, value) in row.iter().enumerate() {
                    write!(out, "{}{value:?}", if at > 0 { ", " } else { "" })?;
                }
                out.write_all(b"]")?;
            }
            out.write_all(b"]")?;
        }
        out.write_all(b"}")?;
    }
    out.write_all(b"}}\n")
}
