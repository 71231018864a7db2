//! The model's forward pass, written once.

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Activation, Layer, Role};

use crate::Model;
use crate::model::NormTensors;
use crate::sequence::Sequence;

/// Why a forward pass ended before the logits.
pub(crate) enum Halt<T> {
    /// The visitor has what it wanted.
    Reached(T),
    /// The backend failed.
    Failed(BackendError),
}

impl<T> From<BackendError> for Halt<T> {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// A tensor of the forward pass, or why there is none.
pub(crate) type Flow<B> = Result<<B as AttributionBackend>::Tensor, Halt<<B as AttributionBackend>::Tensor>>;

/// Decides what each layer of a forward pass computes.
///
/// The input of a layer comes as a function: a visitor that knows the layer's output never calls it, and so skips
/// everything that only served to compute it. That is how one forward pass serves as the masked forward of all sets,
/// as the forward of the undecomposed model, and as each short segment from sources to target that is differentiated.
pub(crate) trait Visitor<B: AttributionBackend>: Sized {
    /// The token embeddings, `[sets, positions, d_model]`, of components or not.
    fn embedding(&mut self) -> Flow<B>;

    /// Output of `layer`, a linear layer or [the output](Layer::output): `[sets, positions, d_out]`. Of a decomposed
    /// unembedding it is what the output reads, `[sets, positions, _]`: as many logits as a vocabulary has are not kept.
    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B>;

    /// What is added to the stream or behind a norm whatever the prompt says: learned positions, the bias of a norm.
    fn constant(&mut self, value: &B::Tensor) -> Result<B::Tensor, BackendError> {
        Ok(value.clone())
    }
}

/// Runs the model on a sequence; gives the logits, `[sets, positions, vocab]`.
pub(crate) fn forward<B: AttributionBackend>(
    model: &Model<B>,
    sequence: &Sequence<B::Tensor>,
    visitor: &mut impl Visitor<B>,
) -> Flow<B> {
    let (b, architecture) = (&model.backend, &model.architecture);
    let mut residual = visitor.embedding()?;
    if let Some(wpe) = &sequence.wpe {
        residual = b.add(&residual, &visitor.constant(wpe)?)?;
    }
    for (block, [attention_norm, mlp_norm]) in model.norms.iter().enumerate() {
        let attention = visitor.layer(architecture.layer(block, Role::AttentionOutput), |visitor| {
            let mut read = Reader { model, norm: attention_norm, residual: &residual, normalised: None };
            let [q, k, v] = if let Some(fused) = architecture.find(block, Role::QueryKeyValue) {
                split_fused(model, &read.layer(visitor, fused)?)?
            } else {
                let mut read = |role| read.layer(visitor, architecture.layer(block, role));
                [read(Role::Query)?, read(Role::Key)?, read(Role::Value)?]
            };
            Ok(attend(model, sequence, &q, &k, &v)?)
        })?;
        residual = b.add(&residual, &attention)?;
        let mlp = visitor.layer(architecture.layer(block, Role::MlpDown), |visitor| {
            let mut read = Reader { model, norm: mlp_norm, residual: &residual, normalised: None };
            let gate = architecture.find(block, Role::MlpGate).map(|gate| read.layer(visitor, gate)).transpose()?;
            let up = read.layer(visitor, architecture.layer(block, Role::MlpUp))?;
            Ok(match gate {
                Some(gate) => b.mul(&activate(b, architecture.activation, &gate)?, &up)?,
                None => activate(b, architecture.activation, &up)?,
            })
        })?;
        residual = b.add(&residual, &mlp)?;
    }
    visitor.layer(Layer::output(), |visitor| {
        let mut read = Reader { model, norm: &model.ln_f, residual: &residual, normalised: None };
        match architecture.unembedding() {
            Some(unembedding) => read.layer(visitor, unembedding),
            None => Ok(read.normalised(visitor)?),
        }
    })
}

/// Layers that read the residual stream behind one norm, which is computed if one of them asks for it, and once.
struct Reader<'a, B: AttributionBackend> {
    model: &'a Model<B>,
    norm: &'a NormTensors<B::Tensor>,
    residual: &'a B::Tensor,
    normalised: Option<B::Tensor>,
}

impl<B: AttributionBackend> Reader<'_, B> {
    fn layer(&mut self, visitor: &mut impl Visitor<B>, layer: Layer) -> Flow<B> {
        visitor.layer(layer, |visitor| Ok(self.normalised(visitor)?))
    }

    fn normalised(&mut self, visitor: &mut impl Visitor<B>) -> Result<B::Tensor, BackendError> {
        if let Some(normalised) = &self.normalised {
            return Ok(B::Tensor::clone(normalised));
        }
        let b = &self.model.backend;
        let mut normalised = b.mul(&self.model.standardise(self.residual)?.0, &self.norm.weight)?;
        if let Some(bias) = &self.norm.bias {
            normalised = b.add(&normalised, &visitor.constant(bias)?)?;
        }
        Ok(self.normalised.insert(normalised).clone())
    }
}

/// The nonlinearity of an MLP.
pub(crate) fn activate<B: AttributionBackend>(
    b: &B,
    activation: Activation,
    x: &B::Tensor,
) -> Result<B::Tensor, BackendError> {
    match activation {
        Activation::GeluTanh => b.gelu_tanh(x),
        Activation::Gelu => b.gelu_erf(x),
        Activation::Silu => b.silu(x),
    }
}

/// Queries, keys and values out of what a layer of all three gives, `[sets, positions, q + 2 kv]`.
fn split_fused<B: AttributionBackend>(model: &Model<B>, fused: &B::Tensor) -> Result<[B::Tensor; 3], BackendError> {
    let (b, a) = (&model.backend, &model.architecture);
    let (q, kv) = (a.n_heads * a.d_head, a.n_kv_heads * a.d_head);
    Ok([b.narrow(fused, 2, 0, q)?, b.narrow(fused, 2, q, kv)?, b.narrow(fused, 2, q + kv, kv)?])
}

/// Causal attention `softmax(q k^T / sqrt(d_head)) v`, head by head.
///
/// `q` is `[sets, positions, d_model]`, `k` and `v` `[sets, positions, n_kv_heads * d_head]`, the result as `q`.
fn attend<B: AttributionBackend>(
    model: &Model<B>,
    sequence: &Sequence<B::Tensor>,
    q: &B::Tensor,
    k: &B::Tensor,
    v: &B::Tensor,
) -> Result<B::Tensor, BackendError> {
    let b = &model.backend;
    let heads = Heads::new(model, sequence, q, k, v)?;
    let read = b.matmul(&heads.probs, &heads.v)?;
    b.reshape(&b.permute(&read, &[0, 3, 1, 2, 4])?, &b.shape(q))
}

/// An attention, head by head: `[sets, kv heads, heads per kv head, positions, d_head]`, where the third axis of keys
/// and values is 1, so that it broadcasts.
pub(crate) struct Heads<T> {
    /// Queries, rotated to their positions.
    pub(crate) q: T,
    /// Keys, rotated to theirs.
    pub(crate) k: T,
    /// Values.
    pub(crate) v: T,
    /// Attention probabilities, `[sets, kv heads, heads per kv head, positions, positions]`.
    pub(crate) probs: T,
}

impl<T: Clone> Heads<T> {
    pub(crate) fn new<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        sequence: &Sequence<T>,
        q: &T,
        k: &T,
        v: &T,
    ) -> Result<Self, BackendError> {
        let (b, architecture) = (&model.backend, &model.architecture);
        let (kv_heads, d_head) = (architecture.n_kv_heads, architecture.d_head);
        let [sets, positions, _] = b.shape(q)[..] else { panic!("queries have three axes") };
        let split = |x: &T, group: usize| {
            b.permute(&b.reshape(x, &[sets, positions, kv_heads, group, d_head])?, &[0, 2, 3, 1, 4])
        };
        let (q, k, v) = (split(q, architecture.n_heads / kv_heads)?, split(k, 1)?, split(v, 1)?);
        let (q, k) = (sequence.rotate(b, &q)?, sequence.rotate(b, &k)?);
        let scores = b.scale(&b.matmul(&q, &b.permute(&k, &[0, 1, 2, 4, 3])?)?, 1.0 / (d_head as f64).sqrt())?;
        let probs = b.softmax(&b.add(&scores, &sequence.causal_mask)?, 4)?;
        Ok(Self { q, k, v, probs })
    }
}
