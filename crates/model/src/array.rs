//! Dense arrays of numbers.

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of `shape`.
    pub values: Values,
}

/// Numbers of one type, as a file has them: none is rounded before the element type of a backend is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Half precision is read as these, too.
    F32(Vec<f32>),
    /// Finite as float32, too.
    F64(Vec<f64>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Self::F32(values) => f64::from(values[index]),
            Self::F64(values) => values[index],
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        (0..self.len()).map(|index| self.at(index))
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<f64>> for Values {
    fn from(values: Vec<f64>) -> Self {
        Self::F64(values)
    }
}

impl Array {
    /// An array of float32.
    ///
    /// # Panics
    ///
    /// When the number of values is not the product of the shape.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self::of(shape, values)
    }

    /// An array of these elements.
    ///
    /// # Panics
    ///
    /// When the number of values is not the product of the shape.
    pub fn of(shape: impl Into<Vec<usize>>, values: impl Into<Values>) -> Self {
        let (shape, values) = (shape.into(), values.into());
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{shape:?} against the number of values");
        Self { shape, values }
    }

    /// The transpose of a matrix.
    ///
    /// # Panics
    ///
    /// When there are not two axes.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let [rows, columns] = self.shape[..] else { panic!("a matrix has two axes") };
        let values = match &self.values {
            Values::F32(values) => Values::F32(columnwise(values, columns)),
            Values::F64(values) => Values::F64(columnwise(values, columns)),
        };
        Self { shape: vec![columns, rows], values }
    }
}

fn columnwise<E: Copy>(values: &[E], columns: usize) -> Vec<E> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}
