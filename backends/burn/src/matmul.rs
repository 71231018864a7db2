//! Matrix products with a kernel of the backend package's choosing, forwards and backwards.
//!
//! burn's own product leaves the choice of the kernel to burn, and on a GPU that may mean less precision than was asked
//! for. Its automatic differentiation multiplies with it as well, so the product is registered as an operation of its
//! own.

use std::cell::RefCell;

use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, binary, broadcast_shape};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape, TensorMetadata};

use crate::kernels::Kernels;
use crate::tensor::TrackedTensor;

thread_local! {
    /// What went wrong in a backward pass, which has no way of saying so. Backward passes run in the thread that asks.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What has gone wrong in a backward pass of this thread since the last call.
pub(crate) fn take_failure() -> Option<String> {
    FAILURE.take()
}

/// The product of two tensors of which at least one is tracked.
pub(crate) fn tracked_matmul<B: Backend, K: Kernels<B>>(
    kernels: &K,
    lhs: TrackedTensor<B>,
    rhs: TrackedTensor<B>,
) -> Result<TrackedTensor<B>, String> {
    let shapes = [lhs.primitive.shape(), rhs.primitive.shape()];
    let (lhs_tracked, rhs_tracked) = (lhs.is_tracked(), rhs.is_tracked());
    let product = kernels.matmul(lhs.primitive.clone(), rhs.primitive.clone())?;
    let nodes = [lhs.node.clone(), rhs.node.clone()];
    let prepared = Backward::<B, 2>::prepare::<NoCheckpointing>(Matmul(kernels.clone()), nodes);
    Ok(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(mut preparation) => {
            // Each operand is needed for the gradient of the other.
            let lhs_state = rhs_tracked.then(|| preparation.checkpoint(&lhs));
            let rhs_state = lhs_tracked.then(|| preparation.checkpoint(&rhs));
            preparation.finish((lhs_state, rhs_state, shapes), product)
        }
        OpsKind::UnTracked(preparation) => preparation.finish(product),
    })
}

#[derive(Debug)]
struct Matmul<K>(K);

impl<B: Backend, K: Kernels<B>> Backward<B, 2> for Matmul<K> {
    /// The operands where they are needed, and the shapes of both.
    type State = (Option<NodeId>, Option<NodeId>, [Shape; 2]);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (lhs, rhs, [lhs_shape, rhs_shape]) = ops.state;
        let mut operand = |node: Option<NodeId>| {
            node.map(|node| B::float_transpose(checkpointer.retrieve_node_output::<FloatTensor<B>>(node)))
        };
        let (lhs, rhs) = (operand(lhs), operand(rhs));
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |grad| gradient::<B, K>(&self.0, Some(grad), rhs, &lhs_shape),
            |grad| gradient::<B, K>(&self.0, lhs, Some(grad), &rhs_shape),
        );
    }
}

/// The product, summed over the axes along which an operand of `shape` was broadcast.
fn gradient<B: Backend, K: Kernels<B>>(
    kernels: &K,
    lhs: Option<FloatTensor<B>>,
    rhs: Option<FloatTensor<B>>,
    shape: &Shape,
) -> FloatTensor<B> {
    let (Some(lhs), Some(rhs)) = (lhs, rhs) else { unreachable!("an operand is kept where a gradient needs it") };
    let (device, dtype) = (B::float_device(&lhs), lhs.dtype());
    match kernels.matmul(lhs, rhs) {
        Ok(product) => broadcast_shape::<B>(product, shape),
        Err(message) => {
            FAILURE.set(Some(message));
            B::float_zeros(shape.clone(), &device, dtype.into())
        }
    }
}
