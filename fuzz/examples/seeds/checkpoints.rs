//! Checkpoints of the three formats, whole and broken.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tributary_fuzz::small;
use tributary_inputs::test_support::{
    StorageClass, StoredTensor, Style, remove_checksums, state_dict, write_legacy_pth, write_pth,
};

use crate::{Seed, seed};

/// What a writer of files writes.
fn bytes(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("file");
    write(&file);
    fs::read(file).expect("it was written")
}

fn zip(tensors: &[StoredTensor]) -> Vec<u8> {
    // What is mutated is to be read.
    let mut bytes = bytes(|file| write_pth(file, tensors));
    remove_checksums(&mut bytes);
    bytes
}

fn safetensors(tensors: &[StoredTensor]) -> Vec<u8> {
    let own = |tensor: &&StoredTensor| tensor.shares.is_none();
    let views = tensors.iter().filter(own).map(|tensor| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &tensor.bytes).expect("a tensor fits its shape");
        (tensor.name.clone(), view)
    });
    safetensors::serialize(views, None).expect("tensors can be serialised")
}

pub(crate) fn seeds() -> Vec<Seed> {
    let weights = small::gpt2_simple().weights();
    let tensors = state_dict(&weights, Style::Current);
    let changed = |change: &dyn Fn(&mut Vec<StoredTensor>)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        zip(&tensors)
    };
    let (whole, legacy, safe) = (zip(&tensors), bytes(|file| write_legacy_pth(file, &tensors)), safetensors(&tensors));
    let program = b"PK\x03\x04".iter().copied().chain(whole[4..].iter().copied()).collect::<Vec<u8>>();
    let program = replace(&program, b"archive/version", b"/code/__torch__");
    vec![
        seed("zip", &whole),
        seed("legacy", &legacy),
        seed("safetensors", &safe),
        seed("older_zip", zip(&state_dict(&weights, Style::Older))),
        seed("older_safetensors", safetensors(&state_dict(&weights, Style::Older))),
        seed(
            "prefixed",
            changed(&|tensors| {
                for tensor in tensors.iter_mut() {
                    tensor.name = format!("model.{}", tensor.name);
                    tensor.shares = tensor.shares.as_ref().map(|name| format!("model.{name}"));
                }
                tensors.push(StoredTensor::float("optimizer.step", &[1], &[0.0]));
            }),
        ),
        seed(
            "half",
            changed(&|tensors| {
                let tensor = &mut tensors[2];
                *tensor = StoredTensor::new(
                    &*tensor.name,
                    StorageClass::Half,
                    &tensor.shape,
                    vec![0; tensor.bytes.len() / 2],
                );
            }),
        ),
        seed(
            "brain",
            changed(&|tensors| {
                let tensor = &mut tensors[2];
                *tensor = StoredTensor::new(
                    &*tensor.name,
                    StorageClass::BFloat16,
                    &tensor.shape,
                    vec![0; tensor.bytes.len() / 2],
                );
            }),
        ),
        seed(
            "double",
            changed(&|tensors| {
                let tensor = &mut tensors[2];
                *tensor = StoredTensor::new(
                    &*tensor.name,
                    StorageClass::Double,
                    &tensor.shape,
                    vec![0; tensor.bytes.len() * 2],
                );
            }),
        ),
        seed("transposed", changed(&|tensors| tensors[2].strides.reverse())),
        seed("expanded", changed(&|tensors| tensors[2].strides.fill(0))),
        seed("absurd", changed(&|tensors| tensors[2].shape = vec![1 << 40, 1 << 40])),
        seed("missing", changed(&|tensors| drop(tensors.pop()))),
        seed("nan", changed(&|tensors| tensors[2].bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes()))),
        seed("no_tensors", zip(&[])),
        seed("program", program),
        seed("cut_zip", &whole[..whole.len() / 2]),
        seed("cut_legacy", &legacy[..legacy.len() / 2]),
        seed("cut_safetensors", &safe[..safe.len() / 2]),
        seed("module", replace(&whole, b"collections\nOrderedDict", b"torch.nn.modules.a\nBcde")),
        seed("numpy", b"\x80\x04\x8c\x17numpy._core.multiarray_\x94\x8c\x0c_reconstruct\x94\x93."),
        seed("pickle", b"\x80\x02}X\x01\x00\x00\x00aK\x01s."),
        seed("tar", [[b'a'; 257].as_slice(), b"ustar\0"].concat()),
        seed("gzip", b"\x1f\x8b\x08"),
        seed("empty", b""),
    ]
}

/// The first of two texts of one length replaced by the other, everywhere.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    let mut start = 0;
    while let Some(at) = bytes[start..].windows(from.len()).position(|window| window == from) {
        bytes[start + at..][..from.len()].copy_from_slice(&to[..from.len()]);
        start += at + from.len();
    }
    bytes
}
