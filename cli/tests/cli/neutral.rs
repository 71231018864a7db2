//! The command on a neutral run, which has no CI function.

use tributary_inputs::test_support::{RandomWeights, write_neutral_run};

use crate::workshop::{Workshop, stderr};

/// Files of a result that hold numbers of its sets.
fn numbers(workshop: &Workshop, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = workshop.list(folder).into_iter().filter(|name| name != "manifest.json");
    names.map(|name| (name.clone(), std::fs::read(workshop.path(folder).join(name)).unwrap())).collect()
}

/// A run and the same as a neutral run give the same numbers, bit for bit.
#[test]
fn ci_sets_of_a_file_are_computed_and_own_ones_are_not() {
    let weights = RandomWeights::gpt2_simple(3).weights();
    let workshop = Workshop::new(&weights);
    std::fs::create_dir(workshop.path("neutral")).unwrap();
    write_neutral_run(&workshop.path("neutral"), &weights);

    let inspected = workshop.succeed(&["inspect", "neutral"]);
    assert!(inspected.starts_with("GPT2Simple: 2 blocks, d_model 8, "), "{inspected}");
    assert!(inspected.contains("model.safetensors"), "{inspected}");

    let args = |run, out| ["attribute", "--model", run, "--ci-sets", "sets.json", "--out", out, "--backend", "flex"];
    let output = workshop.tributary(&args("neutral", "of-neutral"));
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("a neutral run holds no CI function"), "{said}");
    // The other one must not know its CI function either: there would be ghosts.
    workshop.replace("run/final_config.yaml", "ci_fn_type: shared_mlp", "ci_fn_type: unknown");
    workshop.succeed(&args("run", "of-run"));
    let numbers = ["of-neutral", "of-run"].map(|folder| numbers(&workshop, folder));
    assert!(!numbers[0].is_empty());
    assert!(numbers[0] == numbers[1], "other numbers");

    let refused = workshop.fail(&["attribute", "--model", "neutral", "--prompt", "w1 w4", "--out", "own"]);
    assert!(refused.contains("a neutral run holds no CI function"), "{refused}");
    assert!(!workshop.path("own").exists());
}
