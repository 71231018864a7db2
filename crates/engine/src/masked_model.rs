//! The model with masks on its components, to be run again and again: its logits, and how they change with the masks.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::{Layer, Prompt, Role};

use crate::check::check_prompts;
use crate::forward::{Flow, Halt, Visitor, forward};
use crate::model::add_constant;
use crate::sequence::Sequence;
use crate::{EngineError, Model, memory};

/// Some prompts of equal length, the items, made ready for many passes of the masked model.
///
/// A decomposed layer with weight `W`, components `V`, `U` and bias `b` reads `x` and computes, over the components of a
/// support,
///
/// ```text
/// out = (x V * mask) U + whole * x W^T + b
/// ```
///
/// with `whole` a number for each position. Components kept by factors `m`, and what no component holds, `W - (V U)^T`, kept by
/// `d`, are `mask = m - d` over all components and `whole = d`; so the model without some components is `mask = -1` over these
/// alone and `whole = 1`.
pub struct MaskedModel<'m, B: AttributionBackend> {
    model: &'m Model<B>,
    sequence: Sequence<B::Tensor>,
    /// Of the whole weights, `[items, positions, d_model]`.
    embedding: B::Tensor,
    layers: BTreeMap<Layer, Supported<B::Tensor>>,
    /// Numbers of items and of positions.
    shape: [usize; 2],
    /// Of the rows `[items * positions]` those whose logits are wanted.
    read: Vec<usize>,
}

/// Components of a layer that masks are given for.
struct Supported<T> {
    count: usize,
    pre: Pre<T>,
    /// `[support, d_out]`
    u: T,
}

/// Activations of the components of a support.
enum Pre<T> {
    /// Of a layer that reads the stream through this, `[d_in, support]`.
    Reader(T),
    /// Of the embedding, `[items, positions, support]`.
    Tokens(T),
}

/// What a decomposed layer does in a pass of a [`MaskedModel`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerMask<E> {
    /// The factor of each component of the support, `[items, positions, support]` in row-major order.
    pub mask: Vec<E>,
    /// How much of the whole weight is added, `[items, positions]` in row-major order; empty for none.
    pub whole: Vec<E>,
}

/// What every decomposed layer does in a pass.
pub type LayerMasks<E> = BTreeMap<Layer, LayerMask<E>>;

impl<'m, B: AttributionBackend> MaskedModel<'m, B> {
    /// `supports` are ascending components of decomposed layers; one that is not named has none. Logits are those at `read`,
    /// each an item and a position.
    ///
    /// # Errors
    ///
    /// [`EngineError::Set`], named by the index of the prompt, when prompts differ in length or do not fit the model.
    ///
    /// # Panics
    ///
    /// When there are no prompts, or a component or something to read that there is not.
    pub fn new(
        model: &'m Model<B>,
        prompts: &[&Prompt],
        supports: &BTreeMap<Layer, Vec<usize>>,
        read: &[(usize, usize)],
    ) -> Result<Self, EngineError> {
        check_prompts(model, prompts)?;
        let b = &model.backend;
        let tokens: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens.as_slice()).collect();
        let (items, positions) = (tokens.len(), tokens[0].len());
        let none = Vec::new();
        let supported = |&layer: &Layer| {
            let components = supports.get(&layer).unwrap_or(&none);
            let is_all = components.len() == model.component_counts[&layer];
            let of = |matrix: &B::Tensor, axis| {
                if is_all { Ok(matrix.clone()) } else { b.select(matrix, axis, components) }
            };
            let weights = &model.components[&layer];
            let pre = match layer.role() {
                Role::TokenEmbedding => Pre::Tokens(of(&model.token_activations(layer, &tokens)?, 2)?),
                _ => Pre::Reader(of(&weights.v, 1)?),
            };
            Ok((layer, Supported { count: components.len(), pre, u: of(&weights.u, 0)? }))
        };
        let layers = model.component_counts.keys().map(supported).collect::<Result<_, BackendError>>()?;
        let read = read.iter().map(|&(item, position)| {
            assert!(item < items && position < positions, "item {item}, position {position} of {items}, {positions}");
            item * positions + position
        });
        Ok(Self {
            model,
            sequence: Sequence::new(model, positions)?,
            embedding: model.embed(&tokens)?,
            layers,
            shape: [items, positions],
            read: read.collect(),
        })
    }

    /// Bytes that it takes of so many items, with a pass and its gradient, beside the model: `sizes` are those of the supports, `read`
    /// the number of rows whose logits are wanted.
    pub fn memory(
        model: &Model<B>,
        sizes: &BTreeMap<Layer, usize>,
        items: usize,
        positions: usize,
        read: usize,
    ) -> u64 {
        let rows = items * positions;
        Self::held(model, sizes, rows) + memory::masked_gradient(model, sizes, rows, positions, read)
    }

    /// The same of a pass without its gradient.
    pub fn logits_memory(
        model: &Model<B>,
        sizes: &BTreeMap<Layer, usize>,
        items: usize,
        positions: usize,
        read: usize,
    ) -> u64 {
        let rows = items * positions;
        Self::held(model, sizes, rows) + memory::masked_logits(model, sizes, rows, positions, read)
    }

    /// Bytes that it takes of so many rows, items times positions, while no pass is made.
    pub fn held(model: &Model<B>, sizes: &BTreeMap<Layer, usize>, rows: usize) -> u64 {
        memory::masked_model(model, sizes, rows)
    }

    /// Logits `[read, vocab]` in row-major order.
    ///
    /// # Panics
    ///
    /// When a decomposed layer has no mask, or one of another size than its support.
    pub fn logits(&self, masks: &LayerMasks<B::Element>) -> Result<Vec<B::Element>, EngineError> {
        let b = &self.model.backend;
        let leaves = self.leaves(masks)?;
        let last = self.run(&leaves, masks)?;
        Ok(b.download_vec(self.unembedded(&last)?)?)
    }

    /// The gradient of a function of the logits by every layer's `mask`, `[items, positions, support]` in row-major order.
    ///
    /// `by_logits` gets the logits, `[read, vocab]` in row-major order, and gives the function's gradient by them.
    ///
    /// # Panics
    ///
    /// As [`logits`](Self::logits); when `by_logits` gives another number of values than it got.
    pub fn gradient(
        &self,
        masks: &LayerMasks<B::Element>,
        by_logits: impl FnOnce(&[B::Element]) -> Vec<B::Element>,
    ) -> Result<BTreeMap<Layer, Vec<B::Element>>, EngineError> {
        let b = &self.model.backend;
        let (named, leaves): (Vec<Layer>, Vec<B::Tensor>) = self.leaves(masks)?.into_iter().unzip();
        if leaves.is_empty() {
            by_logits(&self.logits(masks)?);
            return Ok(self.layers.keys().map(|&layer| (layer, Vec::new())).collect());
        }
        let gradients = b.grad(&leaves, |leaves| {
            let leaves = named.iter().copied().zip(leaves.iter().cloned()).collect();
            let last = self.run(&leaves, masks)?;
            let logits = self.unembedded(&last)?;
            let shape = b.shape(&logits);
            let logits = b.download_vec(logits)?;
            let cotangent = by_logits(&logits);
            assert_eq!(cotangent.len(), logits.len(), "a number for each logit");
            let cotangent = b.upload_vec(cotangent, &shape)?;
            let mut sum = b.scalar(0.0)?;
            for Unembedded { rows, matrix } in &last {
                let of_rows = b.matmul(&cotangent, &b.permute(matrix, &[1, 0])?)?;
                sum = b.add(&sum, &b.sum_all(&b.mul(rows, &of_rows)?)?)?;
            }
            Ok(sum)
        })?;
        let mut found: BTreeMap<Layer, Vec<B::Element>> =
            self.layers.keys().map(|&layer| (layer, Vec::new())).collect();
        for (layer, gradient) in named.into_iter().zip(gradients) {
            found.insert(layer, b.download_vec(gradient)?);
        }
        Ok(found)
    }

    /// The masks on the backend, of layers that have a support.
    fn leaves(&self, masks: &LayerMasks<B::Element>) -> Result<BTreeMap<Layer, B::Tensor>, BackendError> {
        let [items, positions] = self.shape;
        let with_support = self.layers.iter().filter(|(_, supported)| supported.count > 0);
        let leaf = |(&layer, supported): (&Layer, &Supported<B::Tensor>)| {
            let shape = [items, positions, supported.count];
            assert_eq!(
                masks[&layer].mask.len(),
                shape.iter().product::<usize>(),
                "a factor for each component of {layer}"
            );
            Ok((layer, self.model.backend.upload(&masks[&layer].mask, &shape)?))
        };
        with_support.map(leaf).collect()
    }

    fn run(
        &self,
        leaves: &BTreeMap<Layer, B::Tensor>,
        masks: &LayerMasks<B::Element>,
    ) -> Result<Vec<Unembedded<B::Tensor>>, BackendError> {
        let mut pass = MaskedPass { masked: self, leaves, masks, last: Vec::new() };
        match forward(self.model, &self.sequence, &mut pass) {
            Err(Halt::Reached(_)) => Ok(pass.last),
            Err(Halt::Failed(error)) => Err(error),
            Ok(_) => unreachable!("halts before the logits"),
        }
    }

    /// The logits, with no history.
    fn unembedded(&self, last: &[Unembedded<B::Tensor>]) -> Result<B::Tensor, BackendError> {
        let b = &self.model.backend;
        let mut logits: Option<B::Tensor> = None;
        for Unembedded { rows, matrix } in last {
            let added = b.matmul(&b.detach(rows), matrix)?;
            logits = Some(logits.map_or_else(|| Ok(added.clone()), |logits| b.add(&logits, &added))?);
        }
        logits.map_or_else(|| b.zeros(&[self.read.len(), self.model.architecture.vocab]), Ok)
    }
}

/// What becomes logits.
struct Unembedded<T> {
    /// `[read, width]`
    rows: T,
    /// `[width, vocab]`
    matrix: T,
}

/// One pass.
struct MaskedPass<'a, 'm, B: AttributionBackend> {
    masked: &'a MaskedModel<'m, B>,
    /// Of layers with a support, `[items, positions, support]`.
    leaves: &'a BTreeMap<Layer, B::Tensor>,
    masks: &'a LayerMasks<B::Element>,
    last: Vec<Unembedded<B::Tensor>>,
}

impl<B: AttributionBackend> MaskedPass<'_, '_, B> {
    /// `x V * mask`, if the layer has a support; without `x` that of the embedding.
    fn kept(&self, layer: Layer, x: Option<&B::Tensor>) -> Result<Option<B::Tensor>, BackendError> {
        let Some(mask) = self.leaves.get(&layer) else { return Ok(None) };
        let b = &self.masked.model.backend;
        let pre = match (&self.masked.layers[&layer].pre, x) {
            (Pre::Tokens(pre), _) => pre.clone(),
            (Pre::Reader(v), Some(x)) => b.matmul(x, v)?,
            (Pre::Reader(_), None) => unreachable!("{layer} reads the stream"),
        };
        Ok(Some(b.mul(&pre, mask)?))
    }

    /// How much of a layer's whole weight is added, `[items, positions, 1]`, if anything.
    fn whole(&self, layer: Layer) -> Result<Option<B::Tensor>, BackendError> {
        let ([items, positions], whole) = (self.masked.shape, &self.masks[&layer].whole);
        if whole.is_empty() {
            return Ok(None);
        }
        assert_eq!(whole.len(), items * positions, "a number for each position of {layer}");
        self.masked.model.backend.upload(whole, &[items, positions, 1]).map(Some)
    }

    /// What the components and the whole weight write; zeros where nothing does.
    fn written(
        &self,
        layer: Layer,
        kept: Option<&B::Tensor>,
        whole: impl FnOnce() -> Result<B::Tensor, BackendError>,
    ) -> Result<B::Tensor, BackendError> {
        let (b, u) = (&self.masked.model.backend, &self.masked.layers[&layer].u);
        let of_whole = self.whole(layer)?.map(|share| b.mul(&whole()?, &share)).transpose()?;
        let of_kept = kept.map(|kept| b.matmul(kept, u)).transpose()?;
        match (of_kept, of_whole) {
            (Some(of_kept), Some(of_whole)) => b.add(&of_kept, &of_whole),
            (Some(written), None) | (None, Some(written)) => Ok(written),
            (None, None) => {
                let [items, positions] = self.masked.shape;
                b.zeros(&[items, positions, b.shape(u)[1]])
            }
        }
    }

    /// Of `[items, positions, width]` the rows whose logits are wanted, `[read, width]`.
    fn read(&self, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
        let (b, [items, positions]) = (&self.masked.model.backend, self.masked.shape);
        let width = b.shape(x)[2];
        b.select(&b.reshape(x, &[items * positions, width])?, 0, &self.masked.read)
    }

    fn unembed(&mut self, layer: Layer, x: &B::Tensor) -> Result<(), BackendError> {
        let (masked, b) = (self.masked, &self.masked.model.backend);
        if let Some(kept) = self.kept(layer, Some(x))? {
            self.last.push(Unembedded { rows: self.read(&kept)?, matrix: masked.layers[&layer].u.clone() });
        }
        if let Some(share) = self.whole(layer)? {
            let rows = self.read(&b.mul(x, &share)?)?;
            self.last.push(Unembedded { rows, matrix: b.permute(&masked.model.lm_head, &[1, 0])? });
        }
        Ok(())
    }
}

impl<B: AttributionBackend> Visitor<B> for MaskedPass<'_, '_, B> {
    fn embedding(&mut self) -> Flow<B> {
        let embedding = &self.masked.embedding;
        let Some(layer) =
            self.masked.model.architecture.token_embedding().filter(|layer| self.masked.layers.contains_key(layer))
        else {
            return Ok(embedding.clone());
        };
        let kept = self.kept(layer, None)?;
        Ok(self.written(layer, kept.as_ref(), || Ok(embedding.clone()))?)
    }

    fn layer(&mut self, layer: Layer, input: impl FnOnce(&mut Self) -> Flow<B>) -> Flow<B> {
        let (model, b) = (self.masked.model, &self.masked.model.backend);
        let x = input(self)?;
        if layer.is_output() {
            if model.architecture.unembedding().is_none_or(|layer| !self.masked.layers.contains_key(&layer)) {
                self.last.push(Unembedded { rows: self.read(&x)?, matrix: b.permute(&model.lm_head, &[1, 0])? });
            }
            return Err(Halt::Reached(x));
        }
        if !self.masked.layers.contains_key(&layer) {
            return Ok(model.apply_linear(layer, &x)?);
        }
        if layer.role() == Role::Unembedding {
            self.unembed(layer, &x)?;
            return Ok(x);
        }
        let kept = self.kept(layer, Some(&x))?;
        let linear = &model.linear[&layer];
        let written = self.written(layer, kept.as_ref(), || b.matmul(&x, linear.weight()))?;
        Ok(add_constant(b, written, linear.bias.as_ref())?)
    }
}
