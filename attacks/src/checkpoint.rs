//! Checkpoints.

use std::iter::once;

use tributary_inputs::test_support::{
    RandomWeights, StoredTensor, Style, remove_checksums, state_dict, write_legacy_pth, write_pth,
};

use crate::Attack;
use crate::archive::{Entry, archive, end_record, end_records_64, overlapping};
use crate::attack::{refused, taken};
use crate::pickle::{pickle, text};
use crate::safe_file::join;
use crate::scene::{Scene, attribute, line};

const FILE: &str = "run/model_1.pth";
const SAFE: &str = "run/model_1.safetensors";
const WTE: &str = "target_model.wte.weight";

/// The tensors of the run.
fn tensors() -> Vec<StoredTensor> {
    state_dict(&RandomWeights::gpt2_simple(3).weights(), Style::Current)
}

/// Puts a checkpoint in place whose tensors were changed.
fn edit(scene: &Scene, edit: impl FnOnce(&mut Vec<StoredTensor>)) {
    let mut tensors = tensors();
    edit(&mut tensors);
    write_pth(&scene.path(FILE), &tensors);
}

/// The same with the token embedding changed.
fn edit_one(scene: &Scene, change: impl FnOnce(&mut StoredTensor)) {
    edit(scene, |tensors| change(tensors.iter_mut().find(|tensor| tensor.name == WTE).unwrap()));
}

/// Puts a checkpoint in place whose tensors have other names.
fn rename(scene: &Scene, name: impl Fn(usize, &str) -> String) {
    edit(scene, |tensors| {
        let names: Vec<String> = tensors.iter().enumerate().map(|(n, tensor)| name(n, &tensor.name)).collect();
        let old: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        for (tensor, name) in tensors.iter_mut().zip(&names) {
            tensor.name.clone_from(name);
            let shared = tensor.shares.as_ref().and_then(|shares| old.iter().position(|old| old == shares));
            tensor.shares = shared.map(|shared| names[shared].clone());
        }
    });
}

/// Takes the checksums away, so that what is changed afterwards is read.
fn without_checksums(scene: &Scene) {
    let mut bytes = scene.read(FILE);
    remove_checksums(&mut bytes);
    scene.write(FILE, bytes);
}

/// Puts a checkpoint of the form before PyTorch 1.6 in place.
fn legacy(scene: &Scene) {
    write_legacy_pth(&scene.path(FILE), &tensors());
}

/// Puts an archive of entries in place.
fn zip(scene: &Scene, entries: &[Entry]) {
    scene.write(FILE, archive(entries));
}

/// A checkpoint in the format of safetensors with this header, in place of the other.
fn safe(scene: &Scene, header: &str, data: &[u8]) {
    scene.remove(FILE);
    scene.write(SAFE, join(header, data));
}

pub(crate) fn attacks() -> Vec<Attack> {
    [archives(), pickles(), stored_tensors(), names(), legacies(), safetensors()].concat()
}

fn archives() -> Vec<Attack> {
    vec![
        refused("empty-file", "a file of no bytes", FILE, |s| {
            s.write(FILE, "");
            attribute()
        }),
        refused("deflated-pickle", "a pickle of 64 MB, compressed to a few hundred bytes each", FILE, |s| {
            zip(s, &[Entry::deflated("archive/data.pkl", &vec![b'N'; 64 << 20])]);
            attribute()
        }),
        refused("deflated-storage", "a storage of 64 MB, compressed", FILE, |s| {
            let pickle = Entry::stored("archive/data.pkl", b"\x80\x02}.");
            zip(s, &[pickle, Entry::deflated("archive/data/0", &vec![0; 64 << 20])]);
            attribute()
        }),
        refused("size-beyond-the-file", "an entry that says it has 4 GB", FILE, |s| {
            let lie = Entry { size: u32::MAX - 1, ..Entry::stored("archive/data.pkl", b"\x80\x02}.") };
            zip(s, &[lie]);
            attribute()
        }),
        refused("overlapping-entries", "a thousand entries that are the same megabyte", FILE, |s| {
            s.write(FILE, overlapping(&Entry::stored("a/data/000", vec![0; 1 << 20]), 1000));
            attribute()
        }),
        refused("many-entries", "60 000 empty entries", FILE, |s| {
            let entries: Vec<_> = (0..60_000).map(|n| Entry::stored(&format!("a/data/{n}"), "")).collect();
            zip(s, &entries);
            attribute()
        }),
        refused("directory-beyond-the-file", "a directory that begins after the end", FILE, |s| {
            s.write(FILE, [b"PK\x03\x04".to_vec(), end_record(u16::MAX - 1, 1 << 30, 1 << 31)].concat());
            attribute()
        }),
        refused("zip64-of-2-to-63-entries", "a directory of 2^63 entries", FILE, |s| {
            let start = archive(&[Entry::stored("archive/data.pkl", b"\x80\x02}.")]);
            s.write(FILE, [&*start, &end_records_64(start.len(), 1 << 63, 1 << 62, 0)].concat());
            attribute()
        }),
        refused("zip64-that-overflows", "offsets whose sum is beyond 2^64", FILE, |s| {
            let start = archive(&[Entry::stored("archive/data.pkl", b"\x80\x02}.")]);
            s.write(FILE, [&*start, &end_records_64(start.len(), 1, u64::MAX, u64::MAX)].concat());
            attribute()
        }),
        refused("names-that-lead-out", "entries named for files elsewhere", FILE, |s| {
            let name = "../../../outside/data.pkl";
            zip(s, &[Entry::stored(name, b"\x80\x02}."), Entry::stored("/etc/passwd", "x")]);
            attribute()
        }),
        refused("two-pickles", "two pickles under one name", FILE, |s| {
            let entry = || Entry::stored("archive/data.pkl", b"\x80\x02}.");
            zip(s, &[entry(), entry()]);
            attribute()
        }),
        refused("no-pickle", "an archive without one", FILE, |s| {
            zip(s, &[Entry::stored("archive/version", "3\n")]);
            attribute()
        }),
        refused("encrypted", "an entry that says it is encrypted", FILE, |s| {
            zip(s, &[Entry { flags: 1, ..Entry::stored("archive/data.pkl", b"\x80\x02}.") }]);
            attribute()
        }),
        refused("unknown-compression", "an entry compressed in a way that nobody knows", FILE, |s| {
            zip(s, &[Entry { method: 77, ..Entry::stored("archive/data.pkl", b"\x80\x02}.") }]);
            attribute()
        }),
        refused("name-of-65535-characters", "an entry whose name fills the screen", FILE, |s| {
            zip(s, &[Entry::deflated(&"n".repeat(65_535), b"x")]);
            attribute()
        }),
        refused("cut-in-the-middle", "half of a checkpoint", FILE, |s| {
            s.cut(FILE, |length| length / 2);
            attribute()
        }),
        refused("cut-by-one-byte", "all of a checkpoint but its last byte", FILE, |s| {
            s.cut(FILE, |length| length - 1);
            attribute()
        }),
    ]
}

fn pickles() -> Vec<Attack> {
    vec![
        refused("os-system", "a pickle that runs a command", FILE, |s| {
            pickle(s, b"cos\nsystem\n(X\x18\0\0\0touch ../outside/executedtR.");
            attribute()
        }),
        refused("builtins-eval", "a pickle that evaluates a text", FILE, |s| {
            pickle(s, b"cbuiltins\neval\n(X\x04\0\0\x001//0tR.");
            attribute()
        }),
        refused("no-stop", "a pickle that does not end", FILE, |s| {
            pickle(s, b"}");
            attribute()
        }),
        refused("no-instructions", "a pickle of nothing", FILE, |s| {
            pickle(s, b".");
            attribute()
        }),
        refused("unknown-instruction", "an instruction that is none", FILE, |s| {
            pickle(s, b"\xff\xfe\xfd.");
            attribute()
        }),
        refused("deep-tuples", "tuples 900 000 deep", FILE, |s| {
            pickle(s, [b")".as_slice(), &[0x85; 900_000], b"."].concat());
            attribute()
        }),
        refused("deep-lists", "lists 300 000 deep", FILE, |s| {
            pickle(s, ["]".repeat(300_000), "a".repeat(299_999), ".".to_owned()].concat());
            attribute()
        }),
        refused("many-marks", "900 000 marks", FILE, |s| {
            pickle(s, [[b'('; 900_000].as_slice(), b"."].concat());
            attribute()
        }),
        refused("many-objects", "900 000 dictionaries", FILE, |s| {
            pickle(s, [b"(".as_slice(), &[b'}'; 900_000], b"l."].concat());
            attribute()
        }),
        refused("memo-that-doubles", "tuples of which each holds the last one twice, 60 deep", FILE, |s| {
            // PUT n; GET n, GET n, TUPLE2.
            let doubled = (0..60_u8).flat_map(|n| [b'q', n, b'h', n, b'h', n, 0x86]);
            pickle(s, b")".iter().copied().chain(doubled).chain(once(b'.')).collect::<Vec<u8>>());
            attribute()
        }),
        refused("memo-that-doubles-as-a-value", "the same under the name of a tensor", FILE, |s| {
            let doubled = (0..60_u8).flat_map(|n| [b'q', n, b'h', n, b'h', n, 0x86]);
            let value: Vec<u8> = b")".iter().copied().chain(doubled).collect();
            pickle(s, [b"}(".as_slice(), &text(WTE), &value, b"u."].concat());
            attribute()
        }),
        refused("memo-of-2-to-32", "a memo with a place of 2^32 - 1", FILE, |s| {
            pickle(s, b")r\xff\xff\xff\xff.");
            attribute()
        }),
        refused("memo-of-nothing", "a memo that is read before it is written", FILE, |s| {
            pickle(s, b"h\x07.");
            attribute()
        }),
        refused("text-of-2-to-63", "a text that says it has 2^63 bytes", FILE, |s| {
            pickle(s, b"\x8d\0\0\0\0\0\0\0\x80abc.");
            attribute()
        }),
        refused("number-of-2-to-31-bytes", "a number that says it has 2^31 - 1 bytes", FILE, |s| {
            pickle(s, b"\x8b\xff\xff\xff\x7fabc.");
            attribute()
        }),
        refused("number-of-negative-length", "a number that says it has -1 bytes", FILE, |s| {
            pickle(s, b"\x8b\xff\xff\xff\xffabc.");
            attribute()
        }),
        refused("number-of-100000-digits", "a number in decimal", FILE, |s| {
            pickle(s, format!("L{}L\n.", "9".repeat(100_000)));
            attribute()
        }),
        refused("stack-of-nothing", "instructions that take what is not there", FILE, |s| {
            pickle(s, b"tRbsu0e.");
            attribute()
        }),
    ]
}

fn stored_tensors() -> Vec<Attack> {
    /// How the pickles of the tests write a number.
    fn number(number: u64) -> Vec<u8> {
        [b"\x8a\x09".as_slice(), &number.to_le_bytes(), b"\0"].concat()
    }
    vec![
        refused("strides-outside", "a step that leads out of the storage", FILE, |s| {
            edit_one(s, |tensor| tensor.strides = vec![1 << 40, 1]);
            attribute()
        }),
        refused("strides-that-overflow", "a step of 2^63", FILE, |s| {
            edit_one(s, |tensor| tensor.strides = vec![1 << 63, 1]);
            attribute()
        }),
        refused("strides-of-nothing", "a tensor with a step of 0 in both axes", FILE, |s| {
            edit_one(s, |tensor| {
                (tensor.shape, tensor.strides) = (vec![1 << 20, 1 << 20], vec![0, 0]);
            });
            attribute()
        }),
        refused("fewer-strides-than-axes", "two axes and one step", FILE, |s| {
            edit_one(s, |tensor| tensor.strides = vec![1]);
            attribute()
        }),
        refused("offset-outside", "a tensor that begins beyond its storage", FILE, |s| {
            let storage = [b"tQ".as_slice(), &number(0)].concat();
            without_checksums(s);
            s.replace(FILE, storage, [b"tQ".as_slice(), &number(1 << 40)].concat());
            attribute()
        }),
        refused("offset-negative", "a tensor that begins before its storage", FILE, |s| {
            let negative = [b"tQ\x8a\x09".as_slice(), &[0xff; 9]].concat();
            without_checksums(s);
            s.replace(FILE, [b"tQ".as_slice(), &number(0)].concat(), negative);
            attribute()
        }),
        refused("shape-that-overflows", "a shape of 2^63 times 2", FILE, |s| {
            edit_one(s, |tensor| tensor.shape = vec![1 << 63, 2]);
            attribute()
        }),
        refused("shape-of-2-to-62", "a shape that fits and is beyond all memory", FILE, |s| {
            edit_one(s, |tensor| (tensor.shape, tensor.strides) = (vec![1 << 31, 1 << 31], vec![0, 1]));
            attribute()
        }),
        refused("shape-negative", "a length of -1", FILE, |s| {
            let negative = [b"(\x8a\x09".as_slice(), &[0xff; 9]].concat();
            without_checksums(s);
            s.replace(FILE, [b"(".as_slice(), &number(11)].concat(), negative);
            attribute()
        }),
        refused("shape-of-10000-axes", "a tensor of 10 000 axes", FILE, |s| {
            edit_one(s, |tensor| (tensor.shape, tensor.strides) = (vec![1; 10_000], vec![1; 10_000]));
            attribute()
        }),
        refused("storage-of-2-to-62", "a storage that says it has 2^62 elements", FILE, |s| {
            without_checksums(s);
            s.replace(FILE, [&*number(88), b"tQ"].concat(), [&*number(1 << 62), b"tQ"].concat());
            attribute()
        }),
        refused("storage-cut-short", "a storage that is shorter than its tensor", FILE, |s| {
            edit_one(s, |tensor| tensor.bytes.truncate(7));
            attribute()
        }),
        refused("integers", "whole numbers in place of floats", FILE, |s| {
            edit_one(s, |tensor| tensor.class = tributary_inputs::test_support::StorageClass::Long);
            attribute()
        }),
        refused("weight-nan", "a weight that is no number", FILE, |s| {
            edit_one(s, |tensor| tensor.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes()));
            attribute()
        }),
        refused("weight-infinite", "a weight that is infinite", FILE, |s| {
            edit_one(s, |tensor| tensor.bytes[8..12].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes()));
            attribute()
        }),
        refused("weights-that-overflow", "weights of 3e38, finite until they are used", "h.0.attn.q_proj", |s| {
            edit_one(s, |tensor| tensor.bytes = 3e38_f32.to_le_bytes().repeat(tensor.bytes.len() / 4));
            attribute()
        }),
    ]
}

fn names() -> Vec<Attack> {
    vec![
        refused("two-names-of-one-tensor", "a tensor under its present and its former name", FILE, |s| {
            edit(s, |tensors| {
                let again = tensors[0].again(tensors[0].name.replace("target_model.", "patched_model."));
                tensors.push(again);
            });
            attribute()
        }),
        taken("one-name-twice", "two tensors of one name, of which Python keeps the last", |s| {
            edit(s, |tensors| {
                let mut again = tensors[0].clone();
                again.bytes.fill(0);
                tensors.push(again);
            });
            attribute()
        }),
        refused("prefix-half-way", "_orig_mod. before every other name", FILE, |s| {
            rename(s, |n, name| if n % 2 == 0 { format!("_orig_mod.{name}") } else { name.to_owned() });
            attribute()
        }),
        refused("two-state-dicts", "two state dicts in one file", FILE, |s| {
            rename(s, |n, name| format!("{}.{name}", if n % 2 == 0 { "model" } else { "ema" }));
            attribute()
        }),
        taken("prefix-of-all", "module._orig_mod. before every name", |s| {
            rename(s, |_, name| format!("module._orig_mod.{name}"));
            attribute()
        }),
        refused("name-of-a-million-characters", "a tensor whose name fills the screen", FILE, |s| {
            edit(s, |tensors| tensors.push(StoredTensor::float("n".repeat(900_000), &[1], &[0.0])));
            attribute()
        }),
        refused("5000-tensors-more", "tensors that belong to nothing", FILE, |s| {
            edit(s, |tensors| {
                tensors.extend((0..5000).map(|n| StoredTensor::float(format!("extra.{n}"), &[1], &[0.0])));
            });
            attribute()
        }),
        refused("two-checkpoints", "two files of the last step", "run", |s| {
            let bytes = s.read(FILE);
            s.write("run/model_1.pt", bytes);
            attribute()
        }),
        taken("checksums-of-zero", "an archive without checksums, which is said", |s| {
            without_checksums(s);
            line(["inspect", "run"])
        }),
        refused("checksum-of-another", "a number that is not the one of the checksum", FILE, |s| {
            let mut bytes = s.read(FILE);
            let name = b"archive/data/0".as_slice();
            let start = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
            bytes[start + 4] ^= 1;
            s.write(FILE, bytes);
            attribute()
        }),
        taken("step-of-40-digits", "a step beyond all numbers beside the checkpoint", |s| {
            s.write(&format!("run/model_{}.pth", "9".repeat(40)), "");
            attribute()
        }),
    ]
}

fn legacies() -> Vec<Attack> {
    vec![
        refused("legacy-cut-in-the-pickle", "an old checkpoint that ends in its state dict", FILE, |s| {
            legacy(s);
            s.cut(FILE, |_| 300);
            attribute()
        }),
        refused("legacy-cut-after-the-magic", "an old checkpoint that is only its magic number", FILE, |s| {
            legacy(s);
            s.cut(FILE, |_| 15);
            attribute()
        }),
        refused("legacy-cut-in-the-storages", "an old checkpoint that ends in its numbers", FILE, |s| {
            legacy(s);
            s.cut(FILE, |length| length - 1000);
            attribute()
        }),
        refused("legacy-storage-of-2-to-63", "an old checkpoint whose first storage has 2^63 elements", FILE, |s| {
            legacy(s);
            // The length of the token embedding, after the keys of the storages.
            let length = |elements: u64| [b"e.".as_slice(), &elements.to_le_bytes()].concat();
            s.replace(FILE, length(88), length(1 << 63));
            attribute()
        }),
        taken("legacy-with-more-at-the-end", "an old checkpoint with a pickle after it, which nobody reads", |s| {
            legacy(s);
            s.append(FILE, b"\x80\x02cos\nsystem\n.");
            attribute()
        }),
    ]
}

fn safetensors() -> Vec<Attack> {
    vec![
        refused("safetensors-header-of-2-to-63", "a header that says it has 2^63 bytes", SAFE, |s| {
            s.remove(FILE);
            s.write(SAFE, [&(1_u64 << 63).to_le_bytes(), b"{}".as_slice()].concat());
            attribute()
        }),
        refused("safetensors-header-beyond-the-file", "a header longer than the file", SAFE, |s| {
            s.remove(FILE);
            s.write(SAFE, [&1000_u64.to_le_bytes(), b"{}".as_slice()].concat());
            attribute()
        }),
        refused("safetensors-overlapping", "two tensors of the same bytes", SAFE, |s| {
            let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
            safe(s, &format!("{{\"a\":{tensor},\"b\":{tensor}}}"), &[0; 4]);
            attribute()
        })
        .varying("tensors are looked at in no order"),
        refused("safetensors-key-twice", "a header with one name twice", SAFE, |s| {
            let tensor = |start| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{start},{}]}}"#, start + 4);
            safe(s, &format!("{{\"a\":{},\"a\":{}}}", tensor(0), tensor(4)), &[0; 8]);
            attribute()
        }),
        refused("safetensors-backwards", "a tensor that ends before it begins", SAFE, |s| {
            safe(s, r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, &[0; 8]);
            attribute()
        }),
        refused("safetensors-that-overflows", "a shape of 2^63 times 2^63", SAFE, |s| {
            let length = 1_u64 << 63;
            safe(s, &format!(r#"{{"a":{{"dtype":"F32","shape":[{length},{length}],"data_offsets":[0,4]}}}}"#), &[0; 4]);
            attribute()
        }),
        refused("safetensors-negative", "a negative length", SAFE, |s| {
            safe(s, r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, &[0; 4]);
            attribute()
        }),
        refused("safetensors-deep-header", "a header of 100 000 lists in each other", SAFE, |s| {
            safe(s, &format!("{{\"a\":{}", "[".repeat(100_000)), b"");
            attribute()
        }),
        refused("safetensors-unknown-type", "elements of an unknown type with a long name", SAFE, |s| {
            let name = "F".repeat(100_000);
            safe(s, &format!(r#"{{"a":{{"dtype":"{name}","shape":[1],"data_offsets":[0,4]}}}}"#), &[0; 4]);
            attribute()
        }),
        refused("safetensors-of-nothing", "no tensors", SAFE, |s| {
            safe(s, "{}", b"");
            attribute()
        }),
    ]
}
