//! The reader of `docs/results.md` reads what is written here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tributary_model::{Prediction, SetAttributions};
use tributary_testing::{RandomResults, skip};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn the_documentation_shows_the_script() {
    let page = fs::read_to_string(docs().join("results.md")).unwrap();
    let script = fs::read_to_string(docs().join("read_results.py")).unwrap();
    assert!(page.contains(&format!("```python\n{script}```\n")), "docs/results.md must show docs/read_results.py");
}

/// The line the script prints for a set.
fn summary(set: &SetAttributions<f32>) -> String {
    let values = set.pairs.iter().flat_map(|pair| &pair.values);
    // Exact, as the numbers have few digits, so the order of adding does not matter.
    let sum: f64 = values.map(|&value| f64::from(value)).sum();
    format!("{:?}: {} nodes, {} edges, sum {sum:?}", set.name, set.node_count(), set.edge_count())
}

/// The line the script prints of what the target model predicts. Divergences are multiples of 2^-8 below 16, so six digits
/// show them to 1e-4.
fn predicted(prediction: &Prediction<f32>) -> String {
    let kl = &prediction.kl;
    let worst = (0..kl.len()).rev().max_by(|&a, &b| kl[a].total_cmp(&kl[b])).unwrap();
    let short = |number: f64| {
        // Python's `.6g`.
        if number == 0.0 {
            return "0".to_owned();
        }
        // Divergences are at least 2^-8 and below 16.
        let digits = [(10.0, 4), (1.0, 5), (0.1, 6), (0.01, 7), (0.001, 8), (0.0001, 9)];
        let digits = digits.iter().find(|&&(least, _)| number >= least).unwrap().1;
        let text = format!("{number:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let mean = (kl.iter().map(|&kl| f64::from(kl)).sum::<f64>() / kl.len() as f64) as f32;
    let agreeing = prediction.agrees().filter(|&agrees| agrees).count();
    format!(
        "  KL {} nats from the target model, at most {} at position {worst}; likeliest token the same at {agreeing} of {}",
        short(f64::from(mean)),
        short(f64::from(kl[worst])),
        kl.len()
    )
}

/// Value and ends of the strongest edge, the first of several: Python's `heapq.nlargest` keeps the order of equals.
fn strongest(set: &SetAttributions<f32>, token_strings: &[String]) -> Option<(f32, String)> {
    let mut strongest: Option<(f32, String)> = None;
    for pair in &set.pairs {
        let (sources, targets): (Vec<_>, Vec<_>) = (pair.source.iter().collect(), pair.target.iter().collect());
        for ((source, target), &value) in pair.edges().zip(&pair.values) {
            if strongest.as_ref().is_none_or(|(largest, _)| value.abs() > largest.abs()) {
                let [from, to] = [(pair.pair.source, sources[source]), (pair.pair.target, targets[target])]
                    .map(|(layer, (s, c))| format!("{layer}[{s} {}, {c}]", python_json(&token_strings[s])));
                strongest = Some((value, format!("{from} -> {to}")));
            }
        }
    }
    strongest
}

/// Text as Python's `json.dumps` writes it: ASCII only.
fn python_json(text: &str) -> String {
    let escape = |character: char| {
        if character.is_ascii() { character.to_string() } else { format!("\\u{:04x}", character as u32) }
    };
    serde_json::to_string(text).unwrap().chars().map(escape).collect()
}

#[test]
fn the_script_finds_the_same_sums_and_strongest_edges() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("docs/read_results.py", "python3 is not installed");
    }
    for seed in 0..8 {
        let results = RandomResults::new(seed);
        let out = tempfile::tempdir().unwrap();
        results.write(out.path(), false).unwrap();
        let ran =
            Command::new("python3").arg(docs().join("read_results.py")).arg(out.path()).arg("1").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let text = String::from_utf8(ran.stdout).unwrap();
        let mut lines = text.lines();
        for (set, prompt) in &results.sets {
            assert_eq!(lines.next(), Some(&*summary(set)), "seed {seed}");
            if let Some(prediction) = &set.prediction {
                assert_eq!(lines.next(), Some(&*predicted(prediction)), "seed {seed}");
            }
            let Some((value, ends)) = strongest(set, &prompt.token_strings) else { continue };
            let (printed, printed_ends) = lines.next().unwrap().trim_start().split_once("  ").unwrap();
            assert_eq!(printed_ends, ends, "seed {seed}");
            // Printed with six significant digits.
            let off = printed.parse::<f32>().unwrap() - value;
            assert!(off.abs() <= 1e-5 * value.abs(), "{printed} for {value}, seed {seed}");
        }
        assert_eq!(lines.next(), None, "seed {seed}");
    }
}
