//! `model_STEP.pth`: a state dict with its keys under their current names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use pytorch_reader::{DType, PytorchReader, Tensor};
use tributary_model::Array;

use crate::InputError;
use crate::guard::no_panic;

/// The checkpoint of a run with the largest step.
pub(crate) fn find(run: &Path) -> Result<PathBuf, InputError> {
    let mut latest: Option<(u128, PathBuf)> = None;
    for entry in fs::read_dir(run).map_err(InputError::read(run))? {
        let name = entry.map_err(InputError::read(run))?.file_name();
        let Some(step) = name.to_str().and_then(step_of) else { continue };
        if latest.as_ref().is_none_or(|(most, _)| step > *most) {
            latest = Some((step, run.join(name)));
        }
    }
    latest.map(|(_, path)| path).ok_or_else(|| {
        InputError::missing(run, "holds no checkpoint; expected a file named model_STEP.pth, such as model_1500.pth")
    })
}

fn step_of(name: &str) -> Option<u128> {
    let step = name.strip_prefix("model_")?.strip_suffix(".pth")?;
    step.bytes().all(|byte| byte.is_ascii_digit()).then(|| step.parse().ok())?
}

/// The tensors of a checkpoint, taken out one by one; what nobody takes is an error in the end.
pub(crate) struct StateDict {
    file: PathBuf,
    /// By current name.
    tensors: BTreeMap<String, Tensor>,
}

impl StateDict {
    /// Opens a checkpoint. The file is not trusted: it may be anything at all.
    pub(crate) fn open(file: &Path) -> Result<Self, InputError> {
        // The reader's own error for these says nothing about the file.
        let metadata = fs::metadata(file).map_err(InputError::read(file))?;
        let fail = |problem: String| InputError::Checkpoint { file: file.to_owned(), problem };
        if !metadata.is_file() {
            return Err(fail("it is not a file".to_owned()));
        }
        let reader = no_panic(|| PytorchReader::new(file)).map_err(fail)?.map_err(|error| fail(error.to_string()))?;
        let mut stored: Vec<(String, Tensor)> = reader.into_tensors().into_iter().collect();
        if stored.is_empty() {
            return Err(fail("it holds no tensors; expected the state dict of a ComponentModel".to_owned()));
        }
        stored.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut tensors = BTreeMap::<String, Tensor>::new();
        for (name, tensor) in stored {
            match tensors.entry(current_name(&name)) {
                Entry::Vacant(slot) => {
                    slot.insert(tensor);
                }
                Entry::Occupied(slot) => {
                    let problem = format!("is given twice: as {} and under the older name {name}", slot.get().name);
                    return Err(InputError::tensor(file, slot.key(), problem));
                }
            }
        }
        Ok(Self { file: file.to_owned(), tensors })
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Takes a tensor out. It must have this shape, and finite float values.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Array, InputError> {
        self.claim(name, shape)?.read(&self.file)
    }

    /// Takes a tensor out if it is there; as [`take`](Self::take) otherwise.
    pub(crate) fn take_optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Array>, InputError> {
        self.claim_optional(name, shape)?.map(|tensor| tensor.read(&self.file)).transpose()
    }

    /// Takes a tensor out without reading it yet. It must have this shape, and values that can be read as floats.
    pub(crate) fn claim(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor, InputError> {
        self.claim_optional(name, shape)?.ok_or_else(|| {
            let problem = format!("is not in the checkpoint; expected one of shape {shape:?}");
            InputError::tensor(&self.file, name, problem)
        })
    }

    fn claim_optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<StoredTensor>, InputError> {
        let Some(tensor) = self.tensors.remove(name) else { return Ok(None) };
        let fail = |problem: String| InputError::tensor(&self.file, name, problem);
        // Before the elements are read, so that a file cannot ask for more memory than the model needs.
        if tensor.shape() != shape {
            return Err(fail(format!("has shape {:?}, expected {shape:?}", tensor.shape())));
        }
        let decode = decoder(tensor.dtype())
            .ok_or_else(|| fail(format!("holds {:?} values, expected F32, F16 or BF16", tensor.dtype())))?;
        Ok(Some(StoredTensor { name: name.to_owned(), tensor, decode }))
    }

    /// Leaves a tensor out of the account: one that is known to carry nothing.
    pub(crate) fn discard(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Checks that every tensor was taken out.
    pub(crate) fn finish(self) -> Result<(), InputError> {
        match self.tensors.values().next() {
            None => Ok(()),
            Some(tensor) => {
                let problem = "belongs to nothing that the config files describe; is the checkpoint from another run?";
                Err(InputError::tensor(&self.file, &*tensor.name, problem))
            }
        }
    }
}

/// A tensor in a checkpoint, of the shape and type that is expected.
#[derive(Debug)]
pub(crate) struct StoredTensor {
    /// Its current name.
    name: String,
    tensor: Tensor,
    decode: Decoder,
}

impl StoredTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Reads it out of the checkpoint, which is `file`. Every value must be finite.
    pub(crate) fn read(&self, file: &Path) -> Result<Array, InputError> {
        let Self { name, tensor, decode } = self;
        let (fail, shape) = (|problem: String| InputError::tensor(file, &**name, problem), tensor.shape());
        let bytes = no_panic(|| tensor.read()).map_err(fail)?.map_err(|error| fail(error.to_string()))?;
        let (values, are_finite) = decode(&bytes);
        if values.len() != shape.iter().product::<usize>() {
            return Err(fail(format!("has {} values, but its shape is {shape:?}", values.len())));
        }
        let suspects = if are_finite { &[] } else { values.as_slice() };
        if let Some(index) = suspects.iter().position(|value| !value.is_finite()) {
            let problem = format!("is {} at {:?}; every value must be finite", values[index], place(index, shape));
            return Err(fail(problem));
        }
        Ok(Array::new(shape, values))
    }
}

/// The current name of a tensor that may have one of the names of earlier versions of the published code, as
/// `handle_deprecated_state_dict_keys_` of `spd/models/component_model.py` maps them.
fn current_name(name: &str) -> String {
    let name = match name.strip_prefix("patched_model.") {
        Some(rest) => format!("target_model.{rest}"),
        None => name.to_owned(),
    };
    if let Some(rest) = name.strip_prefix("_gates.") {
        return format!("_ci_fns.{rest}");
    }
    let Some(module) = name.strip_prefix("target_model.") else { return name };
    for parameter in ["U", "V"] {
        if let Some(layer) = module.strip_suffix(parameter).and_then(|path| path.strip_suffix(".components.")) {
            return format!("_components.{}.{parameter}", layer.replace('.', "-"));
        }
    }
    for parameter in ["weight", "bias"] {
        if let Some(path) = module.strip_suffix(parameter).and_then(|path| path.strip_suffix(".original.")) {
            return format!("target_model.{path}.{parameter}");
        }
    }
    name
}

/// Turns the bytes of a tensor, in native byte order, into the same numbers as `f32`; and tells whether all are finite.
type Decoder = fn(&[u8]) -> (Vec<f32>, bool);

/// How tensors of an element type are decoded; `None` where that would not be exact.
fn decoder(dtype: DType) -> Option<Decoder> {
    fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> (Vec<f32>, bool) {
        /// Numbers that are looked at while a cache still has them.
        const BLOCK: usize = 1 << 12;
        let encoded = bytes.as_chunks::<N>().0;
        let (mut values, mut are_finite) = (Vec::with_capacity(encoded.len()), true);
        for encoded in encoded.chunks(BLOCK) {
            let start = values.len();
            values.extend(encoded.iter().map(|&bytes| decode(bytes)));
            // No early end, so that several are compared at once.
            are_finite &= values[start..].iter().fold(true, |all, value: &f32| all & value.is_finite());
        }
        (values, are_finite)
    }
    fn pairs(bytes: &[u8], decode: impl Fn(u16) -> f32) -> (Vec<f32>, bool) {
        each(bytes, |pair| decode(u16::from_ne_bytes(pair)))
    }
    match dtype {
        DType::F32 => Some(|bytes| each(bytes, f32::from_ne_bytes)),
        DType::BF16 => Some(|bytes| pairs(bytes, |bits| f32::from_bits(u32::from(bits) << 16))),
        DType::F16 => Some(|bytes| pairs(bytes, f16_value)),
        _ => None,
    }
}

/// The value of an IEEE 754 binary16 number.
fn f16_value(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let value = if magnitude >= 0x7c00 {
        f32::from_bits(0x7f80_0000 | (magnitude << 13))
    } else {
        // The bits of a binary32 whose exponent is 112 too low, subnormal where the binary16 is; the product is exact.
        f32::from_bits(magnitude << 13) * 2.0_f32.powi(112)
    };
    f32::from_bits(value.to_bits() | sign)
}

/// Indices of element `index` of a row-major array.
fn place(index: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = index;
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&length| {
            let here = rest % length;
            rest /= length;
            here
        })
        .collect();
    indices.reverse();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_names_become_current_ones() {
        let cases = [
            ("patched_model.h.0.ln_1.weight", "target_model.h.0.ln_1.weight"),
            ("patched_model.h.0.attn.q_proj.original.weight", "target_model.h.0.attn.q_proj.weight"),
            ("target_model.h.0.attn.q_proj.original.bias", "target_model.h.0.attn.q_proj.bias"),
            ("patched_model.h.0.attn.q_proj.components.U", "_components.h-0-attn-q_proj.U"),
            ("target_model.h.0.mlp.c_fc.components.V", "_components.h-0-mlp-c_fc.V"),
            ("_gates.h-0-mlp-c_fc.layers.0.W", "_ci_fns.h-0-mlp-c_fc.layers.0.W"),
            ("_components.h-0-mlp-c_fc.V", "_components.h-0-mlp-c_fc.V"),
            ("target_model.wte.weight", "target_model.wte.weight"),
            ("elsewhere.components.U", "elsewhere.components.U"),
        ];
        for (older, current) in cases {
            assert_eq!(current_name(older), current);
        }
    }

    #[test]
    fn half_precision_values_are_exact() {
        // Bit patterns and values from the table of examples of IEEE 754 binary16.
        let cases = [
            (0x0000, 0.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3555, 1365.0 / 4096.0),
            (0x3c00, 1.0),
            (0x3c01, 1.0 + 2.0_f32.powi(-10)),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xc000, -2.0),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_value(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert_eq!(f16_value(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(f16_value(0x7e00).is_nan());
    }

    #[test]
    fn steps_are_numbers() {
        assert_eq!(step_of("model_1500.pth"), Some(1500));
        for name in ["model_.pth", "model_+1.pth", "model_1.pt", "model_1.5.pth", "optimizer_1.pth"] {
            assert_eq!(step_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_place_of_an_element() {
        assert_eq!(place(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(place(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(place(7, &[2, 3, 4]), [0, 1, 3]);
    }
}
