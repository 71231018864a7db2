//! The optimisation: several sets at once, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use tributary_backend::AttributionBackend;
use tributary_engine::{EngineError, MaskedModel, Model};
use tributary_model::{Layer, Prompt};

use crate::adversary::{item_masks, raised_masks};
use crate::batch::{Batch, BatchItem, Gradients, Reach};
use crate::drawn::Drawn;
use crate::draws::{Draws, Purpose};
use crate::layout::{ItemMask, Others};
use crate::sigmoid::{lower_leaky, lower_leaky_gradient, upper_leaky, upper_leaky_slope};
use crate::{AdamW, Entries, ImportanceMinimality, Init, Judged, MaskKind, Objective, Settings};

/// A set to be made.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// What may be alive: entries alive under the model's own causal importances.
    pub entries: Arc<Entries>,
    /// What the model's causal-importance function gives before its sigmoid, for each entry.
    pub before_sigmoid: Arc<[f64]>,
    /// What is asked of the masked model.
    pub objective: Objective,
    /// Which numbers are drawn.
    pub seed: u64,
    /// What importance minimality is multiplied by.
    pub sparsity: f64,
}

/// What has become of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetState {
    /// Parameters: what causal importances are the [sigmoid](crate::sigmoid::lower_leaky) of, for each entry.
    pub parameters: Vec<f64>,
    /// What the optimiser remembers of them.
    pub adam: AdamW,
    /// How it went.
    pub curve: Curve,
    /// The step, from 0, at which its loss was no number; it has not moved since.
    pub failed: Option<usize>,
}

impl SetState {
    /// Before the first step.
    ///
    /// # Panics
    ///
    /// When a task has not as many values as entries.
    pub fn start(task: &Task<'_>, settings: &Settings) -> Self {
        let count = task.entries.len();
        assert_eq!(task.before_sigmoid.len(), count, "a value for each entry");
        let parameters = match settings.init {
            Init::Model => task.before_sigmoid.to_vec(),
            Init::Random => {
                let mut draw = Draws::of(task.seed).uniform(Purpose::Start, 0);
                (0..count).map(|_| f64::from(draw())).collect()
            }
        };
        Self { parameters, adam: AdamW::new(count), curve: Curve::default(), failed: None }
    }

    /// Updates made: where its loss was no number, fewer than of the others.
    pub fn updates(&self) -> usize {
        self.curve.total.len()
    }

    /// Whether it is what so many entries may have become of within so many steps, whoever wrote it.
    pub fn is_sound(&self, entries: usize, steps: usize) -> bool {
        let Self { parameters, adam, curve, failed } = self;
        let updates = self.updates();
        let of_entries = [parameters, &adam.first, &adam.second];
        let of_steps = [&curve.recon, &curve.imp_min, &curve.total, &curve.label_prob];
        let lengths = of_entries.iter().all(|values| values.len() == entries)
            && of_steps.iter().all(|values| values.len() == updates)
            && [0, updates].contains(&curve.adversarial.len())
            && curve.l0.len() == if updates == 0 { 0 } else { updates + 1 };
        let all = of_entries.into_iter().chain(of_steps).chain([&curve.adversarial, &curve.l0]);
        lengths
            && usize::try_from(adam.updates) == Ok(updates)
            && updates <= steps
            && failed.is_none_or(|step| step == updates && step < steps)
            && all.flatten().all(|value| value.is_finite())
            && adam.second.iter().all(|&square| square >= 0.0)
    }
}

/// The parts of what is optimised, by step, before its update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// The objective's loss under the masks.
    pub recon: Vec<f64>,
    /// Importance minimality.
    pub imp_min: Vec<f64>,
    /// The objective's loss under the adversary's masks; empty without one.
    pub adversarial: Vec<f64>,
    /// All of it, each part times its weight.
    pub total: Vec<f64>,
    /// Number of components alive, a mean over the positions, summed over layers; and once more in the end.
    pub l0: Vec<f64>,
    /// Probability of the label under the masks.
    pub label_prob: Vec<f64>,
}

/// How a set of [`SetState`] does in the end. A probability that is no number, of a set whose loss is none, is null in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Probability of the label, masked by the causal importances.
    #[serde(deserialize_with = "number_or_none")]
    pub ci_masked_label_prob: f64,
    /// The same with stochastic masks, of one draw; what no component holds of the weights, the delta, is drawn for too.
    #[serde(deserialize_with = "number_or_none")]
    pub stoch_masked_label_prob: f64,
    /// The same against the adversary, everything else masked by 0; where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_number_or_none")]
    pub adv_pgd_label_prob: Option<f64>,
    /// Number of components alive, a mean over the positions, summed over layers.
    pub l0_total: f64,
}

fn number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn some_number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    number_or_none(deserializer).map(Some)
}

/// Bytes of the tables that hold what is drawn for a layer.
const PER_LAYER: usize = 256;

/// Sets that are made together.
pub struct Optimizer<'m, 'a, B: AttributionBackend> {
    model: &'m Model<B>,
    settings: Settings,
    /// Where nothing but entries is kept.
    on_entries: Batch<'m, 'a, B>,
    /// Where every component is.
    on_all: Batch<'m, 'a, B>,
    sets: Vec<Set>,
    step: usize,
}

struct Set {
    draws: Draws,
    sparsity: f64,
    minimality: ImportanceMinimality,
    state: SetState,
}

impl<'m, 'a, B: AttributionBackend> Optimizer<'m, 'a, B> {
    /// Begins with tasks whose prompts have equal length.
    ///
    /// # Errors
    ///
    /// As [`Batch::new`].
    ///
    /// # Panics
    ///
    /// When there are no tasks, or one has not as many values as entries.
    pub fn new(model: &'m Model<B>, settings: Settings, tasks: &[Task<'a>]) -> Result<Self, EngineError> {
        let states = tasks.iter().map(|task| SetState::start(task, &settings)).collect();
        Self::resume(model, settings, tasks, states, 0)
    }

    /// Goes on after `step` updates with what sets had become by then.
    ///
    /// # Errors
    ///
    /// As [`Batch::new`].
    ///
    /// # Panics
    ///
    /// When there are no tasks, or not as many states, or one is not of its task's size.
    pub fn resume(
        model: &'m Model<B>,
        settings: Settings,
        tasks: &[Task<'a>],
        states: Vec<SetState>,
        step: usize,
    ) -> Result<Self, EngineError> {
        assert_eq!(tasks.len(), states.len(), "a state for each task");
        let items: Vec<BatchItem<'a>> = tasks
            .iter()
            .map(|task| BatchItem {
                prompt: task.prompt,
                entries: Arc::clone(&task.entries),
                objective: task.objective.clone(),
            })
            .collect();
        let set = |(task, state): (&Task<'_>, SetState)| {
            let count = task.entries.len();
            assert_eq!([state.parameters.len(), state.adam.first.len(), state.adam.second.len()], [count; 3]);
            let minimality = task.entries.minimality(model.component_counts());
            Set { draws: Draws::of(task.seed), sparsity: task.sparsity, minimality, state }
        };
        Ok(Self {
            model,
            settings,
            on_entries: Batch::new(model, items.clone(), Reach::Support)?,
            on_all: Batch::new(model, items, Reach::All)?,
            sets: tasks.iter().zip(states).map(set).collect(),
            step,
        })
    }

    /// Bytes that tasks take while they are optimised together, beside the model.
    pub fn memory(model: &Model<B>, settings: &Settings, tasks: &[&Task<'_>]) -> u64 {
        let (items, positions) = (tasks.len(), tasks[0].entries.positions());
        let read = tasks.iter().map(|task| task.objective.target.len()).sum();
        let all = model.component_counts();
        let supports = Entries::supports(tasks.iter().map(|task| &*task.entries));
        let supports: BTreeMap<Layer, usize> =
            supports.into_iter().map(|(layer, support)| (layer, support.len())).collect();
        // What is drawn for every component, in the steps with stochastic masks and for what is said in the end in any case, and
        // the tables that hold it.
        let drawn = items * (positions * all.values().sum::<usize>() * size_of::<f32>() + all.len() * PER_LAYER);
        let of_entries = MaskedModel::held(model, &supports, items * positions);
        let by_draw = MaskedModel::logits_memory(model, all, items, positions, read) + (of_entries + drawn as u64);
        let passes = match settings.masks {
            MaskKind::Ci => MaskedModel::memory(model, &supports, items, positions, read).max(by_draw),
            MaskKind::Stochastic => {
                by_draw.max(MaskedModel::memory(model, all, items, positions, read) + (of_entries + drawn as u64))
            }
        };
        // Of each entry, in numbers of 64 bits: the parameter, both means, where it is; importances, gradients, and what they are
        // raised by and masked with, by draws and by an adversary.
        let per_entry = match (settings.masks, settings.adversary) {
            (_, Some(_)) => 11,
            (MaskKind::Stochastic, None) => 9,
            (MaskKind::Ci, None) => 8,
        };
        let entries: usize = tasks.iter().map(|task| task.entries.len()).sum();
        // Six curves, which grow to twice of what they need.
        let curves = items * settings.steps * 12;
        passes + ((entries * per_entry + curves) * size_of::<f64>()) as u64
    }

    /// Updates made.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.step >= self.settings.steps || self.sets.iter().all(|set| set.state.failed.is_some())
    }

    /// What has become of every set, in the order of the tasks.
    pub fn states(&self) -> impl ExactSizeIterator<Item = &SetState> {
        self.sets.iter().map(|set| &set.state)
    }

    /// The causal importances of a set's entries, as things are.
    pub fn importances(&self, set: usize) -> Vec<f64> {
        self.sets[set].state.parameters.iter().map(|&parameter| lower_leaky(parameter)).collect()
    }

    /// One update of every set.
    pub fn advance(&mut self) -> Result<(), EngineError> {
        let done = self.step as f64 / self.settings.steps as f64;
        let factors: Vec<Vec<f64>> = (0..self.sets.len()).map(|set| self.importances(set)).collect();
        let Gradients { judged, by_factor: mut gradients } = self.recon(&factors)?;
        let mut adversarial = None;
        if let Some(of_adversary) = self.settings.adversary {
            let raised = self.raised(&factors, self.step)?;
            let masks = raised_masks(&factors, &raised);
            let of_masks = self.on_entries.gradient(&item_masks(&masks), of_adversary.weight)?;
            for ((gradient, by_mask), raised) in gradients.iter_mut().zip(of_masks.by_factor).zip(raised) {
                let by_factor = by_mask.iter().zip(raised).map(|(by_mask, raised)| by_mask * (1.0 - raised));
                gradient.iter_mut().zip(by_factor).for_each(|(sum, added)| *sum += added);
            }
            adversarial = Some(of_masks.judged);
        }
        for (index, (set, gradient)) in self.sets.iter_mut().zip(gradients).enumerate() {
            let adversarial = adversarial.as_ref().map(|judged| judged[index].loss);
            set.update(&self.settings, self.step, done, judged[index], adversarial, gradient);
        }
        self.step += 1;
        Ok(())
    }

    /// The objectives under the masks of this step, and their gradients by the importances.
    fn recon(&self, factors: &[Vec<f64>]) -> Result<Gradients, EngineError> {
        let weight = self.settings.loss_weight;
        match self.settings.masks {
            MaskKind::Ci => self.on_entries.gradient(&item_masks(factors), weight),
            MaskKind::Stochastic => {
                let (drawn, raised) = self.drawn(self.step);
                let masks = raised_masks(factors, &raised);
                let mut gradients = self.on_all.gradient(&with_drawn(&masks, &drawn), weight)?;
                for (gradient, raised) in gradients.by_factor.iter_mut().zip(raised) {
                    gradient.iter_mut().zip(raised).for_each(|(gradient, raised)| *gradient *= 1.0 - raised);
                }
                Ok(gradients)
            }
        }
    }

    /// What is drawn for stochastic masks of every set, and of that what its entries are raised by.
    fn drawn(&self, number: usize) -> (Vec<Drawn>, Vec<Vec<f64>>) {
        let counts = self.model.component_counts();
        let of_set = |(set, item): (&Set, &BatchItem<'_>)| {
            Drawn::new(counts, item.entries.positions(), set.draws, Purpose::Masks, number)
        };
        let items = self.on_all.items();
        let drawn: Vec<Drawn> = self.sets.iter().zip(items).map(of_set).collect();
        let raised = drawn.iter().zip(items).map(|(drawn, item)| drawn.of(&item.entries)).collect();
        (drawn, raised)
    }

    /// What the adversary raises every set's entries by.
    fn raised(&self, factors: &[Vec<f64>], number: usize) -> Result<Vec<Vec<f64>>, EngineError> {
        let Some(of_adversary) = self.settings.adversary else { return Ok(Vec::new()) };
        let start = |(set, item): (&Set, &BatchItem<'_>)| {
            let mut draw = set.draws.uniform(Purpose::Adversary, number);
            (0..item.entries.len()).map(|_| f64::from(draw())).collect()
        };
        let start = self.sets.iter().zip(self.on_entries.items()).map(start).collect();
        of_adversary.adversary.raise(&self.on_entries, factors, start, |_, _| true)
    }

    /// How the sets do as things are.
    pub fn metrics(&self) -> Result<Vec<Metrics>, EngineError> {
        let factors: Vec<Vec<f64>> = (0..self.sets.len()).map(|set| self.importances(set)).collect();
        let label_probs = |batch: &Batch<'_, '_, B>, masks: &[ItemMask<'_>]| -> Result<Vec<f64>, EngineError> {
            let logits = batch.logits(masks)?;
            Ok(batch.items().iter().zip(logits).map(|(item, logits)| item.objective.label_prob(&logits)).collect())
        };
        let by_ci = label_probs(&self.on_entries, &item_masks(&factors))?;
        let (drawn, raised) = self.drawn(self.settings.steps);
        let masks = raised_masks(&factors, &raised);
        let by_draw = label_probs(&self.on_all, &with_drawn(&masks, &drawn))?;
        let mut by_adversary = None;
        if self.settings.adversary.is_some() {
            let masks = raised_masks(&factors, &self.raised(&factors, self.settings.steps)?);
            by_adversary = Some(label_probs(&self.on_entries, &item_masks(&masks))?);
        }
        let of_set = |(index, set): (usize, &Set)| Metrics {
            ci_masked_label_prob: by_ci[index],
            stoch_masked_label_prob: by_draw[index],
            adv_pgd_label_prob: by_adversary.as_ref().map(|of_sets| of_sets[index]),
            l0_total: set.l0(),
        };
        Ok(self.sets.iter().enumerate().map(of_set).collect())
    }
}

fn with_drawn<'a>(masks: &'a [Vec<f64>], drawn: &'a [Drawn]) -> Vec<ItemMask<'a>> {
    let mask =
        |(entries, drawn): (&'a Vec<f64>, &'a Drawn)| ItemMask { entries, others: Others::DrawnWithDelta(drawn) };
    masks.iter().zip(drawn).map(mask).collect()
}

impl Set {
    fn l0(&self) -> f64 {
        let alive = self.state.parameters.iter().filter(|&&parameter| lower_leaky(parameter) > 0.0).count();
        alive as f64 / self.minimality.positions() as f64
    }

    /// Notes the parts of what is optimised and moves the parameters; `gradient` is that of the losses by the importances.
    fn update(
        &mut self,
        settings: &Settings,
        step: usize,
        done: f64,
        judged: Judged,
        adversarial: Option<f64>,
        mut gradient: Vec<f64>,
    ) {
        if self.state.failed.is_some() {
            return;
        }
        let parameters = &mut self.state.parameters;
        gradient.iter_mut().zip(&*parameters).for_each(|(by, &parameter)| *by = lower_leaky_gradient(parameter, *by));
        let counted: Vec<f64> = parameters.iter().map(|&parameter| upper_leaky(parameter)).collect();
        let mut by_counted = vec![0.0; counted.len()];
        let p = settings.pnorm.at(done);
        let imp_min = self.minimality.add_gradient(&counted, p, settings.beta, self.sparsity, &mut by_counted);
        for ((by, by_counted), &parameter) in gradient.iter_mut().zip(by_counted).zip(&*parameters) {
            // Where the slope is 0 the derivative of u^p may be none.
            let slope = upper_leaky_slope(parameter);
            if slope > 0.0 {
                *by += slope * by_counted;
            }
        }
        let of_adversary = settings.adversary.map_or(0.0, |adversary| adversary.weight) * adversarial.unwrap_or(0.0);
        let total = settings.loss_weight * judged.loss + self.sparsity * imp_min + of_adversary;
        if !total.is_finite() || gradient.iter().any(|by| !by.is_finite()) {
            self.state.failed = Some(step);
            return;
        }
        let learning_rate = settings.learning_rate * settings.schedule.factor(done);
        let l0 = if self.state.curve.l0.is_empty() { Some(self.l0()) } else { None };
        self.state.adam.update(&mut self.state.parameters, &gradient, learning_rate);
        let after = self.l0();
        let curve = &mut self.state.curve;
        curve.recon.push(judged.loss);
        curve.imp_min.push(imp_min);
        curve.adversarial.extend(adversarial);
        curve.total.push(total);
        curve.label_prob.push(judged.label_prob);
        curve.l0.extend(l0.into_iter().chain([after]));
    }
}
