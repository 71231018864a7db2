//! Where the tensors of a checkpoint lie in its file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};

use pytorch_reader::{DType, MAX_PICKLE_SIZE};
use zip::read::ZipReadOptions;
use zip::{CompressionMethod, ZipArchive};

use crate::pickle;

/// The bytes of a tensor's elements, little-endian and in row-major order, as they lie in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// In bytes from the start of the file.
    pub(crate) offset: u64,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// CRC-32 of these bytes, where the file has one of exactly these.
    pub(crate) checksum: Option<u32>,
}

/// Extents of the tensors of a zip archive that `torch.save` wrote of a flat state dict, by their names.
///
/// A tensor is missing when its elements lie scattered, compressed or outside the file, or the file is anything else
/// than such an archive: whoever finds no extent asks `pytorch-reader`, which also says what is wrong.
pub(crate) fn of_tensors(file: &File) -> BTreeMap<String, Extent> {
    find(file).unwrap_or_default()
}

fn find(file: &File) -> Option<BTreeMap<String, Extent>> {
    let file_length = file.metadata().ok()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).ok()?;
    // As pytorch-reader finds it: the folder of `data.pkl`, the outermost of several.
    let names = archive.file_names().collect::<Result<Vec<_>, _>>().ok()?;
    let roots = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len())?;
    let folder = format!("{root}data/");
    let storages = names.iter().enumerate().filter_map(|(at, name)| Some((name.strip_prefix(&folder)?.to_owned(), at)));
    let storages: HashMap<String, usize> = storages.collect();
    let pickle_name = format!("{root}data.pkl");
    let pickle_at = names.iter().position(|name| *name == pickle_name)?;
    drop(names);
    let mut pickle = Vec::new();
    // Its checksum was looked at by pytorch-reader.
    let entry = archive.by_index_with_options(pickle_at, ZipReadOptions::new().ignore_crc32(true)).ok()?;
    entry.take(MAX_PICKLE_SIZE).read_to_end(&mut pickle).ok()?;

    let mut extents = BTreeMap::new();
    for (name, tensor) in pickle::tensors(&pickle)? {
        let Some(&at) = storages.get(&tensor.key) else { continue };
        let entry = archive.by_index_raw(at).ok()?;
        let is_plain = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
        let Some(start) = entry.data_start().filter(|_| is_plain && entry.size() == entry.compressed_size()) else {
            continue;
        };
        let storage = Storage { start, length: entry.size(), checksum: entry.crc32() };
        if let Some(extent) = storage.extent(&tensor, file_length) {
            extents.insert(name, extent);
        }
    }
    Some(extents)
}

/// An entry of the archive, stored as it is.
struct Storage {
    start: u64,
    length: u64,
    /// 0 where there is none, as with `compute_crc32=False`.
    checksum: u32,
}

impl Storage {
    fn extent(&self, tensor: &pickle::PickledTensor, file_length: u64) -> Option<Extent> {
        let mut elements = 1_u64;
        let mut contiguous = tensor.shape.len() == tensor.strides.len();
        for (&length, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
            contiguous &= length == 1 || stride == elements;
            elements = elements.checked_mul(length)?;
        }
        let size = tensor.dtype.size() as u64;
        let (start, length) = (tensor.start.checked_mul(size)?, elements.checked_mul(size)?);
        let is_inside =
            |end: u64| end <= self.length && self.start.checked_add(end).is_some_and(|end| end <= file_length);
        if !contiguous || !is_inside(start.checked_add(length)?) {
            return None;
        }
        Some(Extent {
            offset: self.start + start,
            dtype: tensor.dtype,
            shape: tensor.shape.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<_>>()?,
            checksum: (length == self.length && self.checksum != 0).then_some(self.checksum),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pytorch_reader::PytorchReader;

    use super::*;

    /// Every tensor of a checkpoint that PyTorch wrote lies where pytorch-reader reads it.
    #[test]
    fn the_bytes_are_those_that_pytorch_reader_reads() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for run in ["examples/gpt2s-2L", "tests/models/llama-2L"] {
            let path = repository.join(run).join("model_1500.pth");
            let content = std::fs::read(&path).unwrap();
            let extents = of_tensors(&File::open(&path).unwrap());
            let reader = PytorchReader::new(&path).unwrap();
            assert_eq!(extents.len(), reader.len(), "{run}");
            for (name, tensor) in reader.tensors() {
                let Extent { offset, dtype, shape, checksum } = &extents[name];
                assert_eq!((*dtype, &shape[..]), (tensor.dtype(), tensor.shape()), "{run}: {name}");
                let bytes = &content[*offset as usize..][..tensor.byte_len()];
                assert!(bytes == tensor.read().unwrap(), "{run}: {name}");
                assert_eq!(*checksum, Some(crc32fast::hash(bytes)), "{run}: {name}");
            }
        }
    }

    /// What does not lie in one piece within its storage and the file has no extent.
    #[test]
    fn tensors_that_lie_otherwise() {
        let storage = Storage { start: 100, length: 48, checksum: 7 };
        let tensor = |start, shape: &[u64], strides: &[u64]| pickle::PickledTensor {
            key: String::new(),
            dtype: DType::F32,
            start,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        let extent = |tensor| storage.extent(&tensor, 148);
        let whole = Extent { offset: 100, dtype: DType::F32, shape: vec![3, 4], checksum: Some(7) };
        assert_eq!(extent(tensor(0, &[3, 4], &[4, 1])), Some(whole.clone()));
        assert_eq!(storage.extent(&tensor(0, &[3, 4], &[4, 1]), 147), None, "past the end of the file");
        // Steps of axes of length 1 do not matter; a part has no checksum of its own.
        let part = Extent { offset: 116, shape: vec![1, 2, 1], checksum: None, ..whole };
        assert_eq!(extent(tensor(4, &[1, 2, 1], &[9, 1, 5])), Some(part));
        let huge = u64::MAX / 2;
        for (start, shape, strides) in [
            (1, &[3, 4][..], &[4, 1][..]),
            (0, &[4, 3], &[1, 4]),
            (0, &[3, 4], &[0, 1]),
            (0, &[3, 4], &[4]),
            (huge, &[1], &[1]),
            (0, &[huge, huge], &[huge, 1]),
            (u64::MAX / 4, &[1], &[1]),
        ] {
            assert_eq!(extent(tensor(start, shape, strides)), None, "{start} {shape:?} {strides:?}");
        }
    }
}
