//! Which entries of a layer are alive.

use std::ops::Range;

/// The alive entries (position, component) of one layer for one set, in ascending order.
///
/// The row of an entry is its index in that order; positions own consecutive rows. Storage grows with the number of
/// alive entries, not with `positions * components`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliveEntries {
    /// Rows of position `s` are `starts[s]..starts[s + 1]`.
    starts: Vec<u32>,
    components: Vec<u32>,
}

impl AliveEntries {
    /// The entries of `positions` positions for which `is_alive` holds, out of `components` components each.
    ///
    /// # Panics
    ///
    /// When more than `u32::MAX` entries are alive.
    pub fn collect(positions: usize, components: usize, is_alive: impl Fn(usize, usize) -> bool) -> Self {
        let mut entries = Self { starts: vec![0], components: Vec::new() };
        for position in 0..positions {
            entries.push_position((0..components).filter(|&component| is_alive(position, component)));
        }
        entries
    }

    /// The entries whose value in `values`, `[positions, components]`, is at least `threshold`.
    ///
    /// The comparison is made in the values' own type: for a published float32 run, the threshold is rounded to
    /// float32 first, as PyTorch does.
    pub fn at_least<E: PartialOrd + Copy>(values: &[E], components: usize, threshold: E) -> Self {
        Self::from_positions(values.chunks_exact(components.max(1)).map(|row| reaching(row, threshold)))
    }

    /// The entries with these components, ascending, at each position.
    ///
    /// # Panics
    ///
    /// When there are more than `u32::MAX`.
    pub fn from_positions(positions: impl Iterator<Item = impl Iterator<Item = usize>>) -> Self {
        let mut entries = Self { starts: vec![0], components: Vec::new() };
        positions.for_each(|components| entries.push_position(components));
        entries
    }

    /// One entry, component 0, at every position.
    pub fn every_position(positions: usize) -> Self {
        Self::collect(positions, 1, |_, _| true)
    }

    /// Entries read back from rows of (position, component).
    ///
    /// `None` unless the rows ascend strictly and every position is below `positions`.
    pub fn from_rows(positions: usize, rows: &[[u32; 2]]) -> Option<Self> {
        let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || rows.last().is_some_and(|row| row[0] as usize >= positions) {
            return None;
        }
        let starts = (0..=positions).map(|s| rows.partition_point(|row| (row[0] as usize) < s) as u32).collect();
        Some(Self { starts, components: rows.iter().map(|row| row[1]).collect() })
    }

    fn push_position(&mut self, components: impl Iterator<Item = usize>) {
        self.components.extend(components.map(|component| component as u32));
        let rows = u32::try_from(self.components.len()).expect("more than u32::MAX alive entries in one layer");
        self.starts.push(rows);
    }

    /// The entries that are in any of `sets`, which have one number of positions; of no sets there is no position.
    #[must_use]
    pub fn union(sets: &[&Self]) -> Self {
        let positions = sets.iter().map(|set| set.positions()).max().unwrap_or(0);
        let mut union = Self { starts: vec![0], components: Vec::new() };
        for position in 0..positions {
            let mut here: Vec<u32> = sets.iter().flat_map(|set| set.components_at(position)).copied().collect();
            here.sort_unstable();
            here.dedup();
            union.push_position(here.into_iter().map(|component| component as usize));
        }
        union
    }

    /// The entries at positions up to `last`, that one included.
    #[must_use]
    pub fn until(&self, last: usize) -> Self {
        let at = |position| self.components_at(position).iter().map(|&component| component as usize);
        let none = if last + 1 < self.positions() { self.positions() - last - 1 } else { 0 };
        let mut cut = Self { starts: vec![0], components: Vec::new() };
        (0..self.positions() - none).for_each(|position| cut.push_position(at(position)));
        (0..none).for_each(|_| cut.push_position(std::iter::empty()));
        cut
    }

    /// The entries that are also in `other`, which has as many positions.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { starts: vec![0], components: Vec::new() };
        for position in 0..self.positions() {
            let theirs = other.components_at(position);
            let ours = self.components_at(position).iter().filter(|component| theirs.binary_search(component).is_ok());
            both.push_position(ours.map(|&component| component as usize));
        }
        both
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of alive entries.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// Whether nothing is alive.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Rows of the entries at `position`.
    pub fn rows_at(&self, position: usize) -> Range<usize> {
        self.starts[position] as usize..self.starts[position + 1] as usize
    }

    /// Components alive at `position`, ascending.
    pub fn components_at(&self, position: usize) -> &[u32] {
        &self.components[self.rows_at(position)]
    }

    /// All entries as (position, component), in the order of their rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + '_ {
        let mut position = 0;
        self.components.iter().enumerate().map(move |(row, &component)| {
            while self.starts[position + 1] as usize <= row {
                position += 1;
            }
            (position, component as usize)
        })
    }

    /// Row of an entry, if it is alive.
    pub fn row_of(&self, position: usize, component: usize) -> Option<usize> {
        let at = self.components_at(position).binary_search(&u32::try_from(component).ok()?).ok()?;
        Some(self.starts[position] as usize + at)
    }

    /// The components alive at any position, ascending.
    pub fn component_union(&self) -> Vec<usize> {
        component_union([self])
    }
}

/// Indices of the values that are at least `threshold`, ascending. Quick where few are.
pub fn reaching<E: PartialOrd + Copy>(values: &[E], threshold: E) -> impl Iterator<Item = usize> {
    /// Values that are passed over together, without a branch for each.
    const TOGETHER: usize = 64;
    #[expect(clippy::needless_bitwise_bool, reason = "a lazy operator would be a branch for each value")]
    let some = move |(_, values): &(usize, &[E])| values.iter().fold(false, |any, &value| any | (value >= threshold));
    let indices = move |(chunk, values): (usize, &[E])| {
        let reached: Vec<usize> = (0..values.len()).filter(|&at| values[at] >= threshold).collect();
        reached.into_iter().map(move |at| chunk * TOGETHER + at)
    };
    values.chunks(TOGETHER).enumerate().filter(some).flat_map(indices)
}

/// The components alive at any position of any of the sets, ascending: the alive union of a batch.
pub fn component_union<'a>(sets: impl IntoIterator<Item = &'a AliveEntries>) -> Vec<usize> {
    let mut union: Vec<usize> = sets.into_iter().flat_map(|set| &set.components).map(|&c| c as usize).collect();
    union.sort_unstable();
    union.dedup();
    union
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_positions() {
        let alive = AliveEntries::at_least(&[0.5, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.9, 1.0], 3, 0.1);
        assert_eq!(alive.iter().collect::<Vec<_>>(), [(0, 0), (0, 2), (2, 1), (2, 2)]);
        assert_eq!(alive.rows_at(1), 2..2);
        assert_eq!((alive.row_of(2, 2), alive.row_of(1, 0)), (Some(3), None));
        assert_eq!(alive.component_union(), [0, 1, 2]);
        let rows: Vec<[u32; 2]> = alive.iter().map(|(s, c)| [s as u32, c as u32]).collect();
        assert_eq!(AliveEntries::from_rows(3, &rows), Some(alive));
        assert_eq!(AliveEntries::from_rows(2, &rows), None);
        assert_eq!(AliveEntries::from_rows(3, &[[1, 0], [0, 0]]), None);
    }
}
