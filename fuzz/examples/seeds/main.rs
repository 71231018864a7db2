//! Writes the seed corpus, `corpus/TARGET/NAME`, and the results of `results/` that some of it is part of. See `README.md`.

mod checkpoints;
mod ci_sets;
mod configs;
mod results;
mod tokenizers;

use std::fs;
use std::path::Path;

/// A seed: its name and its bytes.
type Seed = (String, Vec<u8>);

fn seed(name: &str, bytes: impl AsRef<[u8]>) -> Seed {
    (name.to_owned(), bytes.as_ref().to_owned())
}

fn main() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (manifests, set_files) = results::seeds(&own.join("results"));
    for (target, seeds) in [
        ("ci_json", ci_sets::seeds()),
        ("checkpoint", checkpoints::seeds()),
        ("config", configs::seeds()),
        ("tokenizer", tokenizers::seeds()),
        ("prompt", prompts()),
        ("manifest", manifests),
        ("set_file", set_files),
    ] {
        let folder = own.join("corpus").join(target);
        fs::create_dir_all(&folder).expect("the folder can be made");
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).expect("a seed can be written");
        }
    }
}

fn prompts() -> Vec<Seed> {
    vec![
        seed("walked", "They walked hand in"),
        seed("story", "The little girl's name was \"Lily\", and she said: it is 12:30 o'clock!\n\tBye-bye."),
        seed("accents", "caf\u{e9} cafe\u{301} na\u{ef}ve \u{130}stanbul \u{1e9e} \u{fb01}n \u{2460}\u{bd}"),
        seed(
            "scripts",
            "\u{4e2d}\u{6587} \u{65e5}\u{672c}\u{8a9e} \u{0643}\u{062a}\u{0627}\u{0628} \u{0e44}\u{0e17}\u{0e22} \u{1f468}\u{200d}\u{1f469}",
        ),
        seed("controls", "a\u{0}b\u{7f}\u{feff}c\u{202e}d\u{ad}e\u{fffd}\r\n\u{85}\u{2028}f"),
        seed("special", "[UNK] [CLS] <|endoftext|> ##ing [PAD]</s>"),
        seed("no_text", b"\xff\xfe\xc3(\xed\xa0\x80"),
        seed("long", "she walked and ".repeat(20)),
        seed("long_word", "x".repeat(300)),
    ]
}
