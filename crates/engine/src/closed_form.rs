//! Attributions without a backward pass.
//!
//! Where every layer that a target's input is made of is decomposed (see [`Route`](crate::route::Route)), only four kinds of
//! segment lie between a leaf and the next detach, and each has a gradient that can be written down: a read of the residual
//! stream ([`residual`]), the nonlinearity of an MLP ([`elementwise`]), an attention ([`attention`]) and, between a
//! decomposed unembedding and the logits, nothing ([`unembedding`]). The backend multiplies matrices, those of weights alone
//! once for the support of the batch; every edge is then a few operations on the host, written where it belongs. What comes
//! back from the device are these factors, which are fewer than the edges. Where gradients pass through deltas, reads of the stream
//! go down the layers ([`transport`]).

pub(crate) mod attention;
mod context;
pub(crate) mod elementwise;
mod products;
mod residual;
mod row_matrix;
mod transport;
pub(crate) mod unembedding;

pub(crate) use self::context::Context;
pub(crate) use self::products::gathered_at_once;
pub(crate) use self::residual::ResidualReads;
pub(crate) use self::transport::{Transport, transported_at_once};
