//! The backend trait.

use crate::{BackendError, Binary, DeviceInfo, Element, Reduce, Unary, shape};

/// Arithmetic on dense tensors of one floating-point type, with automatic differentiation.
///
/// Tensors have at least one axis. They are values: no operation changes its operands, and cloning one is cheap. Shapes follow the rules in
/// [`shape`]; an operation whose rule does not hold returns [`BackendError::Shape`], never panics.
///
/// # Differentiation
///
/// [`grad`](Self::grad) is given the leaves and the *function* of them, not a finished graph: it calls the function
/// once on tracked copies of the leaves, runs one backward pass and drops the tape. So nothing depends on keeping a
/// graph alive for a second backward pass, which some libraries cannot do. Tensors that the function captures from
/// outside take part as constants. [`detach`](Self::detach) cuts a tracked value from the tape.
pub trait AttributionBackend {
    /// What the tensors hold: `f32` or `f64`.
    type Element: Element;

    /// A dense tensor of any rank.
    type Tensor: Clone;

    /// The device this backend computes on.
    fn device(&self) -> DeviceInfo;

    /// Copies `values`, in row-major order, to the device.
    fn upload(&self, values: &[Self::Element], shape: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// Copies a tensor's values back, in row-major order.
    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<Self::Element>, BackendError>;

    /// Lengths of the tensor's axes.
    fn shape(&self, tensor: &Self::Tensor) -> Vec<usize>;

    /// Applies `operation` to every element.
    fn unary(&self, operation: Unary, x: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// Combines two tensors element by element, [broadcasting](shape::broadcast) their shapes.
    fn binary(&self, operation: Binary, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// Folds `axis` to length 1; the axis stays.
    fn reduce(&self, operation: Reduce, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor, BackendError>;

    /// Matrix product `[.., m, k] x [.., k, n] -> [.., m, n]`, leading axes broadcast, in the full precision of
    /// [`Element`](Self::Element).
    fn matmul(&self, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// The same elements in row-major order under another shape.
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// Reorders the axes: axis `i` of the result is axis `axes[i]` of `x`.
    fn permute(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// The slices of `x` at `indices` along `axis`, in that order; an index may come more than once.
    fn select(&self, x: &Self::Tensor, axis: usize, indices: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// The same values with no history: no gradient flows through the result into `x`.
    fn detach(&self, x: &Self::Tensor) -> Self::Tensor;

    /// Gradients of `function`, which gives a single number, with respect to each of its `leaves`.
    ///
    /// The result holds one untracked tensor per leaf, of the leaf's shape; zeros where the function does not depend
    /// on the leaf. Calls do not nest.
    fn grad(
        &self,
        leaves: &[Self::Tensor],
        function: impl FnOnce(&[Self::Tensor]) -> Result<Self::Tensor, BackendError>,
    ) -> Result<Vec<Self::Tensor>, BackendError>;

    // From here on everything is derived.

    /// Vector-Jacobian product: the gradients of `sum(function(leaves) * cotangent)` with respect to each leaf.
    fn vjp(
        &self,
        leaves: &[Self::Tensor],
        cotangent: &Self::Tensor,
        function: impl FnOnce(&[Self::Tensor]) -> Result<Self::Tensor, BackendError>,
    ) -> Result<Vec<Self::Tensor>, BackendError> {
        self.grad(leaves, |leaves| {
            let value = function(leaves)?;
            shape::cotangent(&self.shape(&value), &self.shape(cotangent))?;
            self.sum_all(&self.mul(&value, cotangent)?)
        })
    }

    /// Moves `values`, in row-major order, to the device: [`upload`](Self::upload) of values that nobody else needs, which
    /// a backend that computes where they lie may keep without copying them.
    fn upload_vec(&self, values: Vec<Self::Element>, shape: &[usize]) -> Result<Self::Tensor, BackendError> {
        self.upload(&values, shape)
    }

    /// A tensor's values, in row-major order: [`download`](Self::download) of one that nobody else needs, which a backend
    /// that computes where they lie may hand over without copying them.
    fn download_vec(&self, tensor: Self::Tensor) -> Result<Vec<Self::Element>, BackendError> {
        self.download(&tensor)
    }

    /// A tensor of zeros.
    fn zeros(&self, shape: &[usize]) -> Result<Self::Tensor, BackendError> {
        self.upload_vec(vec![Self::Element::default(); shape::elements(shape)], shape)
    }

    /// A single number, of shape `[1]`.
    fn scalar(&self, value: f64) -> Result<Self::Tensor, BackendError> {
        self.upload(&[Self::Element::from_f64(value)], &[1])
    }

    /// Element-wise sum.
    fn add(&self, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        self.binary(Binary::Add, lhs, rhs)
    }

    /// Element-wise difference.
    fn sub(&self, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        self.binary(Binary::Sub, lhs, rhs)
    }

    /// Element-wise product.
    fn mul(&self, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        self.binary(Binary::Mul, lhs, rhs)
    }

    /// Element-wise quotient.
    fn div(&self, lhs: &Self::Tensor, rhs: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        self.binary(Binary::Div, lhs, rhs)
    }

    /// `x + value` for every element.
    fn add_scalar(&self, x: &Self::Tensor, value: f64) -> Result<Self::Tensor, BackendError> {
        self.add(x, &self.scalar(value)?)
    }

    /// `x * factor` for every element.
    fn scale(&self, x: &Self::Tensor, factor: f64) -> Result<Self::Tensor, BackendError> {
        self.mul(x, &self.scalar(factor)?)
    }

    /// Sum along `axis`, which stays with length 1.
    fn sum(&self, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor, BackendError> {
        self.reduce(Reduce::Sum, x, axis)
    }

    /// Sum of all elements, of shape `[1]`.
    fn sum_all(&self, x: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        let elements = shape::elements(&self.shape(x));
        self.sum(&self.reshape(x, &[elements])?, 0)
    }

    /// Arithmetic mean along `axis`, which stays with length 1; NaN for an empty axis.
    fn mean(&self, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor, BackendError> {
        let sum = self.sum(x, axis)?;
        self.scale(&sum, 1.0 / self.shape(x)[axis] as f64)
    }

    /// Softmax along `axis`: `exp(x - max) / sum(exp(x - max))`. Entries of `-inf` get probability 0;
    /// where all entries are `-inf` the result is NaN.
    fn softmax(&self, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor, BackendError> {
        // The shift changes nothing but the range, so it is a constant to the gradient.
        let max = self.reduce(Reduce::Max, &self.detach(x), axis)?;
        let exp = self.unary(Unary::Exp, &self.sub(x, &max)?)?;
        self.div(&exp, &self.sum(&exp, axis)?)
    }

    /// GELU in its tanh form (Hendrycks and Gimpel 2016): `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`.
    fn gelu_tanh(&self, x: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        let cube = self.mul(x, &self.mul(x, x)?)?;
        let inner = self.add(x, &self.scale(&cube, 0.044_715)?)?;
        let tanh = self.unary(Unary::Tanh, &self.scale(&inner, (2.0 / std::f64::consts::PI).sqrt())?)?;
        self.mul(&self.scale(x, 0.5)?, &self.add_scalar(&tanh, 1.0)?)
    }

    /// GELU in its exact form: `x/2 * (1 + erf(x / sqrt(2)))`.
    fn gelu_erf(&self, x: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        let erf = self.unary(Unary::Erf, &self.scale(x, std::f64::consts::FRAC_1_SQRT_2)?)?;
        self.mul(&self.scale(x, 0.5)?, &self.add_scalar(&erf, 1.0)?)
    }

    /// The sigmoid linear unit, `x / (1 + exp(-x))`, as `x/2 * (1 + tanh(x/2))`: the exponential of the other form overflows, and its gradient is
    /// none, below -88 in f32.
    fn silu(&self, x: &Self::Tensor) -> Result<Self::Tensor, BackendError> {
        let half = self.scale(x, 0.5)?;
        self.mul(&half, &self.add_scalar(&self.unary(Unary::Tanh, &half)?, 1.0)?)
    }

    /// The `length` slices of `x` from `start` on along `axis`.
    fn narrow(&self, x: &Self::Tensor, axis: usize, start: usize, length: usize) -> Result<Self::Tensor, BackendError> {
        shape::narrow(&self.shape(x), axis, start, length)?;
        self.select(x, axis, &(start..start + length).collect::<Vec<_>>())
    }

    /// The elements at `indices` of the flattened tensor, of shape `[indices.len()]`.
    fn gather(&self, x: &Self::Tensor, indices: &[usize]) -> Result<Self::Tensor, BackendError> {
        let elements = shape::elements(&self.shape(x));
        self.select(&self.reshape(x, &[elements])?, 0, indices)
    }
}
