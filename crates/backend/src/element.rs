//! The floating-point types a backend can compute in.

use std::fmt;
use std::ops::{Add, Mul, Sub};

use crate::row_products;

/// A floating-point type by name, as flags and manifests write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Dtype {
    /// Distance from 1 to the next larger number: 2^-23 for f32, 2^-52 for f64.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON),
            Self::F64 => f64::EPSILON,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A number a tensor can hold: `f32` or `f64`.
pub trait Element:
    Copy
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Its name.
    const DTYPE: Dtype;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;

    /// The same value in f64; exact for both types.
    fn to_f64(self) -> f64;

    /// The same value of this type; exact for both types.
    fn from_f32(value: f32) -> Self;

    /// The nearest f32.
    fn to_f32(self) -> f32;

    /// The same values of this type; exact for both types, and no copy where they are of this type already.
    fn vec_from_f32(values: Vec<f32>) -> Vec<Self>;

    /// The nearest values of this type; no copy where they are of this type already.
    fn vec_from_f64(values: Vec<f64>) -> Vec<Self>;

    /// Dot products of every row of `targets` with every row of `sources`, `[targets, sources]` in row-major order: what the
    /// engine computes itself where a backend's memory is the host's. Rows must have one width, and `products` room for
    /// each.
    ///
    /// # Panics
    ///
    /// When rows or `products` are too short.
    fn row_products(products: &mut [Self], targets: &[&[Self]], sources: &[&[Self]]);
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn vec_from_f32(values: Vec<f32>) -> Vec<Self> {
        values
    }

    fn vec_from_f64(values: Vec<f64>) -> Vec<Self> {
        values.into_iter().map(|value| value as Self).collect()
    }

    fn row_products(products: &mut [Self], targets: &[&[Self]], sources: &[&[Self]]) {
        row_products::f32(products, targets, sources);
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn vec_from_f32(values: Vec<f32>) -> Vec<Self> {
        values.into_iter().map(Self::from).collect()
    }

    fn vec_from_f64(values: Vec<f64>) -> Vec<Self> {
        values
    }

    fn row_products(products: &mut [Self], targets: &[&[Self]], sources: &[&[Self]]) {
        row_products::f64(products, targets, sources);
    }
}
