//! The tensors of a set file and how they are written.

use std::collections::BTreeMap;
use std::io::{self, Write};

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value, json};
use tributary_backend::Element;
use tributary_model::{AliveEntries, Layer, Pair, PairAttribution, Prompt, Role, SetAttributions};

use crate::{FORMAT, FORMAT_VERSION};

/// Name of the output probabilities' tensor.
pub(crate) const OUTPUT_PROBS: &str = "output_probs";
/// Name of the tensor of divergences from the target model.
pub(crate) const KL: &str = "kl";
/// Name of the tensor of likeliest tokens.
pub(crate) const LIKELIEST: &str = "likeliest";
/// What the target model's probabilities of output nodes are called.
pub(crate) const TARGET_PROB: &str = "target_prob";

/// What the values of edges are called of which gradients stop at deltas.
pub(crate) const VALUE_STOPPED: &str = "value_stopped";

/// Name of a tensor over the nodes of a layer.
pub(crate) fn node_tensor(layer: Layer, what: &str) -> String {
    format!("nodes/{layer}/{what}")
}

/// Name of a tensor over the edges of a pair.
pub(crate) fn edge_tensor(pair: &Pair, what: &str) -> String {
    format!("edges/{}->{}/{what}", pair.source, pair.target)
}

/// What the importance of a layer's nodes is called; `wte` has none.
pub(crate) fn importance_name(layer: Layer) -> Option<&'static str> {
    match layer.role() {
        Role::Embedding => None,
        Role::Output => Some("prob"),
        _ => Some("ci"),
    }
}

/// A tensor of a set file. Its bytes are made as they are written, so none of them is held twice.
struct Tensor<'a, E> {
    name: String,
    values: Values<'a, E>,
}

enum Values<'a, E> {
    /// i32 `[n, 2]`: position, component.
    Entries(&'a AliveEntries),
    /// f32 `[n]`
    Numbers(&'a [E]),
    /// f32 `[positions, columns]`
    Rows { positions: usize, values: &'a [E] },
    /// u32 `[e, 2]`: row in the source's nodes, row in the target's nodes.
    Edges(&'a PairAttribution<E>),
    /// i32 `[n]`
    Tokens(&'a [u32]),
    /// f32 `[n]`, not known yet.
    Later(usize),
}

impl<E: Element> Values<'_, E> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Entries(_) | Self::Tokens(_) => Dtype::I32,
            Self::Edges(_) => Dtype::U32,
            Self::Numbers(_) | Self::Rows { .. } | Self::Later(_) => Dtype::F32,
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Entries(entries) => vec![entries.len(), 2],
            Self::Numbers(values) => vec![values.len()],
            Self::Rows { positions, values } => vec![*positions, values.len().checked_div(*positions).unwrap_or(0)],
            Self::Edges(pair) => vec![pair.edge_count(), 2],
            Self::Tokens(tokens) => vec![tokens.len()],
            Self::Later(count) => vec![*count],
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Entries(entries) => write_rows(entries.iter(), out),
            Self::Edges(pair) => write_rows(pair.edges(), out),
            Self::Numbers(values) | Self::Rows { values, .. } => write_numbers(values, out),
            // Tokens are far below 2^31.
            Self::Tokens(tokens) => tokens.iter().try_for_each(|token| out.write_all(&token.to_le_bytes())),
            Self::Later(_) => Ok(()),
        }
    }
}

/// Rows and numbers that are turned into bytes at once.
const AT_ONCE: usize = 1 << 12;

/// Positions and components are far below 2^31, so i32 and u32 have the same bytes.
fn write_rows(rows: impl Iterator<Item = (usize, usize)>, out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(8 * AT_ONCE);
    for (first, second) in rows {
        if bytes.len() == 8 * AT_ONCE {
            out.write_all(&bytes)?;
            bytes.clear();
        }
        let row = u64::from(first as u32) | u64::from(second as u32) << 32;
        bytes.extend_from_slice(&row.to_le_bytes());
    }
    out.write_all(&bytes)
}

/// Values as f32.
pub(crate) fn write_numbers<E: Element>(values: &[E], out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * AT_ONCE.min(values.len()));
    values.chunks(AT_ONCE).try_for_each(|values| {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_f32().to_le_bytes()));
        out.write_all(&bytes)
    })
}

/// What a set file holds of what it may leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    pub(crate) output_probs: bool,
    pub(crate) implied_index: bool,
    /// The values of which gradients stop at deltas, after all others.
    pub(crate) stopped: bool,
}

/// Writes a set as a safetensors file up to the values of its pairs, which are to follow, pair by pair.
///
/// The `safetensors` crate writes the metadata in the order of a hash map; it is written here so that equal results
/// are equal files.
pub(crate) fn begin_set<E: Element>(
    set: &SetAttributions<E>,
    prompt: &Prompt,
    contents: Contents,
    out: &mut impl Write,
) -> io::Result<()> {
    let tensors = tensors(set, prompt.tokens.len(), contents);
    let (header, _) = header(&tensors, &set.name, prompt);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    tensors.iter().try_for_each(|tensor| tensor.values.write(out))
}

/// Bytes of the file that [`begin_set`] begins.
pub(crate) fn file_size<E: Element>(set: &SetAttributions<E>, prompt: &Prompt, contents: Contents) -> u64 {
    let (header, data) = header(&tensors(set, prompt.tokens.len(), contents), &set.name, prompt);
    (size_of::<u64>() + header.len() + data) as u64
}

/// The header of a file of these tensors, and the number of bytes that follow it.
fn header<E: Element>(tensors: &[Tensor<'_, E>], set: &str, prompt: &Prompt) -> (Vec<u8>, usize) {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!(metadata(set, prompt)))]);
    let mut end = 0;
    for Tensor { name, values } in tensors {
        let (dtype, shape, start) = (values.dtype(), values.shape(), end);
        // All dtypes here take four bytes.
        end += 4 * shape.iter().product::<usize>();
        let info = json!(TensorInfo { dtype, shape, data_offsets: (start, end) });
        header.insert(name.clone(), info);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The format asks for data aligned to eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    (header, end)
}

/// The header's metadata: a map of text to text, as the format asks.
fn metadata(set: &str, prompt: &Prompt) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("format", FORMAT.to_owned()),
        ("format_version", FORMAT_VERSION.to_string()),
        ("set", set.to_owned()),
        ("prompt", prompt.text.clone()),
        ("tokens", json!(prompt.tokens).to_string()),
        ("token_strings", json!(prompt.token_strings).to_string()),
    ])
}

/// In the order of the file: what follows later comes last.
fn tensors<E: Element>(set: &SetAttributions<E>, positions: usize, contents: Contents) -> Vec<Tensor<'_, E>> {
    let mut tensors = Vec::new();
    let mut push = |name, values| tensors.push(Tensor { name, values });
    for (&layer, nodes) in &set.nodes {
        push(node_tensor(layer, "index"), Values::Entries(&nodes.alive));
        if let Some(importance) = importance_name(layer) {
            push(node_tensor(layer, importance), Values::Numbers(&nodes.importance));
            push(node_tensor(layer, "activation"), Values::Numbers(&nodes.activation));
        }
        if let (Role::Output, Some(prediction)) = (layer.role(), &set.prediction) {
            push(node_tensor(layer, TARGET_PROB), Values::Numbers(&prediction.target_prob));
        }
        push(node_tensor(layer, "original"), Values::Entries(&nodes.original));
    }
    if let Some(prediction) = &set.prediction {
        push(KL.to_owned(), Values::Numbers(&prediction.kl));
        push(LIKELIEST.to_owned(), Values::Tokens(&prediction.likeliest));
    }
    if contents.output_probs {
        push(OUTPUT_PROBS.to_owned(), Values::Rows { positions, values: &set.output_probs });
    }
    if !contents.implied_index {
        for pair in &set.pairs {
            push(edge_tensor(&pair.pair, "index"), Values::Edges(pair));
        }
    }
    for pair in &set.pairs {
        push(edge_tensor(&pair.pair, "value"), Values::Later(pair.edge_count()));
    }
    for pair in set.pairs.iter().filter(|_| contents.stopped) {
        push(edge_tensor(&pair.pair, VALUE_STOPPED), Values::Later(pair.edge_count()));
    }
    tensors
}
