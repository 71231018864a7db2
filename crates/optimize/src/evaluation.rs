//! Is the graph true? What the model predicts when nothing but some nodes is kept, in several ways.

use std::sync::Arc;

use serde::Serialize;
use tributary_backend::AttributionBackend;
use tributary_engine::{EngineError, MaskedModel, Model};
use tributary_model::Prompt;

use crate::adversary::{item_masks, raised_masks};
use crate::batch::{Batch, BatchItem, Reach};
use crate::drawn::Drawn;
use crate::draws::{Draws, Purpose};
use crate::layout::{ItemMask, Others};
use crate::{Adversary, Entries, Loss, Objective, divergence, log_softmax};

/// Nodes of a set that are kept, and what is looked at.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// What is kept.
    pub nodes: Arc<Entries>,
    /// How much of each: 1, or its causal importance.
    pub factors: Vec<f64>,
    /// The set's nodes that are not kept.
    pub left_out: Arc<Entries>,
    /// What is alive under the model's own causal importances: what the adversary raises.
    pub own: Arc<Entries>,
    /// The token whose probability is looked at.
    pub label: usize,
    /// The position it is looked at.
    pub position: usize,
    /// Logarithms of the target model's probabilities, by position.
    pub target: Arc<[Vec<f64>]>,
}

/// How often what is drawn is drawn, and who the adversary is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trials {
    /// Draws of stochastic masks.
    pub draws: usize,
    /// The adversary.
    pub adversary: Adversary,
    /// How often it starts anew.
    pub restarts: usize,
    /// Seed of everything that is drawn; it is the same for all that is evaluated.
    pub seed: u64,
}

impl Default for Trials {
    /// As published: 100 draws, and an adversary of 4 steps of 1 who starts 10 times.
    fn default() -> Self {
        Self { draws: 100, adversary: Adversary { steps: 4, step_size: 1.0 }, restarts: 10, seed: 0 }
    }
}

/// What a model predicts, beside the target model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// Probability of the label at the position.
    pub label_prob: f64,
    /// Divergence of the target model from it there, `KL(target || model)` in nats.
    pub kl: f64,
    /// The same, a mean over all positions.
    pub kl_mean: f64,
    /// The most probable tokens there, with their probabilities.
    pub top: Vec<(usize, f64)>,
}

/// A number that was drawn several times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sampled {
    /// Their mean.
    pub mean: f64,
    /// Its standard error; 0 of one.
    pub standard_error: f64,
    /// The smallest.
    pub min: f64,
    /// How many there are.
    pub n: usize,
}

/// Predictions of a model that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PredictedBySample {
    /// Probability of the label at the position.
    pub label_prob: Sampled,
    /// Divergence of the target model from it there, in nats.
    pub kl: Sampled,
    /// The same, a mean over all positions.
    pub kl_mean: Sampled,
}

/// What becomes of the prediction when nodes are kept; `m` is 1 (or the causal importance) of what is kept and 0 of all else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    /// Of the target model, nothing masked.
    pub target: Predicted,
    /// Components masked by `m`, no delta.
    pub ci: Predicted,
    /// The target model without the set's nodes that are not kept.
    pub ablated: Predicted,
    /// Components masked by `m + (1 - m) u`, with `u` drawn evenly from 0 to 1 for every entry; no delta.
    pub stochastic: PredictedBySample,
    /// Components masked by `m + (1 - m) r`, with `r` raised by the adversary where the model's own causal importances are above
    /// 0 and drawn evenly from 0 to 1 where they are not; no delta.
    pub adversarial: PredictedBySample,
    /// The same with `r` 0 where the model's own causal importances are.
    pub adversarial_dead_at_zero: PredictedBySample,
}

/// How many of the most probable tokens are told.
const TOP: usize = 5;

/// Evaluates what is kept, of prompts of equal length, all at once.
///
/// # Errors
///
/// As [`Batch::new`].
///
/// # Panics
///
/// When nothing is to be evaluated, or there are not as many factors as nodes.
pub fn evaluate<B: AttributionBackend>(
    model: &Model<B>,
    kept: &[Kept<'_>],
    trials: Trials,
) -> Result<Vec<Evaluated>, EngineError> {
    let factors: Vec<Vec<f64>> = kept.iter().map(|kept| kept.factors.clone()).collect();
    let of_nodes = batch(model, kept, |kept| &kept.nodes, Loss::MeanKl, Reach::Support)?;
    let ci = predictions(&of_nodes, kept, &item_masks(&factors), predicted)?;
    let without = batch(model, kept, |kept| &kept.left_out, Loss::MeanKl, Reach::Support)?;
    let none: Vec<Vec<f64>> = kept.iter().map(|kept| vec![0.0; kept.left_out.len()]).collect();
    let masks: Vec<ItemMask<'_>> = none.iter().map(|entries| ItemMask { entries, others: Others::All }).collect();
    let ablated = predictions(&without, kept, &masks, predicted)?;
    let stochastic = stochastic(model, kept, trials)?;
    let [adversarial, adversarial_dead_at_zero] = adversarial(model, kept, trials)?;
    let parts = ci.into_iter().zip(ablated).zip(stochastic).zip(adversarial).zip(adversarial_dead_at_zero);
    let evaluated = |(kept, ((((ci, ablated), stochastic), adversarial), adversarial_dead_at_zero))| Evaluated {
        target: predicted(kept, &kept.target),
        ci,
        ablated,
        stochastic,
        adversarial,
        adversarial_dead_at_zero,
    };
    Ok(kept.iter().zip(parts).map(evaluated).collect())
}

fn batch<'m, 'a, B: AttributionBackend>(
    model: &'m Model<B>,
    kept: &[Kept<'a>],
    entries: for<'k> fn(&'k Kept<'a>) -> &'k Arc<Entries>,
    loss: Loss,
    reach: Reach,
) -> Result<Batch<'m, 'a, B>, EngineError> {
    let item = |kept: &Kept<'a>| {
        let rows = Objective::reads(loss, kept.position, kept.target.len());
        BatchItem {
            prompt: kept.prompt,
            entries: Arc::clone(entries(kept)),
            objective: Objective {
                loss,
                position: kept.position,
                label: kept.label,
                against: None,
                target: kept.target[rows].into(),
            },
        }
    };
    Batch::new(model, kept.iter().map(item).collect(), reach)
}

/// What every item predicts under its masks, as `read` has it of logarithms of probabilities by position.
fn predictions<B: AttributionBackend, T>(
    batch: &Batch<'_, '_, B>,
    kept: &[Kept<'_>],
    masks: &[ItemMask<'_>],
    read: fn(&Kept<'_>, &[Vec<f64>]) -> T,
) -> Result<Vec<T>, EngineError> {
    let logits = batch.logits(masks)?;
    let of_item = |(kept, logits): (&Kept<'_>, Vec<B::Element>)| {
        let vocab = logits.len() / kept.target.len();
        let rows: Vec<Vec<f64>> = logits.chunks_exact(vocab).map(log_softmax).collect();
        read(kept, &rows)
    };
    Ok(kept.iter().zip(logits).map(of_item).collect())
}

/// What of a prediction is drawn again and again.
struct Sample {
    label_prob: f64,
    kl: f64,
    kl_mean: f64,
}

fn sample(kept: &Kept<'_>, rows: &[Vec<f64>]) -> Sample {
    let kl: Vec<f64> = kept.target.iter().zip(rows).map(|(target, row)| divergence(target, row)).collect();
    Sample {
        label_prob: rows[kept.position][kept.label].exp(),
        kl: kl[kept.position],
        kl_mean: kl.iter().sum::<f64>() / kl.len() as f64,
    }
}

fn predicted(kept: &Kept<'_>, rows: &[Vec<f64>]) -> Predicted {
    let Sample { label_prob, kl, kl_mean } = sample(kept, rows);
    let here = &rows[kept.position];
    let mut order: Vec<usize> = (0..here.len()).collect();
    order.sort_by(|&a, &b| here[b].total_cmp(&here[a]).then(a.cmp(&b)));
    let top = order.into_iter().take(TOP).map(|token| (token, here[token].exp())).collect();
    Predicted { label_prob, kl, kl_mean, top }
}

fn stochastic<B: AttributionBackend>(
    model: &Model<B>,
    kept: &[Kept<'_>],
    trials: Trials,
) -> Result<Vec<PredictedBySample>, EngineError> {
    let batch = batch(model, kept, |kept| &kept.nodes, Loss::MeanKl, Reach::All)?;
    let factors: Vec<Vec<f64>> = kept.iter().map(|kept| kept.factors.clone()).collect();
    let mut found: Vec<Vec<Sample>> = kept.iter().map(|_| Vec::new()).collect();
    for draw in 0..trials.draws {
        let drawn = drawn(model, kept, trials, Purpose::Masks, draw);
        let raised: Vec<Vec<f64>> = kept.iter().map(|kept| drawn.of(&kept.nodes)).collect();
        let masks = raised_masks(&factors, &raised);
        let masks: Vec<ItemMask<'_>> =
            masks.iter().map(|entries| ItemMask { entries, others: Others::Drawn(&drawn) }).collect();
        found.iter_mut().zip(predictions(&batch, kept, &masks, sample)?).for_each(|(found, one)| found.push(one));
    }
    Ok(found.iter().map(|found| by_sample(found)).collect())
}

/// Numbers for every component, the same for all items.
fn drawn<B: AttributionBackend>(
    model: &Model<B>,
    kept: &[Kept<'_>],
    trials: Trials,
    purpose: Purpose,
    number: usize,
) -> Drawn {
    let positions = kept[0].prompt.tokens.len();
    Drawn::new(model.component_counts(), positions, Draws::of(trials.seed), purpose, number)
}

/// Against an adversary, with what it has no say in drawn, and at 0.
fn adversarial<B: AttributionBackend>(
    model: &Model<B>,
    kept: &[Kept<'_>],
    trials: Trials,
) -> Result<[Vec<PredictedBySample>; 2], EngineError> {
    // What is kept and what is raised, each once.
    let all: Vec<Arc<Entries>> = kept.iter().map(|kept| Arc::new(kept.nodes.union(&kept.own))).collect();
    let with_all: Vec<Kept<'_>> =
        kept.iter().zip(&all).map(|(kept, all)| Kept { nodes: Arc::clone(all), ..kept.clone() }).collect();
    let factors: Vec<Vec<f64>> =
        kept.iter().zip(&all).map(|(kept, all)| all.spread(&kept.nodes, &kept.factors)).collect();
    let is_free: Vec<Vec<bool>> = kept
        .iter()
        .zip(&all)
        .map(|(kept, all)| all.spread(&kept.own, &vec![1.0; kept.own.len()]).iter().map(|&is| is > 0.0).collect())
        .collect();
    // One batch after the other, so that no two are held: first what the adversary does every time, then what becomes of it.
    let attacked = batch(model, &with_all, |kept| &kept.nodes, Loss::CrossEntropy, Reach::Support)?;
    let mut of_restarts = Vec::new();
    for restart in 0..trials.restarts {
        let start = drawn(model, kept, trials, Purpose::Adversary, restart);
        let start = all.iter().zip(&is_free).map(|(all, is_free)| {
            let drawn = start.of(all);
            drawn.into_iter().zip(is_free).map(|(drawn, &is_free)| if is_free { drawn } else { 0.0 }).collect()
        });
        let raised =
            trials.adversary.raise(&attacked, &factors, start.collect(), |item, entry| is_free[item][entry])?;
        of_restarts.push(raised_masks(&factors, &raised));
    }
    drop(attacked);
    let found = || -> Vec<Vec<Sample>> { kept.iter().map(|_| Vec::new()).collect() };
    let (mut at_zero, mut refilled) = (found(), found());
    let judged = batch(model, &with_all, |kept| &kept.nodes, Loss::MeanKl, Reach::Support)?;
    for masks in &of_restarts {
        let predicted = predictions(&judged, &with_all, &item_masks(masks), sample)?;
        at_zero.iter_mut().zip(predicted).for_each(|(found, one)| found.push(one));
    }
    drop(judged);
    let judged = batch(model, &with_all, |kept| &kept.nodes, Loss::MeanKl, Reach::All)?;
    for (restart, masks) in of_restarts.iter().enumerate() {
        let refill = drawn(model, kept, trials, Purpose::Refill, restart);
        let masks: Vec<ItemMask<'_>> =
            masks.iter().map(|entries| ItemMask { entries, others: Others::Drawn(&refill) }).collect();
        let predicted = predictions(&judged, &with_all, &masks, sample)?;
        refilled.iter_mut().zip(predicted).for_each(|(found, one)| found.push(one));
    }
    Ok([refilled, at_zero].map(|found| found.iter().map(|found| by_sample(found)).collect()))
}

/// Bytes that evaluating these takes at once, beside the model: one batch at a time, what is kept and raised of every restart, and
/// the numbers that are drawn.
pub fn evaluation_memory<B: AttributionBackend>(model: &Model<B>, kept: &[Kept<'_>], trials: Trials) -> u64 {
    let positions = kept[0].prompt.tokens.len();
    let counts = model.component_counts();
    let (items, read) = (kept.len(), kept.len() * positions);
    let supports = Entries::supports(kept.iter().flat_map(|kept| [&*kept.nodes, &*kept.own]));
    let sizes = supports.into_iter().map(|(layer, support)| (layer, support.len())).collect();
    let attacked = MaskedModel::memory(model, &sizes, items, positions, items);
    let refilled = MaskedModel::logits_memory(model, counts, items, positions, read);
    let entries: usize = kept.iter().map(|kept| kept.nodes.len() + kept.own.len()).sum();
    // Of every restart the masks; beside them factors, what is free, where it is raised to, its gradient and where each is.
    let on_host = entries * (trials.restarts + 5) * size_of::<f64>();
    let drawn = positions * counts.values().sum::<usize>() * size_of::<f32>();
    // Logarithms of one item's probabilities.
    let predicted = positions * model.architecture().vocab * size_of::<f64>();
    attacked.max(refilled) + (on_host + drawn + predicted) as u64
}

fn by_sample(found: &[Sample]) -> PredictedBySample {
    let of = |number: fn(&Sample) -> f64| Sampled::of(&found.iter().map(number).collect::<Vec<_>>());
    PredictedBySample {
        label_prob: of(|sample| sample.label_prob),
        kl: of(|sample| sample.kl),
        kl_mean: of(|sample| sample.kl_mean),
    }
}

impl Sampled {
    /// Of some numbers.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = if n > 1 { (squares / (n - 1) as f64 / n as f64).sqrt() } else { 0.0 };
        Self { mean, standard_error, min: values.iter().copied().fold(f64::INFINITY, f64::min), n }
    }
}
