//! Configs of every style, whole and broken. Their first byte says which file of which run they stand for.

use std::fs;

use tributary_fuzz::small;
use tributary_inputs::test_support::{Style, write_run};

use crate::{Seed, seed};

pub(crate) fn seeds() -> Vec<Seed> {
    let runs = [
        ("gpt2", small::gpt2_simple(), Style::Current),
        ("llama", small::llama_simple_mlp(), Style::Current),
        ("older", small::gpt2_simple(), Style::Older),
    ];
    let mut seeds = Vec::new();
    for (index, (run, random, style)) in runs.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        write_run(folder.path(), &random.weights(), style);
        for (file, name) in ["final_config.yaml", "target/model_config.yaml"].into_iter().enumerate() {
            let text = fs::read_to_string(folder.path().join(name)).expect("it was written");
            // As the target counts: '0' is divisible by 6.
            let which = 2 * index + file;
            let kind = ["final", "model"][file];
            seeds.push(seed(&format!("{run}_{kind}"), format!("{which}{text}")));
            if run == "gpt2" {
                seeds.push(seed(&format!("mark_{kind}"), format!("{which}\u{feff}{}", text.replace('\n', "\r\n"))));
                seeds.push(seed(&format!("twice_{kind}"), format!("{which}{text}{text}")));
                seeds.push(seed(&format!("documents_{kind}"), format!("{which}---\n{text}---\n{text}...\n")));
            }
        }
    }
    let real = include_str!("../../../data/gpt2s-2L/final_config.yaml");
    seeds.extend([
        seed("real", format!("4{real}")),
        seed("real_model", format!("1{}", include_str!("../../../data/gpt2s-2L/target/model_config.yaml"))),
        seed("ci_config", "0C: 2\ntarget_module_patterns: [h.*.attn.o_proj, 'h.[0]*.c_fc']\nci_config: {mode: layerwise, fn_type: shared_mlp, hidden_dims: [1]}\nsigmoid_type: leaky_hard\npretrained_model_class: GPT2Simple\n"),
        seed("flow", "0{module_info: [{module_pattern: h.0.attn.o_proj, C: 2.0}, {module_pattern: \"h.?.mlp.c_f{c}\", C: 0x2}], gate_type: mlp, gate_hidden_dims: [1], sigmoid_type: normal, pretrained_model_class: a.GPT2Simple, sampling: binomial, lr: .inf, n: .nan}"),
        seed("anchors", "0a: &a [1, 2]\nb: &b {x: *a, <<: {y: *a}}\nc: *b\nd: !!str 3\ne: !custom |+\n  text\n\nf: >-\n  folded\n  text\n? [complex, key]\n: 1\n"),
        seed("bomb", format!("0a: &a [x, x, x, x, x, x, x, x, x]\n{}", ('b'..='d').map(|name| {
            let before = char::from(name as u8 - 1);
            format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", "))
        }).collect::<String>())),
        seed("deep", format!("0{}{}", "[".repeat(500), "]".repeat(500))),
        seed("huge", "1model_type: GPT2Simple\nblock_size: 4294967295\nvocab_size: 4294967295\nn_layer: 20\nn_head: 1\nn_embd: 4294967295\n"),
        seed("not_utf8", b"0a: \xff\xfe\n"),
        seed("list", "0- a\n- b: [\n"),
        seed("empty", "0"),
    ]);
    seeds
}
