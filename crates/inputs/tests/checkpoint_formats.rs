//! What a checkpoint may be besides a zip archive of a state dict, and what is said of what it may not be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tributary_inputs::test_support::{
    RandomWeights, StoredTensor, Style, state_dict, write_legacy_pth, write_pth, write_run,
};
use tributary_inputs::{InputError, RunOptions, TrainedRun};
use tributary_model::Weights;

fn weights() -> Weights {
    RandomWeights::gpt2_simple(7).weights()
}

fn tensors() -> Vec<StoredTensor> {
    state_dict(&weights(), Style::Current)
}

/// Loads a run whose only checkpoint is `name`, as `write` wrote it.
fn load(name: &str, write: impl FnOnce(&Path)) -> Result<TrainedRun, InputError> {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    fs::remove_file(folder.path().join("model_1.pth")).unwrap();
    write(&folder.path().join(name));
    TrainedRun::load(folder.path(), &RunOptions::default())
}

#[track_caller]
fn assert_refused(write: impl FnOnce(&Path), parts: &[&str]) {
    let message = load("model_1.pth", write).expect_err("the checkpoint is broken").to_string();
    for part in ["model_1.pth"].iter().chain(parts) {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// One entry of an archive: its name, its content, and how long it says that the content will be.
type Entry<'a> = (&'a str, &'a [u8], u32);

/// Writes an archive whose entries say of themselves that they are compressed.
fn write_deflated(path: &Path, entries: &[Entry<'_>]) {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for &(name, content, size) in entries {
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0, 0, 0, 0, 0];
        common.extend((content.len() as u32).to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory
            .extend([b"PK\x01\x02\x14\x00".as_slice(), &common, &[0; 10], &(out.len() as u32).to_le_bytes()].concat());
        directory.extend(name.bytes());
        out.extend([b"PK\x03\x04".as_slice(), &common, name.as_bytes(), content].concat());
    }
    let start = out.len() as u32;
    out.extend(&directory);
    let count = (entries.len() as u16).to_le_bytes();
    let (length, start) = ((directory.len() as u32).to_le_bytes(), start.to_le_bytes());
    out.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &start, &[0, 0]].concat());
    fs::write(path, out).unwrap();
}

/// 20 kB that become a pickle of 20 MB, of which an object is made for each byte: refused before any of that.
#[test]
fn archives_that_expand() {
    let bomb = [b"\x80\x02".as_slice(), &vec![b'N'; 20 << 20], b"."].concat();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &bomb).unwrap();
    let deflated = encoder.finish().unwrap();
    assert!(deflated.len() < 30_000);
    assert_refused(
        |path| write_deflated(path, &[("m/data.pkl", &deflated, bomb.len() as u32)]),
        &["not a usable checkpoint: its entry \"m/data.pkl\" is compressed, from 20971523 bytes to", "save it again"],
    );
    // What torch.jit.save adds to an archive.
    assert_refused(
        |path| write_deflated(path, &[("m/code/__torch__/torch/nn/modules/linear.py", &deflated, 9)]),
        &["it is a TorchScript program; save the state dict"],
    );
    // Of any length, but stored as it is.
    assert_refused(
        |path| write_pth(path, &[StoredTensor::float("n".repeat(2 << 20), &[1], &[0.0])]),
        &["its pickle, \"archive/data.pkl\", has 2097", "more than the 1048576 that one of its size may have"],
    );
}

#[test]
fn an_older_form_without_end() {
    let write = |pickle: &[u8]| {
        let pickle = pickle.to_vec();
        move |path: &Path| {
            write_legacy_pth(path, &[]);
            let mut bytes = fs::read(path).unwrap();
            // After magic number, version and system comes the state dict.
            bytes.truncate(bytes.windows(4).position(|window| window == b"\x88s.\x80").unwrap() + 3);
            fs::write(path, [bytes, pickle].concat()).unwrap();
        }
    };
    let long = [b"\x80\x02".as_slice(), &vec![b'N'; 3 << 20], b"."].concat();
    assert_refused(write(&long), &["not a usable checkpoint: its pickle is longer than that of any checkpoint"]);
    let claims = b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f";
    assert_refused(write(claims), &["its pickle is longer than that of any checkpoint"]);
    assert_refused(write(b"\x80\x02}"), &["not a usable checkpoint: "]);
}

#[test]
fn one_element_seen_many_times() {
    let write = |path: &Path| {
        let mut tensors = tensors();
        let mut endless = StoredTensor::float("target_model.h.0.attn.bias", &[1 << 15, 1 << 15], &[0.0]);
        endless.strides = vec![0, 0];
        tensors.push(endless);
        write_pth(path, &tensors);
    };
    assert_refused(
        write,
        &[
            "tensor target_model.h.0.attn.bias: is the largest of tensors whose shapes ask for 42949",
            "tensor.contiguous()",
        ],
    );
}

#[test]
fn the_older_form_is_read_with_a_note() {
    let run = load("model_1.pth", |path| write_legacy_pth(path, &tensors())).unwrap();
    assert_eq!(run.weights, weights());
    let [note] = run.notes.as_slice() else { panic!("{:?}", run.notes) };
    assert!(note.contains("model_1.pth: is in the format of PyTorch before 1.6, which has no checksums"), "{note}");
    assert!(load("model_1.pt", |path| write_pth(path, &tensors())).unwrap().notes.is_empty());
}

/// A file of safetensors, after something was done to its tensors by name.
fn safe(change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<u8>)>)) -> Vec<u8> {
    let mut by_name: BTreeMap<String, (Vec<usize>, Vec<u8>)> = tensors()
        .into_iter()
        .filter(|tensor| tensor.shares.is_none())
        .map(|tensor| (tensor.name, (tensor.shape, tensor.bytes)))
        .collect();
    change(&mut by_name);
    let views = by_name
        .iter()
        .map(|(name, (shape, bytes))| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn safetensors_are_read_whatever_their_name() {
    for name in ["model_1.safetensors", "model_1.pth", "model_1.pt"] {
        let run = load(name, |path| fs::write(path, safe(|_| ())).unwrap()).unwrap();
        assert_eq!(run.weights, weights());
        assert!(run.files.checkpoint.ends_with(name));
        assert!(run.notes[0].contains("format of safetensors, which has no checksums"), "{:?}", run.notes);
    }
}

#[test]
fn safetensors_that_do_not_fit() {
    const Q: &str = "target_model.h.0.attn.q_proj.weight";
    let write = |bytes: Vec<u8>| move |path: &Path| fs::write(path, bytes).unwrap();
    assert_refused(write(safe(|by_name| drop(by_name.remove(Q)))), &[Q, "is not in the checkpoint"]);
    let nan = safe(|by_name| by_name.get_mut(Q).unwrap().1[4 * 19..][..4].copy_from_slice(&f32::NAN.to_le_bytes()));
    assert_refused(write(nan), &[Q, "is NaN at [2, 3]; every value must be finite"]);
    assert_refused(
        write(safe(|by_name| by_name.get_mut(Q).unwrap().0 = vec![64])),
        &[Q, "has shape [64], expected [8, 8]"],
    );
    assert_refused(
        write(safe(|by_name| drop(by_name.insert("x".to_owned(), (vec![], vec![0; 4]))))),
        &["tensor x: belongs to nothing"],
    );
    let whole = safe(|_| ());
    assert_refused(write(whole[..whole.len() - 1].to_vec()), &["bytes of tensors, but its header describes"]);
    assert_refused(write([&whole, b"x".as_slice()].concat()), &["bytes of tensors, but its header describes"]);
    assert_refused(write(whole[..40].to_vec()), &["its header has", "more than the 32 that one of its size may have"]);
    let header = b"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}";
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 4]].concat();
    assert_refused(write(bytes), &["not a usable checkpoint"]);
}

#[test]
fn wrappers_are_seen_through() {
    for prefix in ["_orig_mod.", "module.", "module._orig_mod.", "model.", "state_dict.module."] {
        let run = load("model_1.pth", |path| {
            let mut tensors = tensors();
            for tensor in &mut tensors {
                tensor.name = format!("{prefix}{}", tensor.name);
                tensor.shares = tensor.shares.as_ref().map(|name| format!("{prefix}{name}"));
            }
            write_pth(path, &tensors);
        });
        let run = run.unwrap();
        assert_eq!(run.weights, weights(), "{prefix}");
        assert!(run.notes.is_empty());
    }
}

#[test]
fn what_lies_beside_a_state_dict_is_said() {
    let under = |keys: &[&str]| {
        let mut all = Vec::new();
        for key in keys {
            let named = tensors().into_iter().filter(|tensor| tensor.shares.is_none());
            all.extend(named.map(|tensor| StoredTensor { name: format!("{key}.{}", tensor.name), ..tensor }));
        }
        all.push(StoredTensor::float("optimizer.state.0.exp_avg", &[1], &[0.0]));
        all
    };
    let run = load("model_1.pth", |path| write_pth(path, &under(&["model"]))).unwrap();
    let [note] = run.notes.as_slice() else { panic!("{:?}", run.notes) };
    assert!(
        note.ends_with("the state dict is what it holds under \"model\"; 1 tensors beside it are not read"),
        "{note}"
    );
    assert_refused(
        |path| write_pth(path, &under(&["model", "ema"])),
        &["holds several state dicts, under \"ema\", \"model\"; save the one that is meant by itself"],
    );
}

#[test]
fn what_is_no_state_dict_says_what_it_is() {
    let write = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        move |path: &Path| fs::write(path, bytes).unwrap()
    };
    assert_refused(write(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), &["run git lfs pull"]);
    assert_refused(write(b"<!DOCTYPE html><html>Sign in</html>"), &["is a web page, saved in place of the file"]);
    assert_refused(write(b"\x1f\x8b\x08\0"), &["is compressed with gzip; decompress it, with gunzip"]);
    assert_refused(write(b"\x80\x02}."), &["it is a plain pickle, which holds no tensors"]);
    assert_refused(write(b"these are not the weights"), &["it is neither what torch.save writes nor in the format"]);
    // What PyTorch 2.11 pickles for `{name: tensor.to_sparse()}`, `model` and `{name: tensor.numpy()}`, as far as it is read.
    let storage = "((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ";
    let tensor =
        format!("ctorch._utils\n_rebuild_tensor_v2\n{storage}K\0(K\x01t(K\x01tI00\nccollections\nOrderedDict\n)RtR");
    let legacy = |pickle: String| {
        move |path: &Path| {
            let plain = StoredTensor::float("a", &[1], &[0.0]);
            write_legacy_pth(path, &[plain]);
            let bytes = fs::read(path).unwrap();
            let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
            let (start, end) = (find(b"\x88s.\x80") + 3, find(b"u.\x80\x02](") + 2);
            fs::write(path, [&bytes[..start], pickle.as_bytes(), &bytes[end..]].concat()).unwrap();
        }
    };
    assert_refused(
        legacy(format!("}}X\x01\0\0\0actorch._utils\n_rebuild_sparse_tensor\n({tensor}tRs.")),
        &["model_1.pth: holds sparse tensors; make them dense, with tensor.to_dense()"],
    );
    assert_refused(
        legacy(format!("ctorch.nn.modules.linear\nLinear\n({tensor}tR.")),
        &["model_1.pth: holds a pickled module; save its state dict"],
    );
    assert_refused(
        legacy(format!("}}(X\x01\0\0\0a{tensor}X\x01\0\0\0bcnumpy._core.multiarray\n_reconstruct\n)Ru.")),
        &["is not in the checkpoint", "; the checkpoint holds numpy arrays, which are no tensors"],
    );
}

#[test]
fn two_checkpoints_of_one_step() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    let copy = |name: &str| fs::copy(folder.path().join("model_1.pth"), folder.path().join(name)).unwrap();
    copy("model_2.pth");
    copy("model_02.pt");
    let message = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap_err().to_string();
    assert!(message.contains("holds 2 checkpoints of its last step, 2: model_02.pt and model_2.pth; "), "{message}");
    copy("model_3.pth");
    assert!(TrainedRun::load(folder.path(), &RunOptions::default()).is_ok(), "an earlier step does not matter");
}

#[cfg(unix)]
#[test]
fn pipes_are_not_waited_for() {
    for file in ["model_1.pth", "final_config.yaml", "target/model_config.yaml", "target/tokenizer.json"] {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), &weights(), Style::Current);
        let path = folder.path().join(file);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let message = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap_err().to_string();
        assert!(message.contains(file) && message.contains("is a pipe, expected a regular file"), "{message}");
    }
}

/// No prefix of a checkpoint in either other format, and none with a byte flipped, may end the program or hang it.
#[test]
fn damaged_files_of_other_formats_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), &weights(), Style::Current);
    let file = folder.path().join("model_1.pth");
    write_legacy_pth(&file, &tensors());
    for whole in [fs::read(&file).unwrap(), safe(|_| ())] {
        for length in (0..whole.len()).step_by(whole.len() / 60) {
            fs::write(&file, &whole[..length]).unwrap();
            let message = TrainedRun::load(folder.path(), &RunOptions::default()).unwrap_err().to_string();
            assert!(!message.contains("the parser failed"), "{length} bytes: {message}");
        }
        // Mostly in the pickles and the header; elsewhere numbers change, which no reader can notice.
        for index in (0..whole.len().min(12_000)).step_by(37) {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x55;
            fs::write(&file, &damaged).unwrap();
            if let Err(error) = TrainedRun::load(folder.path(), &RunOptions::default()) {
                let message = error.to_string();
                assert!(!message.contains("the parser failed") && message.len() < 1500, "byte {index}: {message}");
            }
        }
    }
}
