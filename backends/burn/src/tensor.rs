//! Tensors, on a tape or not.

use burn_autodiff::Autodiff;
use burn_backend::backend::AutodiffBackend;
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorMetadata};

/// A primitive of the autodiff backend around `B`; every one made here depends on a leaf.
pub(crate) type TrackedTensor<B> = FloatTensor<Autodiff<B>>;

/// A tensor of the burn backend `B`.
///
/// Only what depends on the leaves of a running [`grad`](tributary_backend::AttributionBackend::grad) is tracked: burn's
/// autodiff registers a node for every operation it sees, so everything else stays out of its sight.
#[derive(Clone, Debug)]
pub enum BurnTensor<B: Backend> {
    /// Values alone.
    Plain(FloatTensor<B>),
    /// Values on the tape of a running `grad`.
    Tracked(FloatTensor<Autodiff<B>>),
}

impl<B: Backend> BurnTensor<B> {
    /// Lengths of the axes.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Plain(tensor) => tensor.shape().to_vec(),
            Self::Tracked(tensor) => tensor.shape().to_vec(),
        }
    }

    /// The values without their history.
    pub(crate) fn primitive(&self) -> FloatTensor<B> {
        self.clone().into_primitive()
    }

    /// The same, of a tensor that is not needed with its history.
    pub(crate) fn into_primitive(self) -> FloatTensor<B> {
        match self {
            Self::Plain(tensor) => tensor,
            Self::Tracked(tensor) => Autodiff::<B>::inner(tensor),
        }
    }

    /// The same tensor for an operation that meets a tracked one; a plain tensor is a constant to it.
    pub(crate) fn lift(&self) -> TrackedTensor<B> {
        match self {
            Self::Plain(tensor) => Autodiff::<B>::from_inner(tensor.clone()),
            Self::Tracked(tensor) => tensor.clone(),
        }
    }
}
