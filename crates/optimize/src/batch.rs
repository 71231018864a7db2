//! Prompts with factors for some entries, stacked: the masked model of all, and what its gradients are by the factors.

use std::sync::Arc;

use rayon::prelude::*;
use tributary_backend::AttributionBackend;
use tributary_engine::{EngineError, MaskedModel, Model};
use tributary_model::{Layer, Prompt};

use crate::layout::{ItemMask, Layout};
use crate::{Entries, Judged, Objective};

/// One of the prompts of a [`Batch`].
#[derive(Clone, Debug)]
pub struct BatchItem<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// What has a factor of its own.
    pub entries: Arc<Entries>,
    /// What is asked of it.
    pub objective: Objective,
}

/// Which components there are masks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those that have an entry in any item; others are masked as [`Others::None`](crate::Others::None) says.
    Support,
    /// All.
    All,
}

/// Prompts of equal length, stacked: each is computed as if it were alone, to rounding.
pub struct Batch<'m, 'a, B: AttributionBackend> {
    masked: MaskedModel<'m, B>,
    layout: Layout,
    items: Vec<BatchItem<'a>>,
    vocab: usize,
    /// For each item the first of its rows of logits, and in the end their number.
    rows: Vec<usize>,
}

/// What one pass says of every item of a [`Batch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// What its objective says of the logits.
    pub judged: Vec<Judged>,
    /// The gradient of its loss by the factor of each of its entries.
    pub by_factor: Vec<Vec<f64>>,
}

impl<'m, 'a, B: AttributionBackend> Batch<'m, 'a, B> {
    /// Makes a batch ready.
    ///
    /// # Errors
    ///
    /// [`EngineError::Set`], named by the index of the prompt, when prompts differ in length or do not fit the model.
    ///
    /// # Panics
    ///
    /// When there are no items, or one reads what there is not.
    pub fn new(model: &'m Model<B>, items: Vec<BatchItem<'a>>, reach: Reach) -> Result<Self, EngineError> {
        let supports = match reach {
            Reach::Support => Entries::supports(items.iter().map(|item| &*item.entries)),
            Reach::All => {
                let counts = model.component_counts().iter();
                counts.map(|(&layer, &count)| (layer, (0..count).collect())).collect()
            }
        };
        let positions = items[0].entries.positions();
        let prompts: Vec<&Prompt> = items.iter().map(|item| item.prompt).collect();
        let mut read = Vec::new();
        let mut rows = vec![0];
        for (index, BatchItem { objective, .. }) in items.iter().enumerate() {
            let reads = Objective::reads(objective.loss, objective.position, positions);
            read.extend(reads.map(|position| (index, position)));
            rows.push(read.len());
        }
        let masked = MaskedModel::new(model, &prompts, &supports, &read)?;
        let entries = items.iter().map(|item| Arc::clone(&item.entries)).collect();
        let layers: Vec<Layer> = model.component_counts().keys().copied().collect();
        let layout = Layout::new(entries, layers, supports);
        Ok(Self { masked, layout, items, vocab: model.architecture().vocab, rows })
    }

    /// The items.
    pub fn items(&self) -> &[BatchItem<'a>] {
        &self.items
    }

    /// The items' logits, `[rows, vocab]` of each.
    pub fn logits(&self, masks: &[ItemMask<'_>]) -> Result<Vec<Vec<B::Element>>, EngineError> {
        let (vocab, logits) = (self.vocab, self.masked.logits(&self.layout.masks(masks))?);
        Ok(self.rows.windows(2).map(|rows| logits[rows[0] * vocab..rows[1] * vocab].to_vec()).collect())
    }

    /// What every item's objective says, and its gradient, `factor`-fold, by the factor of each of the item's entries.
    pub fn gradient(&self, masks: &[ItemMask<'_>], factor: f64) -> Result<Gradients, EngineError> {
        let vocab = self.vocab;
        let mut judged = Vec::new();
        let by_logits = |logits: &[B::Element]| {
            let of_items: Vec<&[B::Element]> =
                self.rows.windows(2).map(|rows| &logits[rows[0] * vocab..rows[1] * vocab]).collect();
            let judge = |(item, logits): (&BatchItem<'_>, &[B::Element])| item.objective.judge(logits, factor);
            let of_items: Vec<(Judged, Vec<B::Element>)> = self.items.par_iter().zip(of_items).map(judge).collect();
            judged = of_items.iter().map(|(judged, _)| *judged).collect();
            of_items.into_iter().flat_map(|(_, gradient)| gradient).collect()
        };
        let by_mask = self.masked.gradient(&self.layout.masks(masks), by_logits)?;
        let by_factor = (0..self.items.len()).map(|item| self.layout.of_entries(item, &by_mask)).collect();
        Ok(Gradients { judged, by_factor })
    }
}
