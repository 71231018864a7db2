//! `final_config.yaml` and `model_config.yaml`.

use std::fmt::Write as _;

use crate::Attack;
use crate::attack::{refused, taken};
use crate::scene::{Scene, attribute};

const RUN: &str = "run/final_config.yaml";
const MODEL: &str = "run/target/model_config.yaml";

/// The same config with another value of a key, up to the end of its line.
fn set(scene: &Scene, file: &str, key: &str, value: &str) {
    let text = String::from_utf8(scene.read(file)).unwrap();
    let start = text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
    scene.replace(file, start, format!("{key}: {value}"));
}

pub(crate) fn attacks() -> Vec<Attack> {
    [documents(), run_values(), model_values()].concat()
}

fn documents() -> Vec<Attack> {
    vec![
        refused("billion-laughs", "aliases that multiply to a billion texts", RUN, |s| {
            let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
            for n in 1..10 {
                let alias = format!("*a{}", n - 1);
                writeln!(text, "a{n}: &a{n} [{}]", vec![alias; 9].join(", ")).unwrap();
            }
            s.append(RUN, text);
            attribute()
        }),
        refused("merge-keys", "merge keys that multiply", RUN, |s| {
            let mut text = "m0: &m0 {k: v}\n".to_owned();
            for n in 1..30 {
                writeln!(text, "m{n}: &m{n} {{<<: [*m{0}, *m{0}], k{n}: *m{0}}}", n - 1).unwrap();
            }
            s.append(RUN, text);
            attribute()
        }),
        refused("alias-of-itself", "a list that holds itself", RUN, |s| {
            s.append(RUN, "a: &a [*a]\n");
            attribute()
        }),
        refused("alias-of-nothing", "an alias without its anchor", RUN, |s| {
            s.append(RUN, "a: *nothing\n");
            attribute()
        }),
        refused("deep-lists", "100 000 lists in each other", RUN, |s| {
            s.append(RUN, format!("a: {}", "[".repeat(100_000)));
            attribute()
        }),
        refused("deep-blocks", "5000 blocks in each other", RUN, |s| {
            let mut text = String::new();
            (0..5000).for_each(|depth| writeln!(text, "{}a:", " ".repeat(depth)).unwrap());
            s.append(RUN, text);
            attribute()
        }),
        refused("tabs", "indentation by tabs", RUN, |s| {
            s.append(RUN, "a:\n\tb: 1\n");
            attribute()
        }),
        refused("duplicate-key", "a key with two values", RUN, |s| {
            s.append(RUN, "sigmoid_type: normal\n");
            attribute()
        }),
        refused("two-documents", "a second document", RUN, |s| {
            s.append(RUN, "---\nC: 3\n");
            attribute()
        }),
        refused("no-document", "an empty file", RUN, |s| {
            s.write(RUN, "");
            attribute()
        }),
        refused("a-list", "a list in place of keys", RUN, |s| {
            s.write(RUN, "- a\n- b\n");
            attribute()
        }),
        taken("python-object", "a tag that has Python call a function", |s| {
            s.append(RUN, "note: !!python/object/apply:os.system [\"touch ../outside/called\"]\n");
            attribute()
        }),
        refused("binary-key", "a tagged binary key of the model", MODEL, |s| {
            set(s, MODEL, "n_layer", "!!binary Mg==");
            attribute()
        }),
        refused("nul-bytes", "a file of NUL bytes", RUN, |s| {
            s.write(RUN, [0; 4096]);
            attribute()
        }),
        refused("not-utf-8", "bytes that are no UTF-8", RUN, |s| {
            s.append(RUN, b"a: \xff\xfe\n");
            attribute()
        }),
        refused("utf-16", "UTF-16", RUN, |s| {
            let text = String::from_utf8(s.read(RUN)).unwrap();
            let units = text.encode_utf16().flat_map(u16::to_be_bytes);
            s.write(RUN, [b"\xfe\xff".to_vec(), units.collect()].concat());
            attribute()
        }),
        taken("byte-order-mark", "UTF-8 with a byte order mark", |s| {
            s.write(RUN, [b"\xef\xbb\xbf".as_slice(), &s.read(RUN)].concat());
            attribute()
        }),
        refused("100-megabytes", "a file larger than any config", RUN, |s| {
            std::fs::File::options().write(true).open(s.path(RUN)).unwrap().set_len(100 << 20).unwrap();
            attribute()
        }),
        refused("patterns-by-the-hundred-thousand", "100 000 patterns of layers", RUN, |s| {
            let patterns = "  - h.*.never\n".repeat(100_000);
            s.replace(RUN, "module_info:\n", format!("C: 2\ntarget_module_patterns:\n{patterns}other:\n"));
            attribute()
        }),
        taken("key-of-a-million-characters", "a key of the training that is very long", |s| {
            s.append(RUN, format!("? {}\n: 1\n", "k".repeat(1_000_000)));
            attribute()
        }),
        refused("model-key-of-a-million-characters", "an unknown key of the model that is very long", MODEL, |s| {
            s.append(MODEL, format!("? {}\n: 1\n", "k".repeat(1_000_000)));
            attribute()
        }),
    ]
}

fn run_values() -> Vec<Attack> {
    vec![
        refused("sigmoid-a-list", "a list in place of a name", RUN, |s| {
            set(s, RUN, "sigmoid_type", "[leaky_hard]");
            attribute()
        }),
        refused("sigmoid-a-long-name", "a name of a million characters", RUN, |s| {
            set(s, RUN, "sigmoid_type", &"s".repeat(1_000_000));
            attribute()
        }),
        refused("class-a-number", "a number in place of a path", RUN, |s| {
            set(s, RUN, "pretrained_model_class", "7");
            attribute()
        }),
        refused("hidden-widths-huge", "hidden layers of 10^15 units", RUN, |s| {
            set(s, RUN, "ci_fn_hidden_dims", "[1000000000000000]");
            attribute()
        }),
        refused("hidden-widths-many", "100 000 hidden layers", RUN, |s| {
            set(s, RUN, "ci_fn_hidden_dims", &format!("[{}]", vec!["3"; 100_000].join(", ")));
            attribute()
        }),
        refused("hidden-widths-negative", "a negative width", RUN, |s| {
            set(s, RUN, "ci_fn_hidden_dims", "[-3]");
            attribute()
        }),
        refused("hidden-width-beyond-u128", "a width of 60 digits", RUN, |s| {
            set(s, RUN, "ci_fn_hidden_dims", &format!("[{}]", "9".repeat(60)));
            attribute()
        }),
        refused("hidden-width-nan", "a width that is no number", RUN, |s| {
            set(s, RUN, "ci_fn_hidden_dims", "[.nan]");
            attribute()
        }),
        refused("sampling-unknown", "an unknown way of sampling", RUN, |s| {
            set(s, RUN, "sampling", "\"\\e[31mred\"");
            attribute()
        }),
    ]
}

fn model_values() -> Vec<Attack> {
    vec![
        refused("layers-negative", "-1 blocks", MODEL, |s| {
            set(s, MODEL, "n_layer", "-1");
            attribute()
        }),
        refused("layers-none", "a model of 0 blocks", "run/", |s| {
            set(s, MODEL, "n_layer", "0");
            attribute()
        }),
        refused("layers-a-million-million", "10^12 blocks, each of which has layers", "run/", |s| {
            set(s, MODEL, "n_layer", "1000000000000");
            attribute()
        }),
        refused("layers-a-fraction", "two and a half blocks", MODEL, |s| {
            set(s, MODEL, "n_layer", "2.5");
            attribute()
        }),
        refused("width-none", "a model of width 0", "run/", |s| {
            set(s, MODEL, "n_embd", "0");
            attribute()
        }),
        refused("width-2-to-63", "a width whose square is beyond all memory", "run/", |s| {
            set(s, MODEL, "n_embd", "9223372036854775808");
            attribute()
        }),
        refused("heads-none", "0 heads, by which the width is divided", MODEL, |s| {
            set(s, MODEL, "n_head", "0");
            attribute()
        }),
        refused("heads-uneven", "3 heads in a width of 8", MODEL, |s| {
            set(s, MODEL, "n_head", "3");
            attribute()
        }),
        refused("vocabulary-huge", "a vocabulary of 2^62", "run/", |s| {
            set(s, MODEL, "vocab_size", "4611686018427387904");
            attribute()
        }),
        refused("vocabulary-none", "a vocabulary of nothing", "run/", |s| {
            set(s, MODEL, "vocab_size", "0");
            attribute()
        }),
        refused("context-none", "a context of 0 positions", "run/", |s| {
            set(s, MODEL, "block_size", "0");
            attribute()
        }),
        refused("target-outside", "a target model in a device's place", "run/target", |s| {
            s.remove("run/target");
            set(s, RUN, "pretrained_model_path", "/dev/zero");
            attribute()
        }),
    ]
}
