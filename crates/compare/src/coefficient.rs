//! Sparsity coefficients of sets, in their metadata or names.
//!
//! Causal importances of one prompt are optimised against a loss that makes them sparse, the importance minimality loss;
//! its coefficient is what a sweep goes along. Tools of the field call it `imp_min_coeff`, older configs
//! `importance_minimality_coeff`, newer ones have a list of losses `{classname: ImportanceMinimalityLoss, coeff}`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ComparedSet;

/// Names of a sparsity coefficient, as [`plain`] leaves them, the most telling first. Names of one rank are equally
/// telling.
const RANKS: [&[&str]; 4] = [
    &["impmincoeff", "impmincoefficient", "importanceminimalitycoeff", "importanceminimalitycoefficient", "impmin"],
    &["sparsitycoeff", "sparsitycoefficient", "sparsitylambda", "sparsitypenalty", "l0coeff", "l1coeff"],
    &["coeff", "coefficient", "coef"],
    &["lambda", "lam", "\u{3bb}"],
];
/// The first rank of names that tell only that something is a coefficient.
const VAGUE: usize = 2;
/// What begins the name of a loss whose `coeff` is the sparsity coefficient.
const SPARSITY_LOSSES: [&str; 3] = ["impmin", "importanceminimality", "sparsity"];
/// What is in the names of things whose `coeff` is another one.
const OTHER_LOSSES: [&str; 4] = ["loss", "recon", "faithful", "entropy"];
/// How deep in the metadata is looked: in an object in an object, or in a list of objects in it.
const DEPTH: usize = 3;

/// Where coefficients were found, and the coefficient of each set that has one there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Coefficients {
    /// `metadata imp_min_coeff`, `name coeff`.
    pub(crate) found_in: String,
    pub(crate) of_set: Vec<Option<f64>>,
}

/// The coefficients of sets: from the origin that gives the most sets one and gives at least two of them different
/// ones; of such origins, one in the metadata, with the most telling name. `None` without any.
pub(crate) fn find(sets: &[ComparedSet]) -> Option<Coefficients> {
    find_in(&sets.iter().map(|set| (set.entry().name.as_str(), set.metadata())).collect::<Vec<_>>())
}

/// Where a coefficient may come from, the most telling first: rank of its name with whether it is in the set's name,
/// depth, and what it is called.
type Origin = ((bool, usize), usize, String);

fn find_in(sets: &[(&str, Option<&Value>)]) -> Option<Coefficients> {
    let mut origins: BTreeMap<Origin, Vec<Option<f64>>> = BTreeMap::new();
    for (set, &(name, metadata)) in sets.iter().enumerate() {
        let mut found = Vec::new();
        if let Some(metadata) = metadata {
            in_metadata(metadata, "", "", 0, &mut found);
        }
        in_name(name, &mut found);
        for (origin, coefficient) in found {
            let of_set = origins.entry(origin).or_insert_with(|| vec![None; sets.len()]);
            of_set[set] = of_set[set].or(Some(coefficient));
        }
    }
    let differ = |of_set: &[Option<f64>]| {
        let mut found = of_set.iter().flatten();
        found.next().is_some_and(|first| found.any(|other| other.total_cmp(first).is_ne()))
    };
    let known = |of_set: &[Option<f64>]| of_set.iter().flatten().count();
    origins.retain(|_, of_set| differ(of_set));
    let most = origins.values().map(|of_set| known(of_set)).max()?;
    let (((in_name, _), _, called), of_set) = origins.into_iter().find(|(_, of_set)| known(of_set) == most)?;
    let found_in = format!("{} {called}", if in_name { "name" } else { "metadata" });
    Some(Coefficients { found_in, of_set })
}

fn in_metadata(value: &Value, path: &str, parent: &str, depth: usize, found: &mut Vec<(Origin, f64)>) {
    if depth == DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            // An item of a list of losses says itself what it is.
            let classname = fields.get("classname").and_then(Value::as_str).unwrap_or(parent);
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (number(value), rank(&plain(key), &plain(classname))) {
                    (Some(coefficient), Some(rank)) => found.push((((false, rank), depth, path), coefficient)),
                    (None, _) => in_metadata(value, &path, key, depth + 1, found),
                    (Some(_), None) => {}
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if let Some(classname) = item.get("classname").and_then(Value::as_str) {
                    in_metadata(item, &format!("{path}[{classname}]"), classname, depth + 1, found);
                }
            }
        }
        _ => {}
    }
}

/// How telling a key is, if it is one of a sparsity coefficient in what is called `parent`.
fn rank(key: &str, parent: &str) -> Option<usize> {
    let rank = RANKS.iter().position(|names| names.contains(&key))?;
    let is_sparsity = SPARSITY_LOSSES.iter().any(|loss| parent.starts_with(loss));
    let is_other = OTHER_LOSSES.iter().any(|loss| parent.contains(loss)) || matches!(parent, "ce" | "kl");
    match rank {
        VAGUE.. if is_sparsity => Some(0),
        VAGUE.. if is_other => None,
        rank => Some(rank),
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    // Adding 0 makes one number of 0 and -0.
    number.filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// Without case and separators: `imp_min_coeff`, `impMinCoeff` and `imp-min-coeff` are one name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Looks for a name of a coefficient and a number after it, as in `seed_0-coeff_1e-3` and `imp_min_coeff=0.1`.
fn in_name(name: &str, found: &mut Vec<(Origin, f64)>) {
    let words = words(name);
    for start in 0..words.len() {
        // A key of several words is found at its first, not again at its last.
        let key = (start + 1..=words.len().min(start + 3)).rev().find_map(|end| {
            let key: String = words[start..end].iter().map(|(word, _)| plain(word)).collect();
            let before = if start == 0 { String::new() } else { plain(words[start - 1].0) };
            let (_, after) = words[end - 1];
            let called = &name[words[start].1 - words[start].0.len()..after];
            Some((rank(&key, &before)?, called, number_at(&name[after..])?))
        });
        if let Some((rank, called, coefficient)) = key {
            found.push((((true, rank), 0, called.to_owned()), coefficient));
        }
    }
}

/// The runs of letters of a text, each with where it ends.
fn words(text: &str) -> Vec<(&str, usize)> {
    let mut at = 0;
    let runs = text.split(|c: char| !c.is_alphabetic()).map(|run| {
        let from = text[at..].find(run).map_or(at, |skipped| at + skipped);
        at = from + run.len();
        (run, at)
    });
    runs.filter(|(run, _)| !run.is_empty()).collect()
}

/// The number that a text begins with, after at most one separator. It is no number where letters follow, unless they are
/// a file name's extension.
fn number_at(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['_', '-', '=', ':', ' ']).unwrap_or(text);
    let is_part = |&(at, c): &(usize, char)| {
        let signs_exponent = matches!(c, '+' | '-') && digits[..at].ends_with(['e', 'E']);
        c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || signs_exponent
    };
    let end = digits.char_indices().find(|part| !is_part(part)).map_or(digits.len(), |(at, _)| at);
    let (number, rest) = digits.split_at(end);
    let is_whole = number.ends_with('.') || !rest.starts_with(char::is_alphanumeric);
    let number = number.trim_end_matches('.');
    // What the parser of floats takes also: a sign, `e5`, `inf`.
    let is_plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (is_whole && is_plain).then(|| number.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn in_names(names: &[&str]) -> Option<Coefficients> {
        find_in(&names.iter().map(|&name| (name, None)).collect::<Vec<_>>())
    }

    fn in_metadata_of(sets: &[Value]) -> Option<Coefficients> {
        find_in(&sets.iter().map(|metadata| ("a name", Some(metadata))).collect::<Vec<_>>())
    }

    #[test]
    fn names_tell_a_coefficient_after_a_key() {
        for (names, found_in, expected) in [
            (["coeff_0.1", "coeff_0.2"], "coeff", [0.1, 0.2]),
            (["lambda=1e-3", "lambda=1E+2"], "lambda", [1e-3, 1e2]),
            (["imp_min_coeff-3e-5", "imp_min_coeff-1e-4"], "imp_min_coeff", [3e-5, 1e-4]),
            (["seed_0-coeff_0.5-b", "seed_1 coeff_.25"], "coeff", [0.5, 0.25]),
            (["runs/impMinCoeff:2/seed 1", "runs/impMinCoeff:1/seed 1"], "impMinCoeff", [2.0, 1.0]),
            (["coeff_0.1.json", "coeff_1..json"], "coeff", [0.1, 1.0]),
            (["\u{3bb}0.1 \u{e9}", "\u{3bb}0.3"], "\u{3bb}", [0.1, 0.3]),
            (["ce_loss_coeff_9_coeff_1", "ce_loss_coeff_9_coeff_2"], "coeff", [1.0, 2.0]),
        ] {
            let found = in_names(&names).unwrap_or_else(|| panic!("{names:?}"));
            assert_eq!(found.found_in, format!("name {found_in}"));
            assert_eq!(found.of_set, expected.map(Some), "{names:?}");
        }
    }

    #[test]
    fn other_numbers_are_no_coefficients() {
        for names in [
            ["seed_0", "seed_1"],
            ["coeff_0.1", "coeff_0.1"],
            ["ce_loss_coeff_0.1", "ce_loss_coeff_0.2"],
            ["recon-coeff-1", "recon-coeff-2"],
            ["coeff", "coeff_"],
            ["coeff_inf", "coeff_nan"],
            ["coeff_0p1", "coeff_0p2"],
            ["coeff__1", "coeff__2"],
            ["coeffs_1", "coeffs_2"],
            ["", "\u{202e}"],
        ] {
            assert_eq!(in_names(&names), None, "{names:?}");
        }
    }

    #[test]
    fn metadata_tells_it_at_the_top_or_below() {
        let losses = |coeff: f64| {
            json!({ "loss_metric_configs": [
                { "classname": "StochasticReconLoss", "coeff": coeff * 7.0 },
                { "classname": "ImportanceMinimalityLoss", "coeff": coeff },
            ] })
        };
        for (of, found_in) in [
            ((|c| json!({ "imp_min_coeff": c, "coeff": 5.0 / c })) as fn(f64) -> Value, "imp_min_coeff"),
            (|c| json!({ "importance_minimality_coeff": c, "ce_loss_coeff": 2.0 * c }), "importance_minimality_coeff"),
            (|c| json!({ "seed": c * 2.0, "lambda": format!("{c}") }), "lambda"),
            (|c| json!({ "ce_loss": { "coeff": 2.0 * c }, "imp_min_config": { "coeff": c } }), "imp_min_config.coeff"),
            (|c| json!({ "optimization": { "imp_min_coeff": c, "ce_loss_coeff": 1.0 } }), "optimization.imp_min_coeff"),
        ] {
            let found = in_metadata_of(&[of(0.25), of(0.125)]).unwrap_or_else(|| panic!("{found_in}"));
            assert_eq!((found.found_in, found.of_set), (format!("metadata {found_in}"), vec![Some(0.25), Some(0.125)]));
        }
        let found = in_metadata_of(&[losses(1.0), losses(2.0)]).unwrap();
        assert_eq!(found.found_in, "metadata loss_metric_configs[ImportanceMinimalityLoss].coeff");
        assert_eq!(found.of_set, [Some(1.0), Some(2.0)]);
        assert_eq!(in_metadata_of(&[json!({ "ce_loss_coeff": 1 }), json!({ "ce_loss_coeff": 2 })]), None);
        assert_eq!(in_metadata_of(&[json!([1, { "coeff": 1 }]), json!("coeff 2"), json!(null)]), None);
    }

    #[test]
    fn the_origin_that_tells_most_sets_apart_is_taken() {
        let (one, two) = (json!({ "coeff": 1 }), json!({ "coeff": 2 }));
        // All names tell one, the metadata of one set does not.
        let found = find_in(&[("coeff_1", Some(&one)), ("coeff_2", Some(&two)), ("coeff_3", None)]).unwrap();
        assert_eq!((found.found_in.as_str(), found.of_set), ("name coeff", vec![Some(1.0), Some(2.0), Some(3.0)]));
        // What is the same everywhere tells nothing.
        let found = find_in(&[("coeff_1", Some(&one)), ("coeff_2", Some(&one))]).unwrap();
        assert_eq!(found.found_in, "name coeff");
        let found = find_in(&[("coeff_7", Some(&one)), ("coeff_9", Some(&two)), ("model", None)]).unwrap();
        assert_eq!((found.found_in.as_str(), found.of_set), ("metadata coeff", vec![Some(1.0), Some(2.0), None]));
    }
}
