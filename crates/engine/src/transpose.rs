//! The transpose of a matrix on the host.

/// The transpose of a matrix `[rows, columns]`.
pub(crate) fn transpose<E: Copy + Default>(matrix: &[E], [rows, columns]: [usize; 2]) -> Vec<E> {
    /// Numbers of a cache line.
    const TILE: usize = 16;
    let mut values = vec![E::default(); rows * columns];
    for top in (0..rows).step_by(TILE) {
        let tile_rows = &matrix[top * columns..rows.min(top + TILE) * columns];
        for left in (0..columns).step_by(TILE) {
            for column in left..columns.min(left + TILE) {
                let into = &mut values[column * rows + top..];
                for (value, row) in into.iter_mut().zip(tile_rows.chunks_exact(columns)) {
                    *value = row[column];
                }
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_around_the_width_of_a_tile() {
        for rows in [0, 1, 2, 15, 16, 17, 33] {
            for columns in [1, 3, 16, 31, 32] {
                let matrix: Vec<usize> = (0..rows * columns).collect();
                let expected = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
                assert_eq!(transpose(&matrix, [rows, columns]), expected.collect::<Vec<_>>());
            }
        }
    }
}
