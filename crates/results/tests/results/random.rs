//! Random results, and writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tributary_model::{
    AliveEntries, Borderline, Layer, LayerNodes, Pair, PairAttribution, Prompt, SetAttributions, edge_count,
    pair_table, published_blocks,
};
use tributary_results::{Manifest, ModelInfo, ResultError, ResultWriter, RunInfo, Settings, Timings};

/// What a run gives: everything a result folder is made of.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    pub(crate) model: ModelInfo,
    pub(crate) sets: Vec<(SetAttributions<f32>, Prompt)>,
    pub(crate) output_probs: bool,
    pub(crate) implied_index: bool,
}

impl Results {
    /// Results of a small model with some of its layers decomposed; sets share prompts of different lengths.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let n_blocks = 1 + random.below(2);
        let linear = published_blocks(n_blocks).into_iter();
        let decomposed: BTreeSet<Layer> = linear.filter(|_| random.below(4) > 0).collect();
        let components = decomposed.iter().map(|&layer| (layer, 1 + random.below(5))).collect();
        let (class, fingerprint) = ("GPT2Simple".to_owned(), format!("{seed:064x}"));
        let model = ModelInfo { class, fingerprint, n_blocks, vocab: 1 + random.below(7), components };
        let pairs = pair_table(&published_blocks(n_blocks), &decomposed);
        let prompts: Vec<Prompt> = (0..2).map(|number| random.prompt(number, model.vocab)).collect();
        let sets = (0..=random.below(4))
            .map(|number| {
                let prompt = &prompts[random.below(2)];
                (random.set(format!("Set {number}"), &model, &pairs, prompt.tokens.len()), prompt.clone())
            })
            .collect();
        Self { model, sets, output_probs: random.below(2) == 0, implied_index: random.below(2) == 0 }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            ci_threshold: 1e-6,
            output_prob_threshold: 0.1,
            method: "auto".to_owned(),
            output_probs: self.output_probs,
            threads: None,
            implied_index: self.implied_index,
            allow_tf32: false,
        }
    }

    pub(crate) fn run_info(&self) -> RunInfo {
        RunInfo {
            model: self.model.clone(),
            inputs: None,
            backend: "naive".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            method: "autograd".to_owned(),
            timings: Timings { load: 0.5, model_ci: 0.25, forward: 1.5, attribution: 2.0, write: 0.0 },
        }
    }

    /// Writes a folder, the last set first.
    pub(crate) fn write(&self, out: &Path, force: bool) -> Result<Manifest, ResultError> {
        let mut writer = ResultWriter::create(out, force, self.settings())?;
        for (place, (set, prompt)) in self.sets.iter().enumerate().rev() {
            writer.write_set(place, set, prompt, None)?;
        }
        writer.finish(self.run_info())
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Multiples of 2^-8 below 16 in size, a quarter of them zero. Sums of them are exact in any order.
    fn numbers(&mut self, count: usize) -> Vec<f32> {
        let mut number = || if self.below(4) == 0 { 0.0 } else { (self.below(8192) as f32 - 4096.0) / 256.0 };
        (0..count).map(|_| number()).collect()
    }

    fn alive(&mut self, positions: usize, components: usize) -> Arc<AliveEntries> {
        let density = self.below(5);
        let mask: Vec<bool> = (0..positions * components).map(|_| self.below(4) < density).collect();
        Arc::new(AliveEntries::collect(positions, components, |s, c| mask[s * components + c]))
    }

    fn prompt(&mut self, number: usize, vocab: usize) -> Prompt {
        let tokens: Vec<u32> = (0..=self.below(5)).map(|_| self.below(vocab) as u32).collect();
        let token_strings = tokens.iter().map(|token| format!("##{token}\"\u{e9}")).collect();
        Prompt { text: format!("prompt {number}: \"caf\u{e9}\"\n"), tokens, token_strings }
    }

    fn set(&mut self, name: String, model: &ModelInfo, pairs: &[Pair], positions: usize) -> SetAttributions<f32> {
        let mut nodes = BTreeMap::new();
        for (layer, components) in model.node_layers() {
            let (alive, original, carried) = if layer.is_embedding() {
                let every = Arc::new(AliveEntries::every_position(positions));
                (Arc::clone(&every), every, 0)
            } else {
                let (alive, original) = (self.alive(positions, components), self.alive(positions, components));
                let carried = alive.len();
                (alive, original, carried)
            };
            let (importance, activation) = (self.numbers(carried), self.numbers(carried));
            let of_layer = LayerNodes { alive, original, importance, activation };
            nodes.insert(layer, of_layer);
        }
        let pairs = pairs
            .iter()
            .map(|&pair| {
                let (from, to) = (&nodes[&pair.source], &nodes[&pair.target]);
                PairAttribution {
                    pair,
                    source: Arc::clone(&from.alive),
                    target: Arc::clone(&to.alive),
                    original_source: Arc::clone(&from.original),
                    original_target: Arc::clone(&to.original),
                    values: self.numbers(edge_count(&pair, &from.alive, &to.alive)),
                }
            })
            .collect();
        let near = |layer, component| Borderline { layer, position: 0, component, importance: 0.1 };
        let borderline = (0..self.below(3)).map(|token| near(Layer::output(), token)).collect();
        SetAttributions {
            name,
            nodes,
            pairs,
            output_probs: self.numbers(positions * model.vocab),
            borderline,
            prediction: None,
        }
    }
}
