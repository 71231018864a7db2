//! Files of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tributary_files::input;
use tributary_model::Layer;
use tributary_results::ResultError;

use super::node_pattern::{Node, NodePattern};
use crate::Error;

/// The largest file of nodes that is read.
const LARGEST: u64 = 1 << 28;

/// Nodes of a file, one on a line; empty lines and those that begin with `#` are nothing.
pub(super) fn read(file: &Path, components: &BTreeMap<Layer, usize>, last: usize) -> Result<BTreeSet<Node>, Error> {
    let bytes = input::read(file, "a file of nodes", LARGEST).map_err(ResultError::from)?;
    let layers: BTreeMap<String, Layer> = components.keys().map(|&layer| (layer.to_string(), layer)).collect();
    let fail = |line: usize, problem: String| Error::Nodes { file: file.to_owned(), line, problem };
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        fail(before.split(|&byte| byte == b'\n').count(), "it is no UTF-8 text".to_owned())
    })?;
    let mut nodes = BTreeSet::new();
    for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let pattern = NodePattern::parse(text).map_err(|problem| fail(line, format!("{text}: {problem}")))?;
        let Some((layer, position, component)) = pattern.node() else {
            return Err(fail(line, format!("{text}: a node has a position and a component, both numbers")));
        };
        let Some(&known) = layers.get(layer) else {
            let names: Vec<String> = components.keys().map(ToString::to_string).collect();
            return Err(fail(
                line,
                format!("{layer} is no decomposed layer of the run; there are {}", names.join(", ")),
            ));
        };
        if position > last || component >= components[&known] {
            let problem = format!(
                "{text}: positions are 0 to {last}, that which is looked at, and components of the layer 0 to {}",
                components[&known].saturating_sub(1)
            );
            return Err(fail(line, problem));
        }
        nodes.insert((known, position, component));
    }
    Ok(nodes)
}
