//! Where elements lie: strides and positions in row-major order.

/// Distance between neighbours along each axis.
pub(super) fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The strides with which a tensor is read as one of `rank` axes: 0 where it repeats, along axes of length 1 and
/// those it lacks at the left.
pub(super) fn broadcast_strides(shape: &[usize], rank: usize) -> Vec<usize> {
    let strides = row_major_strides(shape).into_iter().zip(shape);
    let own = strides.map(|(stride, &length)| if length == 1 { 0 } else { stride });
    std::iter::repeat_n(0, rank - shape.len()).chain(own).collect()
}

/// The position `sum of index * stride` for every index of `shape`, in row-major order.
pub(super) fn positions(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    shape.iter().zip(strides).fold(vec![0], |positions, (&length, &stride)| {
        positions.iter().flat_map(|position| (0..length).map(move |at| position + at * stride)).collect()
    })
}
