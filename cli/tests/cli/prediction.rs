//! What is said of sets whose graphs explain something else than the target model.

use std::path::Path;

use serde_json::Value;
use tributary_model::Faithfulness;
use tributary_results::ResultFolder;

use crate::workshop::{Workshop, stderr, stdout};

/// The bundled story, one set of it, computed with more flags; gives stdout and stderr.
fn story(workshop: &Workshop, flags: &[&str]) -> (String, String) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let (model, sets) = (examples.join("gpt2s-2L"), examples.join("story.ci_sets.json"));
    let args = ["attribute", "--out", "out", "--backend", "flex", "--sets", "seed_0", "--force", "--model"];
    let inputs = [model.to_str().unwrap(), "--ci-sets", sets.to_str().unwrap()];
    let output = workshop.tributary(&[&args, &inputs[..], flags].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    (stdout(&output), stderr(&output))
}

/// At position 17 of the story the masked model of `seed_0` gives "the" a probability of 0.86, and the target model 0.0007.
#[test]
fn an_output_that_the_target_model_does_not_predict_is_named() {
    let workshop = Workshop::small();
    let (text, errors) = story(&workshop, &[]);
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let found = folder.manifest().sets[0].prediction.unwrap();
    let farthest = found.farthest.unwrap();
    assert_eq!((farthest.position, folder.manifest().output_token(farthest.token)), (17, "the".to_owned()));
    assert!((farthest.prob - 0.86).abs() < 0.005 && (farthest.target_prob - 7e-4).abs() < 5e-5, "{farthest:?}");
    let note = errors.lines().find(|line| line.starts_with("note: set seed_0: the probabilit")).unwrap();
    assert!(note.contains("\"·the\" at position 17: 0.858 where the target model gives 6.8e-4"), "{note}");
    assert!(text.contains(&found.to_string()), "{text}");
    assert!(found.is_far() && errors.contains("warning: set seed_0: "), "{errors}");
    // On stderr it does not disturb what is for machines.
    let (text, errors) = story(&workshop, &["--json"]);
    assert!(errors.contains(note), "{errors}");
    let line: Value = serde_json::from_str(&text).unwrap();
    let json = &line["sets"][0]["prediction"];
    assert_eq!((json["is_far"].as_bool(), json["agreement"].as_f64()), (Some(true), Some(found.agreement())));
    let inspected = workshop.succeed(&["inspect", "out"]);
    assert!(inspected.contains(note) && inspected.contains("likeliest after it"), "{inspected}");
}

#[test]
fn a_set_that_is_far_from_the_target_model_is_warned_of() {
    let workshop = Workshop::small();
    let output = workshop.attribute(&[]);
    let (text, errors) = (stdout(&output), stderr(&output));
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    for set in &folder.manifest().sets {
        let found = set.prediction.unwrap();
        assert!(text.contains(&found.to_string()), "{text}");
        let warning = format!("warning: set {}: {}: {found}", set.name, Faithfulness::FAR);
        assert_eq!(errors.lines().any(|line| line == warning), found.is_far(), "{errors}");
    }
}
