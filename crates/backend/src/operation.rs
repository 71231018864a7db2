//! The element-wise and reducing operations a backend must know, as data.
//!
//! They are enums rather than methods so that a backend is one `match` each, and so that a new operation breaks the
//! build of every backend that lacks it instead of failing at run time.

use std::fmt;

/// An element-wise function of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-x`
    Neg,
    /// `e^x`; `exp(-inf)` must be exactly 0, since attention masks with it.
    Exp,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function `2/sqrt(pi) * integral from 0 to x of exp(-t^2) dt`.
    Erf,
    /// Square root.
    Sqrt,
}

impl Unary {
    /// Every unary operation, for suites that try them all.
    pub const ALL: [Self; 5] = [Self::Neg, Self::Exp, Self::Tanh, Self::Erf, Self::Sqrt];
}

/// An element-wise function of two tensors of broadcastable shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `lhs + rhs`
    Add,
    /// `lhs - rhs`
    Sub,
    /// `lhs * rhs`
    Mul,
    /// `lhs / rhs`
    Div,
}

impl Binary {
    /// Every binary operation, for suites that try them all.
    pub const ALL: [Self; 4] = [Self::Add, Self::Sub, Self::Mul, Self::Div];
}

/// A function that folds one axis of a tensor down to length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Sum along the axis; 0 for an empty axis.
    Sum,
    /// Largest value along the axis; an error for an empty axis. Its gradient is never asked for.
    Max,
}

impl Unary {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Neg => "neg",
            Self::Exp => "exp",
            Self::Tanh => "tanh",
            Self::Erf => "erf",
            Self::Sqrt => "sqrt",
        }
    }
}

impl Binary {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
        }
    }
}

impl Reduce {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
        }
    }
}

impl fmt::Display for Unary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
