//! Which sets are made together.

use std::collections::BTreeMap;

use tributary_backend::AttributionBackend;
use tributary_engine::{EngineError, Model};
use tributary_optimize::{Optimizer, Settings, Task};

use super::saved::SavedSet;
use crate::Error;

/// Sets of one length that have come equally far, in their order, as many as the memory allowed for them holds.
pub(super) fn groups<B: AttributionBackend>(
    model: &Model<B>,
    tasks: &[Task<'_>],
    saved: &[SavedSet],
    settings: &Settings,
    allowed: u64,
) -> Result<Vec<Vec<usize>>, Error> {
    let mut alike: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (set, (task, saved)) in tasks.iter().zip(saved).enumerate() {
        if !saved.is_done(settings) {
            alike.entry((task.prompt.tokens.len(), saved.step())).or_default().push(set);
        }
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for members in alike.into_values() {
        let mut open: Vec<usize> = Vec::new();
        for set in members {
            let needed = |members: &[usize]| {
                let of_batch: Vec<&Task<'_>> = members.iter().map(|&set| &tasks[set]).collect();
                Optimizer::memory(model, settings, &of_batch)
            };
            open.push(set);
            if needed(&open) <= allowed {
                continue;
            }
            open.pop();
            groups.extend((!open.is_empty()).then(|| std::mem::take(&mut open)));
            open.push(set);
            let needed = needed(&open);
            if needed > allowed {
                let what = format!("optimising one CI set of {} tokens", tasks[set].prompt.tokens.len());
                return Err(EngineError::Memory { what, needed, allowed }.into());
            }
        }
        groups.extend((!open.is_empty()).then_some(open));
    }
    Ok(groups)
}
