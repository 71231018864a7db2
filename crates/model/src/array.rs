//! Dense arrays of numbers.

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Array {
    /// An array of these elements.
    ///
    /// # Panics
    ///
    /// When the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{shape:?} against the number of values");
        Self { shape, values }
    }
}
