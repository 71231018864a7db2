//! The smallest backend that passes the conformance suite: plain loops over `Vec<f64>`.
//!
//! It implements the thirteen required methods of [`AttributionBackend`] and nothing else, so the tests that run on it
//! also try every default method. `docs/backends.md` walks through it.
//!
//! Each element of a result is computed from its own inputs in a fixed order, so that adding an item to a batch
//! changes no bit of the others.

mod index;
mod tape;

use std::rc::Rc;

use tributary_backend::{
    AttributionBackend, BackendError, Binary, Capabilities, DeviceInfo, Dtype, Reduce, Unary, shape,
};

use self::index::{broadcast_strides, positions, row_major_strides};
use self::tape::{Entry, Tape};

/// The backend itself; it has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct NaiveBackend;

/// A tensor in row-major order, with its entry on a tape when it is tracked.
#[derive(Clone)]
pub struct NaiveTensor {
    shape: Rc<[usize]>,
    values: Rc<[f64]>,
    entry: Option<Entry>,
}

impl NaiveTensor {
    fn constant(shape: &[usize], values: Vec<f64>) -> Self {
        Self { shape: shape.into(), values: values.into(), entry: None }
    }

    /// The result of an operation on `operands`. It is tracked when one of them is; then `pullback` is kept, which
    /// takes the gradient of the result to the gradients of the operands, in order.
    fn computed(
        shape: &[usize],
        values: Vec<f64>,
        operands: &[&Self],
        pullback: impl Fn(&[f64]) -> Vec<Vec<f64>> + 'static,
    ) -> Self {
        let entries = operands.iter().map(|operand| operand.entry.clone()).collect();
        Self { entry: tape::record(entries, pullback), ..Self::constant(shape, values) }
    }

    /// The elements times `factors`; backwards, gradients times `of_gradient`.
    pub(crate) fn scaled(&self, factors: &[f64], of_gradient: Vec<f64>) -> Self {
        let product = |values: &[f64], factors: &[f64]| -> Vec<f64> {
            values.iter().zip(factors).map(|(value, factor)| value * factor).collect()
        };
        let values = product(&self.values, factors);
        Self::computed(&self.shape, values, &[self], move |gradient| vec![product(gradient, &of_gradient)])
    }

    /// Moves elements: element `i` of the result is element `from[i]` of this tensor. Backwards, every element adds
    /// its gradient to where it came from.
    fn moved(&self, shape: &[usize], from: Vec<usize>) -> Self {
        let values = from.iter().map(|&from| self.values[from]).collect();
        let length = self.values.len();
        Self::computed(shape, values, &[self], move |gradient| {
            let mut sum = vec![0.0; length];
            for (&from, gradient) in from.iter().zip(gradient) {
                sum[from] += gradient;
            }
            vec![sum]
        })
    }
}

impl AttributionBackend for NaiveBackend {
    type Element = f64;
    type Tensor = NaiveTensor;

    fn device(&self) -> DeviceInfo {
        DeviceInfo {
            backend: "naive",
            // Not a CPU: so the engine leaves all products to it, also those that it takes on the host where it can.
            device: "naive".to_owned(),
            dtype: Dtype::F64,
            capabilities: Capabilities { deterministic: true },
        }
    }

    fn upload(&self, values: &[f64], shape: &[usize]) -> Result<NaiveTensor, BackendError> {
        shape::upload(values.len(), shape)?;
        Ok(NaiveTensor::constant(shape, values.to_vec()))
    }

    fn download(&self, tensor: &NaiveTensor) -> Result<Vec<f64>, BackendError> {
        Ok(tensor.values.to_vec())
    }

    fn shape(&self, tensor: &NaiveTensor) -> Vec<usize> {
        tensor.shape.to_vec()
    }

    fn unary(&self, operation: Unary, x: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        let function: fn(f64) -> f64 = match operation {
            Unary::Neg => |x| -x,
            Unary::Exp => f64::exp,
            Unary::Tanh => f64::tanh,
            Unary::Erf => libm::erf,
            Unary::Sqrt => f64::sqrt,
        };
        let derivative: fn(f64) -> f64 = match operation {
            Unary::Neg => |_| -1.0,
            Unary::Exp => f64::exp,
            Unary::Tanh => |x| 1.0 - x.tanh().powi(2),
            Unary::Erf => |x| std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
            Unary::Sqrt => |x| 0.5 / x.sqrt(),
        };
        let values = x.values.iter().map(|&x| function(x)).collect();
        let operand = x.values.clone();
        Ok(NaiveTensor::computed(&x.shape, values, &[x], move |gradient| {
            vec![gradient.iter().zip(&*operand).map(|(gradient, &x)| gradient * derivative(x)).collect()]
        }))
    }

    fn binary(&self, operation: Binary, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        let shape = shape::broadcast(operation.name(), &lhs.shape, &rhs.shape)?;
        let lhs_positions = positions(&shape, &broadcast_strides(&lhs.shape, shape.len()));
        let rhs_positions = positions(&shape, &broadcast_strides(&rhs.shape, shape.len()));
        let function: fn(f64, f64) -> f64 = match operation {
            Binary::Add => |l, r| l + r,
            Binary::Sub => |l, r| l - r,
            Binary::Mul => |l, r| l * r,
            Binary::Div => |l, r| l / r,
        };
        // Derivatives with respect to the left and the right operand.
        let derivatives: fn(f64, f64) -> (f64, f64) = match operation {
            Binary::Add => |_, _| (1.0, 1.0),
            Binary::Sub => |_, _| (1.0, -1.0),
            Binary::Mul => |l, r| (r, l),
            Binary::Div => |l, r| (1.0 / r, -l / (r * r)),
        };
        let pairs: Vec<_> = lhs_positions.into_iter().zip(rhs_positions).collect();
        let (left, right) = (lhs.values.clone(), rhs.values.clone());
        let values = pairs.iter().map(|&(l, r)| function(left[l], right[r])).collect();
        Ok(NaiveTensor::computed(&shape, values, &[lhs, rhs], move |gradient| {
            // Adding up here is what sums the gradient over the axes along which an operand repeats.
            let mut sums = vec![vec![0.0; left.len()], vec![0.0; right.len()]];
            for (&(l, r), gradient) in pairs.iter().zip(gradient) {
                let (by_left, by_right) = derivatives(left[l], right[r]);
                sums[0][l] += gradient * by_left;
                sums[1][r] += gradient * by_right;
            }
            sums
        }))
    }

    fn reduce(&self, operation: Reduce, x: &NaiveTensor, axis: usize) -> Result<NaiveTensor, BackendError> {
        match operation {
            Reduce::Sum => {
                let shape = shape::reduce("sum", &x.shape, axis)?;
                // Where each element goes: the positions in the result, which repeats along the axis.
                let to = positions(&x.shape, &broadcast_strides(&shape, shape.len()));
                let mut values = vec![0.0; shape::elements(&shape)];
                for (&to, value) in to.iter().zip(&*x.values) {
                    values[to] += value;
                }
                Ok(NaiveTensor::computed(&shape, values, &[x], move |gradient| {
                    vec![to.iter().map(|&to| gradient[to]).collect()]
                }))
            }
            Reduce::Max => {
                let shape = shape::max(&x.shape, axis)?;
                let strides = row_major_strides(&x.shape);
                let largest = positions(&shape, &strides).into_iter().map(|first| {
                    let along = (0..x.shape[axis]).map(|at| first + at * strides[axis]);
                    along.fold(first, |best, at| if x.values[at] > x.values[best] { at } else { best })
                });
                Ok(x.moved(&shape, largest.collect()))
            }
        }
    }

    fn matmul(&self, lhs: &NaiveTensor, rhs: &NaiveTensor) -> Result<NaiveTensor, BackendError> {
        let shape = shape::matmul(&lhs.shape, &rhs.shape)?;
        let rank = shape.len();
        // Each element of the result is the product of a row and a column: where they start, and the step along them.
        let (mut row_strides, mut column_strides) =
            (broadcast_strides(&lhs.shape, rank), broadcast_strides(&rhs.shape, rank));
        row_strides[rank - 1] = 0;
        column_strides[rank - 2] = 0;
        let rows = positions(&shape, &row_strides);
        let columns = positions(&shape, &column_strides);
        let (k, n) = (lhs.shape[lhs.shape.len() - 1], shape[rank - 1]);
        let inner = move |row: usize, column: usize| (0..k).map(move |at| (row + at, column + at * n));
        let (left, right) = (lhs.values.clone(), rhs.values.clone());
        let product =
            |(&row, &column): (&usize, &usize)| inner(row, column).fold(0.0, |sum, (l, r)| sum + left[l] * right[r]);
        let values = rows.iter().zip(&columns).map(product).collect();
        Ok(NaiveTensor::computed(&shape, values, &[lhs, rhs], move |gradient| {
            let mut sums = vec![vec![0.0; left.len()], vec![0.0; right.len()]];
            for ((&row, &column), gradient) in rows.iter().zip(&columns).zip(gradient) {
                for (l, r) in inner(row, column) {
                    sums[0][l] += gradient * right[r];
                    sums[1][r] += gradient * left[l];
                }
            }
            sums
        }))
    }

    fn reshape(&self, x: &NaiveTensor, shape: &[usize]) -> Result<NaiveTensor, BackendError> {
        let shape = shape::reshape(&x.shape, shape)?;
        Ok(x.moved(&shape, (0..x.values.len()).collect()))
    }

    fn permute(&self, x: &NaiveTensor, axes: &[usize]) -> Result<NaiveTensor, BackendError> {
        let shape = shape::permute(&x.shape, axes)?;
        let strides = row_major_strides(&x.shape);
        let permuted: Vec<_> = axes.iter().map(|&axis| strides[axis]).collect();
        Ok(x.moved(&shape, positions(&shape, &permuted)))
    }

    fn select(&self, x: &NaiveTensor, axis: usize, indices: &[usize]) -> Result<NaiveTensor, BackendError> {
        let shape = shape::select(&x.shape, axis, indices)?;
        let strides = row_major_strides(&x.shape);
        // For each element of the result: its position along the other axes, and which of the indices it is at.
        let (mut others, mut own) = (strides.clone(), vec![0; shape.len()]);
        others[axis] = 0;
        own[axis] = 1;
        let from = positions(&shape, &others).into_iter().zip(positions(&shape, &own));
        Ok(x.moved(&shape, from.map(|(start, at)| start + indices[at] * strides[axis]).collect()))
    }

    fn detach(&self, x: &NaiveTensor) -> NaiveTensor {
        NaiveTensor { entry: None, ..x.clone() }
    }

    fn grad(
        &self,
        leaves: &[NaiveTensor],
        function: impl FnOnce(&[NaiveTensor]) -> Result<NaiveTensor, BackendError>,
    ) -> Result<Vec<NaiveTensor>, BackendError> {
        let tape = Tape::default();
        let tracked: Vec<_> =
            leaves.iter().map(|leaf| NaiveTensor { entry: Some(tape.leaf()), ..leaf.clone() }).collect();
        let result = function(&tracked)?;
        shape::scalar(&result.shape)?;
        let mut gradients = tape.gradients(result.entry.as_ref());
        // The leaves are the first entries of the tape.
        Ok(leaves
            .iter()
            .zip(&mut gradients)
            .map(|(leaf, gradient)| {
                let zeros = || vec![0.0; leaf.values.len()];
                NaiveTensor::constant(&leaf.shape, gradient.take().unwrap_or_else(zeros))
            })
            .collect())
    }
}
