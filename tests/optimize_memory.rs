//! What an optimisation says beforehand that it takes, against the bytes that its process holds at the worst moment.
//!
//! A suite of its own, with one test: it counts every allocation of its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use tributary_engine::{Model, own_importances};
use tributary_inputs::test_support::RandomWeights;
use tributary_model::{Biases, Prompt, Weights, published_layers};
use tributary_optimize::{
    Adversarial, Adversary, Entries, Loss, MaskKind, Objective, Optimizer, Settings, Task, target_log_probs,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What the engine reserves for code, stacks and buffers of files, of which hardly anything is counted here.
const OVERHEAD: u64 = 64 << 20;

#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    is_llama: bool,
    n_blocks: usize,
    d_model: usize,
    d_mlp: usize,
    vocab: usize,
    components: usize,
    positions: usize,
    sets: usize,
    loss: Loss,
    adversary: bool,
}

impl Size {
    fn weights(&self) -> Weights {
        let mut random = if self.is_llama { RandomWeights::llama_simple_mlp(1) } else { RandomWeights::gpt2_simple(1) };
        let (n_blocks, d_model, d_mlp) = (self.n_blocks, self.d_model, self.d_mlp);
        let architecture = &mut random.architecture;
        (architecture.n_blocks, architecture.d_model, architecture.d_mlp) = (n_blocks, d_model, d_mlp);
        (architecture.n_heads, architecture.n_kv_heads, architecture.d_head) = (4, 4, d_model / 4);
        (architecture.vocab, architecture.max_positions) = (self.vocab, self.positions);
        let biases = Biases { attention: !self.is_llama, mlp: !self.is_llama };
        architecture.linear = published_layers(n_blocks, d_model, d_model, d_mlp, biases);
        let layers = architecture.linear_layers();
        random.components = layers.map(|layer| (layer, self.components)).collect();
        random.ci_hidden = vec![8];
        random.scaled_weights()
    }

    /// Bytes said and held.
    fn said_and_held(&self, masks: MaskKind) -> [u64; 2] {
        let model = Model::upload(tributary_flex::f32(), self.weights()).unwrap();
        let tokens: Vec<u32> = (0..self.positions).map(|position| (position % self.vocab) as u32).collect();
        let prompt = Prompt { text: String::new(), token_strings: vec![String::new(); tokens.len()], tokens };
        let own = own_importances(&model, &[&prompt]).unwrap().remove(0);
        let entries = Arc::new(Entries::alive(&own.importances, self.positions));
        let before_sigmoid: Arc<[f64]> = entries.pick(&own.before_sigmoid).into();
        drop(own);
        let position = self.positions - 1;
        let target = target_log_probs(&model, &prompt, Objective::reads(self.loss, position, self.positions)).unwrap();
        let objective = Objective { loss: self.loss, position, label: 1, against: None, target: target.into() };
        let task = |seed| Task {
            prompt: &prompt,
            entries: Arc::clone(&entries),
            before_sigmoid: Arc::clone(&before_sigmoid),
            objective: objective.clone(),
            seed,
            sparsity: 0.01,
        };
        let tasks: Vec<Task<'_>> = (0..self.sets as u64).map(task).collect();
        let adversary = Adversarial { adversary: Adversary { steps: 2, step_size: 0.5 }, weight: 1.0 };
        let settings =
            Settings { steps: 2, masks, adversary: self.adversary.then_some(adversary), ..Settings::default() };
        let said = Optimizer::memory(&model, &settings, &tasks.iter().collect::<Vec<_>>()) - OVERHEAD;
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let mut optimizer = Optimizer::new(&model, settings, &tasks).unwrap();
        while !optimizer.is_done() {
            optimizer.advance().unwrap();
        }
        optimizer.metrics().unwrap();
        let held = ALLOCATOR.peak_usage() - before;
        [said, held as u64]
    }
}

#[test]
fn what_is_held_is_what_was_said() {
    let usual = Size {
        name: "usual",
        is_llama: false,
        n_blocks: 2,
        d_model: 128,
        d_mlp: 512,
        vocab: 4019,
        components: 400,
        positions: 16,
        sets: 8,
        loss: Loss::CrossEntropy,
        adversary: false,
    };
    let llama = Size { name: "llama", is_llama: true, ..usual };
    let sizes = [
        usual,
        llama,
        Size { name: "an adversary", adversary: true, ..usual },
        Size {
            name: "many small sets",
            sets: 200,
            d_model: 16,
            d_mlp: 64,
            vocab: 50,
            components: 8,
            positions: 4,
            ..usual
        },
        Size { name: "one set", sets: 1, positions: 48, ..usual },
        Size { name: "many components", components: 1500, ..usual },
        Size { name: "few components", components: 20, ..usual },
        Size { name: "few components, llama", components: 20, ..llama },
        Size { name: "a wide mlp", components: 20, d_mlp: 4096, ..usual },
        Size { name: "a wide mlp, llama", components: 20, d_mlp: 4096, ..llama },
        Size { name: "wide", components: 20, d_model: 512, ..usual },
        Size { name: "wide, llama", components: 20, d_model: 512, ..llama },
        Size { name: "many positions", components: 20, positions: 512, sets: 2, ..usual },
        Size { name: "many positions, llama", components: 20, positions: 512, sets: 2, ..llama },
        Size { name: "deep", components: 20, n_blocks: 12, ..usual },
        Size { name: "all positions read", loss: Loss::MeanKl, ..usual },
        Size { name: "a large vocabulary", components: 20, vocab: 50_000, sets: 32, ..usual },
    ];
    for size in sizes {
        for masks in [MaskKind::Ci, MaskKind::Stochastic] {
            let [said, held] = size.said_and_held(masks);
            assert!(
                held <= said && said <= held * 3 / 2,
                "{}, {masks:?}: {held} bytes were held, {said} foretold",
                size.name
            );
        }
    }
}
