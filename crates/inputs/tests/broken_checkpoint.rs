//! Checkpoints that must be refused, one malformation each, and unusual ones that must not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use tributary_inputs::test_support::{
    RandomWeights, StorageClass, StoredTensor, Style, state_dict, write_pth, write_run,
};
use tributary_inputs::{InputError, RunOptions, TrainedRun};
use tributary_model::Weights;

const Q_WEIGHT: &str = "target_model.h.0.attn.q_proj.weight";

fn weights() -> Weights {
    RandomWeights::gpt2_simple(7).weights()
}

/// Loads a run after its checkpoint's tensors were changed.
fn load(change: impl FnOnce(&mut Vec<StoredTensor>)) -> Result<TrainedRun, InputError> {
    load_written(|file| {
        let mut tensors = state_dict(&weights(), Style::Current);
        change(&mut tensors);
        write_pth(file, &tensors);
    })
}

/// Loads a run after something was done to its checkpoint file.
fn load_written(change: impl FnOnce(&Path)) -> Result<TrainedRun, InputError> {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    change(&folder.path().join("model_1.pth"));
    TrainedRun::load(folder.path(), &RunOptions::default())
}

#[track_caller]
fn assert_refused(result: Result<TrainedRun, InputError>, parts: &[&str]) {
    let message = result.expect_err("the checkpoint is broken").to_string();
    for part in ["model_1.pth: "].iter().chain(parts) {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

fn find<'a>(tensors: &'a mut [StoredTensor], name: &str) -> &'a mut StoredTensor {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

fn values(tensor: &StoredTensor) -> Vec<f32> {
    tensor.bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

#[test]
fn a_missing_tensor() {
    for name in [Q_WEIGHT, "_components.h-1-mlp-c_fc.U", "_ci_fns.h-1-mlp-c_fc.layers.2.b", "target_model.wpe.weight"] {
        let result = load(|tensors| tensors.retain(|tensor| tensor.name != name));
        assert_refused(result, &[name, "is not in the checkpoint; expected one of shape ["]);
    }
}

#[test]
fn a_wrong_shape() {
    let result = load(|tensors| find(tensors, "_components.h-0-mlp-c_fc.V").shape = vec![5, 8]);
    assert_refused(result, &["_components.h-0-mlp-c_fc.V", "has shape [5, 8], expected [8, 5]"]);
}

#[test]
fn an_absurd_shape() {
    let huge = usize::MAX / 2;
    for (shape, strides) in [(vec![huge, huge], vec![0, 0]), (vec![1 << 40], vec![0]), (vec![8, 8], vec![huge, huge])] {
        let result = load(|tensors| {
            let tensor = find(tensors, Q_WEIGHT);
            (tensor.shape, tensor.strides) = (shape, strides);
        });
        assert_refused(result, &[]);
    }
}

#[test]
fn a_storage_too_short() {
    let result = load(|tensors| find(tensors, Q_WEIGHT).bytes.truncate(40));
    assert_refused(result, &["[8, 8]"]);
}

#[test]
fn values_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let result = load(|tensors| find(tensors, Q_WEIGHT).bytes[4 * 19..][..4].copy_from_slice(&value.to_le_bytes()));
        assert_refused(result, &[Q_WEIGHT, &format!("is {value} at [2, 3]")]);
    }
}

#[test]
fn a_tensor_that_belongs_to_nothing() {
    for name in
        ["target_model.h.2.ln_1.weight", "_components.h-0-mlp-c_fc.gate", "_ci_fns.h-0-mlp-c_fc.layers.4.W", "x"]
    {
        let result = load(|tensors| tensors.push(StoredTensor::float(name, &[1], &[0.0])));
        assert_refused(result, &[&format!("tensor {name}"), "belongs to nothing"]);
    }
}

#[test]
fn two_names_for_one_tensor() {
    let result = load(|tensors| {
        let mut older = find(tensors, Q_WEIGHT).clone();
        older.name = "patched_model.h.0.attn.q_proj.original.weight".to_owned();
        tensors.push(older);
    });
    assert_refused(result, &[Q_WEIGHT, "is given twice", "patched_model.h.0.attn.q_proj.original.weight"]);
}

#[test]
fn elements_that_are_no_floats() {
    let whole = StoredTensor::new(Q_WEIGHT, StorageClass::Long, &[8, 8], vec![0; 512]);
    let result = load(|tensors| *find(tensors, Q_WEIGHT) = whole);
    assert_refused(result, &[Q_WEIGHT, "holds I64 values, expected F64, F32, F16 or BF16"]);
}

#[test]
fn components_with_a_bias_of_their_own() {
    let name = "_components.h-0-attn-q_proj.bias";
    let result = load(|tensors| find(tensors, name).bytes[0] ^= 1);
    assert_refused(result, &[name, "differs from target_model.h.0.attn.q_proj.bias"]);
}

#[test]
fn files_that_are_no_checkpoint() {
    assert_refused(load(Vec::clear), &["holds no tensors"]);
    assert_refused(load_written(|file| fs::write(file, b"").unwrap()), &["not a usable checkpoint"]);
    assert_refused(load_written(|file| fs::write(file, b"{\"a\": 1}").unwrap()), &["not a usable checkpoint"]);
    // A pickled list, and a dict without tensors.
    assert_refused(load_written(|file| fs::write(file, b"\x80\x02].").unwrap()), &["not a usable checkpoint"]);
    assert_refused(
        load_written(|file| fs::write(file, b"\x80\x02}X\x01\x00\x00\x00aK\x01s.").unwrap()),
        &["no tensors"],
    );
    let replace = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    };
    let message = load_written(replace).unwrap_err().to_string();
    assert!(message.ends_with("model_1.pth\" is a folder, expected a regular file; give the file itself"), "{message}");
}

/// No prefix of a checkpoint, and no checkpoint with a byte flipped outside the tensors, may end the program or hang it.
#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    let file = folder.path().join("model_1.pth");
    let whole = fs::read(&file).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 60) {
        fs::write(&file, &whole[..length]).unwrap();
        assert_refused(TrainedRun::load(folder.path(), &RunOptions::default()), &[]);
    }
    for index in (0..whole.len()).step_by(whole.len() / 300) {
        let mut damaged = whole.clone();
        damaged[index] ^= 0x55;
        fs::write(&file, &damaged).unwrap();
        // Elements of tensors may change to other finite numbers, which no reader can notice.
        if let Err(error) = TrainedRun::load(folder.path(), &RunOptions::default()) {
            assert!(!error.to_string().contains("the parser failed"), "byte {index}: {error}");
        }
    }
}

#[test]
fn half_precision_is_read_exactly() {
    let half = |value: f32| if value == 0.0 { 0_u16 } else { 0x3c00 };
    let brain = |value: f32| (value.to_bits() >> 16) as u16;
    for class in [StorageClass::Half, StorageClass::BFloat16] {
        let run = load(|tensors| {
            let tensor = find(tensors, Q_WEIGHT);
            let ones: Vec<f32> = values(tensor).iter().map(|value| f32::from(*value > 0.0)).collect();
            let encode = |value: &f32| if class == StorageClass::Half { half(*value) } else { brain(*value) };
            let bytes = ones.iter().flat_map(|value| encode(value).to_le_bytes()).collect();
            *tensor = StoredTensor::new(Q_WEIGHT, class, &[8, 8], bytes);
        });
        let q = "h.0.attn.q_proj".parse().unwrap();
        let expected: Vec<f32> =
            weights().linear[&q].weight.values.iter().map(|value| f32::from(value > 0.0)).collect();
        assert_eq!(run.unwrap().weights.linear[&q].weight.values, expected.into(), "{class:?}");
    }
}

#[test]
fn a_transposed_view_is_read_in_its_own_order() {
    let run = load(|tensors| find(tensors, Q_WEIGHT).strides = vec![1, 8]).unwrap();
    let q = "h.0.attn.q_proj".parse().unwrap();
    let stored = &weights().linear[&q].weight.values;
    let transposed: Vec<f32> = (0..64).map(|index| stored.at(index % 8 * 8 + index / 8) as f32).collect();
    assert_eq!(run.weights.linear[&q].weight.values, transposed.into());
}

#[test]
fn what_may_be_there_or_not() {
    let expected = weights();
    let tied = load(|tensors| tensors.retain(|tensor| tensor.name != "target_model.lm_head.weight"));
    assert_eq!(tied.unwrap().weights, expected);
    let one_bias =
        load(|tensors| tensors.retain(|tensor| !tensor.name.ends_with("q_proj.bias") || tensor.name.starts_with('_')));
    assert_eq!(one_bias.unwrap().weights, expected);
    let twice = load(|tensors| {
        let copy = StoredTensor { name: "target_model.lm_head.weight".to_owned(), ..tensors[0].clone() };
        *find(tensors, "target_model.lm_head.weight") = copy;
    });
    assert_eq!(twice.unwrap().weights, expected);
    let buffers = load(|tensors| tensors.push(StoredTensor::float("target_model.h.1.attn.bias", &[1, 1], &[f32::NAN])));
    assert_eq!(buffers.unwrap().weights, expected);
}

#[test]
fn the_largest_step_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    for name in ["model_2.pth", "model_10.pth", "model_9.pt", "model_11.ckpt", "model_last.pth"] {
        fs::copy(folder.path().join("model_1.pth"), folder.path().join(name)).unwrap();
    }
    let run = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap();
    assert!(run.files.checkpoint.ends_with("model_10.pth"));
}
