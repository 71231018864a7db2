//! How far attributions whose gradients stop at deltas are from those whose gradients pass through them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use tributary_backend::Element;
use tributary_model::PairAttribution;

/// Sums over edges: of the squares of differences, and of the squares of the attributions through deltas.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DeltaDistance {
    difference: f64,
    norm: f64,
}

impl DeltaDistance {
    /// Adds edges: what is stored of each in both ways.
    pub(crate) fn add(&mut self, edges: impl Iterator<Item = (f32, f32)>) {
        for (through, stopped) in edges {
            let (through, stopped) = (f64::from(through), f64::from(stopped));
            self.difference += (stopped - through) * (stopped - through);
            self.norm += through * through;
        }
    }

    /// Of both sums.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { difference: self.difference + other.difference, norm: self.norm + other.norm }
    }

    /// L2 norm of the difference by that of the attributions through deltas; `None` where that is 0 or no number.
    pub(crate) fn relative(self) -> Option<f32> {
        let relative = (self.difference / self.norm).sqrt() as f32;
        relative.is_finite().then_some(relative)
    }
}

/// Of a pair that has both values of its edges.
pub(crate) fn of_pair<E: Element>(pair: &PairAttribution<E>) -> DeltaDistance {
    let mut distance = DeltaDistance::default();
    distance.add(pair.values.iter().zip(&pair.stopped).map(|(through, stopped)| (through.to_f32(), stopped.to_f32())));
    distance
}

/// Of each pair with so many `edges`: the file ends in the values of all pairs, and after them in the same of which gradients
/// stop.
pub(crate) fn of_file(path: &Path, edges: &[usize]) -> io::Result<Vec<DeltaDistance>> {
    /// Edges that are read at once.
    const AT_ONCE: usize = 1 << 14;
    const BYTES: usize = size_of::<f32>();
    let (mut through, mut stopped) = (File::open(path)?, File::open(path)?);
    let all = (edges.iter().sum::<usize>() * BYTES) as i64;
    through.seek(SeekFrom::End(-2 * all))?;
    stopped.seek(SeekFrom::End(-all))?;
    let mut buffers = [vec![0; AT_ONCE * BYTES], vec![0; AT_ONCE * BYTES]];
    let mut distances = Vec::with_capacity(edges.len());
    for &count in edges {
        let mut distance = DeltaDistance::default();
        let mut left = count;
        while left > 0 {
            let here = left.min(AT_ONCE);
            let [a, b] = &mut buffers;
            let (a, b) = (&mut a[..here * BYTES], &mut b[..here * BYTES]);
            through.read_exact(a)?;
            stopped.read_exact(b)?;
            distance.add(numbers(a).zip(numbers(b)));
            left -= here;
        }
        distances.push(distance);
    }
    Ok(distances)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes)
}
