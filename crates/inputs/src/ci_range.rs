//! Which numbers can be causal importances of a run.

use std::fmt;

use tributary_model::Sigmoid;

/// How far beyond its range a causal importance may lie by rounding: a hundred times the distance of single-precision numbers
/// near 1, and too little to change a result that anyone looks at.
const ROUNDING: f32 = 1e-5;

/// The values that a run's sigmoid gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CiRange {
    least: f32,
    most: f32,
}

/// What is made of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admitted {
    /// It is a causal importance.
    Inside(f32),
    /// It is one but for rounding: the nearest one.
    Clamped(f32),
    /// It is none.
    Outside,
}

impl CiRange {
    /// Every range holds 0 and 1.
    pub(crate) fn of(sigmoid: Sigmoid) -> Self {
        let (least, most) = match sigmoid {
            Sigmoid::Hard | Sigmoid::Normal => (0.0, 1.0),
            Sigmoid::UpperLeakyHard => (0.0, f32::MAX),
            // The extremes beside its two corners, found numerically.
            Sigmoid::SwishHard => (-0.027_832_3, 1.027_832_3),
        };
        Self { least, most }
    }

    pub(crate) fn contains(self, value: f32) -> bool {
        self.least <= value && value <= self.most
    }

    /// Takes a number for a causal importance, if it is finite and one but for rounding.
    pub(crate) fn admit(self, value: f32) -> Admitted {
        if self.contains(value) {
            return Admitted::Inside(value);
        }
        let nearest = value.clamp(self.least, self.most);
        if (value - nearest).abs() <= ROUNDING { Admitted::Clamped(nearest) } else { Admitted::Outside }
    }
}

impl fmt::Display for CiRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            f32::MAX => write!(f, "{} or more", self.least),
            most => write!(f, "from {} to {most}", self.least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGMOIDS: [Sigmoid; 4] = [Sigmoid::Hard, Sigmoid::Normal, Sigmoid::UpperLeakyHard, Sigmoid::SwishHard];

    /// Whatever a sigmoid gives is in its range, and its range has no more.
    #[test]
    fn ranges_are_those_of_the_sigmoids() {
        for sigmoid in SIGMOIDS {
            let range = CiRange::of(sigmoid);
            let values = (-400_000..=400_000).map(|step| sigmoid.apply(f64::from(step) * 1e-4) as f32);
            let (least, most) = values.fold((1.0_f32, 0.0_f32), |(least, most), value| {
                assert!(range.contains(value), "{sigmoid:?} gives {value}");
                (least.min(value), most.max(value))
            });
            assert!((least - range.least).abs() < 1e-6, "{sigmoid:?}: {least}");
            assert!(sigmoid == Sigmoid::UpperLeakyHard || (most - range.most).abs() < 1e-6, "{sigmoid:?}: {most}");
        }
    }

    #[test]
    fn rounding_is_forgiven_and_nothing_else() {
        let range = CiRange::of(Sigmoid::Hard);
        for (value, expected) in [
            (0.0, Admitted::Inside(0.0)),
            (-0.0, Admitted::Inside(-0.0)),
            (1.0, Admitted::Inside(1.0)),
            (1.000_000_1, Admitted::Clamped(1.0)),
            (-1e-9, Admitted::Clamped(0.0)),
            (1.000_02, Admitted::Outside),
            (-0.01, Admitted::Outside),
            (1e30, Admitted::Outside),
        ] {
            assert_eq!(range.admit(value), expected, "{value}");
        }
        assert_eq!(CiRange::of(Sigmoid::UpperLeakyHard).admit(1e30), Admitted::Inside(1e30));
        let texts = SIGMOIDS.map(|sigmoid| CiRange::of(sigmoid).to_string());
        assert_eq!(texts, ["from 0 to 1", "from 0 to 1", "0 or more", "from -0.0278323 to 1.0278323"]);
    }
}
