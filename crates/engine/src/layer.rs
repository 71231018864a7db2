//! Names of the layers of a decomposed transformer.

use std::fmt;
use std::str::FromStr;

/// A linear layer inside a transformer block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
    /// `attn.q_proj`: queries.
    Q,
    /// `attn.k_proj`: keys.
    K,
    /// `attn.v_proj`: values.
    V,
    /// `attn.o_proj`: attention output, written to the residual stream.
    O,
    /// `mlp.c_fc`: into the hidden layer of the MLP.
    CFc,
    /// `mlp.down_proj`: out of the hidden layer, written to the residual stream.
    DownProj,
}

impl Projection {
    /// The projections of a block in the order data flows through them.
    pub const ALL: [Self; 6] = [Self::Q, Self::K, Self::V, Self::O, Self::CFc, Self::DownProj];

    fn module(self) -> &'static str {
        match self {
            Self::Q => "attn.q_proj",
            Self::K => "attn.k_proj",
            Self::V => "attn.v_proj",
            Self::O => "attn.o_proj",
            Self::CFc => "mlp.c_fc",
            Self::DownProj => "mlp.down_proj",
        }
    }
}

/// A place in the model that attributions start from or lead to. Ordered as data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The token embedding: a source with one pseudo-component per position, always alive.
    Wte,
    /// A linear layer of a block, decomposed into components or not.
    Linear {
        /// Number of the block, from 0.
        block: usize,
        /// Which of its linear layers.
        projection: Projection,
    },
    /// The logits: a target whose components are the vocabulary.
    Output,
}

impl Layer {
    /// The linear layer `projection` of block `block`.
    pub fn linear(block: usize, projection: Projection) -> Self {
        Self::Linear { block, projection }
    }
}

impl fmt::Display for Layer {
    /// Writes the module path that configs and result files use: `wte`, `h.0.attn.q_proj`, `output`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wte => f.pad("wte"),
            Self::Linear { block, projection } => f.pad(&format!("h.{block}.{}", projection.module())),
            Self::Output => f.pad("output"),
        }
    }
}

/// A text that names no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a layer; layers are wte, output and h.N.MODULE with MODULE one of attn.q_proj, attn.k_proj, attn.v_proj, attn.o_proj, mlp.c_fc, mlp.down_proj"
)]
pub struct UnknownLayer(pub String);

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        let linear = || {
            let (block, module) = text.strip_prefix("h.")?.split_once('.')?;
            let projection = Projection::ALL.into_iter().find(|projection| projection.module() == module)?;
            let block: usize = block.parse().ok()?;
            Some(Self::linear(block, projection))
        };
        let layer = match text {
            "wte" => Some(Self::Wte),
            "output" => Some(Self::Output),
            _ => linear(),
        };
        // Printing it back rejects spellings such as `h.+1.` and `h.01.`, which would be second names of one layer.
        layer.filter(|layer| layer.to_string() == text).ok_or_else(|| UnknownLayer(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_no_layer_has_two_names() {
        for text in ["wte", "output", "h.0.attn.q_proj", "h.12.mlp.down_proj"] {
            assert_eq!(text.parse::<Layer>().unwrap().to_string(), text);
        }
        for text in
            ["", "h.0", "h.01.mlp.c_fc", "h.+1.mlp.c_fc", "h.-1.mlp.c_fc", "h.0.mlp.up", "Wte", "h.0.attn.q_proj "]
        {
            assert_eq!(text.parse::<Layer>(), Err(UnknownLayer(text.to_owned())));
        }
    }

    #[test]
    fn layers_are_ordered_as_data_flows() {
        let mut layers = vec![Layer::Output, Layer::linear(1, Projection::Q), Layer::linear(0, Projection::DownProj)];
        layers.extend([Layer::linear(0, Projection::O), Layer::Wte]);
        layers.sort_unstable();
        let names: Vec<String> = layers.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["wte", "h.0.attn.o_proj", "h.0.mlp.down_proj", "h.1.attn.q_proj", "output"]);
    }
}
