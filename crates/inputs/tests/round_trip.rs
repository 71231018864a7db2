//! A run written from weights reads back as those weights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{CiInput, PositionEncoding, Role, RopeScaling, Sigmoid, Values, Weights};
use tributary_testing::config;

fn read_back(weights: &Weights, style: Style) -> TrainedRun {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), weights, style);
    TrainedRun::load(folder.path(), &RunOptions::default()).unwrap()
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn weights_survive(
        is_llama: bool,
        is_older: bool,
        ci_input in prop::sample::select(vec![CiInput::SharedVector, CiInput::Vector, CiInput::Activation]),
        sigmoid in prop::sample::select(vec![
            Sigmoid::Hard, Sigmoid::Normal, Sigmoid::UpperLeakyHard, Sigmoid::SwishHard,
        ]),
        ci_hidden in prop::collection::vec(1_usize..4, 0..3),
        tied: bool,
        (attn_bias, mlp_bias, adjacent_pairs) in any::<(bool, bool, bool)>(),
        decomposed in prop::collection::vec(prop::option::of(1_usize..6), 12)
            .prop_filter("a run has a decomposed layer", |counts| counts.iter().any(Option::is_some)),
        seed: u64,
    ) {
        let mut random = if is_llama { RandomWeights::llama_simple_mlp(seed) } else { RandomWeights::gpt2_simple(seed) };
        if is_llama {
            for layer in &mut random.architecture.linear {
                let is_mlp = matches!(layer.layer.role(), Role::MlpUp | Role::MlpDown);
                layer.has_bias = if is_mlp { mlp_bias } else { attn_bias };
            }
            random.architecture.position_encoding = PositionEncoding::Rotary {
                base: 500.0,
                adjacent_pairs,
                scaling: RopeScaling::None,
            };
        }
        let layers = random.architecture.linear_layers().zip(decomposed);
        // The older style has one number of components for all layers.
        let counts = layers.filter_map(|(layer, count)| Some((layer, if is_older { count.and(Some(4))? } else { count? })));
        random.components = counts.collect();
        random = RandomWeights { ci_input, ci_hidden, sigmoid, tied, ..random };
        let weights = random.weights();
        let style = if is_older { Style::Older } else { Style::Current };
        prop_assert_eq!(read_back(&weights, style).weights, weights);
    }
}

/// Every class, some layers of it decomposed or all, embedding and unembedding too or not.
#[test]
fn every_class_survives() {
    for class in ["GPT2Simple", "GPT2", "LlamaSimpleMLP", "LlamaSimple", "GPT2LMHeadModel", "LlamaForCausalLM"] {
        for (seed, with_ends) in [(1, false), (2, true)] {
            let random = RandomWeights::of_class(class, seed);
            let mut random = if with_ends { random.with_ends() } else { random };
            for style in [Style::Current, Style::Older] {
                let weights = random.weights();
                assert!(read_back(&weights, style).weights == weights, "{class}, {with_ends}, {style:?}");
                let first = *random.components.keys().find(|layer| layer.block().is_some()).unwrap();
                random.components.remove(&first);
            }
        }
    }
}

#[test]
fn the_fingerprint_follows_the_content_and_not_the_path() {
    let weights = RandomWeights::gpt2_simple(1).weights();
    let fingerprint = read_back(&weights, Style::Current).fingerprint;
    assert_eq!(read_back(&weights, Style::Current).fingerprint, fingerprint);
    let mut other = weights.clone();
    let Values::F32(values) = &mut other.wte.values else { panic!("random weights are float32") };
    values[0] = f32::from_bits(values[0].to_bits() ^ 1);
    assert_ne!(read_back(&other, Style::Current).fingerprint, fingerprint);
    assert_ne!(read_back(&weights, Style::Older).fingerprint, fingerprint);
}
