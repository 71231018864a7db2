//! The file of a set in a result folder, for which the manifest vouches.

use serde_json::json;

use crate::Attack;
use crate::attack::{refused, taken};
use crate::safe_file::{edit_low, join, poke_low, replace_low};
use crate::scene::export;

const FILE: &str = "out/low.safetensors";
const INDEX: &str = "nodes/h.0.attn.q_proj/index";
const NAN: [u8; 4] = f32::NAN.to_le_bytes();

pub(crate) fn attacks() -> Vec<Attack> {
    [files(), tensors()].concat()
}

fn files() -> Vec<Attack> {
    vec![
        refused("not-the-one-of-the-manifest", "another file than the manifest vouches for", FILE, |s| {
            s.append(FILE, "x");
            export()
        }),
        refused("that-of-another-set", "the file of another set", FILE, |s| {
            let other = s.read("out/high.safetensors");
            s.write(FILE, other);
            export()
        }),
        refused("that-of-another-set-vouched-for", "the file of another set, with its checksum", FILE, |s| {
            replace_low(s, &s.read("out/high.safetensors"));
            export()
        }),
        refused("missing", "no file", FILE, |s| {
            s.remove(FILE);
            export()
        }),
        refused("empty", "a file of no bytes", FILE, |s| {
            replace_low(s, b"");
            export()
        }),
        refused("cut-short", "half of a file", FILE, |s| {
            let bytes = s.read(FILE);
            replace_low(s, &bytes[..bytes.len() / 2]);
            export()
        }),
        refused("header-of-2-to-63", "a header that says it has 2^63 bytes", FILE, |s| {
            replace_low(s, &[&(1_u64 << 63).to_le_bytes(), b"{}".as_slice()].concat());
            export()
        }),
        refused("deep-header", "a header of 100 000 lists in each other", FILE, |s| {
            replace_low(s, &join(&"[".repeat(100_000), b""));
            export()
        }),
        refused("header-not-utf-8", "a header of bytes that are no UTF-8", FILE, |s| {
            replace_low(s, &[&4_u64.to_le_bytes(), b"{\xff\xfe}".as_slice()].concat());
            export()
        }),
        refused("unknown-type-of-a-long-name", "elements of a type whose name fills the screen", FILE, |s| {
            edit_low(s, |header, _| header[INDEX]["dtype"] = json!("x".repeat(100_000)));
            export()
        }),
        refused("more-at-the-end", "bytes that belong to no tensor", FILE, |s| {
            edit_low(s, |_, data| data.extend([0; 8]));
            export()
        }),
        refused("a-little-too-long", "a file with a megabyte of zeros at its end", FILE, |s| {
            let padded = [s.read(FILE), vec![0; 1 << 20]].concat();
            replace_low(s, &padded);
            export()
        }),
        taken("tensor-that-is-not-ours", "a tensor of half a megabyte that readers are to leave out", |s| {
            edit_low(s, |header, data| {
                let end = data.len();
                header["of/others"] =
                    json!({ "dtype": "U8", "shape": [500_000], "data_offsets": [end, end + 500_000] });
                data.extend(vec![7; 500_000]);
            });
            export()
        }),
        refused("a-sparse-terabyte", "a file that says it has a terabyte", FILE, |s| {
            std::fs::File::options().write(true).open(s.path(FILE)).unwrap().set_len(1 << 40).unwrap();
            export()
        }),
    ]
}

fn tensors() -> Vec<Attack> {
    vec![
        refused("tensor-missing", "a file without one of its tensors", FILE, |s| {
            edit_low(s, |header, _| {
                let info = header.as_object_mut().unwrap().remove(INDEX).unwrap();
                header["nodes/other/index"] = info;
            });
            export()
        }),
        refused("type-of-another", "floats in place of indices", FILE, |s| {
            edit_low(s, |header, _| header[INDEX]["dtype"] = json!("F32"));
            export()
        }),
        refused("index-out-of-range", "a component that the layer lacks", FILE, |s| {
            poke_low(s, INDEX, 4, &1000_i32.to_le_bytes());
            export()
        }),
        refused("index-negative", "a position of -1", FILE, |s| {
            poke_low(s, INDEX, 0, &(-1_i32).to_le_bytes());
            export()
        }),
        refused("index-out-of-order", "nodes that do not ascend", FILE, |s| {
            poke_low(s, INDEX, 0, &2_i32.to_le_bytes());
            export()
        }),
        taken("importance-nan", "a causal importance that is no number, which exports spell as it is", |s| {
            poke_low(s, "nodes/h.0.attn.q_proj/ci", 0, &NAN);
            export()
        }),
        taken("importance-infinite", "a causal importance that is infinite", |s| {
            poke_low(s, "nodes/h.0.attn.q_proj/ci", 0, &f32::INFINITY.to_le_bytes());
            export()
        }),
        taken("activation-nan", "an activation that is no number", |s| {
            poke_low(s, "nodes/h.0.attn.q_proj/activation", 0, &NAN);
            export()
        }),
        refused("probability-of-7", "a probability of 7", FILE, |s| {
            poke_low(s, "nodes/output/prob", 0, &7_f32.to_le_bytes());
            export()
        }),
        refused("edge-nan", "an attribution that is no number", FILE, |s| {
            poke_low(s, "edges/wte->h.0.attn.q_proj/value", 0, &NAN);
            export()
        }),
        refused("likeliest-outside", "a likeliest token that the vocabulary lacks", FILE, |s| {
            poke_low(s, "likeliest", 0, &1_000_000_u32.to_le_bytes());
            export()
        }),
        refused("divergence-nan", "a divergence that is no number", FILE, |s| {
            poke_low(s, "kl", 0, &NAN);
            export()
        }),
    ]
}
