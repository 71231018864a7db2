//! Libraries know no flags: what they advise, they advise in words and as a `Remedy`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The string literals of a Rust file. Comments, characters and raw strings are told apart; nothing else is looked at.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '/', 'r']) {
        let (before, from) = rest.split_at(at);
        let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let Some(comment) = from.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(literal) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = literal.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let (literal, after) = literal.split_at(end.expect("a literal ends"));
            found.push(literal.to_owned());
            rest = &after[1..];
        } else if from.starts_with(['r']) && !in_word && from[1..].trim_start_matches('#').starts_with('"') {
            let hashes = from.len() - 1 - from[1..].trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let (literal, after) = from[hashes + 2..].split_once(&end).expect("a raw literal ends");
            found.push(literal.to_owned());
            rest = after;
        } else if let Some(character) = from.strip_prefix('\'') {
            // A character, or a lifetime, which does not end.
            let mut ends = character.char_indices().skip(1);
            let end = match character.strip_prefix('\\') {
                Some(_) => ends.skip(1).find(|(_, c)| *c == '\''),
                None => ends.next().filter(|(_, c)| *c == '\''),
            };
            rest = &character[end.map_or(0, |(end, _)| end + 1)..];
        } else {
            rest = &from[1..];
        }
    }
    found
}

/// Whether a text names a flag: two dashes before a word, at its beginning or after a space, bracket or quote.
fn names_a_flag(text: &str) -> bool {
    // NVIDIA's advice for containers, of another program.
    let text = text.replace("docker run --gpus", "");
    text.match_indices("--").any(|(at, _)| {
        let begins = text[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || "([{`'\"".contains(c));
        begins && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
    })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_text_of_a_library_names_a_flag() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for packages in ["crates", "backends"] {
        for package in fs::read_dir(root.join(packages)).unwrap() {
            rust_files(&package.unwrap().path().join("src"), &mut files);
        }
    }
    assert!(files.len() > 100, "{} files", files.len());
    let mut count = 0;
    for file in files {
        let found = literals(&fs::read_to_string(&file).unwrap());
        count += found.len();
        let flags: Vec<&String> = found.iter().filter(|text| names_a_flag(text)).collect();
        assert!(
            flags.is_empty(),
            "{}: {flags:?}; give the error a `Remedy`, which the command line turns into its flag",
            file.display()
        );
    }
    assert!(count > 500, "{count} literals");
}

#[test]
fn what_is_looked_for_is_found() {
    let text = r##"
        // "--comment"
        /// it's `--doc`
        fn f<'a>(c: char) -> &'a str { if c == '"' || c == '\'' { "use --force" } else { r#"or "--plot", as"# } }
        const PLAIN: &str = "a -- b --- c a--b \" (--x) \\"; // "--after"
    "##;
    let found = literals(text);
    assert_eq!(found, ["use --force", "or \"--plot\", as", "a -- b --- c a--b \\\" (--x) \\\\"]);
    assert!(found.iter().all(|text| names_a_flag(text)));
    assert!(!names_a_flag("a -- b --- c a--b, docker run --gpus all"));
}
