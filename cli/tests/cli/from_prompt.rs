//! All the way from a prompt: `attribute --from-prompt`.

use serde_json::Value;
use tributary_results::ResultFolder;

use crate::workshop::{PROMPT, Workshop, stderr};

const FROM_PROMPT: [&str; 12] = [
    "attribute",
    "--from-prompt",
    "--model",
    "run",
    "--prompt",
    PROMPT,
    "--steps",
    "5",
    "--backend",
    "flex",
    "--out",
    "out",
];

fn read(workshop: &Workshop, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(workshop.path(name)).unwrap()).unwrap()
}

/// One command is the three that it stands for.
#[test]
fn it_is_optimize_attribute_and_evaluate() {
    let workshop = Workshop::small();
    workshop.succeed(&[&FROM_PROMPT[..], &["--seeds", "0,1", "--label", "#3", "--plot", "--quiet"]].concat());
    let optimize =
        ["optimize", "--model", "run", "--prompt", PROMPT, "--steps", "5", "--seeds", "0,1", "--label", "#3"];
    workshop.succeed(&[&optimize[..], &["--backend", "flex", "--out", "made.json", "--quiet"]].concat());
    let [found, expected] = ["out/ci_sets.json", "made.json"].map(|name| std::fs::read(workshop.path(name)).unwrap());
    assert_eq!(found, expected);

    let result = ResultFolder::open(&workshop.path("out")).unwrap();
    let args = ["--forward", "target", "--output-token", "last:#3", "--out", "again", "--quiet", "--force"];
    workshop.succeed(
        &[&["attribute", "--model", "run", "--ci-sets", "made.json", "--backend", "flex"], &args[..]].concat(),
    );
    let again = ResultFolder::open(&workshop.path("again")).unwrap();
    assert_eq!(result.manifest().settings, again.manifest().settings);
    let sha256 = |folder: &ResultFolder| -> Vec<String> {
        folder.manifest().sets.iter().map(|set| set.sha256.clone()).collect()
    };
    assert_eq!(sha256(&result), sha256(&again));

    let evaluated: Value =
        serde_json::from_str(&workshop.succeed(&["evaluate", "again", "--backend", "flex", "--json", "--quiet"]))
            .unwrap();
    for (set, evaluated) in result.manifest().sets.iter().zip(evaluated["sets"].as_array().unwrap()) {
        assert_eq!(&set.metadata.as_ref().unwrap()["evaluation"], evaluated);
        assert!(workshop.path(format!("out/plots/{}.png", set.stem())).exists());
    }
    // The figure tells what the set is worth.
    let figure = std::fs::read_to_string(workshop.path(format!("out/plots/{}.svg", result.manifest().sets[0].stem())));
    assert!(figure.unwrap().contains("adversarial"));
    workshop.succeed(&["verify", "out", "--device", "cpu"]);
}

#[test]
fn nothing_is_replaced_or_taken_in_silence() {
    let workshop = Workshop::small();
    workshop.succeed(&[&FROM_PROMPT[..], &["--quiet"]].concat());
    let before = read(&workshop, "out/manifest.json");
    let message = workshop.fail(&FROM_PROMPT);
    assert!(message.contains("out") && message.contains("--force"), "{message}");
    assert_eq!(read(&workshop, "out/manifest.json"), before);
    workshop.succeed(&[&FROM_PROMPT[..], &["--force", "--quiet"]].concat());

    // Sets that are complete are not made again.
    std::fs::remove_file(workshop.path("out/manifest.json")).unwrap();
    let sets = std::fs::read(workshop.path("out/ci_sets.json")).unwrap();
    workshop.succeed(&[&FROM_PROMPT[..], &["--resume", "--quiet", "--force"]].concat());
    assert_eq!(std::fs::read(workshop.path("out/ci_sets.json")).unwrap(), sets);

    let message = workshop.fail(&["attribute", "--model", "run", "--prompt", PROMPT, "--out", "own", "--steps", "5"]);
    assert!(message.contains("go with --from-prompt"), "{message}");
    let output = workshop.tributary(&[&FROM_PROMPT[..], &["--ci-sets", "sets.json"]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
