//! Causal-importance functions of all layers together.

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, BackendError, Unary};
use tributary_model::{CiArrays, CiNetwork, CiTransformer, Layer};

use super::Inputs;
use super::layerwise::through;
use super::part::Part;
use crate::EngineError;
use crate::rotary::Rotary;

/// Where a function of all layers finds its inputs and puts its outputs.
struct Order {
    /// Layer, width of its input, number of its components.
    layers: Vec<(Layer, usize, usize)>,
}

impl Order {
    fn new(widths: &BTreeMap<Layer, (usize, usize)>) -> Self {
        let order = CiNetwork::global_order(widths.keys().copied());
        Self { layers: order.into_iter().map(|layer| (layer, widths[&layer].0, widths[&layer].1)).collect() }
    }

    fn inputs(&self) -> usize {
        self.layers.iter().map(|(_, d_in, _)| d_in).sum()
    }

    fn components(&self) -> usize {
        self.layers.iter().map(|(_, _, components)| components).sum()
    }

    /// A linear layer of the inputs one after the other: the sum of what its rows make of each input, so that they are never
    /// put into one tensor. Terms are added in pairs, so that each takes part in few roundings.
    fn project<B: AttributionBackend>(
        &self,
        b: &B,
        weight: &B::Tensor,
        bias: &B::Tensor,
        input: impl Fn(Layer) -> Result<B::Tensor, BackendError>,
    ) -> Result<B::Tensor, BackendError> {
        // Each with the number of terms in it, as the digits of a binary counter.
        let mut sums: Vec<(usize, B::Tensor)> = Vec::new();
        let mut first = 0;
        for &(layer, d_in, _) in &self.layers {
            let mut term = (1, b.matmul(&input(layer)?, &b.narrow(weight, 0, first, d_in)?)?);
            while let Some((terms, sum)) = sums.pop_if(|(terms, _)| *terms == term.0) {
                term = (terms + term.0, b.add(&sum, &term.1)?);
            }
            sums.push(term);
            first += d_in;
        }
        let sum = sums.into_iter().rev().map(|(_, sum)| Ok(sum)).reduce(|sum, term| b.add(&sum?, &term?));
        b.add(&sum.expect("at least one layer is decomposed")?, bias)
    }

    /// Outputs of all layers `[rows, components]` as those of each.
    fn split<E: Copy>(&self, values: &[E]) -> BTreeMap<Layer, Vec<E>> {
        let all = self.components();
        let mut first = 0;
        let mut split = BTreeMap::new();
        for &(layer, _, components) in &self.layers {
            let rows = values.chunks_exact(all).flat_map(|row| &row[first..first + components]);
            split.insert(layer, rows.copied().collect());
            first += components;
        }
        split
    }
}

/// `global_shared_mlp`
pub(super) struct GlobalMlp<T> {
    order: Order,
    /// Weight and bias of each linear layer.
    layers: Part<T>,
}

impl<T: Clone> GlobalMlp<T> {
    pub(super) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        layers: CiArrays,
        widths: &BTreeMap<Layer, (usize, usize)>,
    ) -> Result<Self, EngineError> {
        Ok(Self { order: Order::new(widths), layers: Part::upload(backend, layers)? })
    }

    pub(super) fn working_set(&self, rows: usize) -> usize {
        let shapes = self.layers.shapes();
        let widest = shapes.iter().filter_map(|shape| shape.last()).max().copied().unwrap_or(1);
        // The steps of a nonlinearity; the rows of the weights of one input.
        self.layers.read() + rows * (self.order.inputs() + 6 * widest)
    }

    /// What the function gives before the sigmoid, `[rows, C]` of each layer, on the host.
    pub(super) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        inputs: &Inputs<T>,
    ) -> Result<BTreeMap<Layer, Vec<B::Element>>, EngineError> {
        let tensors = self.layers.tensors(b)?;
        let [weight, bias, rest @ ..] = tensors.as_slice() else { panic!("a network has a layer") };
        let mut hidden = self.order.project(b, weight, bias, |layer| Ok(inputs[&layer].clone()))?;
        if !rest.is_empty() {
            hidden = through(b, b.gelu_erf(&hidden)?, rest, |tensor| Ok(tensor.clone()))?;
        }
        Ok(self.order.split(&b.download_vec(hidden)?))
    }
}

/// `global_shared_transformer`, as [`CiTransformer`] says.
pub(super) struct GlobalTransformer<T> {
    order: Order,
    projector: Part<T>,
    blocks: Vec<Part<T>>,
    head: Part<T>,
    n_heads: usize,
    /// Width of the stream.
    width: usize,
    rope_base: f64,
}

impl<T: Clone> GlobalTransformer<T> {
    pub(super) fn upload<B: AttributionBackend<Tensor = T>>(
        backend: &B,
        transformer: CiTransformer,
        widths: &BTreeMap<Layer, (usize, usize)>,
    ) -> Result<Self, EngineError> {
        let CiTransformer { projector, blocks, head, n_heads, rope_base } = transformer;
        let head = Part::upload(backend, head)?;
        Ok(Self {
            order: Order::new(widths),
            projector: Part::upload(backend, projector)?,
            blocks: blocks.into_iter().map(|block| Part::upload(backend, block)).collect::<Result<_, _>>()?,
            n_heads,
            width: head.shapes()[0][0],
            head,
            rope_base,
        })
    }

    pub(super) fn working_set(&self, prompts: usize, positions: usize) -> usize {
        let rows = prompts * positions;
        let parts = self.blocks.iter().chain([&self.projector, &self.head]);
        let read = parts.map(Part::read).max().unwrap_or(0);
        let hidden = self.blocks.iter().flat_map(Part::shapes).filter_map(|shape| shape.last()).max();
        let scores = rows * self.n_heads * positions;
        // The stream in the steps of an attention or of a nonlinearity.
        read + rows * self.order.inputs()
            + (6 * rows * hidden.copied().unwrap_or(0)).max(8 * rows * self.width + 4 * scores)
    }

    /// What the function gives before the sigmoid, `[rows, C]` of each layer, on the host.
    pub(super) fn evaluate<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        inputs: &Inputs<T>,
    ) -> Result<BTreeMap<Layer, Vec<B::Element>>, EngineError> {
        let mut stream = {
            let [weight, bias] = pair(self.projector.tensors(b)?);
            self.order.project(b, &weight, &bias, |layer| by_root_mean_square(b, &inputs[&layer]))?
        };
        let [_, positions, _] = b.shape(&stream)[..] else { panic!("a stream has three axes") };
        let rotary = self.rotary(b, positions)?;
        for block in &self.blocks {
            let tensors = block.tensors(b)?;
            let [query, key, value, out, mlp @ ..] = tensors.as_slice() else { panic!("a block has an attention") };
            let read = self.attend(b, &by_root_mean_square(b, &stream)?, [query, key, value], &rotary)?;
            stream = b.add(&stream, &b.matmul(&read, &b.permute(out, &[1, 0])?)?)?;
            let hidden = through(b, by_root_mean_square(b, &stream)?, mlp, |tensor| Ok(tensor.clone()))?;
            stream = b.add(&stream, &hidden)?;
        }
        let [weight, bias] = pair(self.head.tensors(b)?);
        let values = b.add(&b.matmul(&stream, &weight)?, &bias)?;
        Ok(self.order.split(&b.download_vec(values)?))
    }

    /// What every position reads of all, `[prompts, positions, d]`.
    fn attend<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        weights: [&T; 3],
        rotary: &Rotary<T>,
    ) -> Result<T, BackendError> {
        let [prompts, positions, width] = b.shape(x)[..] else { panic!("a stream has three axes") };
        let d_head = width / self.n_heads;
        let heads = |weight: &T| {
            let projected = b.matmul(x, &b.permute(weight, &[1, 0])?)?;
            b.permute(&b.reshape(&projected, &[prompts, positions, self.n_heads, d_head])?, &[0, 2, 1, 3])
        };
        let [q, k, v] = weights.map(heads);
        let (q, k) = (rotary.rotate(b, &q?)?, rotary.rotate(b, &k?)?);
        let scores = b.scale(&b.matmul(&q, &b.permute(&k, &[0, 1, 3, 2])?)?, 1.0 / (d_head as f64).sqrt())?;
        let read = b.matmul(&b.softmax(&scores, 3)?, &v?)?;
        b.reshape(&b.permute(&read, &[0, 2, 1, 3])?, &[prompts, positions, width])
    }

    /// The angles are those of the published code.
    fn rotary<B: AttributionBackend<Tensor = T>>(&self, b: &B, positions: usize) -> Result<Rotary<T>, BackendError> {
        let d_head = self.width / self.n_heads;
        let angle = |position: usize, pair: usize| {
            let exponent = (2 * pair) as f32 / d_head as f32;
            let frequency = 1.0 / (self.rope_base.powf(f64::from(exponent)) as f32);
            position as f32 * frequency
        };
        Rotary::of(b, [positions, d_head], false, angle)
    }
}

/// `x` divided by its root mean square along the last axis.
fn by_root_mean_square<B: AttributionBackend>(b: &B, x: &B::Tensor) -> Result<B::Tensor, BackendError> {
    let axis = b.shape(x).len() - 1;
    let mean_square = b.mean(&b.mul(x, x)?, axis)?;
    b.div(x, &b.unary(Unary::Sqrt, &b.add_scalar(&mean_square, CiTransformer::EPSILON)?)?)
}

fn pair<T>(tensors: Vec<T>) -> [T; 2] {
    tensors.try_into().unwrap_or_else(|_| panic!("a linear layer has a weight and a bias"))
}
