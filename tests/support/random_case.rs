//! Small random models and CI sets of every kind the engine covers.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use proptest::prelude::*;
use tributary_model::{
    Activation, Architecture, Array, Biases, BlockNorms, CausalImportances, CiArrays, CiFunction, CiInput, CiNetwork,
    CiSet, CiTransformer, Components, Layer, LinearLayer, LinearWeights, Norm, NormWeights, PositionEncoding, Prompt,
    Role, RopeScaling, Sigmoid, Weights, gated_blocks, published_blocks, with_widths,
};

/// What shape a random model has; every field shrinks towards the simplest model.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that a model has or has not")]
pub struct Shape {
    /// `LlamaSimpleMLP`, else `GPT2Simple`.
    pub llama: bool,
    /// Rotary pairs are adjacent elements (Llama only).
    pub adjacent_pairs: bool,
    /// Linear layers have biases (Llama only; GPT2 always has them).
    pub biases: bool,
    /// MLPs have a gate (Llama only).
    pub gated: bool,
    /// One layer gives queries, keys and values.
    pub fused: bool,
    /// Heads together are wider than the residual stream (Llama only).
    pub wide_heads: bool,
    /// Nonlinearity of the MLPs.
    pub activation: Activation,
    /// What becomes of rotary angles (Llama only).
    pub scaling: RopeScaling,
    /// The embedding is decomposed, the unembedding is.
    pub ends: [bool; 2],
    /// Number of blocks.
    pub n_blocks: usize,
    /// Number of kv heads.
    pub n_kv_heads: usize,
    /// Query heads per kv head (1 for GPT2).
    pub group: usize,
    /// Half the width of a head.
    pub half_head: usize,
    /// Number of positions of the prompt.
    pub positions: usize,
    /// Number of CI sets.
    pub sets: usize,
    /// Where the numbers come from.
    pub seed: u64,
}

/// Threshold the random causal importances are made for: about half are below.
pub const CI_THRESHOLD: f64 = 0.3;

const VOCAB: usize = 5;

/// Shapes of small models of both architectures.
pub fn shapes() -> impl Strategy<Value = Shape> {
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), seldom(), seldom());
    let activation = prop_oneof![Just(Activation::GeluTanh), Just(Activation::Gelu), Just(Activation::Silu)];
    let scaling = prop_oneof![
        4 => Just(RopeScaling::None),
        1 => Just(RopeScaling::Linear { factor: 3.0 }),
        1 => Just(RopeScaling::Llama3 { factor: 4.0, low: 0.05, high: 0.5, original_positions: 2.0 }),
    ];
    let kinds = (switches, activation, scaling, seldom(), seldom());
    (kinds, 1..3_usize, 1..3_usize, 1..3_usize, 1..3_usize, 1..4_usize, 1..4_usize, any::<u64>()).prop_map(
        |(
            ((llama, adjacent_pairs, biases, gated, fused, wide_heads), activation, scaling, embedding, unembedding),
            n_blocks,
            n_kv_heads,
            group,
            half_head,
            positions,
            sets,
            seed,
        )| Shape {
            llama,
            adjacent_pairs,
            biases,
            gated: llama && gated,
            fused,
            wide_heads: llama && wide_heads,
            activation,
            scaling,
            ends: [embedding, unembedding],
            n_blocks,
            n_kv_heads,
            group: if llama { group } else { 1 },
            // A LayerNorm of two numbers gives 1 and -1 whatever they are, and attributions through it are rounding alone.
            half_head: if !llama && n_kv_heads == 1 { 2 } else { half_head },
            positions,
            sets,
            seed,
        },
    )
}

fn seldom() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.25)
}

impl Shape {
    /// A small model of the one architecture.
    pub const SMALL: Self = Self {
        llama: false,
        adjacent_pairs: false,
        biases: true,
        gated: false,
        fused: false,
        wide_heads: false,
        activation: Activation::GeluTanh,
        scaling: RopeScaling::None,
        ends: [false, false],
        n_blocks: 1,
        n_kv_heads: 1,
        group: 1,
        half_head: 2,
        positions: 2,
        sets: 1,
        seed: 0,
    };

    /// The architecture of this shape.
    pub fn architecture(&self) -> Architecture {
        let n_heads = self.n_kv_heads * self.group;
        let d_head = 2 * self.half_head;
        let q = n_heads * d_head;
        let d_model = if self.wide_heads { q - 1 } else { q };
        let d_mlp = if self.llama { d_model + 3 } else { 4 * d_model };
        let has_biases = !self.llama || self.biases;
        let biases = Biases { attention: has_biases, mlp: has_biases };
        let mut layers = if self.gated { gated_blocks(self.n_blocks) } else { published_blocks(self.n_blocks) };
        if self.fused {
            layers.retain(|layer| !matches!(layer.role(), Role::Query | Role::Key | Role::Value));
            let fused = |block| Layer::linear(block, Role::QueryKeyValue, &format!("h.{block}.attn.c_attn"));
            layers.extend((0..self.n_blocks).map(fused));
            layers.sort_unstable();
        }
        let mut linear = with_widths(layers, [d_model, q, self.n_kv_heads * d_head, d_mlp], biases);
        let [embedding, unembedding] = self.ends;
        let end = |layer, d_in, d_out| LinearLayer { layer, d_in, d_out, has_bias: false };
        if embedding {
            linear.insert(0, end(Layer::token_embedding("embed"), VOCAB, d_model));
        }
        if unembedding {
            linear.push(end(Layer::unembedding("lm_head"), d_model, VOCAB));
        }
        Architecture {
            model_class: if self.llama { "LlamaSimpleMLP" } else { "GPT2Simple" }.to_owned(),
            n_blocks: self.n_blocks,
            d_model,
            n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head,
            d_mlp,
            vocab: VOCAB,
            max_positions: self.positions + 2,
            norm: if self.llama { Norm::RmsNorm { eps: 1e-6 } } else { Norm::LayerNorm { eps: 1e-5 } },
            position_encoding: if self.llama {
                PositionEncoding::Rotary { base: 100.0, adjacent_pairs: self.adjacent_pairs, scaling: self.scaling }
            } else {
                PositionEncoding::Learned
            },
            activation: self.activation,
            linear,
        }
    }

    /// A random model with every linear layer decomposed.
    pub fn model(&self) -> Weights {
        let architecture = self.architecture();
        let all = architecture.linear_layers().collect();
        self.model_decomposed_at(&all)
    }

    /// A random model with only the layers in `decomposed` decomposed. Embedding and unembedding are layers only where they are.
    pub fn model_decomposed_at(&self, decomposed: &BTreeSet<Layer>) -> Weights {
        let mut rng = Rng::with_seed(self.seed);
        let mut architecture = self.architecture();
        architecture.linear.retain(|linear| linear.layer.role().is_in_block() || decomposed.contains(&linear.layer));
        let d = architecture.d_model;
        let norm = |rng: &mut Rng| NormWeights {
            weight: Array::new([d], (0..d).map(|_| 1.0 + 0.5 * normal(rng)).collect()),
            bias: (!self.llama).then(|| array(rng, [d], 0.5)),
        };
        let wte = array(&mut rng, [VOCAB, d], 1.0);
        let wpe = (!self.llama).then(|| array(&mut rng, [architecture.max_positions, d], 0.5));
        let norms = (0..self.n_blocks).map(|_| BlockNorms { attention: norm(&mut rng), mlp: norm(&mut rng) }).collect();
        let ln_f = norm(&mut rng);
        let lm_head = rng.bool().then(|| array(&mut rng, [VOCAB, d], 1.0));
        let mut linear = BTreeMap::new();
        let mut components = BTreeMap::new();
        for &LinearLayer { layer, d_in, d_out, has_bias } in &architecture.linear {
            let scale = 1.0 / (d_in as f32).sqrt();
            let weight = array(&mut rng, [d_out, d_in], scale);
            let bias = has_bias.then(|| array(&mut rng, [d_out], 0.3));
            if layer.role().is_in_block() {
                linear.insert(layer, LinearWeights { weight, bias });
            }
            let count = rng.usize(1..4);
            let matrices =
                Components { v: array(&mut rng, [d_in, count], scale), u: array(&mut rng, [count, d_out], 1.0) };
            if decomposed.contains(&layer) {
                components.insert(layer, matrices);
            }
        }
        let ci_function = ci_function(&mut rng, &components);
        Weights {
            architecture,
            wte,
            wpe,
            rotary: None,
            norms,
            ln_f,
            lm_head,
            linear,
            decomposed: components,
            ci_function,
        }
    }

    /// Random CI sets on one random prompt for `model`.
    pub fn ci_sets(&self, model: &Weights) -> Vec<CiSet> {
        let mut rng = Rng::with_seed(self.seed ^ 0x5e75);
        let tokens: Vec<u32> = (0..self.positions).map(|_| rng.u32(0..VOCAB as u32)).collect();
        let token_strings: Vec<String> = tokens.iter().map(|token| format!("t{token}")).collect();
        let prompt = Prompt { text: token_strings.join(" "), tokens, token_strings };
        let set = |index| {
            let layers = model.component_counts().into_iter().map(|(layer, components)| {
                let value = |_| if rng.bool() { rng.f32().max(CI_THRESHOLD as f32) } else { 0.2 * rng.f32() };
                let values: Vec<f32> = (0..self.positions * components).map(value).collect();
                (layer, CausalImportances::from_dense(components, &values))
            });
            CiSet { name: format!("set_{index}"), prompt: prompt.clone(), layers: layers.collect() }
        };
        (0..self.sets).map(set).collect()
    }

    /// The same sets with nearly all causal importances zero.
    pub fn sparse_ci_sets(&self, model: &Weights) -> Vec<CiSet> {
        let mut rng = Rng::with_seed(self.seed ^ 0x59a5e);
        let mut sets = self.ci_sets(model);
        for ci in sets.iter_mut().flat_map(|set| set.layers.values_mut()) {
            let kept: Vec<f32> =
                ci.to_dense().iter().map(|&value| if rng.usize(0..16) == 0 { value } else { 0.0 }).collect();
            *ci = CausalImportances::from_dense(ci.components(), &kept);
        }
        sets
    }
}

/// The target model alone: with no layer decomposed, and so neither embedding nor unembedding among them.
#[must_use]
pub fn target_of(weights: &Weights) -> Weights {
    let mut target = Weights { decomposed: BTreeMap::new(), ..weights.clone() };
    target.architecture.linear.retain(|linear| linear.layer.role().is_in_block());
    target
}

/// A random causal-importance function of a model with these components.
fn ci_function(rng: &mut Rng, components: &BTreeMap<Layer, Components>) -> CiFunction {
    let sigmoids = [Sigmoid::Hard, Sigmoid::Normal, Sigmoid::UpperLeakyHard, Sigmoid::SwishHard];
    let sigmoid = *rng.choice(&sigmoids).expect("four kinds");
    let hidden: Vec<usize> = (0..rng.usize(0..3)).map(|_| rng.usize(1..4)).collect();
    // Of an embedding, which reads tokens, functions read the activations.
    let width = |(layer, of_layer): (&Layer, &Components)| {
        if layer.role() == Role::TokenEmbedding { of_layer.count() } else { of_layer.v.shape[0] }
    };
    let inputs = components.iter().map(width).sum();
    let outputs = components.values().map(Components::count).sum();
    let layerwise = [CiInput::SharedVector, CiInput::Vector, CiInput::Activation];
    let network = match rng.usize(0..5) {
        3 => CiNetwork::SharedMlp(CiArrays::Read(mlp(rng, inputs, &hidden, outputs, None))),
        4 => CiNetwork::SharedTransformer(transformer(rng, inputs, outputs)),
        kind => {
            let input = layerwise[kind];
            let arrays = |(layer, of_layer): (&Layer, &Components)| {
                let (d_in, count) = (width((layer, of_layer)), of_layer.count());
                let first = if input == CiInput::Activation { 1 } else { d_in };
                let (last, networks) = if input == CiInput::SharedVector { (count, None) } else { (1, Some(count)) };
                CiArrays::Read(mlp(rng, first, &hidden, last, networks))
            };
            let layers = components.keys().copied().zip(components.iter().map(arrays)).collect();
            CiNetwork::Layerwise { input, layers }
        }
    };
    CiFunction { network, sigmoid }
}

/// Weights and biases of linear layers, of one network or of several.
fn mlp(rng: &mut Rng, first: usize, hidden: &[usize], last: usize, networks: Option<usize>) -> Vec<Array> {
    let widths: Vec<usize> = [first].into_iter().chain(hidden.iter().copied()).chain([last]).collect();
    let arrays = widths.windows(2).flat_map(|pair| match networks {
        None => [array(rng, [pair[0], pair[1]], 1.0), array(rng, [pair[1]], 0.5)],
        Some(count) => [array(rng, [count, pair[0], pair[1]], 1.0), array(rng, [count, pair[1]], 0.5)],
    });
    arrays.collect()
}

fn transformer(rng: &mut Rng, inputs: usize, outputs: usize) -> CiTransformer {
    let n_heads = rng.usize(1..3);
    let width = n_heads * 2 * rng.usize(1..3);
    let block = |rng: &mut Rng| {
        let mut arrays: Vec<Array> = (0..4).map(|_| array(rng, [width, width], 1.0)).collect();
        arrays.extend(mlp(rng, width, &[rng.clone().usize(1..5)], width, None));
        CiArrays::Read(arrays)
    };
    CiTransformer {
        projector: CiArrays::Read(mlp(rng, inputs, &[], width, None)),
        blocks: (0..rng.usize(1..3)).map(|_| block(rng)).collect(),
        head: CiArrays::Read(mlp(rng, width, &[], outputs, None)),
        n_heads,
        rope_base: 100.0,
    }
}

fn array<const N: usize>(rng: &mut Rng, shape: [usize; N], scale: f32) -> Array {
    Array::new(shape, (0..shape.iter().product()).map(|_| scale * normal(rng)).collect())
}

/// Near enough to a normal variate: the sum of four uniform ones, of variance 1.
pub fn normal(rng: &mut Rng) -> f32 {
    (0..4).map(|_| rng.f32() - 0.5).sum::<f32>() * 3.0_f32.sqrt()
}
