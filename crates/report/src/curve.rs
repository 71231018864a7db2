//! How a set came about that was optimised: numbers by step, in its metadata.

use serde::Serialize;
use serde_json::Value;

/// The key of the metadata.
pub(crate) const KEY: &str = "curve";

/// Points of a curve that are written: it is drawn as wide as a word or two.
const POINTS: usize = 120;

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Curve {
    steps: Vec<u64>,
    /// Names, and numbers by step; `None` of what is no number.
    columns: Vec<(String, Vec<Option<f64>>)>,
}

impl Curve {
    /// What metadata of a set hold, thinned; `None` unless it is a list of steps and others of numbers that are as long.
    pub(crate) fn of(metadata: &Value) -> Option<Self> {
        let fields = metadata.get(KEY)?.as_object()?;
        let steps: Vec<u64> = fields.get("step")?.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
        let last = steps.len().checked_sub(1)?;
        let kept: Vec<usize> = if last < POINTS {
            (0..=last).collect()
        } else {
            (0..POINTS).map(|point| point * last / (POINTS - 1)).collect()
        };
        let mut columns = Vec::new();
        for (name, values) in fields.iter().filter(|(name, _)| *name != "step") {
            let values = values.as_array().filter(|values| values.len() == steps.len())?;
            if !values.iter().all(|value| value.is_number() || value.is_null()) {
                return None;
            }
            columns.push((name.clone(), kept.iter().map(|&at| values[at].as_f64()).collect()));
        }
        Some(Self { steps: kept.iter().map(|&at| steps[at]).collect(), columns })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn curves_are_thinned_to_both_ends() {
        let steps: Vec<u64> = (0..1000).map(|step| 2 * step).collect();
        let falling: Vec<f64> = steps.iter().map(|&step| 1.0 / (1 + step) as f64).collect();
        let curve = Curve::of(&json!({ "curve": { "step": steps, "recon": falling } })).unwrap();
        assert_eq!((curve.steps.len(), curve.steps[0], *curve.steps.last().unwrap()), (POINTS, 0, 1998));
        assert!(curve.steps.windows(2).all(|pair| pair[0] < pair[1]));
        let (name, values) = &curve.columns[0];
        assert_eq!((name.as_str(), values[0], *values.last().unwrap()), ("recon", Some(1.0), Some(1.0 / 1999.0)));
        let short = Curve::of(&json!({ "curve": { "step": [0, 5], "l0": [3, null] } })).unwrap();
        assert_eq!(short, Curve { steps: vec![0, 5], columns: vec![("l0".to_owned(), vec![Some(3.0), None])] });
    }

    #[test]
    fn other_things_of_that_name_are_none() {
        for curve in [
            json!(null),
            json!([1, 2]),
            json!({ "recon": [1] }),
            json!({ "step": [] }),
            json!({ "step": [1.5] }),
            json!({ "step": [0, 1], "recon": [1] }),
            json!({ "step": [0], "recon": ["1"] }),
            json!({ "step": [0], "recon": 1 }),
        ] {
            assert_eq!(Curve::of(&json!({ "curve": curve })), None, "{curve}");
        }
        assert_eq!(Curve::of(&json!("curve")), None);
    }
}
