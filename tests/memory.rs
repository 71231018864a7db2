//! What the engine says beforehand that it takes, against the bytes that its process holds at the worst moment.
//!
//! A suite of its own, with one test: it counts every allocation of its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fastrand::Rng;
use peak_alloc::PeakAlloc;
use tributary_engine::{DeltaGradient, Forward, Method, Model, Request, Sets, stream};
use tributary_inputs::test_support::RandomWeights;
use tributary_model::{
    Biases, CausalImportances, CiInput, CiSet, Layer, Prompt, Role, Thresholds, Weights, published_layers,
};
use tributary_tests::discard::Discard;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What the engine reserves for code, stacks and buffers of files, of which hardly anything is counted here.
const OVERHEAD: u64 = 64 << 20;

struct Size {
    name: &'static str,
    d_model: usize,
    vocab: usize,
    components: usize,
    positions: usize,
    sets: usize,
    /// Alive at each position.
    alive: usize,
    method: Method,
    forward: Forward,
    /// Sets take turns with as many prompts.
    prompts: usize,
    /// Hidden widths of the causal-importance functions.
    ci_hidden: usize,
    ci_input: CiInput,
    /// Whether the sets are the model's own.
    own: bool,
}

impl Size {
    fn weights(&self) -> Weights {
        let mut random = RandomWeights::gpt2_simple(1);
        let (n_blocks, d_model, d_mlp) = (2, self.d_model, 4 * self.d_model);
        let architecture = &mut random.architecture;
        (architecture.n_blocks, architecture.d_model, architecture.d_mlp) = (n_blocks, d_model, d_mlp);
        (architecture.n_heads, architecture.n_kv_heads, architecture.d_head) = (4, 4, d_model / 4);
        (architecture.vocab, architecture.max_positions) = (self.vocab, self.positions);
        architecture.linear =
            published_layers(n_blocks, d_model, d_model, d_mlp, Biases { attention: true, mlp: true });
        let undecomposed = |layer: &Layer| self.method == Method::Mixed && layer.role() == Role::Query;
        let layers = architecture.linear_layers().filter(|layer| !undecomposed(layer));
        random.components = layers.map(|layer| (layer, self.components)).collect();
        (random.ci_hidden, random.ci_input) = (vec![self.ci_hidden], self.ci_input);
        random.scaled_weights()
    }

    /// What is alive at a position is drawn from four times as many components of the layer.
    fn ci_sets(&self, weights: &Weights) -> Vec<CiSet> {
        let mut rng = Rng::with_seed(2);
        let prompt = |first: usize| {
            let tokens: Vec<u32> =
                (first..first + self.positions).map(|position| (position % self.vocab) as u32).collect();
            Prompt { text: String::new(), token_strings: vec![String::new(); tokens.len()], tokens }
        };
        let mut importances = |components: usize| {
            let mut values = vec![0.0; self.positions * components];
            for row in values.chunks_exact_mut(components) {
                for component in rng.choose_multiple(0..components.min(4 * self.alive), self.alive) {
                    row[component] = 0.5;
                }
            }
            CausalImportances::from_dense(components, &values)
        };
        let counts = weights.component_counts();
        (0..self.sets)
            .map(|set| {
                let layers: BTreeMap<_, _> =
                    counts.iter().map(|(&layer, &components)| (layer, importances(components))).collect();
                CiSet { name: format!("set_{set}"), prompt: prompt(set % self.prompts), layers }
            })
            .collect()
    }
}

#[test]
fn what_is_held_is_what_was_said() {
    let usual = Size {
        name: "usual",
        d_model: 128,
        vocab: 4019,
        components: 400,
        positions: 64,
        sets: 8,
        alive: 12,
        method: Method::ClosedForm,
        forward: Forward::Masked,
        prompts: 1,
        ci_hidden: 8,
        ci_input: CiInput::SharedVector,
        own: false,
    };
    let (through, stopped) = (Forward::Target(DeltaGradient::Through), Forward::Target(DeltaGradient::Stopped));
    let by_component = Size { prompts: 8, ci_hidden: 64, ci_input: CiInput::Activation, alive: 2, ..usual };
    let sizes = [
        Size { name: "many sets", sets: 200, positions: 16, ..usual },
        Size { name: "many positions", sets: 2, positions: 512, ..usual },
        Size { name: "much alive", sets: 4, alive: 100, ..usual },
        Size { name: "a large vocabulary", vocab: 50_000, d_model: 64, ..usual },
        Size { name: "wide", d_model: 512, ..usual },
        Size { name: "autograd", positions: 8, sets: 4, alive: 2, method: Method::Autograd, ..usual },
        Size { name: "mixed", positions: 8, sets: 4, alive: 2, method: Method::Mixed, ..usual },
        Size { name: "many prompts", ..by_component },
        Size { name: "its own sets", own: true, ..by_component },
        Size { name: "tiny sets", sets: 2000, d_model: 16, vocab: 50, components: 8, positions: 4, alive: 1, ..usual },
        Size { name: "through deltas", forward: through, ..usual },
        Size { name: "through deltas, many positions", sets: 2, positions: 512, forward: through, ..usual },
        Size { name: "through deltas, much alive", sets: 4, alive: 100, forward: through, ..usual },
        Size { name: "through deltas, wide", d_model: 512, forward: through, ..usual },
        Size { name: "through deltas, many prompts", forward: through, ..by_component },
        Size { name: "both deltas", forward: Forward::Target(DeltaGradient::Both), ..usual },
        Size { name: "stopped at deltas", forward: stopped, ..usual },
        Size { name: "stopped at deltas, many sets", sets: 200, positions: 16, forward: stopped, ..usual },
        usual,
    ];
    for size in sizes {
        let weights = size.weights();
        let sets = size.ci_sets(&weights);
        let inputs: usize = sets.iter().flat_map(|set| set.layers.values()).map(CausalImportances::bytes).sum();
        let model = Model::upload(tributary_flex::f32(), weights).unwrap();
        let thresholds = Thresholds { output_prob: 0.1, ..Thresholds::default() };
        let prompts: Vec<Prompt> = sets.iter().map(|set| set.prompt.clone()).collect();
        let sets = if size.own { Sets::ModelCi(&prompts) } else { Sets::Given(&sets) };
        let request = Request { thresholds, method: size.method, forward: size.forward, ..Request::new(sets) };
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let cost = stream(&model, &request, &mut Discard::default(), &mut |_| {}).unwrap();
        let held = (ALLOCATOR.peak_usage() - before) as u64;
        // Sets that were given were there before.
        let said = cost.memory - OVERHEAD - if size.own { 0 } else { inputs as u64 };
        // A tenth for what each of many threads holds. What a tape holds is only guessed, and the reserve has to do for what
        // the guess is short of.
        let (least, most) = match size.method {
            // The union of what is alive in the sets is counted as if they had nothing in common.
            Method::ClosedForm if size.forward != Forward::Masked => (held * 9 / 10, held * 4),
            Method::ClosedForm => (held * 9 / 10, held * 5 / 2),
            Method::Autograd | Method::Mixed => (held.saturating_sub(OVERHEAD), held * 8),
        };
        assert!((least..=most).contains(&said), "{}: {held} bytes were held, {said} foretold", size.name);
    }
}
