//! The tensors of a set file and how they are written.

use std::collections::BTreeMap;
use std::io::{self, Write};

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value, json};
use tributary_backend::Element;
use tributary_engine::{AliveEntries, Layer, Pair, PairAttribution, Prompt, SetAttributions};

use crate::{FORMAT, FORMAT_VERSION};

/// Name of the output probabilities' tensor.
pub(crate) const OUTPUT_PROBS: &str = "output_probs";

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
    match layer {
        Layer::Wte => None,
        Layer::Linear { .. } => Some("ci"),
        Layer::Output => Some("prob"),
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
}

impl<E: Element> Values<'_, E> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Entries(_) => Dtype::I32,
            Self::Edges(_) => Dtype::U32,
            Self::Numbers(_) | Self::Rows { .. } => Dtype::F32,
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Entries(entries) => vec![entries.len(), 2],
            Self::Numbers(values) => vec![values.len()],
            Self::Rows { positions, values } => vec![*positions, values.len().checked_div(*positions).unwrap_or(0)],
            Self::Edges(pair) => vec![pair.values.len(), 2],
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            // Positions and components are far below 2^31, so i32 and u32 have the same bytes.
            Self::Entries(entries) => entries.iter().try_for_each(|entry| write_row(out, entry)),
            Self::Edges(pair) => pair.edges().try_for_each(|edge| write_row(out, edge)),
            Self::Numbers(values) | Self::Rows { values, .. } => {
                values.iter().try_for_each(|value| out.write_all(&value.to_f32().to_le_bytes()))
            }
        }
    }
}

fn write_row(out: &mut impl Write, (first, second): (usize, usize)) -> io::Result<()> {
    let row = u64::from(first as u32) | u64::from(second as u32) << 32;
    out.write_all(&row.to_le_bytes())
}

/// Writes a set as a safetensors file.
///
/// The `safetensors` crate writes the metadata in the order of a hash map; it is written here so that equal results
/// are equal files.
pub(crate) fn write_set<E: Element>(
    set: &SetAttributions<E>,
    prompt: &Prompt,
    output_probs: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let tensors = tensors(set, prompt.tokens.len(), output_probs);
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!(metadata(&set.name, prompt)))]);
    let mut end = 0;
    for Tensor { name, values } in &tensors {
        let (dtype, shape, start) = (values.dtype(), values.shape(), end);
        // All dtypes here take four bytes.
        end += 4 * shape.iter().product::<usize>();
        let info = TensorInfo { dtype, shape, data_offsets: (start, end) };
        header.insert(name.clone(), serde_json::to_value(info)?);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The format asks for data aligned to eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    tensors.iter().try_for_each(|tensor| tensor.values.write(out))?;
    out.flush()
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

fn tensors<E: Element>(set: &SetAttributions<E>, positions: usize, output_probs: bool) -> Vec<Tensor<'_, E>> {
    let mut tensors = Vec::new();
    let mut push = |name, values| tensors.push(Tensor { name, values });
    for (&layer, nodes) in &set.nodes {
        push(node_tensor(layer, "index"), Values::Entries(&nodes.alive));
        if let Some(importance) = importance_name(layer) {
            push(node_tensor(layer, importance), Values::Numbers(&nodes.importance));
            push(node_tensor(layer, "activation"), Values::Numbers(&nodes.activation));
        }
        push(node_tensor(layer, "original"), Values::Entries(&nodes.original));
    }
    for pair in &set.pairs {
        push(edge_tensor(&pair.pair, "index"), Values::Edges(pair));
        push(edge_tensor(&pair.pair, "value"), Values::Numbers(&pair.values));
    }
    if output_probs {
        push(OUTPUT_PROBS.to_owned(), Values::Rows { positions, values: &set.output_probs });
    }
    tensors
}
