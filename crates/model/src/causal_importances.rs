//! Causal importances of one layer.

/// Causal importances of one layer at every position, of which those that are not 0 are kept: causal-importance functions clamp
/// nearly all of them to 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalImportances {
    components: usize,
    /// `[positions + 1]`: where the entries of each position begin, and where they end.
    starts: Vec<u32>,
    /// Component and value of each entry, the components of a position ascending.
    entries: Vec<(u32, f32)>,
}

impl CausalImportances {
    /// Of no position yet.
    pub fn new(components: usize) -> Self {
        Self { components, starts: vec![0], entries: Vec::new() }
    }

    /// From `values`, `[positions, components]` in row-major order.
    pub fn from_dense(components: usize, values: &[f32]) -> Self {
        let mut importances = Self::new(components);
        values.chunks_exact(components.max(1)).for_each(|row| importances.push_row(row));
        importances.entries.shrink_to_fit();
        importances
    }

    /// Adds the next position, with a value for each component.
    ///
    /// # Panics
    ///
    /// When there are not as many values as components, or more than 2^32 entries.
    pub fn push_row(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.components, "a value for each component");
        let entries = row.iter().enumerate().filter(|&(_, &value)| value != 0.0);
        self.entries.extend(entries.map(|(component, &value)| (component as u32, value)));
        self.starts.push(u32::try_from(self.entries.len()).expect("fewer than 2^32 entries"));
    }

    /// Number of components of the layer.
    pub fn components(&self) -> usize {
        self.components
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.starts.len() - 1
    }

    /// Components whose importance at a position is not 0, ascending, each with it.
    pub fn row(&self, position: usize) -> impl Iterator<Item = (usize, f32)> + Clone + '_ {
        self.entries_at(position).iter().map(|&(component, value)| (component as usize, value))
    }

    /// The importance of a component at a position.
    pub fn get(&self, position: usize, component: usize) -> f32 {
        let entries = self.entries_at(position);
        let at = entries.binary_search_by_key(&component, |&(component, _)| component as usize);
        at.map_or(0.0, |at| entries[at].1)
    }

    /// All importances that are not 0, position by position.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.entries.iter().map(|&(_, value)| value)
    }

    /// All importances, `[positions, components]` in row-major order.
    pub fn to_dense(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.positions() * self.components];
        for position in 0..self.positions() {
            let row = &mut values[position * self.components..][..self.components];
            self.row(position).for_each(|(component, value)| row[component] = value);
        }
        values
    }

    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.entries)
    }

    fn entries_at(&self, position: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[position] as usize..self.starts[position + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let values = [0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -0.25];
        let importances = CausalImportances::from_dense(3, &values);
        assert_eq!((importances.positions(), importances.components()), (3, 3));
        assert_eq!(importances.to_dense(), values);
        assert_eq!(importances.row(1).collect::<Vec<_>>(), [(0, 1.0)]);
        assert_eq!(importances.row(0).chain(importances.row(2)).collect::<Vec<_>>(), [(1, 0.5), (2, -0.25)]);
        let each = (0..9).map(|at| importances.get(at / 3, at % 3));
        assert!(each.eq(values));
        assert_eq!(importances.values().collect::<Vec<_>>(), [0.5, 1.0, -0.25]);
    }

    #[test]
    fn a_layer_may_have_no_components_or_positions() {
        assert_eq!(CausalImportances::from_dense(4, &[]).positions(), 0);
        assert!(CausalImportances::from_dense(4, &[]).to_dense().is_empty());
        assert_eq!(CausalImportances::new(0).components(), 0);
    }
}
