//! What depends on nothing but the number of positions.

use tributary_backend::{AttributionBackend, BackendError};
use tributary_model::PositionEncoding;

use crate::Model;
use crate::rotary::{Rotary, table};

/// Tables for sequences of one length, on a backend.
pub(crate) struct Sequence<T> {
    /// `[positions, d_model]`, with learned positions.
    pub(crate) wpe: Option<T>,
    /// `[positions, positions]`: 0 where row may attend to column, else -inf.
    pub(crate) causal_mask: T,
    rotary: Option<Rotary<T>>,
}

impl<T: Clone> Sequence<T> {
    pub(crate) fn new<B: AttributionBackend<Tensor = T>>(
        model: &Model<B>,
        positions: usize,
    ) -> Result<Self, BackendError> {
        let b = &model.backend;
        let wpe = model.wpe.as_ref().map(|wpe| b.narrow(wpe, 0, 0, positions)).transpose()?;
        let mask = |i: usize| if i % positions <= i / positions { 0.0 } else { f64::NEG_INFINITY };
        let causal_mask = table(b, [positions, positions], mask)?;
        let rotary = match model.architecture.position_encoding {
            PositionEncoding::Learned => None,
            PositionEncoding::Rotary { base, adjacent_pairs, scaling } => {
                let d_head = model.architecture.d_head;
                let shape = [positions, d_head];
                let angle = |position, pair| scaling.angle(base, d_head, pair, position);
                Some(match &model.rotary {
                    Some(kept) => {
                        let (sin, cos) = (|i| kept.sin.values.at(i), |i| kept.cos.values.at(i));
                        Rotary::of_tables(b, shape, adjacent_pairs, sin, cos)?
                    }
                    None => Rotary::of(b, shape, adjacent_pairs, angle)?,
                })
            }
        };
        Ok(Self { wpe, causal_mask, rotary })
    }

    /// Queries or keys `[.., positions, d_head]` rotated to their positions; as they are without rotary positions.
    pub(crate) fn rotate<B: AttributionBackend<Tensor = T>>(&self, b: &B, x: &T) -> Result<T, BackendError> {
        self.rotary.as_ref().map_or_else(|| Ok(x.clone()), |rotary| rotary.rotate(b, x))
    }

    /// Rows `[rows, heads, d_head]`, each rotated to a position of its own.
    pub(crate) fn rotate_rows<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        positions: &[usize],
    ) -> Result<T, BackendError> {
        self.rotary.as_ref().map_or_else(|| Ok(x.clone()), |rotary| turn_rows(b, rotary, &rotary.sin, x, positions))
    }

    /// The same rotated back from there.
    pub(crate) fn rotate_rows_back<B: AttributionBackend<Tensor = T>>(
        &self,
        b: &B,
        x: &T,
        positions: &[usize],
    ) -> Result<T, BackendError> {
        let Some(rotary) = &self.rotary else { return Ok(x.clone()) };
        turn_rows(b, rotary, &b.scale(&rotary.sin, -1.0)?, x, positions)
    }
}

/// Rows `[rows, heads, d_head]`, each turned by the rows of its position in the table of cosines and in `sin`.
fn turn_rows<B: AttributionBackend>(
    b: &B,
    rotary: &Rotary<B::Tensor>,
    sin: &B::Tensor,
    x: &B::Tensor,
    positions: &[usize],
) -> Result<B::Tensor, BackendError> {
    let shape = b.shape(x);
    // A row of the tables for each head: nothing is left to broadcast.
    let rows: Vec<usize> = positions.iter().flat_map(|&s| std::iter::repeat_n(s, shape[1])).collect();
    let x = b.reshape(x, &[rows.len(), shape[2]])?;
    let rotated = rotary.apply(b, &x, &b.select(&rotary.cos, 0, &rows)?, &b.select(sin, 0, &rows)?)?;
    b.reshape(&rotated, &shape)
}
