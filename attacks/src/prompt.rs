//! Prompts, in the CI-set file and on the command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::json;

use crate::Attack;
use crate::attack::{refused, taken, usage};
use crate::scene::{attribute, attribute_prompt, line};

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        refused("empty", "a prompt of no characters", "prompt \"\"", |_| attribute_prompt("")),
        refused("spaces", "a prompt of nothing but spaces", "prompt \"   \"", |_| attribute_prompt("   ")),
        refused("100000-words", "a prompt far longer than the model's context", "prompt", |_| {
            attribute_prompt(&"w1 ".repeat(30_000))
        }),
        refused("a-million-words-in-the-file", "such a prompt in the CI-set file", "sets.json", |s| {
            s.edit("sets.json", |sets| sets["prompt"] = json!("w1 ".repeat(1_000_000)));
            attribute()
        }),
        refused("one-word-of-a-million-characters", "a word that is no token", "sets.json", |s| {
            s.edit("sets.json", |sets| sets["prompt"] = json!("x".repeat(1_000_000)));
            attribute()
        }),
        taken("unknown-words", "words that the vocabulary lacks", |_| attribute_prompt("q1 q2 q3")),
        taken("nul-in-the-file", "a NUL character within a word", |s| {
            s.edit("sets.json", |sets| sets["prompt"] = json!("w1 w\0 w2"));
            attribute()
        }),
        taken("combining-marks", "a word of 10 000 combining marks", |_| {
            attribute_prompt(&format!("w1 e{}", "\u{301}".repeat(10_000)))
        }),
        taken("zero-width-word", "a word that is not seen", |_| attribute_prompt("w1 \u{200b}\u{feff} w2")),
        taken("right-to-left", "a mark that turns the direction of writing", |_| attribute_prompt("w1 \u{202e}w2 w3")),
        taken("lines", "line breaks of every kind", |_| attribute_prompt("w1\nw2\r\nw3\u{2028}w4\u{85}")),
        usage("not-utf-8", "a prompt of bytes that are no UTF-8", |_| {
            let mut args = attribute_prompt("x");
            args[4] = OsString::from_vec(b"w1 \xff\xfe".to_vec());
            args
        }),
        usage("like-a-flag", "a prompt that looks like a flag", |_| attribute_prompt("--force")),
        usage("prompt-without-text", "the flag at the end of the line", |_| {
            line(["attribute", "--model", "run", "--out", "new", "--prompt"])
        }),
        refused("not-that-of-the-file", "another prompt than that of the CI-set file", "sets.json", |_| {
            [attribute(), line(["--prompt", "w1 w4 w3"])].concat()
        }),
        refused("not-that-of-the-file-and-long", "another one of 100 000 characters", "sets.json", |_| {
            [attribute(), line(["--prompt", &"w1 ".repeat(30_000)])].concat()
        }),
    ]
}
