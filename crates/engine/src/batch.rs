//! Sets of equal length, stacked.

use std::collections::BTreeMap;

use tributary_model::CiSet;

use crate::EngineError;
use crate::support::{SetSupports, Supports};

/// CI sets whose prompts have the same number of tokens, to be computed in one pass.
pub(crate) struct Batch<'a> {
    sets: Vec<&'a CiSet>,
}

/// A batch to be.
pub(crate) struct Planned {
    /// Indices of its sets.
    pub(crate) sets: Vec<usize>,
    pub(crate) supports: Supports,
    /// Estimated bytes of memory.
    pub(crate) memory: u64,
}

/// Divides sets into batches: sets of one length together, in their order, as many as fit into `max_memory` by
/// `estimate(supports, number of sets, positions)`.
pub(crate) fn plan(
    sets: &[CiSet],
    supports: Vec<SetSupports>,
    max_memory: u64,
    estimate: impl Fn(&SetSupports, usize, usize) -> u64,
) -> Result<Vec<Planned>, EngineError> {
    let mut groups: BTreeMap<usize, Vec<(usize, SetSupports)>> = BTreeMap::new();
    for (index, (set, supports)) in sets.iter().zip(supports).enumerate() {
        groups.entry(set.prompt.tokens.len()).or_default().push((index, supports));
    }
    let mut batches = Vec::new();
    for (positions, group) in groups {
        let mut open: Option<(Vec<usize>, SetSupports, u64)> = None;
        for (index, own) in group {
            if let Some((members, supports, memory)) = &mut open {
                let together = supports.union(&own);
                let needed = estimate(&together, members.len() + 1, positions);
                if needed <= max_memory {
                    members.push(index);
                    (*supports, *memory) = (together, needed);
                    continue;
                }
            }
            let needed = estimate(&own, 1, positions);
            if needed > max_memory {
                let what = format!("CI set {:?}", sets[index].name);
                return Err(EngineError::Memory { what, needed, allowed: max_memory });
            }
            batches.extend(open.replace((vec![index], own, needed)));
        }
        batches.extend(open);
    }
    let planned =
        |(sets, supports, memory): (_, SetSupports, _)| Planned { sets, supports: supports.components(), memory };
    Ok(batches.into_iter().map(planned).collect())
}

impl<'a> Batch<'a> {
    /// # Panics
    ///
    /// When there are no sets, or their lengths differ.
    pub(crate) fn new(sets: &[&'a CiSet]) -> Self {
        let lengths = sets.iter().map(|set| set.prompt.tokens.len());
        assert!(!sets.is_empty() && lengths.clone().all(|length| length == sets[0].prompt.tokens.len()));
        Self { sets: sets.to_vec() }
    }

    pub(crate) fn sets(&self) -> &[&'a CiSet] {
        &self.sets
    }

    pub(crate) fn positions(&self) -> usize {
        self.sets[0].prompt.tokens.len()
    }

    pub(crate) fn tokens(&self) -> Vec<&'a [u32]> {
        self.sets.iter().map(|set| set.prompt.tokens.as_slice()).collect()
    }
}
