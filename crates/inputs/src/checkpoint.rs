//! `model_STEP.pth`: a state dict with its keys under their current names.

mod archive;
mod contents;
mod elements;
mod find;
mod names;
mod neutral;
mod pickle;
mod raw;
mod safe;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_model::{Array, Values};

use crate::InputError;
use crate::error::{abridged, clipped};
use crate::guard::no_panic;
use contents::Contents;
use elements::{Decoder, WIDE, decoder};
pub(crate) use find::{find, given};
use raw::RawTensor;

/// The tensors of a checkpoint, taken out one by one; what nobody takes is an error in the end.
pub(crate) struct StateDict {
    file: PathBuf,
    /// By current name.
    tensors: BTreeMap<String, RawTensor>,
    /// The name that the file has for one, of its current name.
    in_file: fn(&str) -> String,
    /// Why one may be missing.
    hint: Option<&'static str>,
    /// What a user should know of the checkpoint.
    notes: Vec<String>,
    /// What is left out of the account.
    discarded: Vec<String>,
}

impl StateDict {
    /// Opens a checkpoint. The file is not trusted: it may be anything at all.
    pub(crate) fn open(file: &Path) -> Result<Self, InputError> {
        let Contents { mut tensors, hint, note } = contents::read(file)?;
        let fail = |problem: String| InputError::Checkpoint { file: file.to_owned(), problem };
        if tensors.is_empty() {
            return Err(fail("it holds no tensors; expected the state dict of a ComponentModel".to_owned()));
        }
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut notes: Vec<String> = note.map(|note| format!("{}: {note}", file.display())).into_iter().collect();
        let (prefix, beside) = unwrap(file, &mut tensors)?;
        if beside > 0 {
            notes.push(format!(
                "{}: the state dict is what it holds under {}; {beside} tensors beside it are not read",
                file.display(),
                clipped(&format!("{:?}", prefix.trim_end_matches('.')))
            ));
        }
        check_sizes(file, &tensors)?;
        notes.extend(note_of_wide(file, &tensors));
        let mut named = BTreeMap::<String, RawTensor>::new();
        for tensor in tensors {
            match named.entry(names::current_name(&tensor.name)) {
                Entry::Vacant(slot) => {
                    slot.insert(tensor);
                }
                Entry::Occupied(slot) => {
                    let (first, second) = (&slot.get().name, &tensor.name);
                    let problem = format!("is given twice: as {first} and under the older name {second}");
                    return Err(InputError::tensor(file, slot.key(), problem));
                }
            }
        }
        Ok(Self { file: file.to_owned(), tensors: named, in_file: str::to_owned, hint, notes, discarded: Vec::new() })
    }

    /// Opens the tensors of a neutral run.
    pub(crate) fn open_neutral(file: &Path) -> Result<Self, InputError> {
        let Contents { mut tensors, hint, note } = contents::read(file)?;
        check_sizes(file, &tensors)?;
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let notes = note.map(|note| format!("{}: {note}", file.display()));
        let notes = notes.into_iter().chain(note_of_wide(file, &tensors)).collect();
        let mut named = BTreeMap::<String, RawTensor>::new();
        for tensor in tensors {
            let Some(name) = neutral::current_name(&tensor.name) else {
                let problem =
                    "is no tensor of a neutral run; expected target/NAME, components/SITE.V or components/SITE.U";
                return Err(InputError::tensor(file, tensor.name, problem));
            };
            if let Some(other) = named.get(&name) {
                let problem = format!("is the same as {}; keep one", other.name);
                return Err(InputError::tensor(file, tensor.name, problem));
            }
            named.insert(name, tensor);
        }
        Ok(Self {
            file: file.to_owned(),
            tensors: named,
            in_file: neutral::name_in_file,
            hint,
            notes,
            discarded: Vec::new(),
        })
    }

    /// Adds the tensors of a file of the target model, which has another file's place where that has none of them: `base` is
    /// what stands before all names of the model but that of its unembedding, which some files leave out.
    pub(crate) fn add_target(&mut self, file: &Path, base: &str) -> Result<(), InputError> {
        let Contents { tensors, note, .. } = contents::read(file)?;
        check_sizes(file, &tensors)?;
        self.notes.extend(note_of_wide(file, &tensors));
        let is_whole = tensors.iter().any(|tensor| tensor.name.starts_with(base));
        for tensor in tensors {
            let has_base = is_whole || tensor.name.starts_with("lm_head.");
            let name = format!("target_model.{}{}", if has_base { "" } else { base }, tensor.name);
            if self.tensors.contains_key(&name) {
                return Err(InputError::tensor(file, tensor.name, "is in another file of the target model, too"));
            }
            self.tensors.insert(name, tensor);
        }
        self.notes.extend(note.map(|note| format!("{}: {note}", file.display())));
        Ok(())
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Shape of a tensor, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &*tensor.shape)
    }

    /// Something that a user should know.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Takes a tensor out. It must have this shape, and finite float values.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Array, InputError> {
        self.claim(name, shape)?.read()
    }

    /// Takes a tensor out if it is there; as [`take`](Self::take) otherwise.
    pub(crate) fn take_optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Array>, InputError> {
        self.claim_optional(name, shape)?.map(|tensor| tensor.read()).transpose()
    }

    /// Takes a tensor out without reading it yet. It must have this shape, and values that can be read as floats.
    pub(crate) fn claim(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor, InputError> {
        self.claim_optional(name, shape)?.ok_or_else(|| {
            let hint = self.hint.map_or_else(String::new, |hint| format!("; the checkpoint {hint}"));
            InputError::tensor(
                &self.file,
                (self.in_file)(name),
                format!("is not in the checkpoint; expected one of shape {shape:?}{hint}"),
            )
        })
    }

    fn claim_optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<StoredTensor>, InputError> {
        let Some(tensor) = self.tensors.remove(name) else { return Ok(None) };
        let (file, name) = (Arc::clone(&tensor.file), (self.in_file)(name));
        let fail = |problem: String| InputError::tensor(&file, &*name, problem);
        // Before the elements are read, so that a file cannot ask for more memory than the model needs.
        if tensor.shape != shape {
            return Err(fail(format!("has shape {:?}, expected {shape:?}", tensor.shape)));
        }
        let Some(decode) = decoder(&tensor.dtype) else {
            return Err(fail(format!("holds {} values, expected F64, F32, F16 or BF16", tensor.dtype)));
        };
        Ok(Some(StoredTensor { name, tensor, decode }))
    }

    /// Checks that there is a tensor, which there has to be since `reason`.
    pub(crate) fn require(&self, name: &str, reason: &str) -> Result<(), InputError> {
        if self.tensors.contains_key(name) {
            return Ok(());
        }
        let problem = format!("is neither in the checkpoint nor among the target model's weights, but {reason}");
        Err(InputError::tensor(&self.file, (self.in_file)(name), problem))
    }

    /// How far the elements of a tensor, if it is there, may be rounded: as a part of each.
    pub(crate) fn rounding(&self, name: &str) -> f64 {
        match self.tensors.get(name).map_or("F32", |tensor| &*tensor.dtype) {
            "BF16" => 0.5_f64.powi(8),
            // Also of numbers as small as 1e-4, near which float16 has fewer digits.
            "F16" => 0.5_f64.powi(9),
            _ => 0.0,
        }
    }

    /// Leaves a tensor out of the account: one that is known to carry nothing.
    pub(crate) fn discard(&mut self, name: &str) {
        if self.tensors.remove(name).is_some() {
            self.discarded.push((self.in_file)(name));
        }
    }

    /// Leaves out all tensors whose names begin so.
    pub(crate) fn discard_all(&mut self, start: &str) {
        self.tensors.retain(|name, _| !name.starts_with(start));
    }

    /// Whether there is a tensor whose name begins so.
    pub(crate) fn has_any(&self, start: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(start))
    }

    /// Its file, as messages name it.
    pub(crate) fn shown(&self) -> String {
        tributary_files::visible::on_one_line(&self.file.display().to_string())
    }

    /// Checks that every tensor was taken out; gives what a user should know.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, InputError> {
        match self.tensors.values().next() {
            None => {
                if !self.discarded.is_empty() {
                    self.notes.push(format!(
                        "{}: buffers that follow from the config of the target model are not read: {}",
                        self.file.display(),
                        abridged(std::mem::take(&mut self.discarded))
                    ));
                }
                Ok(self.notes)
            }
            Some(tensor) => {
                let problem = "belongs to nothing that the config files describe; is the checkpoint from another run?";
                Err(InputError::tensor(&tensor.file, &*tensor.name, problem))
            }
        }
    }
}

/// Takes away what stands before all names of the state dict, and what is no part of it. Gives the former, and the number of
/// the latter.
fn unwrap(file: &Path, tensors: &mut Vec<RawTensor>) -> Result<(String, usize), InputError> {
    let prefix = names::prefix(tensors.iter().map(|tensor| &*tensor.name)).map_err(|prefixes| {
        let keys = abridged(prefixes.iter().map(|prefix| clipped(&format!("{:?}", prefix.trim_end_matches('.')))));
        let problem = format!("holds several state dicts, under {keys}; save the one that is meant by itself");
        InputError::Foreign { file: file.to_owned(), problem }
    })?;
    let (prefix, count) = (prefix.to_owned(), tensors.len());
    tensors.retain_mut(|tensor| {
        let Some(name) = tensor.name.strip_prefix(&prefix) else { return false };
        tensor.name = name.to_owned();
        true
    });
    Ok((prefix, count - tensors.len()))
}

/// What is said of elements that are rounded where the backend's are float32.
fn note_of_wide(file: &Path, tensors: &[RawTensor]) -> Option<String> {
    let wide = tensors.iter().filter(|tensor| tensor.dtype == WIDE).count();
    (wide > 0)
        .then(|| format!("{}: {wide} tensors are float64, which is rounded where the dtype is f32", file.display()))
}

/// Checks that tensors do not ask for memory that the file gives no reason for: an element may be seen many times over, as in
/// a tensor that `expand` made. Those of a run are seen twice at most, where two tensors are tied.
fn check_sizes(file: &Path, tensors: &[RawTensor]) -> Result<(), InputError> {
    let length = std::fs::metadata(file).map_err(InputError::read(file))?.len();
    let asked = tensors.iter().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.bytes as u64));
    if asked <= length.saturating_mul(2) {
        return Ok(());
    }
    let largest = tensors.iter().max_by_key(|tensor| tensor.bytes).map_or("", |tensor| &tensor.name);
    let problem = format!(
        "is the largest of tensors whose shapes ask for {asked} bytes, but the file has {length}; save copies of what expand \
         made, with tensor.contiguous()"
    );
    Err(InputError::tensor(file, largest, problem))
}

/// A tensor in a checkpoint, of the shape and type that is expected.
#[derive(Debug)]
pub(crate) struct StoredTensor {
    /// Its name, as messages give it.
    name: String,
    tensor: RawTensor,
    decode: Decoder,
}

impl StoredTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    /// Reads it out of its file. Every value must be finite.
    pub(crate) fn read(&self) -> Result<Array, InputError> {
        let Self { name, tensor, decode } = self;
        let (fail, shape) = (|problem: String| InputError::tensor(&tensor.file, &**name, problem), &*tensor.shape);
        let bytes = no_panic(|| (tensor.read)()).map_err(fail)?.map_err(|error| fail(error.to_string()))?;
        let (values, are_finite) = decode(&bytes);
        if values.len() != shape.iter().product::<usize>() {
            return Err(fail(format!("has {} values, but its shape is {shape:?}", values.len())));
        }
        if let Some(index) = values.iter().position(|value| !are_finite && !(value as f32).is_finite()) {
            let problem =
                format!("is {} at {:?}; every value must be finite", shown(&values, index), place(index, shape));
            return Err(fail(problem));
        }
        Ok(Array::of(shape, values))
    }
}

/// One of some values, as its type writes it.
fn shown(values: &Values, index: usize) -> String {
    match values {
        Values::F32(values) => values[index].to_string(),
        Values::F64(values) if values[index].is_finite() => format!("{:e}, more than float32 holds,", values[index]),
        Values::F64(values) => values[index].to_string(),
    }
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
    fn the_place_of_an_element() {
        assert_eq!(place(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(place(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(place(7, &[2, 3, 4]), [0, 1, 3]);
    }
}
