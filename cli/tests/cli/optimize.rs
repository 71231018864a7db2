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
    let refusals: [(&[&str], &str); 15] = [
        (&["--position", "3"], "prompt 0: the position 3 is looked at, but it has 3 tokens"),
        (&["--position", "3"], "(--position)"),
        (&["--label", "w1 w2"], "no token is \"w1 w2\""),
        (&["--label", "w1 w2"], "(--label)"),
        (&["--loss", "logit-difference", "--against", "w1 w2"], "(--against)"),
        (&["--snapshots", "1,1"], "the snapshot after step 1 is asked for twice; each gives one set (--snapshots)"),
        (&["--plot", "../made.svg"], "in their folder"),
        (&["--plot", "made.json.resume/../made.svg"], "in their folder"),
        (&["--sparsity", "1,1.0"], "(--sparsity)"),
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

/// Runs a command of 2000 steps until it says that it is at step 200, sends it signals without a pause, and gives its status and
/// what it said from then on.
#[cfg(unix)]
fn interrupt(workshop: &Workshop, args: &[&str], signals: &[rustix::process::Signal]) -> (Option<i32>, String) {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use rustix::process::{Pid, kill_process};

    let mut command = workshop.command(args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    while !lines.next().expect("it says how far it is").contains("step 200 of 2000") {}
    for &signal in signals {
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Two of a kind that come before the first is looked at are one.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = lines.collect::<Vec<_>>().join("\n");
    (child.wait().unwrap().code(), said)
}

/// A signal ends the steps; what is reached is written, and the same command goes on from it as if nothing had been.
#[cfg(unix)]
#[test]
fn what_is_interrupted_goes_on() {
    use rustix::process::Signal;

    let workshop = Workshop::small();
    let args = ["--seeds", "0,1", "--steps", "2000", "--snapshots", "2000,150", "--threads", "1", "--resume"];
    workshop.succeed(&optimize(&[&args[..], &["--out", "whole.json"]].concat()));
    let args = optimize(&[&args[..], &["--out", "made.json", "--plot"]].concat());
    let (status, said) = interrupt(&workshop, &args, &[Signal::INT]);
    assert_eq!(status, Some(130));
    assert!(said.contains("the same command with --resume goes on"), "{said}");

    let figure = fs::read_to_string(workshop.path("made.svg")).unwrap();
    assert!(figure.contains("of 2000 steps are done"), "{figure}");
    let reached = json(&workshop, "made.json");
    let step = reached["metadata"]["coeff_0.01_seed_1"]["step"].as_u64().unwrap();
    assert!((200..2000).contains(&step), "{step}");
    assert!(reached["ci_sets"].get("coeff_0.01_seed_1@150").is_some());
    // Other requests do not go on from it.
    let message = workshop.fail(&[&args[..], &["--quiet", "--lr", "0.5"]].concat());
    assert!(message.contains("made.json.resume") && message.contains("lr 0.01, and 0.5 is asked for now"), "{message}");
    let message = workshop.fail(&[&args[..], &["--quiet", "--snapshots", "300"]].concat());
    assert!(
        message.contains("it was begun with snapshots [150, 2000], and [150, 300, 2000] are asked for now"),
        "{message}"
    );
    // Without a word nothing that is there goes away.
    let files = || ["made.json", "made.json.resume", "made.svg"].map(|file| fs::read(workshop.path(file)).unwrap());
    let before = files();
    let anew: Vec<&str> = args.iter().copied().filter(|&arg| arg != "--resume" && arg != "--plot").collect();
    let message = workshop.fail(&[&anew[..], &["--quiet"]].concat());
    assert!(
        message.contains("an interrupted run left it") && message.contains("--resume goes on, --force"),
        "{message}"
    );
    fs::remove_file(workshop.path("made.json")).unwrap();
    let message = workshop.fail(&[&anew[..], &["--quiet"]].concat());
    assert!(message.contains("an interrupted run left it"), "{message}");
    fs::write(workshop.path("made.json"), &before[0]).unwrap();
    assert_eq!(files(), before);
    // Damage is told, whatever it is.
    let text = String::from_utf8(before[1].clone()).unwrap();
    let updates = format!("\"updates\":{step}");
    let damages = [
        (updates.as_str(), "\"updates\":2147483647"),
        ("\"second\":[", "\"second\":[-"),
        ("\"first\":[", "\"first\":[1e999,"),
        ("\"curve\":{", "\"curve\":{\"more\":1,"),
        ("\"adam\":{", "\"adam\":{\"more\":1,"),
        ("\"state\":{", "\"state\":{\"more\":1,"),
        ("\"failed\":null", "\"failed\":3"),
        ("[{\"step\":150,", "[{\"step\":151,"),
        ("\"recon\":[", "\"recon\":[1.0,"),
        ("tributary-optimize-2", "tributary-optimize-3"),
    ];
    for (from, to) in damages {
        assert!(text.contains(from), "{from}");
        workshop.write("made.json.resume", &text.replacen(from, to, 1));
        let message = workshop.fail(&[&args[..], &["--quiet"]].concat());
        assert!(message.contains("made.json.resume: a run cannot go on from it"), "{to}: {message}");
    }
    workshop.write("made.json.resume", &text);
    let output = workshop.tributary(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let whole = fs::read(workshop.path("whole.json")).unwrap();
    assert_eq!(fs::read(workshop.path("made.json")).unwrap(), whole);
    assert!(!workshop.path("made.json.resume").exists());
    assert_ne!(fs::read_to_string(workshop.path("made.svg")).unwrap(), figure);
    // And once more: it is done.
    fs::remove_file(workshop.path("made.svg")).unwrap();
    let text = workshop.succeed(&args);
    assert!(text.contains("made.json is complete already") && text.contains("made.svg"), "{text}");
    assert!(workshop.path("made.svg").exists());
    assert_eq!(fs::read(workshop.path("made.json")).unwrap(), whole);
    for other in [["--lr", "0.5"], ["--snapshots", "7"], ["--seeds", "3"], ["--steps", "1999"]] {
        // The later flag adds to the list, or is an error of its own where there is one value: both leave the file.
        let output = workshop.tributary(&[&anew[..], &["--resume", "--quiet"], &other].concat());
        assert!(!output.status.success(), "{other:?}");
    }
    // What was reached is not what was asked for, even where nothing is left to go on from.
    fs::write(workshop.path("made.json"), &before[0]).unwrap();
    let message = workshop.fail(&[&anew[..], &["--resume", "--quiet"]].concat());
    assert!(message.contains("already exists") && message.contains("--force"), "{message}");
    workshop.write("made.json.resume", &String::from_utf8(before[1].clone()).unwrap());
    workshop.succeed(&[&anew[..], &["--force"]].concat());
    assert_eq!(fs::read(workshop.path("made.json")).unwrap(), whole);
    assert!(!workshop.path("made.json.resume").exists());
}

/// Schedulers tell a process and its group: that is one wish.
#[cfg(unix)]
#[test]
fn signals_that_come_together_are_one() {
    use rustix::process::Signal;

    let workshop = Workshop::small();
    let args = optimize(&["--sparsity", "0.01,1e308", "--steps", "2000", "--threads", "1", "--out", "made.json"]);
    let (status, said) = interrupt(&workshop, &args, &[Signal::TERM, Signal::TERM, Signal::INT]);
    assert_eq!(status, Some(143), "{said}");
    // One of the sets failed, and both are told.
    assert!(said.contains("no finite number at step 0") && said.contains("--resume goes on"), "{said}");
    assert!(workshop.path("made.json").exists() && workshop.path("made.json.resume").exists());
    let message = stderr(&workshop.tributary(&[&args[..], &["--resume", "--quiet"]].concat()));
    assert!(message.contains("no finite number at step 0"), "{message}");
    assert!(!workshop.path("made.json.resume").exists());
}

/// What no run left is nobody's to take away.
#[test]
fn a_file_in_the_way_stays() {
    let workshop = Workshop::small();
    workshop.write("made.json.resume", "mine");
    for flags in [&[][..], &["--force"], &["--resume"], &["--force", "--resume"]] {
        let message = workshop.fail(&optimize(&[&["--quiet", "--steps", "2", "--out", "made.json"], flags].concat()));
        assert!(message.contains("made.json.resume") && message.contains("something else is there"), "{message}");
        assert_eq!(fs::read(workshop.path("made.json.resume")).unwrap(), b"mine");
        assert!(!workshop.path("made.json").exists());
    }
}

/// Each flag says what it expects.
#[test]
fn negative_numbers_are_values() {
    let workshop = Workshop::small();
    let flags = [
        "--lr",
        "--sparsity",
        "--loss-weight",
        "--seeds",
        "--steps",
        "--pnorm",
        "--pnorm-final",
        "--pnorm-anneal",
        "--beta",
        "--adversary",
        "--adversary-weight",
        "--snapshots",
        "--position",
    ];
    for flag in flags {
        let output = workshop.tributary(&optimize(&["--out", "made.json", flag, "-1"]));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flag}: {message}");
        assert!(message.contains(&format!("invalid value '-1' for '{flag}")), "{flag}: {message}");
    }
}

#[test]
fn figures_come_with_the_sets() {
    let workshop = Workshop::small();
    let args = ["--sparsity", "0.01,0.1", "--seeds", "0,7", "--steps", "3", "--adversary", "2", "--out", "made.json"];
    let text = workshop.succeed(&optimize(&[&args[..], &["--plot"]].concat()));
    assert!(text.contains("wrote made.json and made.svg"), "{text}");
    let svg = fs::read_to_string(workshop.path("made.svg")).unwrap();
    let made = json(&workshop, "made.json");
    for set in made["ci_sets"].as_object().unwrap().keys() {
        // A line in each of the six panels.
        assert_eq!(svg.matches(&format!("<title>{set}</title>")).count(), 6, "{set}");
    }
    for text in ["coeff_0.01", "coeff_0.1", "seed 0", "seed 7", "(recon)", "(adversarial)"] {
        assert!(svg.contains(text), "{text}");
    }
    let l0 = made["metadata"]["coeff_0.1_seed_7"]["curve"]["l0"][2].as_f64().unwrap();
    // As figures give numbers: three digits.
    let number = if l0 < 10.0 { format!("{l0:.2}") } else { format!("{l0:.1}") };
    assert!(svg.contains(&format!("<title>coeff_0.1_seed_7: 2.00, {number}</title>")), "{l0}");
    // Nothing that is there is replaced without a word, and it is known before a step.
    let message = workshop.fail(&optimize(&[&args[..], &["--plot", "made.svg", "--quiet", "--resume"]].concat()));
    assert!(message.contains("made.svg\" already exists") && message.contains("--force"), "{message}");
    workshop.succeed(&optimize(&[&args[..], &["--plot", "a/b/curves.png", "--force"]].concat()));
    assert!(fs::read(workshop.path("a/b/curves.png")).unwrap().starts_with(b"\x89PNG"));
    let output = workshop.tributary(&optimize(&[&args[..], &["--plot", "curves.pdf"]].concat()));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(".svg or .png"), "{}", stderr(&output));
}

/// The others are made to the end, and everything is written before it is said.
#[test]
fn a_loss_that_is_no_number_is_of_one_set() {
    let workshop = Workshop::small();
    let message = workshop.fail(&optimize(&[
        "--quiet",
        "--sparsity",
        "0.01,1e308",
        "--steps",
        "3",
        "--snapshots",
        "1,3",
        "--out",
        "made.json",
    ]));
    assert!(
        message.contains("set \"coeff_1e308_seed_0\": what is optimised is no finite number at step 0"),
        "{message}"
    );
    let made = json(&workshop, "made.json");
    assert_eq!(made["metadata"]["coeff_1e308_seed_0"]["loss_not_finite_at_step"], 0);
    assert_eq!(made["metadata"]["coeff_1e308_seed_0"]["step"], 0);
    // It did not get where it was to be kept.
    let names: Vec<&String> = made["ci_sets"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["coeff_0.01_seed_0@1", "coeff_0.01_seed_0@3", "coeff_0.01_seed_0", "coeff_1e308_seed_0"]);
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
