//! Up to which position sets take part.

use std::collections::BTreeMap;

use serde_json::Value;
use tributary_model::Prompt;

use crate::Error;

/// Up to which position sets take part: nothing after it is a node. Where nothing is said of a set, its own metadata do, under
/// `until`; else all of its prompt takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// The last position of every set.
    pub all: Option<usize>,
    /// That of some sets, by name, in its place.
    pub of_sets: BTreeMap<String, usize>,
}

impl Until {
    /// The last position of each of these sets, where it has one: each by its name, its prompt and what came with it.
    pub(crate) fn of(&self, sets: &[(String, &Prompt, Option<&Value>)]) -> Result<Vec<Option<usize>>, Error> {
        if let Some(name) = self.of_sets.keys().find(|name| sets.iter().all(|(known, ..)| known != *name)) {
            let known = sets.iter().map(|(name, ..)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            return Err(Error::Until {
                set: name.clone(),
                problem: format!("there is no such set; there are {known}"),
            });
        }
        let of_set = |(name, prompt, metadata): &(String, &Prompt, Option<&Value>)| {
            let fail = |problem: String| Error::Until { set: name.clone(), problem };
            let own = || match metadata.and_then(|metadata| metadata.get("until")) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => match value.as_u64() {
                    Some(position) => Ok(usize::try_from(position).ok()),
                    None => Err(fail(format!("until in its metadata is {value}, expected a position, from 0"))),
                },
            };
            let said = self.of_sets.get(name).copied().or(self.all);
            let last = said.map_or_else(own, |said| Ok(Some(said)))?;
            let positions = prompt.tokens.len();
            match last {
                Some(last) if last >= positions => Err(fail(format!(
                    "the last position is to be {last}, but its prompt has {positions} tokens, numbered from 0"
                ))),
                // Of all positions nothing is cut.
                last => Ok(last.filter(|last| last + 1 < positions)),
            }
        };
        sets.iter().map(of_set).collect()
    }
}
