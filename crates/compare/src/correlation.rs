//! Correlation of values and of ranks.

/// Fewer values than this have no correlation worth the name: two points always lie on a line.
const FEWEST: usize = 3;

/// Pearson's correlation; `None` of fewer than three values or where either side is constant.
pub(crate) fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    // Of the values themselves: a mean that rounds would make a constant vary.
    let varies = |values: &[f64]| values.iter().any(|value| value.total_cmp(&values[0]).is_ne());
    if a.len() < FEWEST || !varies(a) || !varies(b) {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut covariance, mut variance_a, mut variance_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        covariance += a * b;
        variance_a += a * a;
        variance_b += b * b;
    }
    let correlation = covariance / (variance_a * variance_b).sqrt();
    // Rounding may pass 1; and values so small that their squares vanish have none.
    correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
}

/// Gives the members of groups of equal values, which come in ascending order, the mean of the ranks they take, from 1.
pub(crate) struct AverageRanks {
    ranks: Vec<f64>,
    ranked: usize,
}

impl AverageRanks {
    pub(crate) fn new(len: usize) -> Self {
        Self { ranks: vec![0.0; len], ranked: 0 }
    }

    /// Ranks the next group of equal values.
    pub(crate) fn push(&mut self, equal: &[u32]) {
        let (first, last) = (self.ranked + 1, self.ranked + equal.len());
        let rank = (first + last) as f64 / 2.0;
        for &index in equal {
            self.ranks[index as usize] = rank;
        }
        self.ranked = last;
    }

    pub(crate) fn finish(self) -> Vec<f64> {
        debug_assert_eq!(self.ranked, self.ranks.len());
        self.ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_of_small_cases() {
        assert_eq!(pearson(&[1.0, 2.0], &[1.0, 2.0]), None);
        assert_eq!(pearson(&[1.0, 2.0, 3.0], &[0.1, 0.1, 0.1]), None);
        assert_eq!(pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]), Some(1.0));
        assert_eq!(pearson(&[1.0, 2.0, 3.0], &[1.0, 0.0, -1.0]), Some(-1.0));
        // Deviations -1, 0, 1 and -4/3, 5/3, -1/3: covariance 1, variances 2 and 42/9.
        let found = pearson(&[1.0, 2.0, 3.0], &[0.0, 3.0, 1.0]).unwrap();
        // A handful of roundings of numbers of about 1.
        assert!((found - 1.0 / (2.0_f64 * 42.0 / 9.0).sqrt()).abs() < 1e-15, "{found}");
    }

    #[test]
    fn ties_share_the_mean_of_their_ranks() {
        let mut ranks = AverageRanks::new(6);
        ranks.push(&[4]);
        ranks.push(&[0, 2]);
        ranks.push(&[1, 3, 5]);
        assert_eq!(ranks.finish(), [2.5, 5.0, 2.5, 5.0, 1.0, 5.0]);
    }
}
