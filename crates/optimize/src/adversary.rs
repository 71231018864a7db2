//! Who raises what is masked so that the model fails.

use tributary_backend::AttributionBackend;
use tributary_engine::EngineError;

use crate::batch::Batch;
use crate::layout::{ItemMask, Others};

/// Projected gradient ascent (Madry et al. 2018) over how far masked components are raised: with factors `g` they are masked by
/// `g + (1 - g) r`, and `r`, from 0 to 1, takes steps along the sign of the loss's gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversary {
    /// Number of steps.
    pub steps: usize,
    /// How far `r` goes in one.
    pub step_size: f64,
}

impl Adversary {
    /// What `r` becomes for each entry of each item, from a start; where `is_free` does not hold it stays.
    pub fn raise<B: AttributionBackend>(
        self,
        batch: &Batch<'_, '_, B>,
        factors: &[Vec<f64>],
        mut raised: Vec<Vec<f64>>,
        is_free: impl Fn(usize, usize) -> bool,
    ) -> Result<Vec<Vec<f64>>, EngineError> {
        for _ in 0..self.steps {
            let masks = raised_masks(factors, &raised);
            let gradient = batch.gradient(&item_masks(&masks), 1.0)?.by_factor;
            for (item, raised) in raised.iter_mut().enumerate() {
                for (entry, raised) in raised.iter_mut().enumerate() {
                    // By r: that by the mask times 1 - g. Where that is 0 the sign is none.
                    let by_raised = gradient[item][entry] * (1.0 - factors[item][entry]);
                    if by_raised != 0.0 && is_free(item, entry) {
                        *raised = (*raised + self.step_size * by_raised.signum()).clamp(0.0, 1.0);
                    }
                }
            }
        }
        Ok(raised)
    }
}

/// `g + (1 - g) r` for each entry of each item.
pub fn raised_masks(factors: &[Vec<f64>], raised: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of_item = |(factors, raised): (&Vec<f64>, &Vec<f64>)| {
        factors.iter().zip(raised).map(|(factor, raised)| factor + (1.0 - factor) * raised).collect()
    };
    factors.iter().zip(raised).map(of_item).collect()
}

/// The same as masks, where nothing but entries is kept.
pub(crate) fn item_masks(entries: &[Vec<f64>]) -> Vec<ItemMask<'_>> {
    entries.iter().map(|entries| ItemMask { entries, others: Others::None }).collect()
}
