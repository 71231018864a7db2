//! How far apart results are.

use tributary_backend::Element;
use tributary_model::{PairAttribution, SetAttributions};

/// L2 distances: of values found to values expected, and the norm of the latter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    squared_error: f64,
    squared_norm: f64,
}

impl Distance {
    /// Of values in the same order.
    ///
    /// # Panics
    ///
    /// When there are more of one than of the other.
    pub fn of(found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>) -> Self {
        let (mut found, mut expected, mut distance) = (found.into_iter(), expected.into_iter(), Self::default());
        loop {
            match (found.next(), expected.next()) {
                (Some(found), Some(expected)) => {
                    distance.squared_error += (found - expected).powi(2);
                    distance.squared_norm += expected.powi(2);
                }
                (None, None) => return distance,
                _ => panic!("values of different number are compared"),
            }
        }
    }

    /// Of two attributions of a pair; `None` when their entries are not the same.
    pub fn of_pair<E: Element>(found: &PairAttribution<E>, expected: &PairAttribution<E>) -> Option<Self> {
        let same = found.pair == expected.pair && found.source == expected.source && found.target == expected.target;
        same.then(|| Self::of(floats(&found.values), floats(&expected.values)))
    }

    /// Of all pairs of two sets together; `None` when their entries are not the same.
    pub fn of_set<E: Element>(found: &SetAttributions<E>, expected: &SetAttributions<E>) -> Option<Self> {
        if found.pairs.len() != expected.pairs.len() {
            return None;
        }
        found.pairs.iter().zip(&expected.pairs).map(|(found, expected)| Self::of_pair(found, expected)).sum()
    }

    /// L2 norm of the differences.
    pub fn error(&self) -> f64 {
        self.squared_error.sqrt()
    }

    /// L2 norm of what was expected.
    pub fn norm(&self) -> f64 {
        self.squared_norm.sqrt()
    }

    /// The error over the norm: 0 where nothing differs, infinite where zeros were expected and something else found, and
    /// NaN where a value is.
    pub fn relative(&self) -> f64 {
        if self.squared_error == 0.0 { 0.0 } else { (self.squared_error / self.squared_norm).sqrt() }
    }
}

impl std::iter::Sum for Distance {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            squared_error: sum.squared_error + part.squared_error,
            squared_norm: sum.squared_norm + part.squared_norm,
        })
    }
}

fn floats<E: Element>(values: &[E]) -> impl Iterator<Item = f64> {
    values.iter().map(|value| value.to_f64())
}
