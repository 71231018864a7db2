//! A decomposed model on a backend, and the pieces its forward pass is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tributary_backend::{AttributionBackend, BackendError, Unary};
use tributary_model::{
    Architecture, Array, Components, Layer, Norm, NormWeights, Pair, Role, RotaryTables, Weights, pair_table,
};

use crate::deltas::Deltas;
use crate::own_ci::OwnCi;
use crate::route::{Route, fastest};
use crate::upload::upload;
use crate::{EngineError, Method};

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
    /// On the host: it goes up with every pass, as long as its prompts.
    pub(crate) rotary: Option<RotaryTables>,
    /// Before attention and before the MLP of each block.
    pub(crate) norms: Vec<[NormTensors<B::Tensor>; 2]>,
    pub(crate) ln_f: NormTensors<B::Tensor>,
    pub(crate) linear: BTreeMap<Layer, LinearTensors<B::Tensor>>,
    pub(crate) components: BTreeMap<Layer, ComponentTensors<B::Tensor>>,
    pub(crate) own_ci: OwnCi<B::Tensor>,
    /// `[vocab, d_model]`; the token embedding itself where they are tied.
    pub(crate) lm_head: B::Tensor,
    /// Once they were needed.
    pub(crate) deltas: OnceLock<Arc<Deltas<B::Tensor>>>,
}

pub(crate) struct NormTensors<T> {
    pub(crate) weight: T,
    pub(crate) bias: Option<T>,
}

pub(crate) struct LinearTensors<T> {
    /// `[d_in, d_out]`, a view of what the checkpoint has: transposing would hold a copy while it loads.
    weight: T,
    pub(crate) bias: Option<T>,
}

impl<T> LinearTensors<T> {
    /// `[d_in, d_out]`
    pub(crate) fn weight(&self) -> &T {
        &self.weight
    }
}

pub(crate) struct ComponentTensors<T> {
    /// `[d_in, C]`
    pub(crate) v: T,
    /// `[C, d_out]`
    pub(crate) u: T,
}

impl<B: AttributionBackend> Model<B> {
    /// Moves the weights to the backend, array by array: none is in memory twice for longer than that takes.
    ///
    /// Causal-importance functions that are in a file stay there if the backend is a CPU.
    pub fn upload(backend: B, weights: Weights) -> Result<Self, EngineError> {
        let component_counts = weights.component_counts();
        let Weights { architecture, wte, wpe, rotary, norms, ln_f, lm_head, linear, decomposed, ci_function } = weights;
        let pairs =
            pair_table(&architecture.linear_layers().collect::<Vec<_>>(), &decomposed.keys().copied().collect());
        let up = |array: Array| upload(&backend, array);
        let norm = |norm: NormWeights| -> Result<_, BackendError> {
            Ok(NormTensors { weight: up(norm.weight)?, bias: norm.bias.map(up).transpose()? })
        };
        let wte = up(wte)?;
        let lm_head = lm_head.map_or_else(|| Ok(wte.clone()), up)?;
        let wpe = wpe.map(up).transpose()?;
        let norms = norms.into_iter().map(|block| Ok([norm(block.attention)?, norm(block.mlp)?]));
        let norms = norms.collect::<Result<_, BackendError>>()?;
        let ln_f = norm(ln_f)?;
        let linear = linear.into_iter().map(|(layer, linear)| {
            let weight = backend.permute(&up(linear.weight)?, &[1, 0])?;
            Ok((layer, LinearTensors { weight, bias: linear.bias.map(up).transpose()? }))
        });
        let linear = linear.collect::<Result<_, BackendError>>()?;
        let widths = decomposed.iter().map(|(&layer, components)| {
            let is_embedding = layer.role() == Role::TokenEmbedding;
            let count = components.count();
            (layer, (if is_embedding { count } else { components.v.shape[0] }, count))
        });
        let own_ci = OwnCi::upload(&backend, ci_function, &widths.collect())?;
        let components = decomposed
            .into_iter()
            .map(|(layer, Components { v, u })| Ok((layer, ComponentTensors { v: up(v)?, u: up(u)? })));
        let components = components.collect::<Result<_, BackendError>>()?;
        Ok(Self {
            backend,
            architecture,
            component_counts,
            pairs,
            wte,
            wpe,
            rotary,
            norms,
            ln_f,
            linear,
            components,
            own_ci,
            lm_head,
            deltas: OnceLock::new(),
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
    pub(crate) fn route(&self, target: Layer, method: Method, through_deltas: bool) -> Route {
        let linear: Vec<Layer> = self.architecture.linear_layers().collect();
        match method {
            Method::Autograd => Route::Autograd,
            Method::ClosedForm | Method::Mixed => {
                let route = Route::to(target, &linear, |layer| self.is_decomposed(layer));
                if through_deltas {
                    route.through_deltas(target, &linear, |layer| self.is_decomposed(layer))
                } else {
                    route
                }
            }
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
            (Some(block), Role::Query | Role::Key | Role::Value | Role::QueryKeyValue) => &self.norms[block][0],
            (Some(block), Role::MlpGate | Role::MlpUp) => &self.norms[block][1],
            (None, Role::Unembedding | Role::Output) => &self.ln_f,
            _ => panic!("{layer} does not read the residual stream"),
        }
    }

    /// Token embeddings `[sets, positions, d_model]` of as many rows of tokens.
    pub(crate) fn embed(&self, tokens: &[&[u32]]) -> Result<B::Tensor, BackendError> {
        self.rows_of_tokens(&self.wte, tokens)
    }

    /// Component activations `[sets, positions, C]` of a decomposed embedding `layer`: the rows of `V` of the tokens.
    pub(crate) fn token_activations(&self, layer: Layer, tokens: &[&[u32]]) -> Result<B::Tensor, BackendError> {
        self.rows_of_tokens(&self.components[&layer].v, tokens)
    }

    /// The rows of a matrix `[vocab, width]` of as many rows of tokens: `[sets, positions, width]`.
    fn rows_of_tokens(&self, matrix: &B::Tensor, tokens: &[&[u32]]) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        let flat: Vec<usize> = tokens.iter().flat_map(|row| row.iter().map(|&token| token as usize)).collect();
        let rows = b.select(matrix, 0, &flat)?;
        let width = b.shape(matrix)[1];
        b.reshape(&rows, &[tokens.len(), flat.len() / tokens.len(), width])
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

    /// A linear layer as the target model computes it.
    pub(crate) fn apply_linear(&self, layer: Layer, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        if layer.role() == Role::Unembedding {
            return b.matmul(x, &b.permute(&self.lm_head, &[1, 0])?);
        }
        let linear = &self.linear[&layer];
        add_constant(b, b.matmul(x, &linear.weight)?, linear.bias.as_ref())
    }

    /// The same nearer to what the numbers stand for: libraries add the terms of a sum one by one, here they do so within
    /// [`PARTS`] parts of it. A causal-importance function magnifies what the target model's pass is off by: of a trained run,
    /// whose importances are wanted within 2e-6, they were up to 2.2e-6 off in float32 without this, and are 1.5e-6 with it.
    pub(crate) fn apply_linear_closely(&self, layer: Layer, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let b = &self.backend;
        let Some(linear) = self.linear.get(&layer) else { return self.apply_linear(layer, x) };
        let axis = b.shape(x).len() - 1;
        let width = b.shape(x)[axis];
        let part = width.div_ceil(PARTS).max(1);
        let product = |first: usize| {
            let length = part.min(width - first);
            b.matmul(&b.narrow(x, axis, first, length)?, &b.narrow(&linear.weight, 0, first, length)?)
        };
        let mut sum = product(0)?;
        for first in (part..width).step_by(part) {
            sum = b.add(&sum, &product(first)?)?;
        }
        add_constant(b, sum, linear.bias.as_ref())
    }
}

/// Parts of a sum; more make no difference.
const PARTS: usize = 4;

/// What a layer writes, with what it writes whatever it reads, if anything.
pub(crate) fn add_constant<B: AttributionBackend>(
    b: &B,
    written: B::Tensor,
    constant: Option<&B::Tensor>,
) -> Result<B::Tensor, BackendError> {
    match constant {
        Some(constant) => b.add(&written, constant),
        None => Ok(written),
    }
}
