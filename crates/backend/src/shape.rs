//! The shape rules of every operation, so that each backend checks them the same way and says the same when they
//! do not hold. A backend calls the rule first and computes only when it returns `Ok`.

use crate::BackendError;

/// Number of elements of a tensor of this shape; `usize::MAX` when that is more than can be counted.
///
/// ```
/// assert_eq!(tributary_backend::shape::elements(&[2, 3]), 6);
/// assert_eq!(tributary_backend::shape::elements(&[]), 1);
/// ```
pub fn elements(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &length| product.saturating_mul(length))
}

fn error(operation: &'static str, shapes: &[&[usize]], problem: impl Into<String>) -> BackendError {
    BackendError::Shape {
        operation,
        shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
        problem: problem.into(),
    }
}

/// Shape of an element-wise operation: axes are aligned at the right, and two lengths agree when they are equal or
/// one of them is 1.
pub fn broadcast(operation: &'static str, lhs: &[usize], rhs: &[usize]) -> Result<Vec<usize>, BackendError> {
    let rank = lhs.len().max(rhs.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| match (length(lhs, axis), length(rhs, axis)) {
            (l, r) if l == r => Ok(l),
            (1, length) | (length, 1) => Ok(length),
            (l, r) => {
                Err(error(operation, &[lhs, rhs], format!("lengths {l} and {r} of axis {axis} do not broadcast")))
            }
        })
        .collect()
}

/// Shape of a matrix product `[.., m, k] x [.., k, n] -> [.., m, n]`, the leading axes broadcast.
pub fn matmul(lhs: &[usize], rhs: &[usize]) -> Result<Vec<usize>, BackendError> {
    let (Some((&[m, k], lhs_batch)), Some((&[k2, n], rhs_batch))) = (split_matrix(lhs), split_matrix(rhs)) else {
        return Err(error("matmul", &[lhs, rhs], "both operands need at least two axes"));
    };
    if k != k2 {
        let problem = format!("{k} columns on the left against {k2} rows on the right");
        return Err(error("matmul", &[lhs, rhs], problem));
    }
    let mut shape = broadcast("matmul", lhs_batch, rhs_batch)
        .map_err(|_| error("matmul", &[lhs, rhs], "the leading axes do not broadcast"))?;
    shape.extend([m, n]);
    Ok(shape)
}

fn split_matrix(shape: &[usize]) -> Option<(&[usize; 2], &[usize])> {
    shape.split_last_chunk::<2>().map(|(batch, matrix)| (matrix, batch))
}

/// Shape of a reduction along `axis`, which is kept with length 1.
pub fn reduce(operation: &'static str, shape: &[usize], axis: usize) -> Result<Vec<usize>, BackendError> {
    check_axis(operation, shape, axis)?;
    let mut reduced = shape.to_vec();
    reduced[axis] = 1;
    Ok(reduced)
}

/// Shape of a maximum along `axis`, which must not be empty.
pub fn max(shape: &[usize], axis: usize) -> Result<Vec<usize>, BackendError> {
    let reduced = reduce("max", shape, axis)?;
    if shape[axis] == 0 {
        return Err(error("max", &[shape], format!("axis {axis} is empty and has no largest value")));
    }
    Ok(reduced)
}

/// Shape of a reshape: the new shape, when it holds as many elements as the old.
pub fn reshape(shape: &[usize], new: &[usize]) -> Result<Vec<usize>, BackendError> {
    if new.is_empty() {
        Err(error("reshape", &[shape, new], "a tensor has at least one axis"))
    } else if elements(shape) == elements(new) {
        Ok(new.to_vec())
    } else {
        Err(error("reshape", &[shape, new], "the numbers of elements differ"))
    }
}

/// Shape of a permutation: axis `i` of the result is axis `axes[i]` of the operand.
pub fn permute(shape: &[usize], axes: &[usize]) -> Result<Vec<usize>, BackendError> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted.into_iter().eq(0..shape.len()) {
        Ok(axes.iter().map(|&axis| shape[axis]).collect())
    } else {
        Err(error("permute", &[shape], format!("{axes:?} is not a permutation of its {} axes", shape.len())))
    }
}

/// Shape of a selection of `indices` along `axis`; each must lie within the axis.
pub fn select(shape: &[usize], axis: usize, indices: &[usize]) -> Result<Vec<usize>, BackendError> {
    check_axis("select", shape, axis)?;
    if let Some(index) = indices.iter().find(|&&index| index >= shape[axis]) {
        return Err(error("select", &[shape], format!("index {index} is outside axis {axis}")));
    }
    let mut selected = shape.to_vec();
    selected[axis] = indices.len();
    Ok(selected)
}

/// Shape of `length` slices from `start` on along `axis`, which has to hold them all.
pub fn narrow(shape: &[usize], axis: usize, start: usize, length: usize) -> Result<Vec<usize>, BackendError> {
    check_axis("narrow", shape, axis)?;
    if start.checked_add(length).is_none_or(|end| end > shape[axis]) {
        return Err(error("narrow", &[shape], format!("{length} slices from {start} on are outside axis {axis}")));
    }
    let mut narrowed = shape.to_vec();
    narrowed[axis] = length;
    Ok(narrowed)
}

/// Checks that `values` fill `shape`, which has at least one axis.
pub fn upload(values: usize, shape: &[usize]) -> Result<(), BackendError> {
    if shape.is_empty() {
        Err(error("upload", &[shape], "a tensor has at least one axis"))
    } else if values == elements(shape) {
        Ok(())
    } else {
        Err(error("upload", &[shape], format!("{values} values do not fill the shape")))
    }
}

/// Checks that a cotangent has the shape of the function's value it weights.
pub fn cotangent(value: &[usize], cotangent: &[usize]) -> Result<(), BackendError> {
    if value == cotangent {
        Ok(())
    } else {
        Err(error("vjp", &[value, cotangent], "the cotangent must have the shape of the function's value"))
    }
}

/// Checks that a function whose gradient is wanted gave one number.
pub fn scalar(shape: &[usize]) -> Result<(), BackendError> {
    if elements(shape) == 1 { Ok(()) } else { Err(error("grad", &[shape], "the function must give a single number")) }
}

fn check_axis(operation: &'static str, shape: &[usize], axis: usize) -> Result<(), BackendError> {
    if axis < shape.len() { Ok(()) } else { Err(error(operation, &[shape], format!("there is no axis {axis}"))) }
}
