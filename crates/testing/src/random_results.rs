//! Random results, and writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tributary_model::{
    AliveEntries, Borderline, Layer, LayerNodes, Pair, PairAttribution, Prediction, Prompt, SetAttributions, TokenProb,
    pair_table, published_blocks,
};
use tributary_results::{
    Forward, Kind, Manifest, ModelInfo, ResultError, ResultWriter, RunInfo, Settings, Stages, Timings,
};

/// What a run gives: everything a result folder is made of.
#[derive(Clone, Debug)]
pub struct RandomResults {
    /// Of the manifest.
    pub model: ModelInfo,
    /// Each set with its prompt.
    pub sets: Vec<(SetAttributions<f32>, Prompt)>,
    /// Whether the probabilities of all outputs are written.
    pub output_probs: bool,
    /// Whether the indices of edges are left out.
    pub implied_index: bool,
}

impl RandomResults {
    /// Results of a small model with some of its layers decomposed; sets share prompts of different lengths.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let n_blocks = 1 + random.below(2);
        let linear = published_blocks(n_blocks).into_iter();
        let decomposed: BTreeSet<Layer> = linear.filter(|_| random.below(4) > 0).collect();
        let components = decomposed.iter().map(|&layer| (layer, 1 + random.below(5))).collect();
        let (class, fingerprint) = ("GPT2Simple".to_owned(), format!("{seed:064x}"));
        let model = ModelInfo { class, fingerprint, n_blocks, vocab: 1 + random.below(7), components };
        let pairs = pair_table(&published_blocks(n_blocks), &decomposed);
        let prompts: Vec<Prompt> = (0..2).map(|number| random.prompt(number, model.vocab)).collect();
        // Of some results it is not known what the target model predicts.
        let predicted = random.below(4) > 0;
        let targets = prompts.iter().map(|prompt| random.likeliest(prompt.tokens.len(), model.vocab));
        let targets: Vec<_> = targets.map(Arc::new).collect();
        let sets = (0..=random.below(4))
            .map(|number| {
                let on = random.below(2);
                let positions = prompts[on].tokens.len();
                let mut set = random.set(format!("Set {number}"), &model, &pairs, positions);
                if predicted {
                    set.prediction = Some(random.prediction(&set, &targets[on], model.vocab));
                }
                (set, prompts[on].clone())
            })
            .collect();
        Self { model, sets, output_probs: random.below(2) == 0, implied_index: random.below(2) == 0 }
    }

    /// Settings of the run.
    pub fn settings(&self) -> Settings {
        Settings {
            ci_threshold: 1e-6,
            output_prob_threshold: 0.1,
            method: "auto".to_owned(),
            output_probs: self.output_probs,
            threads: None,
            implied_index: self.implied_index,
            allow_tf32: false,
            ghosts: true,
            output_top: None,
            output_targets: tributary_results::OutputTargets::default(),
            forward: Forward::Masked,
            delta: None,
        }
    }

    /// What the run says of itself.
    pub fn run_info(&self) -> RunInfo {
        let stages = Stages { output: 0.125, target_output: 0.375, residual: 0.75, ..Stages::default() };
        RunInfo {
            kind: Kind::Attributions,
            model: self.model.clone(),
            inputs: None,
            backend: "naive".to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            method: "autograd".to_owned(),
            deltas: BTreeMap::new(),
            timings: Timings { load: 0.5, model_ci: 0.25, forward: 1.5, attribution: 2.0, write: 0.0, stages },
        }
    }

    /// Writes a folder, the last set first.
    pub fn write(&self, out: &Path, force: bool) -> Result<Manifest, ResultError> {
        let mut writer = ResultWriter::create(out, force, self.settings())?;
        for (index, (set, prompt)) in self.sets.iter().enumerate().rev() {
            writer.write_set(index, set, prompt, None)?;
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

    /// Likeliest tokens at each position, the likeliest first.
    fn likeliest(&mut self, positions: usize, vocab: usize) -> Vec<Vec<TokenProb>> {
        let mut at_one = |_| {
            let mut probs: Vec<f64> = (0..vocab.min(3)).map(|_| (1 + self.below(255)) as f64 / 256.0).collect();
            probs.sort_by(|a, b| b.total_cmp(a));
            let first = self.below(vocab);
            let token = |(rank, prob)| TokenProb { token: ((first + rank) % vocab) as u32, prob };
            probs.into_iter().enumerate().map(token).collect()
        };
        (0..positions).map(&mut at_one).collect()
    }

    fn prediction(
        &mut self,
        set: &SetAttributions<f32>,
        target: &Arc<Vec<Vec<TokenProb>>>,
        vocab: usize,
    ) -> Prediction<f32> {
        let outputs = set.nodes[&Layer::output()].alive.len();
        let magnitudes = |numbers: Vec<f32>| numbers.into_iter().map(f32::abs).collect::<Vec<f32>>();
        Prediction {
            target_prob: magnitudes(self.numbers(outputs)),
            kl: magnitudes(self.numbers(target.len())),
            likeliest: target
                .iter()
                .map(|tokens| if self.below(2) == 0 { tokens[0].token } else { self.below(vocab) as u32 })
                .collect(),
            target_likeliest: Arc::clone(target),
        }
    }

    fn prompt(&mut self, number: usize, vocab: usize) -> Prompt {
        let tokens: Vec<u32> = (0..=self.below(5)).map(|_| self.below(vocab) as u32).collect();
        let token_strings = tokens.iter().map(|token| format!("##{token}\"\u{e9}")).collect();
        Prompt { text: format!("prompt {number}: \"caf\u{e9}\"\n"), tokens, token_strings }
    }

    fn set(&mut self, name: String, model: &ModelInfo, pairs: &[Pair], positions: usize) -> SetAttributions<f32> {
        let mut nodes = BTreeMap::new();
        for (layer, components) in model.node_layers() {
            if layer.is_embedding() {
                nodes.insert(layer, LayerNodes::embedding(positions));
                continue;
            }
            let (alive, original) = (self.alive(positions, components), self.alive(positions, components));
            let (importance, activation) = (self.numbers(alive.len()), self.numbers(alive.len()));
            nodes.insert(layer, LayerNodes { alive, original, importance, activation });
        }
        let pairs = pairs
            .iter()
            .map(|&pair| {
                let empty = PairAttribution::between(pair, &nodes);
                PairAttribution { values: self.numbers(empty.edge_count()), ..empty }
            })
            .collect();
        let near = |layer, component| Borderline { layer, position: 0, component, importance: 0.1 };
        let borderline = (0..self.below(3)).map(|token| near(Layer::output(), token)).collect();
        let output_probs = self.numbers(positions * model.vocab);
        SetAttributions { output_probs, borderline, ..SetAttributions::new(name, nodes, pairs) }
    }
}
