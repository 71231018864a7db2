//! Making CI sets.

use std::fs;

use serde_json::Value;
use tributary_results::ResultFolder;

use crate::workshop::{PROMPT, Workshop, stderr};

fn json(workshop: &Workshop, file: &str) -> Value {
    serde_json::from_slice(&fs::read(workshop.path(file)).unwrap()).unwrap()
}

const OPTIMIZE: [&str; 7] = ["optimize", "--model", "run", "--prompt", PROMPT, "--label", "#3"];

fn optimize<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&OPTIMIZE, args].concat()
}

#[test]
fn from_a_prompt_to_graphs() {
    let workshop = Workshop::small();
    let args =
        ["--sparsity", "0.01,0.1", "--seeds", "0,7", "--steps", "5", "--snapshots", "2,5", "--adversary", "2:0.5"];
    let text = workshop.succeed(&optimize(&[&args[..], &["--out", "made.json"]].concat()));
    assert!(text.contains("coeff_0.1_seed_7") && text.contains("wrote made.json"), "{text}");
    assert!(!workshop.path("made.json.resume").exists());
    let made = json(&workshop, "made.json");
    let names: Vec<&String> = made["ci_sets"].as_object().unwrap().keys().collect();
    let expected: Vec<String> = ["coeff_0.01_seed_0", "coeff_0.01_seed_7", "coeff_0.1_seed_0", "coeff_0.1_seed_7"]
        .into_iter()
        .flat_map(|name| [format!("{name}@2"), format!("{name}@5"), name.to_owned()])
        .collect();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    // The last step is what the set is in the end.
    assert_eq!(made["ci_sets"]["coeff_0.1_seed_7@5"], made["ci_sets"]["coeff_0.1_seed_7"]);
    assert_ne!(made["ci_sets"]["coeff_0.1_seed_7@2"], made["ci_sets"]["coeff_0.1_seed_7"]);
    assert_ne!(made["ci_sets"]["coeff_0.1_seed_0"], made["ci_sets"]["coeff_0.1_seed_7"]);
    let metadata = &made["metadata"]["coeff_0.1_seed_7"];
    for (name, expected) in
        [("imp_min_coeff", 0.1), ("seed", 7.0), ("steps", 5.0), ("position", 2.0), ("until", 2.0), ("label_token", 3.0)]
    {
        assert_eq!(metadata[name].as_f64(), Some(expected), "{name}");
    }
    assert_eq!(metadata["pgd"]["n_steps"], 2);
    for part in ["step", "recon", "imp_min", "adversarial", "total", "l0", "label_prob"] {
        assert_eq!(metadata["curve"][part].as_array().unwrap().len(), 5, "{part}");
    }
    assert_eq!(made["metadata"]["coeff_0.1_seed_7@2"]["step"], 2);

    // What takes CI sets takes these, and knows their coefficients.
    workshop.succeed(&["attribute", "--model", "run", "--ci-sets", "made.json", "--out", "out"]);
    let result = ResultFolder::open(&workshop.path("out")).unwrap();
    assert_eq!(result.manifest().sets.len(), 12);
    let compared = workshop.succeed(&["compare", "out", "--sets", "coeff_0.01_seed_0,coeff_0.1_seed_0"]);
    assert!(compared.contains("metadata imp_min_coeff"), "{compared}");

    // The same request gives the same bytes, and sets are what they are alone.
    workshop.succeed(&optimize(&[&args[..], &["--out", "again.json"]].concat()));
    assert_eq!(fs::read(workshop.path("again.json")).unwrap(), fs::read(workshop.path("made.json")).unwrap());
    workshop.succeed(&optimize(
        &[&args[4..], &["--sparsity", "0.1", "--seeds", "7", "--dtype", "f64", "--out", "alone.json"]].concat(),
    ));
    let alone = json(&workshop, "alone.json");
    let (alone, together) = (&alone["metadata"]["coeff_0.1_seed_7"]["curve"], &metadata["curve"]);
    for part in ["recon", "imp_min", "adversarial", "total"] {
        for (a, b) in alone[part].as_array().unwrap().iter().zip(together[part].as_array().unwrap()) {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            // One in float64, the other in float32.
            assert!((a - b).abs() < 1e-3 * a.abs(), "{part}: {a} {b}");
        }
    }
}

#[test]
fn several_prompts_are_a_file_of_samples() {
    let workshop = Workshop::small();
    let args = [
        "optimize",
        "--model",
        "run",
        "--tokens",
        "1,4,2",
        "--tokens",
        "5,6",
        "--steps",
        "2",
        "--masks",
        "ci",
        "--out",
        "made.json",
    ];
    workshop.succeed(&args);
    let made = json(&workshop, "made.json");
    let names: Vec<&String> = made["samples"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["prompt_0_coeff_0.01_seed_0", "prompt_1_coeff_0.01_seed_0"]);
    assert_eq!(made["samples"]["prompt_1_coeff_0.01_seed_0"]["tokens"], serde_json::json!([5, 6]));
    workshop.succeed(&["attribute", "--model", "run", "--ci-sets", "made.json", "--out", "out"]);
}

#[test]
fn what_cannot_be_made_is_refused_before_a_step() {
    let workshop = Workshop::small();
    let refusals: [(&[&str], &str); 8] = [
        (&["--position", "3"], "prompt 0: the position 3 is looked at, but it has 3 tokens"),
        (&["--label", "w1 w2"], "no token is \"w1 w2\""),
        (&["--loss", "logit-difference"], "needs a token to compare the label with"),
        (&["--loss", "logit-difference", "--against", "#3"], "to be compared with itself"),
        (&["--against", "#4"], "has no part in the loss ce"),
        (&["--seeds", "1,2,1"], "the seed 1 is asked for twice"),
        (&["--snapshots", "6", "--steps", "5"], "a snapshot is asked for after 6 steps"),
        (&["--max-memory", "1MB"], "--max-memory"),
    ];
    for (args, expected) in refusals {
        let of_label: &[&str] = if args[0] == "--label" { &OPTIMIZE[..5] } else { &OPTIMIZE };
        let message = workshop.fail(&[of_label, args, &["--quiet", "--out", "made.json"]].concat());
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(!workshop.path("made.json").exists());
    }
    workshop.write("made.json", "mine");
    let message = workshop.fail(&optimize(&["--quiet", "--out", "made.json"]));
    assert!(message.contains("already exists") && message.contains("--force"), "{message}");
    assert_eq!(fs::read(workshop.path("made.json")).unwrap(), b"mine");
    let message = workshop.fail(&optimize(&["--quiet", "--out", "made.json/in/a/file"]));
    assert!(message.contains("made.json"), "{message}");
}

/// A signal ends the steps; what is reached is written, and the same command goes on from it as if nothing had been.
#[cfg(unix)]
#[test]
fn what_is_interrupted_goes_on() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};

    let workshop = Workshop::small();
    let args = ["--seeds", "0,1", "--steps", "2000", "--snapshots", "150,2000", "--threads", "1", "--resume"];
    workshop.succeed(&optimize(&[&args[..], &["--out", "whole.json"]].concat()));
    let args = optimize(&[&args[..], &["--out", "made.json"]].concat());
    let mut command = workshop.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next().expect("it says how far it is").unwrap().contains("step 200 of 2000") {}
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let reached = json(&workshop, "made.json");
    let step = reached["metadata"]["coeff_0.01_seed_1"]["step"].as_u64().unwrap();
    assert!((200..2000).contains(&step), "{step}");
    assert!(reached["ci_sets"].get("coeff_0.01_seed_1@150").is_some());
    // Other requests do not go on from it.
    let message = workshop.fail(&[&args[..], &["--quiet", "--lr", "0.5"]].concat());
    assert!(message.contains("made.json.resume") && message.contains("lr 0.01, and 0.5 is asked for now"), "{message}");
    let output = workshop.tributary(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(workshop.path("made.json")).unwrap(), fs::read(workshop.path("whole.json")).unwrap());
    assert!(!workshop.path("made.json.resume").exists());
}

/// The others are made to the end, and everything is written before it is said.
#[test]
fn a_loss_that_is_no_number_is_of_one_set() {
    let workshop = Workshop::small();
    let message =
        workshop.fail(&optimize(&["--quiet", "--sparsity", "0.01,1e308", "--steps", "3", "--out", "made.json"]));
    assert!(
        message.contains("set \"coeff_1e308_seed_0\": what is optimised is no finite number at step 0"),
        "{message}"
    );
    let made = json(&workshop, "made.json");
    assert_eq!(made["metadata"]["coeff_1e308_seed_0"]["loss_not_finite_at_step"], 0);
    assert_eq!(made["metadata"]["coeff_0.01_seed_0"]["curve"]["total"].as_array().unwrap().len(), 3);
    workshop.succeed(&optimize(&["--sparsity", "0.01", "--steps", "3", "--out", "alone.json"]));
    let alone = json(&workshop, "alone.json");
    let values = |file: &Value| {
        let rows = file["ci_sets"]["coeff_0.01_seed_0"]["h.1.mlp.down_proj"].as_array().unwrap();
        rows.iter().flat_map(|row| row.as_array().unwrap()).map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
    };
    // Beside another it is the same to rounding, of float32.
    assert!(values(&alone).iter().zip(values(&made)).all(|(a, b)| (a - b).abs() < 1e-3));
}
