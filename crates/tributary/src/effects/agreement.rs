//! How far attributions and effects go together.

use tributary_model::Layer;

use super::EdgeEffect;

/// Correlations of two numbers of some edges; `None` where there are fewer than two of them, or one of the two is everywhere the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Correlation {
    /// Of the numbers themselves.
    pub pearson: Option<f64>,
    /// Of their ranks; equal numbers have the mean of theirs.
    pub spearman: Option<f64>,
}

/// How far attributions go together with effects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Number of edges.
    pub n: usize,
    /// With [`EdgeEffect::in_segment`].
    pub in_segment: Correlation,
    /// With [`EdgeEffect::in_model`].
    pub in_model: Correlation,
}

/// The same for the edges of a pair of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairAgreement {
    /// Layer of the sources.
    pub source: Layer,
    /// Layer of the targets.
    pub target: Layer,
    /// How far they go together.
    pub agreement: Agreement,
}

impl Correlation {
    fn new(x: &[f64], y: &[f64]) -> Self {
        Self { pearson: pearson(x, y), spearman: pearson(&ranks(x), &ranks(y)) }
    }
}

impl Agreement {
    pub(super) fn new(edges: &[EdgeEffect]) -> Self {
        let of = |value: fn(&EdgeEffect) -> f64| edges.iter().map(value).collect::<Vec<f64>>();
        let attributions = of(|edge| edge.attribution);
        Self {
            n: edges.len(),
            in_segment: Correlation::new(&attributions, &of(|edge| edge.in_segment)),
            in_model: Correlation::new(&attributions, &of(|edge| edge.in_model)),
        }
    }
}

impl PairAgreement {
    /// Of edges that come pair by pair.
    pub(super) fn of_pairs(edges: &[EdgeEffect]) -> Vec<Self> {
        let layers = |edge: &EdgeEffect| (edge.source.layer, edge.target.layer);
        let of_pair = |edges: &[EdgeEffect]| {
            let (source, target) = layers(&edges[0]);
            Self { source, target, agreement: Agreement::new(edges) }
        };
        edges.chunk_by(|a, b| layers(a) == layers(b)).map(of_pair).collect()
    }
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = (deviations(x)?, deviations(y)?);
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    Some((product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt()).clamp(-1.0, 1.0))
}

/// From the mean, by the largest of them, so that their squares are numbers; `None` where there are no two different values.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    if values.iter().all(|value| value.total_cmp(&values[0]).is_eq()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max((value - mean).abs()));
    Some(values.iter().map(|value| (value - mean) / largest).collect())
}

/// The rank of each, from 0; of equals the mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equals in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let rank = before as f64 + (equals.len() - 1) as f64 / 2.0;
        for &at in equals {
            ranks[at] = rank;
        }
        before += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_are_those_of_a_hand_calculation() {
        // Deviations (-1.5, -0.5, 0.5, 1.5) and (-2.75, -1.75, -0.75, 5.25): 12.5 / sqrt(5 * 38.75). The order is the same.
        let Correlation { pearson, spearman } = Correlation::new(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 9.0]);
        assert!((pearson.unwrap() - 12.5 / (5.0_f64 * 38.75).sqrt()).abs() < 1e-15, "{pearson:?}");
        assert!((spearman.unwrap() - 1.0).abs() < 1e-15, "{spearman:?}");
        // Ranks 0.5, 0.5, 2 against 2, 1, 0: deviations (-0.5, -0.5, 1) and (1, 0, -1), -1.5 / sqrt(1.5 * 2).
        let Correlation { spearman, .. } = Correlation::new(&[1.0, 1.0, 5.0], &[3.0, 2.0, 1.0]);
        assert!((spearman.unwrap() + 1.5 / 3.0_f64.sqrt()).abs() < 1e-15, "{spearman:?}");
    }

    #[test]
    fn there_is_none_of_one_number_or_of_equal_ones() {
        for (x, y) in [(&[][..], &[][..]), (&[1.0], &[1.0]), (&[1.0, 1.0], &[1.0, 2.0]), (&[1.0, 2.0], &[3.0, 3.0])] {
            assert_eq!(Correlation::new(x, y), Correlation::default());
        }
    }

    #[test]
    fn tiny_numbers_are_not_equal_ones() {
        let tiny = Correlation::new(&[1e-200, 3e-200], &[1.0, 2.0]);
        assert_eq!(tiny, Correlation { pearson: Some(1.0), spearman: Some(1.0) });
    }
}
