//! The causal-importance function of a checkpoint, its numbers not read yet.

use std::collections::BTreeMap;

use tributary_model::{Architecture, CiArrays, CiFunction, CiInput, CiNetwork, CiTransformer, Layer, Role};

use crate::InputError;
use crate::checkpoint::{StateDict, StoredTensor};
use crate::ci_arrays::stored;
use crate::ci_config::{CiConfig, TransformerConfig};
use crate::config::Config;

/// What stands before the names of the tensors of causal-importance functions.
const OF_LAYERS: &str = "_ci_fns.";
const OF_ALL: &str = "ci_fn._global_ci_fn.";

/// Takes it out of the state dict. One whose tensors are not there, or which is not known, is none that can be evaluated.
pub(crate) fn take(
    tensors: &mut StateDict,
    architecture: &Architecture,
    config: &Config,
    counts: &BTreeMap<Layer, usize>,
) -> Result<CiFunction, InputError> {
    let start = match config.ci {
        CiConfig::Layerwise { .. } => OF_LAYERS,
        CiConfig::SharedMlp { .. } | CiConfig::SharedTransformer(_) => OF_ALL,
        CiConfig::Unknown { .. } => "",
    };
    let reason = match &config.ci {
        CiConfig::Unknown { reason } => Some(reason.clone()),
        _ if tensors.has_any(start) => None,
        _ => {
            let other = [OF_LAYERS, OF_ALL].into_iter().find(|other| tensors.has_any(other));
            let found =
                other.map_or_else(|| "none of another kind".to_owned(), |other| format!("some {other}* instead"));
            let file = tensors.shown();
            Some(format!("{file}: no weights {start}* of the CI function that the config describes, and {found}"))
        }
    };
    let network = match reason {
        Some(reason) => {
            for start in [OF_LAYERS, OF_ALL, "ci_fn."] {
                tensors.discard_all(start);
            }
            CiNetwork::Unknown { reason }
        }
        None => Reader { tensors, architecture, counts }.network(&config.ci)?,
    };
    Ok(CiFunction { network, sigmoid: config.sigmoid })
}

struct Reader<'a> {
    tensors: &'a mut StateDict,
    architecture: &'a Architecture,
    counts: &'a BTreeMap<Layer, usize>,
}

impl Reader<'_> {
    fn network(&mut self, config: &CiConfig) -> Result<CiNetwork, InputError> {
        Ok(match config {
            CiConfig::Layerwise { input, hidden } => {
                let counts = self.counts;
                let layers =
                    counts.iter().map(|(&layer, &count)| Ok((layer, self.of_layer(layer, count, *input, hidden)?)));
                CiNetwork::Layerwise { input: *input, layers: layers.collect::<Result<_, InputError>>()? }
            }
            CiConfig::SharedMlp { hidden } => {
                let layers = self.mlp(&format!("{OF_ALL}layers"), self.inputs(), hidden, self.components(), &[])?;
                CiNetwork::SharedMlp(stored(layers))
            }
            CiConfig::SharedTransformer(config) => CiNetwork::SharedTransformer(self.transformer(config)?),
            CiConfig::Unknown { reason } => CiNetwork::Unknown { reason: reason.clone() },
        })
    }

    /// The function of a layer with `count` components.
    fn of_layer(
        &mut self,
        layer: Layer,
        count: usize,
        input: CiInput,
        hidden: &[usize],
    ) -> Result<CiArrays, InputError> {
        let d_in = self.d_in(layer);
        let (first, last) = match input {
            CiInput::SharedVector => (d_in, count),
            CiInput::Vector => (d_in, 1),
            CiInput::Activation => (1, 1),
        };
        // One network for all components, or one for each.
        let networks: &[usize] = match input {
            CiInput::SharedVector => &[],
            CiInput::Vector | CiInput::Activation => &[count],
        };
        let path = format!("{OF_LAYERS}{}.layers", dashed(layer));
        let layers = self.mlp(&path, first, hidden, last, networks)?;
        Ok(stored(layers))
    }

    fn transformer(&mut self, config: &TransformerConfig) -> Result<CiTransformer, InputError> {
        let &TransformerConfig { d_model, n_blocks, ref hidden, n_heads, rope_base } = config;
        let projector = self.linear(&format!("{OF_ALL}_input_projector"), &[self.inputs(), d_model])?;
        let head = self.linear(&format!("{OF_ALL}_output_head"), &[d_model, self.components()])?;
        let mut blocks = Vec::new();
        for block in 0..n_blocks {
            let path = format!("{OF_ALL}_blocks.{block}");
            let mut arrays = Vec::new();
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                arrays.push(self.tensors.claim(&format!("{path}.attn.{projection}.weight"), &[d_model, d_model])?);
            }
            arrays.extend(self.mlp(&format!("{path}.mlp"), d_model, hidden, d_model, &[])?);
            self.check_frequencies(&format!("{path}.attn.rope.inv_freq"), d_model / n_heads, rope_base)?;
            blocks.push(stored(arrays));
        }
        let (projector, head) = (stored(projector), stored(head));
        Ok(CiTransformer { projector, blocks, head, n_heads, rope_base })
    }

    /// Whether the frequencies of rotary positions, where the checkpoint has them, are those that the config gives.
    fn check_frequencies(&mut self, name: &str, d_head: usize, base: f64) -> Result<(), InputError> {
        // In float32, in two steps; and as the checkpoint has it.
        let largest = 1e-6 + self.tensors.rounding(name);
        let Some(frequencies) = self.tensors.take_optional(name, &[d_head / 2])? else { return Ok(()) };
        for (pair, found) in frequencies.values.iter().enumerate() {
            let expected = base.powf(-((2 * pair) as f64 / d_head as f64));
            if (found - expected).abs() > largest * expected {
                let problem = format!("element {pair} is {found}, where rope_base of the config gives {expected}");
                return Err(InputError::tensor(self.tensors.file(), name, problem));
            }
        }
        Ok(())
    }

    /// Linear layers with even numbers, the GELUs between them having the odd ones: weight and bias of each.
    fn mlp(
        &mut self,
        path: &str,
        first: usize,
        hidden: &[usize],
        last: usize,
        networks: &[usize],
    ) -> Result<Vec<StoredTensor>, InputError> {
        let widths: Vec<usize> = [first].into_iter().chain(hidden.iter().copied()).chain([last]).collect();
        let mut arrays = Vec::new();
        for (number, pair) in widths.windows(2).enumerate() {
            arrays.extend(self.linear(&format!("{path}.{}", 2 * number), &[networks, pair].concat())?);
        }
        Ok(arrays)
    }

    /// A linear layer with a weight of this shape, whose last axis is the outputs.
    fn linear(&mut self, path: &str, shape: &[usize]) -> Result<Vec<StoredTensor>, InputError> {
        let weight = self.tensors.claim(&format!("{path}.W"), shape)?;
        let [networks @ .., _, out] = shape else { panic!("a weight has two axes") };
        let bias = self.tensors.claim(&format!("{path}.b"), &[networks, &[*out]].concat())?;
        Ok(vec![weight, bias])
    }

    /// Width of what the function reads of a layer: its input, or of an embedding, which reads tokens, the activations of its
    /// components.
    fn d_in(&self, layer: Layer) -> usize {
        if layer.role() == Role::TokenEmbedding {
            return self.counts[&layer];
        }
        self.architecture.linear(layer).map_or(0, |linear| linear.d_in)
    }

    /// Widths of the inputs of all decomposed layers together.
    fn inputs(&self) -> usize {
        self.counts.keys().map(|&layer| self.d_in(layer)).sum()
    }

    fn components(&self) -> usize {
        self.counts.values().sum()
    }
}

/// A layer's name as module dictionaries spell it, which allow no dots.
pub(crate) fn dashed(layer: Layer) -> String {
    layer.to_string().replace('.', "-")
}
