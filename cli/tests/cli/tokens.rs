//! Prompts as token ids: on the command line, in a file, in a file of CI sets.

use std::fs;

use serde_json::{Value, json};
use tributary_results::{Manifest, ResultFolder};

use crate::attribute::{assert_same, read, succeed};
use crate::workshop::{PROMPT, Workshop, stderr, stdout};

fn manifest(workshop: &Workshop, out: &str) -> Manifest {
    ResultFolder::open(&workshop.path(out)).unwrap().manifest().clone()
}

fn own(workshop: &Workshop, out: &str, input: &[&str]) -> std::process::Output {
    workshop.tributary(&[&["attribute", "--model", "run", "--force", "--out", out], input].concat())
}

#[test]
fn ids_are_as_good_as_their_text() {
    let workshop = Workshop::small();
    succeed(&own(&workshop, "text", &["--prompt", PROMPT, "--prompt", "w5 w6"]));
    fs::write(workshop.path("lines.txt"), "1,4,2\r\n5 6\n\n").unwrap();
    fs::write(workshop.path("tokens.json"), "\u{feff} [[1, 4, 2], [5, 6]]\n").unwrap();
    let inputs: [&[&str]; 3] =
        [&["--tokens", "1,4,2", "--tokens", "5 6"], &["--tokens-file", "lines.txt"], &["--tokens-file", "tokens.json"]];
    let expected = manifest(&workshop, "text");
    for input in inputs {
        let output = own(&workshop, "out", input);
        succeed(&output);
        assert!(!stderr(&output).contains("note: prompt"), "{}", stderr(&output));
        let found = manifest(&workshop, "out");
        assert_eq!((&found.prompts, found.sets.len()), (&expected.prompts, 2));
        for set in ["prompt_0", "prompt_1"] {
            assert_same(&read(&workshop, "out", set), &read(&workshop, "text", set));
        }
    }
    fs::write(workshop.path("one.json"), "[5, 6]").unwrap();
    succeed(&own(&workshop, "out", &["--tokens-file", "one.json"]));
    assert_eq!(manifest(&workshop, "out").prompts[0].tokens, [5, 6]);
}

/// A tokenizer that merges `a` and `b`, so that nothing it makes of a text has them beside each other.
fn merging(workshop: &Workshop) {
    let vocab: serde_json::Map<String, Value> = ["a", "b", "ab", "c", "d", "e", "f", "g", "h", "i", "?"]
        .into_iter()
        .enumerate()
        .map(|(id, token)| (token.to_owned(), id.into()))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]], "unk_token": "?"},
    });
    fs::write(workshop.path("run/target/tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// The text of such a result does not lead back to its tokens, and all that reads it goes by these.
#[test]
fn ids_that_no_text_has_are_verified_by_their_ids() {
    let workshop = Workshop::small();
    merging(&workshop);
    let output = own(&workshop, "out", &["--tokens", "0,1,3"]);
    succeed(&output);
    let note = "note: prompt \"abc\": it is what the given tokens are decoded to; the tokenizer makes others of it, \"ab\", \"c\"";
    assert!(stderr(&output).contains(note), "{}", stderr(&output));
    let prompt = &manifest(&workshop, "out").prompts[0];
    assert_eq!((&*prompt.text, &*prompt.tokens), ("abc", &[0, 1, 3][..]));
    let passes = |out: &str| {
        let output = workshop.tributary(&["verify", out, "--json", "--device", "cpu"]);
        let report: Value = serde_json::from_str(&succeed(&output)).unwrap();
        assert!(report["edges"].as_u64().unwrap() > 0 && report["passed"] == true, "{report}");
    };
    passes("out");
    succeed(&own(&workshop, "text", &["--prompt", "abc"]));
    assert_eq!(manifest(&workshop, "text").prompts[0].tokens, [2, 3]);
    // What these ids are the tokens of, in a file of CI sets.
    workshop.edit_sets(|sets| {
        sets.as_object_mut().unwrap().remove("prompt");
        sets["tokens"] = json!([0, 1, 3]);
    });
    succeed(&workshop.attribute(&["--force"]));
    let prompt = &manifest(&workshop, "out").prompts[0];
    assert_eq!((&*prompt.text, &*prompt.tokens), ("abc", &[0, 1, 3][..]));
    passes("out");
    for command in [&["inspect", "out"][..], &["compare", "out"], &["plot", "out"], &["report", "out", "-o", "r.html"]]
    {
        succeed(&workshop.tributary(command));
    }
    let output = own(&workshop, "unknown", &["--tokens", "10,0,1"]);
    succeed(&output);
    assert!(stderr(&output).contains("1 of its 3 tokens are \"?\", which stands for what the vocabulary lacks"));
    // A manifest that says another text.
    let path = workshop.path("text/manifest.json");
    let edited = fs::read_to_string(&path).unwrap().replace("\"text\": \"abc\"", "\"text\": \"acb\"");
    fs::write(&path, edited).unwrap();
    let refused = workshop.tributary(&["verify", "text", "--device", "cpu"]);
    assert!(
        stderr(&refused).contains("it splits the prompt of set \"prompt_0\" into other tokens"),
        "{}",
        stderr(&refused)
    );
}

/// A byte-level vocabulary spells spaces, ends of lines and bytes; what shows tokens shows what these stand for.
#[test]
fn tokens_are_shown_as_they_are_decoded() {
    let workshop = Workshop::small();
    let spelt = ["a", "Ġb", "Ċ", "Ã", "©", ".", "Ġ,", "d", "e", "f", "g"];
    let vocab: serde_json::Map<String, Value> =
        spelt.into_iter().enumerate().map(|(id, token)| (token.to_owned(), id.into())).collect();
    let step = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "decoder": step, "pre_tokenizer": step,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    fs::write(workshop.path("run/target/tokenizer.json"), tokenizer.to_string()).unwrap();
    succeed(&own(&workshop, "out", &["--tokens", "0,1,2,3,4,5", "--plot", "--output-prob-threshold", "0"]));
    let manifest = manifest(&workshop, "out");
    let prompt = &manifest.prompts[0];
    assert_eq!((&*prompt.text, &*prompt.token_strings), ("a b\n\u{e9}.", &spelt.map(str::to_owned)[..6]));
    assert_eq!(prompt.token_texts, ["a", " b", "\n", "⟨C3⟩", "⟨A9⟩", "."]);
    let decoded = ["a", " b", "\n", "⟨C3⟩", "⟨A9⟩", ".", " ,", "d", "e", "f", "g"];
    assert!((0..11).all(|id| manifest.output_text(id) == decoded[id as usize]), "{:?}", manifest.output_token_texts);
    let svg = fs::read_to_string(workshop.path("out/plots/prompt_0.svg")).unwrap();
    for label in ["·b", "↵", "⟨C3⟩", "“.”"] {
        assert!(svg.contains(label), "{label}");
    }
    assert!(!svg.contains('Ġ') && !svg.contains('Ċ'));
    let text = succeed(&workshop.tributary(&["inspect", "out"]));
    assert!(text.contains("·b") && !text.contains('Ġ'), "{text}");
    succeed(&workshop.tributary(&["report", "out", "-o", "r.html"]));
    assert!(!fs::read_to_string(workshop.path("r.html")).unwrap().contains('Ġ'));
    succeed(&workshop.tributary(&["export", "out", "--format", "graphml", "--out", "graphml"]));
    let graph = fs::read_to_string(workshop.path("graphml/prompt_0.graphml")).unwrap();
    assert!(graph.contains("output ·,") && graph.contains("> b<"));
}

#[test]
fn ids_that_are_refused() {
    let workshop = Workshop::small();
    for (tokens, part) in [
        ("1,11", "tokens [1, 11]: 11 at position 1 is outside the model's vocabulary of 11; expected ids from 0 to 10"),
        ("1,1,1,1,1,1,1", "there are 7 of them, more than the 6 positions of the model"),
        ("1,x", "invalid value '1,x' for '--tokens <ID,ID>': \"x\" is no token id; expected whole numbers from 0"),
        ("-1", "\"-1\" is no token id"),
        ("", "there are no token ids; a prompt needs at least one"),
    ] {
        let refused = own(&workshop, "out", &["--tokens", tokens]);
        assert!(!refused.status.success() && stderr(&refused).contains(part), "{}", stderr(&refused));
        assert_eq!(stdout(&refused), "");
    }
    for (text, part) in [
        ("1 2\n1 11", "tokens.txt: line 2: tokens [1, 11]: 11 at position 1 is outside the model's vocabulary of 11"),
        ("1 2\n\n1", "tokens.txt: line 2: there are no token ids; a prompt needs at least one"),
        ("1 2\nthe cat", "tokens.txt: line 2: \"the\" is no token id"),
        ("1 1 1 1 1 1 1", "tokens.txt: line 1: tokens [1, 1, 1, 1, 1, 1, 1]: there are 7 of them"),
        ("", "tokens.txt: the file is empty; expected token ids, one prompt a line, or JSON"),
        (" \n\n", "tokens.txt: the file is empty"),
        ("[]", "tokens.txt: prompt 0: tokens []: there are none; a prompt needs at least one"),
        ("[[1], []]", "tokens.txt: prompt 1: tokens []: there are none"),
        ("[[1], [11]]", "tokens.txt: prompt 1: tokens [11]: 11 at position 0 is outside"),
        ("[1, \"a\"]", "expected JSON: an array of token ids, or an array of such arrays"),
        ("[1, -1]", "tokens.txt: invalid value: integer `-1`, expected u64 at line 1 column 6; expected JSON"),
        ("[1", "tokens.txt: EOF while parsing a list"),
        ("[[1], 2]", "tokens.txt: invalid type: integer `2`"),
    ] {
        fs::write(workshop.path("tokens.txt"), text).unwrap();
        let refused = own(&workshop, "out", &["--tokens-file", "tokens.txt"]);
        assert!(!refused.status.success() && stderr(&refused).contains(part), "{text:?}: {}", stderr(&refused));
    }
    fs::write(workshop.path("tokens.txt"), b"1 \xff").unwrap();
    assert!(stderr(&own(&workshop, "out", &["--tokens-file", "tokens.txt"])).contains("tokens.txt: is not UTF-8 text"));
    assert!(stderr(&own(&workshop, "out", &["--tokens-file", "none.txt"])).contains("none.txt: cannot be read"));
    for other in [&["--prompt", "w1"][..], &["--ci-sets", "sets.json"], &["--tokens-file", "tokens.txt"]] {
        let refused = own(&workshop, "out", &[&["--tokens", "1"], other].concat());
        assert!(stderr(&refused).contains("cannot be used with"), "{}", stderr(&refused));
    }
    assert!(!workshop.path("out").exists());
}
