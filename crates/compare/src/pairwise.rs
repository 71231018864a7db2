//! What every two sets have in common.

use rayon::prelude::*;
use serde::Serialize;

use crate::alignment::{Items, Members, Value, shared};
use crate::correlation::{AverageRanks, pearson};

/// One number for every two sets, `[sets, sets]` in their order; symmetric.
pub type Matrix<T> = Vec<Vec<T>>;

/// Of nodes or edges, what every two sets have in common. The diagonal compares each set with itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pairwise {
    /// How many both have.
    pub shared: Matrix<usize>,
    /// `|A n B| / |A u B|`; 1 where both are empty.
    pub jaccard: Matrix<f64>,
    /// `sum min(|a|, |b|) / sum max(|a|, |b|)` over the union, with 0 for what a set does not have (Ruzicka's
    /// similarity), of the importances of nodes and the attributions of edges; 1 where both sums are 0.
    pub weighted_jaccard: Matrix<f64>,
    /// Spearman's rank correlation of the magnitudes of what both have, ties at the mean of their ranks; `None` of fewer
    /// than three or where either side is constant.
    pub rank_correlation: Matrix<Option<f64>>,
}

/// Of the edges that two sets share, those whose attributions have opposite signs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignDisagreement {
    /// How many.
    pub count: usize,
    /// `count` by the number of shared edges; `None` without any.
    pub fraction: Option<f64>,
    /// The part of the magnitude `|a| + |b|` of all shared edges that they carry; `None` without any.
    pub magnitude: Option<f64>,
}

/// What two sets have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) shared: usize,
    pub(crate) jaccard: f64,
    pub(crate) weighted_jaccard: f64,
    pub(crate) rank_correlation: Option<f64>,
    /// Pearson's correlation of the signed values.
    pub(crate) value_correlation: Option<f64>,
    pub(crate) signs: SignDisagreement,
    /// `jaccard` in each group.
    pub(crate) group_jaccard: Vec<f64>,
}

/// What every two sets have in common.
pub(crate) fn compare_pairs<V: Value>(items: &Items<V>, counts: &[Vec<usize>]) -> Matrix<Common> {
    let sets = items.members.len();
    let orders: Vec<Vec<u32>> = items.members.par_iter().map(ascending).collect();
    let pairs: Vec<(usize, usize)> = (0..sets).flat_map(|b| (0..=b).map(move |a| (a, b))).collect();
    let common: Vec<Common> = pairs
        .par_iter()
        .map(|&(a, b)| {
            let ranked = [a, b].map(|set| (&items.members[set], &orders[set][..]));
            compare(ranked, items, [&counts[a], &counts[b]])
        })
        .collect();
    let at = |a: usize, b: usize| common[a.max(b) * (a.max(b) + 1) / 2 + a.min(b)].clone();
    (0..sets).map(|a| (0..sets).map(|b| at(a, b)).collect()).collect()
}

impl Pairwise {
    pub(crate) fn new(common: &Matrix<Common>) -> Self {
        Self {
            shared: table(common, |common| common.shared),
            jaccard: table(common, |common| common.jaccard),
            weighted_jaccard: table(common, |common| common.weighted_jaccard),
            rank_correlation: table(common, |common| common.rank_correlation),
        }
    }
}

/// One statistic of all.
pub(crate) fn table<T>(common: &Matrix<Common>, statistic: impl Fn(&Common) -> T) -> Matrix<T> {
    common.iter().map(|row| row.iter().map(&statistic).collect()).collect()
}

/// `|A n B| / |A u B|`; 1 where both are empty.
pub(crate) fn jaccard(shared: usize, a: usize, b: usize) -> f64 {
    let union = a + b - shared;
    if union == 0 { 1.0 } else { shared as f64 / union as f64 }
}

/// Indices of the values, those of the least magnitude first.
fn ascending<V: Value>(members: &Members<V>) -> Vec<u32> {
    // Bits of numbers that are not negative are ordered as the numbers are.
    let key = |(index, value): (u32, &V)| (value.magnitude().to_bits(), index);
    let mut keys: Vec<(u64, u32)> = (0..).zip(&members.values).map(key).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, index)| index).collect()
}

fn compare<V: Value>(ranked: [(&Members<V>, &[u32]); 2], items: &Items<V>, counts: [&[usize]; 2]) -> Common {
    let [(a, a_order), (b, b_order)] = ranked;
    let (in_a, in_b): (Vec<usize>, Vec<usize>) = shared(&a.ids, &b.ids).unzip();
    let a_values: Vec<f64> = in_a.iter().map(|&index| a.values[index].signed()).collect();
    let b_values: Vec<f64> = in_b.iter().map(|&index| b.values[index].signed()).collect();
    let least: f64 = a_values.iter().zip(&b_values).map(|(x, y)| x.abs().min(y.abs())).sum();
    let sum = |members: &Members<V>| members.values.iter().map(|value| value.magnitude()).sum::<f64>();
    // As max(x, y) = x + y - min(x, y).
    let most = sum(a) + sum(b) - least;
    let mut shared_in_group = vec![0; items.groups.len()];
    let mut group = 0;
    for &index in &in_a {
        while items.groups[group].end <= a.ids[index] {
            group += 1;
        }
        shared_in_group[group] += 1;
    }
    let in_groups = shared_in_group.iter().zip(counts[0].iter().zip(counts[1]));
    Common {
        shared: in_a.len(),
        jaccard: jaccard(in_a.len(), a.ids.len(), b.ids.len()),
        weighted_jaccard: part(least, most).unwrap_or(1.0),
        rank_correlation: pearson(&ranks(a, a_order, &in_a), &ranks(b, b_order, &in_b)),
        value_correlation: pearson(&a_values, &b_values),
        signs: SignDisagreement::new(&a_values, &b_values),
        group_jaccard: in_groups.map(|(&shared, (&a, &b))| jaccard(shared, a, b)).collect(),
    }
}

/// A part of a whole; `None` of nothing.
fn part(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl SignDisagreement {
    fn new(a: &[f64], b: &[f64]) -> Self {
        let (mut count, mut opposed, mut magnitude) = (0, 0.0, 0.0);
        for (x, y) in a.iter().zip(b) {
            let sum = x.abs() + y.abs();
            magnitude += sum;
            if (*x > 0.0 && *y < 0.0) || (*x < 0.0 && *y > 0.0) {
                count += 1;
                opposed += sum;
            }
        }
        Self { count, fraction: part(count as f64, a.len() as f64), magnitude: part(opposed, magnitude) }
    }
}

/// Ranks, by magnitude, of the values at `indices` among each other. The order of all values is known, so that each set
/// is sorted once and not once for every other.
fn ranks<V: Value>(members: &Members<V>, order: &[u32], indices: &[usize]) -> Vec<f64> {
    const ELSEWHERE: u32 = u32::MAX;
    let mut number_of = vec![ELSEWHERE; members.ids.len()];
    for (number, &index) in (0..).zip(indices) {
        number_of[index] = number;
    }
    let mut ranks = AverageRanks::new(indices.len());
    let (mut equal, mut magnitude) = (Vec::new(), 0.0);
    for &index in order.iter().filter(|&&index| number_of[index as usize] != ELSEWHERE) {
        let next = members.values[index as usize].magnitude();
        if next > magnitude {
            ranks.push(&equal);
            equal.clear();
            magnitude = next;
        }
        equal.push(number_of[index as usize]);
    }
    ranks.push(&equal);
    ranks.finish()
}
