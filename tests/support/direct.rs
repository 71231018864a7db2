//! Attributions computed directly from their definition, sharing no code with the engine but the backend's operations.
//!
//! One set at a time, one head at a time, one backward pass per target entry: slow and plain, as section 2 of the
//! published algorithm has it.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use tributary_backend::{AttributionBackend, Unary};
use tributary_model::{
    Activation, Array, CiInput, CiNetwork, CiSet, CiTransformer, Components, Layer, Norm, NormWeights,
    PositionEncoding, Role, RopeScaling, Weights,
};

use crate::naive::{NaiveBackend, NaiveTensor as Tensor};

const B: NaiveBackend = NaiveBackend;

/// One set on one model.
pub struct Direct<'a> {
    /// The model.
    pub weights: &'a Weights,
    /// The set.
    pub set: &'a CiSet,
}

/// `pre` and `post` of every layer: `[positions, components]`; the embeddings under `wte`, the logits under `output`.
#[derive(Clone, Default)]
pub struct Activations {
    /// Before the detach.
    pub pre: BTreeMap<Layer, Tensor>,
    /// After it: the leaves.
    pub post: BTreeMap<Layer, Tensor>,
    /// What each linear layer reads, `[positions, d_in]`.
    pub input: BTreeMap<Layer, Tensor>,
}

impl Direct<'_> {
    /// The masked forward pass. A layer in `leaves` takes its `post` from there instead of from its `pre`.
    pub fn run(&self, leaves: &BTreeMap<Layer, Tensor>) -> Activations {
        let w = self.weights;
        let tokens: Vec<usize> = self.set.prompt.tokens.iter().map(|&token| token as usize).collect();
        let mut found = Activations::default();
        let decomposed = |role| w.decomposed.keys().copied().find(|layer| layer.role() == role);
        let one_hot: Vec<f64> = tokens
            .iter()
            .flat_map(|&token| (0..w.architecture.vocab).map(move |of| if of == token { 1.0 } else { 0.0 }))
            .collect();
        let one_hot = B.upload(&one_hot, &[tokens.len(), w.architecture.vocab]).unwrap();
        let mut x = if let Some(layer) = decomposed(Role::TokenEmbedding) {
            self.layer(layer, &one_hot, leaves, &mut found)
        } else {
            let embedded = leaves.get(&Layer::wte()).cloned();
            let embedded = embedded.unwrap_or_else(|| B.matmul(&one_hot, &up(&w.wte)).unwrap());
            found.post.insert(Layer::wte(), embedded.clone());
            embedded
        };
        if let Some(wpe) = &w.wpe {
            x = B.add(&x, &B.select(&up(wpe), 0, &(0..tokens.len()).collect::<Vec<_>>()).unwrap()).unwrap();
        }
        for block in 0..w.architecture.n_blocks {
            let at = |role| w.architecture.layer(block, role);
            let read = self.norm(&x, &w.norms[block].attention);
            let [q, k, v] = match w.architecture.find(block, Role::QueryKeyValue) {
                Some(fused) => {
                    let all = self.layer(fused, &read, leaves, &mut found);
                    let q = w.architecture.n_heads * w.architecture.d_head;
                    let kv = w.architecture.n_kv_heads * w.architecture.d_head;
                    [0..q, q..q + kv, q + kv..q + 2 * kv]
                        .map(|columns| B.select(&all, 1, &columns.collect::<Vec<_>>()).unwrap())
                }
                None => {
                    [Role::Query, Role::Key, Role::Value].map(|role| self.layer(at(role), &read, leaves, &mut found))
                }
            };
            let attended = self.attend(&q, &k, &v);
            x = B.add(&x, &self.layer(at(Role::AttentionOutput), &attended, leaves, &mut found)).unwrap();
            let read = self.norm(&x, &w.norms[block].mlp);
            let up = self.layer(at(Role::MlpUp), &read, leaves, &mut found);
            let hidden = match w.architecture.find(block, Role::MlpGate) {
                Some(gate) => {
                    let gate = self.layer(gate, &read, leaves, &mut found);
                    B.mul(&self.activate(&gate), &up).unwrap()
                }
                None => self.activate(&up),
            };
            x = B.add(&x, &self.layer(at(Role::MlpDown), &hidden, leaves, &mut found)).unwrap();
        }
        let read = self.norm(&x, &w.ln_f);
        if let Some(layer) = w.architecture.unembedding() {
            found.input.insert(layer, read.clone());
        }
        let logits = match decomposed(Role::Unembedding) {
            Some(layer) => self.layer(layer, &read, leaves, &mut found),
            None => matmul_transposed(&read, w.lm_head.as_ref().unwrap_or(&w.wte)),
        };
        found.pre.insert(Layer::output(), logits);
        found
    }

    /// The model's own causal importances, `[positions, components]` of every decomposed layer: the inputs of the
    /// undecomposed model through the networks, one number at a time.
    pub fn model_ci(&self) -> BTreeMap<Layer, Vec<f64>> {
        let undecomposed = Weights { decomposed: BTreeMap::new(), ..self.weights.clone() };
        let mut inputs = Direct { weights: &undecomposed, set: self.set }.run(&BTreeMap::new()).input;
        for (&layer, components) in &self.weights.decomposed {
            // Of an embedding the function reads what its components do; its own input are tokens.
            if layer.role() == Role::TokenEmbedding {
                let tokens: Vec<usize> = self.set.prompt.tokens.iter().map(|&token| token as usize).collect();
                inputs.insert(layer, B.select(&up(&components.v), 0, &tokens).unwrap());
            }
        }
        let rows = |layer: Layer| -> Vec<Vec<f64>> {
            let (x, d_in) = (B.download(&inputs[&layer]).unwrap(), B.shape(&inputs[&layer])[1]);
            x.chunks(d_in).map(<[f64]>::to_vec).collect()
        };
        let decomposed = &self.weights.decomposed;
        let function = &self.weights.ci_function;
        let mut values: BTreeMap<Layer, Vec<f64>> = match &function.network {
            CiNetwork::Layerwise { input, layers } => {
                let of_layer = |(&layer, components): (&Layer, &Components)| {
                    let arrays = layers[&layer].read().unwrap();
                    let entries = rows(layer);
                    let is_embedding = layer.role() == Role::TokenEmbedding;
                    let of_row = |x: &Vec<f64>| layer_values(*input, &arrays, components, is_embedding, x);
                    (layer, entries.iter().flat_map(of_row).collect())
                };
                decomposed.iter().map(of_layer).collect()
            }
            _ if decomposed.is_empty() => BTreeMap::new(),
            network => {
                let order = CiNetwork::global_order(decomposed.keys().copied());
                let of_layers: Vec<Vec<Vec<f64>>> = order.iter().map(|&layer| rows(layer)).collect();
                let positions = of_layers[0].len();
                let joined = |normalise: fn(&[f64]) -> Vec<f64>| -> Vec<Vec<f64>> {
                    let row = |s: usize| of_layers.iter().flat_map(|of_layer| normalise(&of_layer[s])).collect();
                    (0..positions).map(row).collect()
                };
                let all: Vec<Vec<f64>> = match network {
                    CiNetwork::SharedMlp(arrays) => {
                        let arrays = arrays.read().unwrap();
                        joined(<[f64]>::to_vec).iter().map(|x| mlp(&arrays, x)).collect()
                    }
                    CiNetwork::SharedTransformer(transformer) => {
                        ci_transformer(transformer, &joined(by_root_mean_square))
                    }
                    other => panic!("{other:?}"),
                };
                let mut first = 0;
                let mut values = BTreeMap::new();
                for layer in order {
                    let last = first + decomposed[&layer].count();
                    values.insert(layer, all.iter().flat_map(|row| row[first..last].to_vec()).collect());
                    first = last;
                }
                values
            }
        };
        values.values_mut().flatten().for_each(|value| *value = function.sigmoid.apply(*value));
        values
    }

    /// `post_a * d pre_t[s_out, c_out] / d post_a` for every source `a`, `[positions, components]` each; for `wte`
    /// summed over the residual stream, `[positions, 1]`. Sources with no path to the target give zeros.
    pub fn attributions(&self, target: Layer, s_out: usize, c_out: usize) -> BTreeMap<Layer, Vec<f64>> {
        let post = self.run(&BTreeMap::new()).post;
        let gradients = self.gradients(&post, target, |pre| {
            let components = B.shape(pre)[1];
            B.gather(pre, &[s_out * components + c_out]).unwrap()
        });
        let weighted = post.iter().zip(&gradients).map(|((&layer, leaf), (_, gradient))| {
            let weighted = B.mul(leaf, gradient).unwrap();
            (layer, if layer.is_embedding() { B.sum(&weighted, 1).unwrap() } else { weighted })
        });
        weighted.map(|(layer, tensor)| (layer, B.download(&tensor).unwrap())).collect()
    }

    /// Gradients of a number made of the `pre` of `target` with respect to every leaf, each of the shape of its leaf, where
    /// the leaves are the given ones.
    pub fn gradients(
        &self,
        leaves: &BTreeMap<Layer, Tensor>,
        target: Layer,
        number: impl FnOnce(&Tensor) -> Tensor,
    ) -> BTreeMap<Layer, Tensor> {
        let layers: Vec<Layer> = leaves.keys().copied().collect();
        let gradients = B.grad(&leaves.values().cloned().collect::<Vec<_>>(), |leaves| {
            let leaves = layers.iter().copied().zip(leaves.iter().cloned()).collect();
            Ok(number(&self.run(&leaves).pre[&target]))
        });
        layers.iter().copied().zip(gradients.unwrap()).collect()
    }

    fn activate(&self, x: &Tensor) -> Tensor {
        let one_plus = |t: &Tensor| B.add_scalar(t, 1.0).unwrap();
        match self.weights.architecture.activation {
            Activation::GeluTanh => B.gelu_tanh(x).unwrap(),
            Activation::Gelu => B.gelu_erf(x).unwrap(),
            Activation::Silu => {
                let exp = B.unary(Unary::Exp, &B.unary(Unary::Neg, x).unwrap()).unwrap();
                B.div(x, &one_plus(&exp)).unwrap()
            }
        }
    }

    fn layer(&self, layer: Layer, x: &Tensor, leaves: &BTreeMap<Layer, Tensor>, found: &mut Activations) -> Tensor {
        let linear = self.weights.linear.get(&layer);
        found.input.insert(layer, x.clone());
        let out = match self.weights.decomposed.get(&layer) {
            None => matmul_transposed(x, &linear.unwrap().weight),
            Some(decomposed) => {
                let pre = B.matmul(x, &up(&decomposed.v)).unwrap();
                let post = leaves.get(&layer).cloned().unwrap_or_else(|| B.detach(&pre));
                found.pre.insert(layer, pre);
                found.post.insert(layer, post.clone());
                let ci = &self.set.layers[&layer];
                let mask = up(&Array::new([ci.positions(), ci.components()], ci.to_dense()));
                B.matmul(&B.mul(&post, &mask).unwrap(), &up(&decomposed.u)).unwrap()
            }
        };
        let bias = linear.and_then(|linear| linear.bias.as_ref());
        bias.map_or(out.clone(), |bias| B.add(&out, &up(bias)).unwrap())
    }

    fn norm(&self, x: &Tensor, norm: &NormWeights) -> Tensor {
        let (x, eps) = match self.weights.architecture.norm {
            Norm::LayerNorm { eps } => (B.sub(x, &B.mean(x, 1).unwrap()).unwrap(), eps),
            Norm::RmsNorm { eps } => (x.clone(), eps),
        };
        let square = B.mean(&B.mul(&x, &x).unwrap(), 1).unwrap();
        let root = B.unary(Unary::Sqrt, &B.add_scalar(&square, eps).unwrap()).unwrap();
        let scaled = B.mul(&B.div(&x, &root).unwrap(), &up(&norm.weight)).unwrap();
        norm.bias.as_ref().map_or(scaled.clone(), |bias| B.add(&scaled, &up(bias)).unwrap())
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let architecture = &self.weights.architecture;
        let (d_head, positions) = (architecture.d_head, B.shape(q)[0]);
        let slice = |x: &Tensor, head: usize| {
            B.select(x, 1, &(head * d_head..(head + 1) * d_head).collect::<Vec<_>>()).unwrap()
        };
        let mut columns: Vec<Tensor> = Vec::new();
        for head in 0..architecture.n_heads {
            let kv = head / (architecture.n_heads / architecture.n_kv_heads);
            let (q, k, v) = (self.rotate(&slice(q, head)), self.rotate(&slice(k, kv)), slice(v, kv));
            let mut rows: Vec<Tensor> = Vec::new();
            for s in 0..positions {
                let past: Vec<usize> = (0..=s).collect();
                let q = B.select(&q, 0, &[s]).unwrap();
                let keys = B.permute(&B.select(&k, 0, &past).unwrap(), &[1, 0]).unwrap();
                let scores = B.scale(&B.matmul(&q, &keys).unwrap(), 1.0 / (d_head as f64).sqrt()).unwrap();
                let probs = B.softmax(&scores, 1).unwrap();
                rows.push(B.matmul(&probs, &B.select(&v, 0, &past).unwrap()).unwrap());
            }
            columns.push(stack(&rows, 0, positions));
        }
        stack(&columns, 1, architecture.n_heads)
    }

    /// Rotates each pair of elements by its angle, with a rotation matrix per position.
    fn rotate(&self, x: &Tensor) -> Tensor {
        let PositionEncoding::Rotary { base, adjacent_pairs, scaling } = self.weights.architecture.position_encoding
        else {
            return x.clone();
        };
        let [positions, d_head] = B.shape(x)[..] else { panic!("a head has two axes") };
        let half = d_head / 2;
        let rows: Vec<Tensor> = (0..positions)
            .map(|s| {
                let mut matrix = vec![0.0; d_head * d_head];
                for pair in 0..half {
                    let (i, j) = if adjacent_pairs { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
                    // In float32, as the published code has it.
                    let angle = match scaling {
                        RopeScaling::None => s as f32 / base.powf(f64::from(pair as f32 / half as f32)) as f32,
                        scaling => s as f32 * turn(base.powf(-2.0 * pair as f64 / d_head as f64), scaling) as f32,
                    };
                    let (sin, cos) =
                        (f64::from(f64::from(angle).sin() as f32), f64::from(f64::from(angle).cos() as f32));
                    // (x_i, x_j) -> (x_i cos - x_j sin, x_i sin + x_j cos), as a row vector times the matrix.
                    matrix[i * d_head + i] = cos;
                    matrix[j * d_head + i] = -sin;
                    matrix[i * d_head + j] = sin;
                    matrix[j * d_head + j] = cos;
                }
                let matrix = B.upload(&matrix, &[d_head, d_head]).unwrap();
                B.matmul(&B.select(x, 0, &[s]).unwrap(), &matrix).unwrap()
            })
            .collect();
        stack(&rows, 0, positions)
    }
}

/// The angle by which a pair turns from one position to the next.
fn turn(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        // As `_compute_llama3_parameters` of transformers has it.
        RopeScaling::Llama3 { factor, low, high, original_positions } => {
            let wavelength = std::f64::consts::TAU / frequency;
            if wavelength > original_positions / low {
                frequency / factor
            } else if wavelength < original_positions / high {
                frequency
            } else {
                let smooth = (original_positions / wavelength - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

/// What the function of one layer gives for each component where the layer reads `x`.
fn layer_values(input: CiInput, arrays: &[Array], components: &Components, is_embedding: bool, x: &[f64]) -> Vec<f64> {
    if input == CiInput::SharedVector {
        return mlp(arrays, x);
    }
    let value = |component: usize| {
        let own: Vec<Array> = arrays
            .iter()
            .map(|array| {
                let of_one: usize = array.shape[1..].iter().product();
                let values: Vec<f64> = array.values.iter().skip(component * of_one).take(of_one).collect();
                Array::of(array.shape[1..].to_vec(), values)
            })
            .collect();
        match input {
            CiInput::Activation if is_embedding => mlp(&own, &x[component..=component])[0],
            CiInput::Activation => {
                let v = &components.v;
                let column = v.values.iter().skip(component).step_by(v.shape[1]);
                mlp(&own, &[x.iter().zip(column).map(|(x, v)| x * v).sum()])[0]
            }
            _ => mlp(&own, x)[0],
        }
    };
    (0..components.count()).map(value).collect()
}

/// Linear layers, weight `[in, out]` and bias of each, with GELU between them.
fn mlp(arrays: &[Array], x: &[f64]) -> Vec<f64> {
    let mut hidden = x.to_vec();
    for (index, layer) in arrays.chunks(2).enumerate() {
        if index > 0 {
            for x in &mut hidden {
                *x *= 0.5 * (1.0 + libm::erf(*x / std::f64::consts::SQRT_2));
            }
        }
        let output = |out: usize| layer[1].values.at(out) + dot_with_column(&layer[0], out, &hidden);
        hidden = (0..layer[1].values.len()).map(output).collect();
    }
    hidden
}

fn dot_with_column(matrix: &Array, column: usize, x: &[f64]) -> f64 {
    x.iter().enumerate().map(|(i, x)| x * matrix.values.at(i * matrix.shape[1] + column)).sum()
}

fn by_root_mean_square(x: &[f64]) -> Vec<f64> {
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().map(|x| x / (mean_square + 1.192_092_9e-7).sqrt()).collect()
}

/// A transformer without mask, position by position and head by head.
fn ci_transformer(transformer: &CiTransformer, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let plus = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x + y).collect() };
    let projector = transformer.projector.read().unwrap();
    let mut stream: Vec<Vec<f64>> = inputs.iter().map(|x| mlp(&projector, x)).collect();
    let d_head = stream[0].len() / transformer.n_heads;
    // `x weight^T`, with rotation by the position's angles where asked for.
    let heads = |weight: &Array, x: &[f64], position: Option<usize>| -> Vec<Vec<f64>> {
        let row =
            |out: usize| -> f64 { x.iter().zip(weight.values.iter().skip(out * x.len())).map(|(x, w)| x * w).sum() };
        let all: Vec<f64> = (0..x.len()).map(row).collect();
        let rotate = |head: &[f64]| -> Vec<f64> {
            let Some(position) = position else { return head.to_vec() };
            let turned = |i: usize| {
                let (pair, half) = (i % (d_head / 2), d_head / 2);
                // In float32, as the published code has it.
                let frequency = 1.0 / (transformer.rope_base.powf(pair as f64 / half as f64) as f32);
                let angle = f64::from(position as f32 * frequency);
                let (sin, cos) = (f64::from(angle.sin() as f32), f64::from(angle.cos() as f32));
                let partner = if i < half { -head[i + half] } else { head[i - half] };
                head[i] * cos + partner * sin
            };
            (0..d_head).map(turned).collect()
        };
        all.chunks(d_head).map(rotate).collect()
    };
    for block in &transformer.blocks {
        let arrays = block.read().unwrap();
        let normal: Vec<Vec<f64>> = stream.iter().map(|x| by_root_mean_square(x)).collect();
        let project = |which: usize, turns: bool| -> Vec<Vec<Vec<f64>>> {
            normal.iter().enumerate().map(|(s, x)| heads(&arrays[which], x, turns.then_some(s))).collect()
        };
        let (q, k, v) = (project(0, true), project(1, true), project(2, false));
        let read = |s: usize| -> Vec<f64> {
            let of_head = |head: usize| -> Vec<f64> {
                let score = |t: &Vec<Vec<f64>>| {
                    t[head].iter().zip(&q[s][head]).map(|(k, q)| k * q).sum::<f64>() / (d_head as f64).sqrt()
                };
                let weights: Vec<f64> = k.iter().map(|t| score(t).exp()).collect();
                let total: f64 = weights.iter().sum();
                (0..d_head).map(|i| v.iter().zip(&weights).map(|(t, w)| t[head][i] * w / total).sum()).collect()
            };
            (0..transformer.n_heads).flat_map(of_head).collect()
        };
        let written: Vec<Vec<f64>> = (0..stream.len()).map(|s| heads(&arrays[3], &read(s), None).concat()).collect();
        stream = stream.iter().zip(&written).map(|(x, y)| plus(x, y)).collect();
        stream = stream.iter().map(|x| plus(x, &mlp(&arrays[4..], &by_root_mean_square(x)))).collect();
    }
    let head = transformer.head.read().unwrap();
    stream.iter().map(|x| mlp(&head, x)).collect()
}

/// Tensors of equal shape one after the other along `axis`, by adding each in where it belongs.
fn stack(parts: &[Tensor], axis: usize, count: usize) -> Tensor {
    let [rows, columns] = B.shape(&parts[0])[..] else { panic!("matrices only") };
    let length = if axis == 0 { rows } else { columns };
    let moved = parts.iter().enumerate().map(|(index, part)| {
        // A 0/1 matrix that moves the part there.
        let mut matrix = vec![0.0; length * length * count];
        for i in 0..length {
            let at = index * length + i;
            matrix[if axis == 0 { at * length + i } else { i * length * count + at }] = 1.0;
        }
        if axis == 0 {
            B.matmul(&B.upload(&matrix, &[length * count, length]).unwrap(), part).unwrap()
        } else {
            B.matmul(part, &B.upload(&matrix, &[length, length * count]).unwrap()).unwrap()
        }
    });
    moved.reduce(|sum, part| B.add(&sum, &part).unwrap()).unwrap()
}

fn matmul_transposed(x: &Tensor, weight: &Array) -> Tensor {
    B.matmul(x, &B.permute(&up(weight), &[1, 0]).unwrap()).unwrap()
}

fn up(array: &Array) -> Tensor {
    B.upload(&array.values.iter().collect::<Vec<_>>(), &array.shape).unwrap()
}
