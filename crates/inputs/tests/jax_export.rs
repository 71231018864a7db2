//! `tools/export_jax_run.py` on runs that are laid out as the JAX code of goodfire-ai/param-decomp lays them out: what tributary
//! reads of what it writes are the numbers that went in.
//!
//! orbax brings all of JAX, some 150 MB, so nothing is installed for this: where `python3` has no orbax, it is skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tributary_inputs::test_support::{RandomWeights, write_neutral_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{Array, Values, Weights};
use tributary_testing::skip;

const IMPORTS: &str = "import numpy, safetensors, yaml, orbax.checkpoint, tokenizers";

fn has_packages() -> bool {
    let output = Command::new("python3").args(["-c", IMPORTS]).output();
    let reason = match &output {
        Ok(output) if output.status.success() => return true,
        Ok(output) => {
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("python3 says nothing").to_owned()
        }
        Err(error) => format!("python3: {error}"),
    };
    skip("the export of JAX runs", format!("{reason} (pip install orbax-checkpoint safetensors pyyaml tokenizers)"));
    false
}

fn python(script: &Path, arguments: &[&str]) -> Output {
    let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jax_export/stub");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).args(arguments).env("JAX_PLATFORMS", "cpu").env("PYTHONPATH", stub);
    command.output().unwrap()
}

/// A run of the JAX code in `ROOT/runs/p-1`, and where it is exported to.
struct JaxRun {
    root: tempfile::TempDir,
    weights: Weights,
}

impl JaxRun {
    fn new(weights: Weights, dtype: &str, layout: &str) -> Self {
        let neutral = tempfile::tempdir().unwrap();
        write_neutral_run(neutral.path(), &weights);
        let run = Self { root: tempfile::tempdir().unwrap(), weights };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jax_export/make_run.py");
        let arguments = [neutral.path().to_str().unwrap(), run.root.path().to_str().unwrap(), dtype, layout];
        let made = python(&script, &arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn export(&self, more: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/export_jax_run.py");
        let paths = ["runs/p-1", "out", "tokenizer.json"].map(|name| self.path(name).to_str().unwrap().to_owned());
        python(&script, &[&[&*paths[0], &*paths[1], "--tokenizer", &*paths[2]], more].concat())
    }

    fn exported(&self, more: &[&str]) -> TrainedRun {
        let output = self.export(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        TrainedRun::load(&self.path("out"), &RunOptions::default()).unwrap()
    }

    /// What is read is what was written, but for the CI function.
    fn check(&self, run: &TrainedRun) {
        let mut expected = self.weights.clone();
        expected.ci_function.network = run.weights.ci_function.network.clone();
        assert!(run.weights == expected, "other numbers: {:?}", run.weights.component_counts());
    }

    /// The message of an export that must fail, and leave nothing behind.
    fn refused(&self, more: &[&str]) -> String {
        let output = self.export(more);
        assert_eq!(output.status.code(), Some(1));
        let names = std::fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.filter_map(|name| name.into_string().ok()).all(|name| !name.contains("out.")));
        let message = String::from_utf8(output.stderr).unwrap();
        let error = message.lines().find(|line| line.starts_with("error: ")).unwrap_or(&message);
        error.replace(&format!("{}{}", self.root.path().display(), std::path::MAIN_SEPARATOR), "")
    }
}

/// Weights with other numbers of components for each matrix, in the blocks that `is_in` takes.
fn decomposed(class: &str, matrices: &[(&str, usize)], is_in: impl Fn(usize) -> bool) -> RandomWeights {
    let mut random = RandomWeights::of_class(class, 5);
    let count = |name: &str| matrices.iter().find(|(matrix, _)| name.ends_with(matrix)).map(|&(_, count)| count);
    let layers = random.architecture.linear_layers().filter(|layer| layer.block().is_some_and(&is_in));
    random.components = layers.filter_map(|layer| Some((layer, count(&layer.to_string())?))).collect();
    random
}

/// To the nearest, ties to even, as JAX casts.
fn to_bfloat16(array: &mut Array) {
    let Values::F32(values) = &mut array.values else { panic!("random weights are float32") };
    for value in values {
        let bits = value.to_bits();
        *value = f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    }
}

#[test]
fn stacks_of_sites_and_causal_importances_of_prompts() {
    if !has_packages() {
        return;
    }
    let random = decomposed("LlamaSimpleMLP", &[("q_proj", 4), ("v_proj", 3), ("c_fc", 6)], |_| true);
    let jax = JaxRun::new(random.weights(), "float32", "stacks");
    let run = jax.exported(&["--prompt", "w1 w4 w2", "--tokens", "3,1"]);
    jax.check(&run);
    let sets = run.ci_sets(&jax.path("out/ci.json"), &[]).unwrap().sets;
    let tokens: Vec<_> = sets.iter().map(|set| &*set.prompt.tokens).collect();
    assert_eq!(tokens, [&[1, 4, 2][..], &[3, 1]]);
    for set in &sets {
        assert_eq!(set.layers.keys().collect::<Vec<_>>(), jax.weights.decomposed.keys().collect::<Vec<_>>());
        for ci in set.layers.values() {
            for (position, &token) in set.prompt.tokens.iter().enumerate() {
                for component in 0..ci.components() {
                    let expected = ((3 * position + token as usize + component) % 5) as f32 / 4.0;
                    assert_eq!(ci.get(position, component).to_bits(), f32::to_bits(expected));
                }
            }
        }
    }
    assert_eq!(jax.refused(&[]), "error: out: is there already; name a folder that is not, or remove it");
    let [out, config] = ["out", "runs/p-1/launch_config.yaml"].map(|name| jax.path(name));
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!(jax.refused(&["--step", "6"]), "error: runs/p-1/ckpts: holds no checkpoint of step 6; it has 5, 20");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("kind: all", "{kind: list, indices: [1]}").replace("layers:\n      {", "layers: {"),
    )
    .unwrap();
    assert_eq!(
        jax.refused(&[]),
        "error: runs/p-1/launch_config.yaml: decomposition.sites.layers: 1 layers, but the checkpoint holds more sites of \
         c_fc, which are not zero: V of shape [4, 8, 6] and U of shape [4, 6, 12]"
    );
    std::fs::write(&config, text.replace("LlamaSimpleMLP", "Qwen3ForCausalLM")).unwrap();
    assert_eq!(
        jax.refused(&[]),
        "error: runs/p-1/launch_config.yaml: target.spec.model_class: Qwen3ForCausalLM is not supported; supported are \
         LlamaSimpleMLP, LlamaForCausalLM, VendoredLlama"
    );
}

#[test]
fn an_older_checkpoint_and_a_target_in_bfloat16() {
    if !has_packages() {
        return;
    }
    let random = decomposed("LlamaSimpleMLP", &[("k_proj", 4), ("down_proj", 3)], |block| block == 0);
    let mut jax = JaxRun::new(random.weights(), "bfloat16", "vu");
    let run = jax.exported(&[]);
    assert!(!jax.path("out/ci.json").exists());
    let weights = &mut jax.weights;
    to_bfloat16(&mut weights.wte);
    to_bfloat16(&mut weights.ln_f.weight);
    weights
        .norms
        .iter_mut()
        .flat_map(|of_block| [&mut of_block.attention, &mut of_block.mlp])
        .for_each(|norm| to_bfloat16(&mut norm.weight));
    weights.linear.values_mut().for_each(|linear| to_bfloat16(&mut linear.weight));
    jax.check(&run);
}

#[test]
fn a_llama_of_transformers_with_sites_in_one_block() {
    if !has_packages() {
        return;
    }
    let matrices = [("q_proj", 4), ("gate_proj", 3), ("down_proj", 5)];
    let random = RandomWeights { tied: false, ..decomposed("LlamaForCausalLM", &matrices, |block| block == 1) };
    let jax = JaxRun::new(random.weights(), "float32", "stacks");
    let target = jax.path("llama");
    jax.check(&jax.exported(&["--target", target.to_str().unwrap()]));
    std::fs::remove_dir_all(jax.path("out")).unwrap();
    assert_eq!(
        jax.refused(&[]),
        "error: runs/p-1/launch_config.yaml: target.spec.model_name: is 'somebody/model'; fetch that model and name its \
         folder with --target"
    );
}
