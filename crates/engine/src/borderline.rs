//! Entries that rounding decides over.
//!
//! Who is alive follows from comparisons with thresholds. Causal importances that come in a file are compared as they
//! are, the same on every backend. What a backend computes itself, output probabilities and the model's own causal
//! importances, is rounded, and a value within rounding of its threshold may pass on one backend and not on another. Every
//! backend compares plainly, and says which entries were that near; whoever compares results of two backends allows for
//! those alone.

use tributary_backend::{Dtype, Element};
use tributary_model::{Borderline, CiSet, Layer, Thresholds};

/// How far causal importances and probabilities that are computed in `dtype` may be off: what lies nearer to its threshold
/// is borderline.
///
/// Both are numbers from 0 to 1 that come out of sums of some hundred terms of order 1, some ten layers deep, each
/// rounded: 256 units in the last place of 1, or 3e-5 in f32. Golden results differ by 6e-7 at most.
fn margin(dtype: Dtype) -> f64 {
    256.0 * dtype.epsilon()
}

/// The borderline entries of a set, in the order of layers, positions and components. `probs` are its output
/// probabilities, `[positions, vocab]`; `computed` is the set, if the backend computed its causal importances.
pub(crate) fn borderline<E: Element>(
    probs: &[E],
    computed: Option<&CiSet>,
    thresholds: Thresholds,
    vocab: usize,
) -> Vec<Borderline> {
    let margin = margin(E::DTYPE);
    let mut found = Vec::new();
    for (&layer, ci) in computed.iter().flat_map(|set| &set.layers) {
        for position in 0..ci.positions() {
            let importances = ci.row(position).map(|(component, value)| (component, f64::from(value)));
            found.extend(near(layer, position, importances, thresholds.ci, margin));
        }
    }
    // Most probabilities are far from the threshold: rows without any near it are passed over at once.
    for (position, row) in probs.chunks_exact(vocab).enumerate() {
        let (low, high) = (thresholds.output_prob - margin, thresholds.output_prob + margin);
        let count: usize = row.iter().map(|prob| usize::from((low..=high).contains(&prob.to_f64()))).sum();
        if count > 0 {
            let probs = row.iter().map(|prob| prob.to_f64()).enumerate();
            found.extend(near(Layer::output(), position, probs, thresholds.output_prob, margin));
        }
        if let Some(top) = thresholds.output_top {
            found.extend(around_last(position, row, thresholds, top, margin));
        }
    }
    found
}

/// Tokens at a position of which rounding decides who is among the `top` most probable: those next to the last of them and to the
/// first that is not, where these two are that near each other.
fn around_last<E: Element>(
    position: usize,
    probs: &[E],
    thresholds: Thresholds,
    top: usize,
    margin: f64,
) -> impl Iterator<Item = Borderline> {
    let passes = |&(_, prob): &(usize, f64)| thresholds.passes(prob, thresholds.output_prob);
    // Few rows have as many: they are passed over at once.
    let count: usize = probs.iter().map(|prob| usize::from(prob.to_f64() >= thresholds.output_prob)).sum();
    let mut passing: Vec<(usize, f64)> = Vec::new();
    if count > top && top > 0 {
        passing.extend(probs.iter().map(|prob| prob.to_f64()).enumerate().filter(passes));
    }
    let mut around = Vec::new();
    if passing.len() > top {
        passing.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let (last, next) = (passing[top - 1].1, passing[top].1);
        // Both may be off.
        if last - next <= 2.0 * margin {
            // What is near the threshold is told for that.
            let is_near = |prob: f64| {
                prob <= next + 2.0 * margin && prob >= last - 2.0 * margin && prob - thresholds.output_prob > margin
            };
            around = passing.into_iter().filter(|&(_, prob)| is_near(prob)).collect();
            around.sort_unstable_by_key(|&(token, _)| token);
        }
    }
    let entry = move |(component, importance)| Borderline { layer: Layer::output(), position, component, importance };
    around.into_iter().map(entry)
}

/// Entries at a position, of these components and importances, within `margin` of `threshold`.
///
/// Not those of exactly 0, to which causal-importance functions clamp nearly everything. Where another backend has such an
/// entry alive, it is borderline there: a comparison takes what either side names.
fn near(
    layer: Layer,
    position: usize,
    importances: impl Iterator<Item = (usize, f64)>,
    threshold: f64,
    margin: f64,
) -> impl Iterator<Item = Borderline> {
    let entry = move |(component, importance)| Borderline { layer, position, component, importance };
    let is_near = move |&(_, importance): &(usize, f64)| importance != 0.0 && (importance - threshold).abs() <= margin;
    importances.filter(is_near).map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(probs: &[f64], top: usize) -> Vec<usize> {
        let thresholds = Thresholds { output_prob: 0.01, output_top: Some(top), ..Thresholds::TARGET };
        borderline(probs, None, thresholds, probs.len()).into_iter().map(|entry| entry.component).collect()
    }

    #[test]
    fn rounding_decides_who_is_last_of_the_most_probable() {
        // The margin in float64 is 5.7e-14.
        let probs = [0.2, 0.1, 0.1 + 5e-14, 0.3, 0.1 - 2e-13, 0.005];
        assert_eq!(tokens(&probs, 1), [] as [usize; 0]);
        assert_eq!(tokens(&probs, 2), [] as [usize; 0]);
        assert_eq!(tokens(&probs, 3), [1, 2]);
        assert_eq!(tokens(&probs, 4), [] as [usize; 0]);
        // All that pass are alive then.
        assert_eq!(tokens(&probs, 5), [] as [usize; 0]);
        assert_eq!(tokens(&[0.2, 0.2, 0.2], 2), [0, 1, 2]);
    }
}
