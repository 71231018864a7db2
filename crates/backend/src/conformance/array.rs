//! The suite's own dense arrays.

/// A dense array of f64 in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl Array {
    pub(super) fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "the values fill the shape {shape:?}");
        Self { shape: shape.to_vec(), values }
    }

    /// The array whose element at each index is `value(index)`.
    pub(super) fn from_fn(shape: &[usize], mut value: impl FnMut(&[usize]) -> f64) -> Self {
        let mut index = vec![0; shape.len()];
        let values = (0..shape.iter().product())
            .map(|_| {
                let value = value(&index);
                advance(&mut index, shape);
                value
            })
            .collect();
        Self { shape: shape.to_vec(), values }
    }

    /// The element at `index`, broadcast.
    pub(super) fn at(&self, index: &[usize]) -> f64 {
        self.values[self.position(index)]
    }

    /// The row-major position of `index`, broadcast: aligned at the right, and an axis of length 1 repeats.
    pub(super) fn position(&self, index: &[usize]) -> usize {
        let missing = index.len() - self.shape.len();
        self.shape
            .iter()
            .zip(&index[missing..])
            .fold(0, |position, (&length, &index)| position * length + if length == 1 { 0 } else { index })
    }

    pub(super) fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|&x| function(x)).collect() }
    }

    pub(super) fn abs(&self) -> Self {
        self.map(f64::abs)
    }

    /// The index of the element at `position` in row-major order.
    pub(super) fn index(&self, mut position: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape.len()];
        for (at, &length) in index.iter_mut().zip(&self.shape).rev() {
            *at = position % length;
            position /= length;
        }
        index
    }
}

fn advance(index: &mut [usize], shape: &[usize]) {
    for (at, &length) in index.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < length {
            return;
        }
        *at = 0;
    }
}
