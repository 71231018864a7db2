//! Which sets of which folders are compared, and what is refused.

use std::path::Path;

use tributary_compare::{Alignment, CompareError, ComparedSet, Comparison, ComparisonOptions, Consensus};
use tributary_graph::View;
use tributary_model::Prompt;
use tributary_results::{Delta, Forward, ModelInfo, ResultFolder, Settings};

use crate::case::{Case, at, c_fc_layer, prompt, settings, small, write};

fn set(name: &str) -> Case {
    small(name, &[at(c_fc_layer(), 0, 1)], &[])
}

fn on(token: u32) -> Prompt {
    Prompt { text: format!("prompt\u{7} {token}"), tokens: vec![token], ..prompt(1) }
}

fn result(path: &Path, sets: &[(&str, u32)]) -> ResultFolder {
    let cases: Vec<(Case, Prompt)> = sets.iter().map(|&(name, token)| (set(name), on(token))).collect();
    write(path, &cases, settings(), |_| {});
    ResultFolder::open(path).unwrap()
}

fn open(folders: &[ResultFolder], names: &[String], prompt: Option<usize>) -> Result<Vec<ComparedSet>, CompareError> {
    tributary_compare::open(folders, names, prompt, View::default())
}

fn labels(sets: &[ComparedSet]) -> Vec<&str> {
    sets.iter().map(ComparedSet::label).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn sets_of_one_result_are_called_by_their_names() {
    let out = tempfile::tempdir().unwrap();
    let folder = result(out.path(), &[("b", 0), ("a/\u{202e}\"", 0), ("", 0)]);
    let folders = [folder];
    let sets = open(&folders, &[], None).unwrap();
    assert_eq!(labels(&sets), ["b", "a/\u{202e}\"", ""]);
    assert_eq!(labels(&open(&folders, &names(&["", "b"]), None).unwrap()), ["b", ""]);
    assert!(Alignment::new(&sets, None).is_ok());
    let error = open(&folders, &names(&["b"]), None).unwrap_err().to_string();
    assert!(error.starts_with("there is only \"b\" to compare; give results or choose sets"), "{error}");
    let error = open(&folders, &names(&["b", "c"]), None).unwrap_err().to_string();
    assert!(
        error.contains("no set \"c\" on the prompt \"prompt\\u{7} 0\"") && error.contains("are \"b\", "),
        "{error}"
    );
    assert!(matches!(open(&[], &[], None), Err(CompareError::TooFewSets { .. })));
}

#[test]
fn sets_of_several_results_are_called_after_them() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    let (one, two) = (result(&path("one"), &[("a", 0), ("b", 0)]), result(&path("two"), &[("a", 0)]));
    let folders = [one.clone(), two];
    assert_eq!(labels(&open(&folders, &[], None).unwrap()), ["one/a", "one/b", "two/a"]);
    assert_eq!(labels(&open(&folders, &names(&["a"]), None).unwrap()), ["one/a", "two/a"]);
    assert_eq!(labels(&open(&folders, &names(&["one/b", "two/a"]), None).unwrap()), ["one/b", "two/a"]);
    // Folders of one name are called by their paths.
    let other = result(&path("x/one"), &[("a", 0)]);
    let sets = open(&[one, other], &names(&["a"]), None).unwrap();
    let expected = ["one/a", "x/one/a"].map(|label| path(label).display().to_string());
    assert_eq!(labels(&sets), expected);
    assert_eq!(sets[1].result(), path("x/one"));
}

#[test]
fn a_result_of_several_prompts_needs_a_choice() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    let many = result(&path("many"), &[("a", 0), ("b", 1), ("c", 1), ("d", 2)]);
    let few = result(&path("few"), &[("x", 2), ("y", 1)]);
    let error = open(std::slice::from_ref(&many), &[], None).unwrap_err().to_string();
    assert!(error.contains("several prompts,\n  0: \"prompt\\u{7} 0\" (1 tokens, 1 sets)\n  1: "), "{error}");
    let of = |folders: &[ResultFolder], sets: &[&str], prompt| {
        open(folders, &names(sets), prompt).map(|sets| labels(&sets).join(" "))
    };
    assert_eq!(of(std::slice::from_ref(&many), &[], Some(1)).unwrap(), "b c");
    // The chosen sets have one prompt.
    assert_eq!(of(std::slice::from_ref(&many), &["b", "c"], None).unwrap(), "b c");
    assert!(matches!(of(std::slice::from_ref(&many), &["a", "c"], None), Err(CompareError::SeveralPrompts { .. })));
    let error = of(std::slice::from_ref(&many), &["a", "c"], Some(1)).unwrap_err().to_string();
    assert!(error.contains("no set \"a\""), "{error}");
    assert!(matches!(
        of(std::slice::from_ref(&many), &[], Some(3)),
        Err(CompareError::UnknownPrompt { number: 3, .. })
    ));
    // Numbers are the first's, tokens decide in the others.
    assert_eq!(of(&[many.clone(), few.clone()], &[], Some(1)).unwrap(), "many/b many/c few/y");
    assert_eq!(of(&[few.clone(), many.clone()], &[], Some(0)).unwrap(), "few/x many/d");
    let error = of(&[many, few], &[], Some(0)).unwrap_err();
    assert!(matches!(error, CompareError::OtherPrompt { .. }), "{error}");
}

#[test]
fn what_differs_is_said_of_both() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    let differing = |name: &str, case: Case, change: &dyn Fn(&mut ModelInfo)| {
        write(&path(name), &[(case, on(0))], settings(), change);
        ResultFolder::open(&path(name)).unwrap()
    };
    let a = differing("a", set("s"), &|_| {});
    let error = |other: ResultFolder| {
        let sets = open(&[a.clone(), other], &[], None).unwrap();
        Alignment::new(&sets, None).unwrap_err().to_string()
    };
    let found = error(differing("b", set("s"), &|model| model.fingerprint = "0123".to_owned()));
    let expected = format!(
        "\"a/s\" and \"b/s\" cannot be compared: their models have the fingerprints {} and 0123; give results of one model",
        "f".repeat(64)
    );
    assert_eq!(found, expected);
    let found = error(differing("c", set("s"), &|model| model.n_blocks = 7));
    assert!(found.contains("describe one model in two ways"), "{found}");
    let mut fewer = set("s");
    fewer.set.pairs.remove(2);
    let found = error(differing("d", fewer, &|_| {}));
    assert!(
        found.contains("pair 2 is wte -> output, crossing positions in the one and h.0.mlp.down_proj -> output in"),
        "{found}"
    );
    // Not by way of `open`, which takes sets on the same tokens alone.
    let two = |tokens: &[u32]| {
        let name = format!("p{}", tokens.len() + tokens[0] as usize);
        let given = Prompt { tokens: tokens.to_vec(), token_strings: vec!["t".to_owned(); tokens.len()], ..prompt(1) };
        let case = Case { set: small("s", &[], &[]).set, metadata: None };
        if tokens.len() == 1 {
            write(&path(&name), &[(case.clone(), given.clone()), (set("t"), given)], settings(), |_| {});
            return open(&[ResultFolder::open(&path(&name)).unwrap()], &[], None).unwrap().remove(0);
        }
        let manifest = write(&path(&name), &[(case.clone(), given)], settings(), |_| {});
        let manifest = std::sync::Arc::new(manifest);
        ComparedSet::new("long".to_owned(), &path(&name), manifest, 0, &case.set, View::default())
    };
    let found = two(&[0]).check_comparable(&two(&[2])).unwrap_err().to_string();
    assert!(found.contains("token 0 of their prompts is \"t\" (0) in the one and \"t\" (2) in the other"), "{found}");
    let found = two(&[0]).check_comparable(&two(&[0, 1])).unwrap_err().to_string();
    assert!(found.contains("their prompts have 1 and 2 tokens; give results on one prompt"), "{found}");
}

/// Where attributions were evaluated decides what they are: what differs in that is told.
#[test]
fn other_activations_and_deltas_are_told() {
    let parent = tempfile::tempdir().unwrap();
    let result = |name: &str, forward, delta| {
        let settings = Settings { forward, delta, ..settings() };
        write(&parent.path().join(name), &[(set("s"), on(0))], settings, |_| {});
        ResultFolder::open(&parent.path().join(name)).unwrap()
    };
    let masked = result("masked", Forward::Masked, None);
    let through = result("through", Forward::Target, Some(Delta::Through));
    let stopped = result("stopped", Forward::Target, Some(Delta::Stopped));
    let same = result("same", Forward::Target, Some(Delta::Stopped));
    let notes = |folders: [&ResultFolder; 2]| {
        let sets = open(&folders.map(Clone::clone), &[], None).unwrap();
        Comparison::of_sets(&sets, &ComparisonOptions::default()).unwrap().0.notes
    };
    let at_target = |does: &str| {
        format!("at the target model's activations, gradients {does} what no component holds of the weights")
    };
    let told = |first: &str, other: &str| {
        [format!("attributions are evaluated in {first}, and in {other}: their values are not those of one thing")]
    };
    assert_eq!(
        notes([&masked, &through]),
        told("\"masked/s\" at the masked model's activations", &format!("\"through/s\" {}", at_target("pass through")))
    );
    assert_eq!(
        notes([&through, &stopped]),
        told(
            &format!("\"through/s\" {}", at_target("pass through")),
            &format!("\"stopped/s\" {}", at_target("stop at"))
        )
    );
    assert_eq!(notes([&stopped, &same]), [""; 0]);
    // Of them there is no mean.
    let sets = open(&[masked, through], &[], None).unwrap();
    let alignment = Alignment::new(&sets, None).unwrap();
    let out = parent.path().join("consensus");
    let error = Consensus::new(&alignment, None).unwrap().write(&alignment, &out, false).unwrap_err().to_string();
    assert!(error.contains("\"masked/s\" and \"through/s\" are evaluated at other activations"), "{error}");
    assert!(!out.exists());
}
