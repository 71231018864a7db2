//! A decomposed model on a backend, and the pieces its forward pass is made of.

use std::collections::BTreeMap;
use std::ops::Range;

use tributary_backend::{AttributionBackend, BackendError, Element, Unary};
use tributary_model::{
    Architecture, Array, Components, Layer, LinearWeights, Norm, NormWeights, Pair, Role, Weights, pair_table,
};

use crate::Method;
use crate::ci_function::CiNetwork;
use crate::route::{Route, fastest};

/// Number of terms of a logit that are summed at once.
const UNEMBEDDING_PIECE: usize = 32;

/// A decomposed model whose weights live on a backend.
pub struct Model<B: AttributionBackend> {
    pub(crate) backend: B,
    pub(crate) architecture: Architecture,
    pub(crate) component_counts: BTreeMap<Layer, usize>,
    pub(crate) pairs: Vec<Pair>,
    /// `[vocab, d_model]`
    pub(crate) wte: B::Tensor,
    /// `[max_positions, d_model]`
    pub(crate) wpe: Option<B::Tensor>,
    /// Before attention and before the MLP of each block.
    pub(crate) norms: Vec<[NormTensors<B::Tensor>; 2]>,
    pub(crate) ln_f: NormTensors<B::Tensor>,
    pub(crate) linear: BTreeMap<Layer, LinearTensors<B::Tensor>>,
    pub(crate) components: BTreeMap<Layer, ComponentTensors<B::Tensor>>,
    pub(crate) ci_networks: BTreeMap<Layer, CiNetwork<B::Tensor>>,
    /// `[vocab, d_model]`; the token embedding itself where they are tied.
    lm_head: B::Tensor,
}

pub(crate) struct NormTensors<T> {
    pub(crate) weight: T,
    pub(crate) bias: Option<T>,
}

pub(crate) struct LinearTensors<T> {
    /// `[d_in, d_out]`
    weight: T,
    pub(crate) bias: Option<T>,
}

pub(crate) struct ComponentTensors<T> {
    /// `[d_in, C]`
    pub(crate) v: T,
    /// `[C, d_out]`
    pub(crate) u: T,
}

impl<B: AttributionBackend> Model<B> {
    /// Copies the weights to the backend.
    pub fn upload(backend: B, weights: &Weights) -> Result<Self, BackendError> {
        let up = |array: &Array| upload(&backend, array);
        let norm = |norm: &NormWeights| -> Result<_, BackendError> {
            Ok(NormTensors { weight: up(&norm.weight)?, bias: norm.bias.as_ref().map(up).transpose()? })
        };
        let linear = |linear: &LinearWeights| -> Result<_, BackendError> {
            let bias = linear.bias.as_ref().map(up).transpose()?;
            Ok(LinearTensors { weight: up(&transpose(&linear.weight))?, bias })
        };
        let components = |components: &Components| -> Result<_, BackendError> {
            Ok(ComponentTensors { v: up(&components.v)?, u: up(&components.u)? })
        };
        let norms = weights.norms.iter().map(|block| Ok([norm(&block.attention)?, norm(&block.mlp)?]));
        let decomposed = weights.decomposed.keys().copied().collect();
        let wte = up(&weights.wte)?;
        Ok(Self {
            architecture: weights.architecture.clone(),
            component_counts: weights.component_counts(),
            pairs: pair_table(&weights.architecture.linear_layers().collect::<Vec<_>>(), &decomposed),
            lm_head: weights.lm_head.as_ref().map_or_else(|| Ok(wte.clone()), up)?,
            wte,
            wpe: weights.wpe.as_ref().map(up).transpose()?,
            norms: norms.collect::<Result<_, BackendError>>()?,
            ln_f: norm(&weights.ln_f)?,
            linear: try_map(&weights.linear, linear)?,
            components: try_map(&weights.decomposed, |layer| components(&layer.components))?,
            ci_networks: try_map(&weights.decomposed, |layer| CiNetwork::upload(&backend, &layer.ci_function))?,
            backend,
        })
    }

    /// The backend the weights live on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Shape of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Number of components of every decomposed layer.
    pub fn component_counts(&self) -> &BTreeMap<Layer, usize> {
        &self.component_counts
    }

    /// Which layers act on which.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// By which way attributions to a target are computed.
    pub(crate) fn route(&self, target: Layer, method: Method) -> Route {
        let linear: Vec<Layer> = self.architecture.linear_layers().collect();
        match method {
            Method::Autograd => Route::Autograd,
            Method::ClosedForm | Method::Mixed => Route::to(target, &linear, |layer| self.is_decomposed(layer)),
        }
    }

    /// The fastest method that covers the model.
    pub fn fastest_method(&self) -> Method {
        let linear: Vec<Layer> = self.architecture.linear_layers().collect();
        fastest(&linear, |layer| self.is_decomposed(layer))
    }

    fn is_decomposed(&self, layer: Layer) -> bool {
        self.component_counts.contains_key(&layer)
    }

    /// The norm behind which a layer reads the residual stream.
    ///
    /// # Panics
    ///
    /// When the layer does not read it.
    pub(crate) fn norm_before(&self, layer: Layer) -> &NormTensors<B::Tensor> {
        match (layer.block(), layer.role()) {
            (Some(block), Role::Query | Role::Key | Role::Value) => &self.norms[block][0],
            (Some(block), Role::MlpUp) => &self.norms[block][1],
            (None, Role::Output) => &self.ln_f,
            _ => panic!("{layer} does not read the residual stream"),
        }
    }

    /// Token embeddings `[sets, positions, d_model]` of as many rows of tokens.
    pub(crate) fn embed(&self, tokens: &[&[u32]]) -> Result<B::Tensor, BackendError> {
        let flat: Vec<usize> = tokens.iter().flat_map(|row| row.iter().map(|&token| token as usize)).collect();
        let rows = self.backend.select(&self.wte, 0, &flat)?;
        self.backend.reshape(&rows, &[tokens.len(), flat.len() / tokens.len(), self.architecture.d_model])
    }

    /// `x` normalised along its last axis.
    pub(crate) fn normalise(&self, norm: &NormTensors<B::Tensor>, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        let scaled = b.mul(&self.standardise(x)?.0, &norm.weight)?;
        norm.bias.as_ref().map_or(Ok(scaled.clone()), |bias| b.add(&scaled, bias))
    }

    /// `x` normalised along its last axis, before weight and bias; and what it was divided by, that axis being 1.
    pub(crate) fn standardise(&self, x: &B::Tensor) -> Result<(B::Tensor, B::Tensor), BackendError> {
        let b = &self.backend;
        let axis = b.shape(x).len() - 1;
        let centred = self.centre(x)?;
        let (Norm::LayerNorm { eps } | Norm::RmsNorm { eps }) = self.architecture.norm;
        let variance = b.mean(&b.mul(&centred, &centred)?, axis)?;
        let deviation = b.unary(Unary::Sqrt, &b.add_scalar(&variance, eps)?)?;
        Ok((b.div(&centred, &deviation)?, deviation))
    }

    /// `x` less its mean along the last axis, where the norm takes that off.
    pub(crate) fn centre(&self, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        match self.architecture.norm {
            Norm::LayerNorm { .. } => b.sub(x, &b.mean(x, b.shape(x).len() - 1)?),
            Norm::RmsNorm { .. } => Ok(x.clone()),
        }
    }

    /// A linear layer as the target model computes it; the unembedding is none of them.
    pub(crate) fn apply_linear(&self, layer: Layer, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let linear = &self.linear[&layer];
        self.add_bias(&self.backend.matmul(x, &linear.weight)?, linear)
    }

    /// Logits of some tokens, `[rows, tokens]`, of rows of the last normalised residual stream, `[rows, d_model]`.
    ///
    /// The product is summed in pieces. Logits are large sums of many terms, and libraries add the terms one by one: in
    /// f32 that loses some 4e-6 of a logit of 14, which is more than a probability may be off.
    pub(crate) fn unembed(&self, rows: &B::Tensor, tokens: Range<usize>) -> Result<B::Tensor, BackendError> {
        let (b, d_model) = (&self.backend, self.architecture.d_model);
        let head = b.permute(&b.narrow(&self.lm_head, 0, tokens.start, tokens.len())?, &[1, 0])?;
        let piece = |start: usize| {
            let terms = UNEMBEDDING_PIECE.min(d_model - start);
            b.matmul(&b.narrow(rows, 1, start, terms)?, &b.narrow(&head, 0, start, terms)?)
        };
        let rest = (UNEMBEDDING_PIECE..d_model).step_by(UNEMBEDDING_PIECE);
        rest.map(piece).try_fold(piece(0)?, |sum, piece| b.add(&sum, &piece?))
    }

    /// What turns the input of a target layer into the activations of some of its components (`V`), or into the logits
    /// of some tokens: `[d_in, components]`.
    pub(crate) fn reader(&self, target: Layer, components: &[usize]) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        match self.components.get(&target) {
            Some(layer) => b.select(&layer.v, 1, components),
            None => b.permute(&b.select(&self.lm_head, 0, components)?, &[1, 0]),
        }
    }

    fn add_bias(&self, x: &B::Tensor, linear: &LinearTensors<B::Tensor>) -> Result<B::Tensor, BackendError> {
        linear.bias.as_ref().map_or(Ok(x.clone()), |bias| self.backend.add(x, bias))
    }
}

/// Copies an array to a backend, in the backend's element type.
pub(crate) fn upload<B: AttributionBackend>(backend: &B, array: &Array) -> Result<B::Tensor, BackendError> {
    let values: Vec<B::Element> = array.values.iter().map(|&value| B::Element::from_f32(value)).collect();
    backend.upload(&values, &array.shape)
}

/// The transpose of a matrix, made on the host so that the device multiplies contiguous rows.
fn transpose(matrix: &Array) -> Array {
    let [rows, columns] = matrix.shape[..] else { panic!("a matrix has two axes, not {:?}", matrix.shape) };
    let at = |i| matrix.values[i % rows * columns + i / rows];
    Array::new([columns, rows], (0..rows * columns).map(at).collect())
}

fn try_map<V, T>(
    map: &BTreeMap<Layer, V>,
    f: impl Fn(&V) -> Result<T, BackendError>,
) -> Result<BTreeMap<Layer, T>, BackendError> {
    map.iter().map(|(&layer, value)| Ok((layer, f(value)?))).collect()
}
