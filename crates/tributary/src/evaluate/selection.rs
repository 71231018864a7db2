//! Which nodes of a set are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_model::{AliveEntries, CiSet, Layer};
use tributary_optimize::{Draws, Entries, Purpose};

use crate::Error;

/// Which nodes are kept, beside all of each set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selections {
    /// Those whose causal importance is above this, for each of these.
    pub above: Vec<f64>,
    /// Those of a file, one on a line, for each of these.
    pub files: Vec<PathBuf>,
    /// Those that any of these takes in, if there are some.
    pub keep: Vec<NodePattern>,
    /// All but those that one of these takes in, for each of these.
    pub ablate: Vec<NodePattern>,
    /// For each of all these as many nodes of each layer, drawn so many times from what is alive under the model's own causal
    /// importances.
    pub random: usize,
}

/// Nodes by layer, position and component: `LAYER:POSITION:COMPONENT`, where `*` stands for any of them, and in a layer for any
/// part of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePattern {
    text: String,
    layer: String,
    position: Option<usize>,
    component: Option<usize>,
}

impl NodePattern {
    /// Reads one; `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected LAYER:POSITION:COMPONENT, where * stands for any".to_owned();
        let mut parts = text.rsplitn(3, ':');
        let (Some(component), Some(position), Some(layer)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(expected());
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map(Some).map_err(|_| expected()),
            _ => Err(expected()),
        };
        if layer.is_empty() {
            return Err(expected());
        }
        Ok(Self {
            text: text.to_owned(),
            layer: layer.to_owned(),
            position: number(position)?,
            component: number(component)?,
        })
    }

    fn takes(&self, (layer, position, component): (&str, usize, usize)) -> bool {
        self.position.is_none_or(|own| own == position)
            && self.component.is_none_or(|own| own == component)
            && matches(&self.layer, layer)
    }
}

/// Whether a name is what a pattern says, with `*` for any part of it.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// Nodes that are kept.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) nodes: Arc<Entries>,
    /// How much of each is kept.
    pub(super) factors: Vec<f64>,
    /// The set's others.
    pub(super) left_out: Arc<Entries>,
}

type Node = (Layer, usize, usize);

/// All of a set up to a position, and whatever is asked for of it.
pub(super) fn chosen(
    selections: &Selections,
    set: &CiSet,
    own: &Entries,
    last: usize,
    components: &BTreeMap<Layer, usize>,
    mask_by_ci: bool,
    seed: u64,
) -> Result<Vec<Chosen>, Error> {
    let positions = set.prompt.tokens.len();
    let fail = |problem: String| Error::Evaluation { set: Some(set.name.clone()), problem };
    let names: BTreeMap<Layer, String> = components.keys().map(|&layer| (layer, layer.to_string())).collect();
    let all: Vec<(Node, f32)> = set
        .layers
        .iter()
        .flat_map(|(&layer, importances)| {
            (0..=last).flat_map(move |position| {
                let row = importances.row(position).filter(|&(_, value)| value > 0.0);
                row.map(move |(component, value)| ((layer, position, component), value))
            })
        })
        .collect();
    let those = |keep: &dyn Fn(&Node, f32) -> bool| -> BTreeSet<Node> {
        all.iter().filter(|(node, value)| keep(node, *value)).map(|&(node, _)| node).collect()
    };
    let takes = |pattern: &NodePattern, node: &Node| pattern.takes((&names[&node.0], node.1, node.2));
    let mut found: Vec<(String, BTreeSet<Node>)> = vec![("all".to_owned(), those(&|_, _| true))];
    for &above in &selections.above {
        found.push((format!("above {above}"), those(&|_, value| f64::from(value) > above)));
    }
    for file in &selections.files {
        found.push((file.display().to_string(), read(file, components, last)?));
    }
    let checked = |pattern: &NodePattern, found: &BTreeSet<Node>| {
        if found.is_empty() {
            return Err(fail(format!("{} takes in none of its nodes up to position {last}", pattern.text)));
        }
        Ok(())
    };
    if !selections.keep.is_empty() {
        for pattern in &selections.keep {
            checked(pattern, &those(&|node, _| takes(pattern, node)))?;
        }
        let kept = those(&|node, _| selections.keep.iter().any(|pattern| takes(pattern, node)));
        let text: Vec<&str> = selections.keep.iter().map(|pattern| pattern.text.as_str()).collect();
        found.push((format!("only {}", text.join(",")), kept));
    }
    for pattern in &selections.ablate {
        checked(pattern, &those(&|node, _| takes(pattern, node)))?;
        found.push((format!("without {}", pattern.text), those(&|node, _| !takes(pattern, node))));
    }
    let controls: Vec<(String, BTreeSet<Node>)> = found
        .iter()
        .flat_map(|(name, nodes)| {
            let control = |number| (format!("random {number} for {name}"), random(seed, number, nodes, own, last));
            (0..selections.random).map(control).collect::<Vec<_>>()
        })
        .collect();
    found.extend(controls);
    let everything = entries(&those(&|_, _| true), positions);
    let importances: BTreeMap<Node, f32> = all.iter().copied().collect();
    let chosen = |(name, nodes): (String, BTreeSet<Node>)| {
        let factor = |node: &Node| {
            if mask_by_ci { importances.get(node).copied().map_or(0.0, f64::from) } else { 1.0 }
        };
        let factors = nodes.iter().map(factor).collect();
        let nodes = entries(&nodes, positions);
        Chosen { name, factors, left_out: Arc::new(everything.without(&nodes)), nodes: Arc::new(nodes) }
    };
    Ok(found.into_iter().map(chosen).collect())
}

fn entries(nodes: &BTreeSet<Node>, positions: usize) -> Entries {
    let mut layers: BTreeMap<Layer, Vec<Vec<usize>>> = BTreeMap::new();
    for &(layer, position, component) in nodes {
        layers.entry(layer).or_insert_with(|| vec![Vec::new(); positions])[position].push(component);
    }
    let layers = layers
        .into_iter()
        .map(|(layer, rows)| (layer, AliveEntries::from_positions(rows.into_iter().map(Vec::into_iter))));
    Entries::new(layers.collect(), positions)
}

/// As many nodes of each layer, evenly drawn from what is alive up to a position.
fn random(seed: u64, number: usize, like: &BTreeSet<Node>, own: &Entries, last: usize) -> BTreeSet<Node> {
    let mut draw = Draws::of(seed).uniform(Purpose::Start, number);
    let mut wanted: BTreeMap<Layer, usize> = BTreeMap::new();
    for (layer, ..) in like {
        *wanted.entry(*layer).or_default() += 1;
    }
    let mut drawn = BTreeSet::new();
    for (layer, count) in wanted {
        let mut pool: Vec<(f32, Node)> = own
            .iter()
            .filter(|&(of, position, _)| of == layer && position <= last)
            .map(|node| (draw(), node))
            .collect();
        pool.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        drawn.extend(pool.into_iter().take(count).map(|(_, node)| node));
    }
    drawn
}

/// The largest file of nodes that is read.
const LARGEST: u64 = 1 << 28;

/// Nodes of a file, one on a line; empty lines and those that begin with `#` are nothing.
fn read(file: &Path, components: &BTreeMap<Layer, usize>, last: usize) -> Result<BTreeSet<Node>, Error> {
    let bytes =
        tributary_files::input::read(file, "a file of nodes", LARGEST).map_err(tributary_results::ResultError::from)?;
    let text = String::from_utf8(bytes);
    let layers: BTreeMap<String, Layer> = components.keys().map(|&layer| (layer.to_string(), layer)).collect();
    let fail = |line: usize, problem: String| Error::Nodes { file: file.to_owned(), line, problem };
    let text = text.map_err(|_| fail(1, "it is no UTF-8 text".to_owned()))?;
    let mut nodes = BTreeSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let NodePattern { layer, position, component, .. } =
            NodePattern::parse(text).map_err(|problem| fail(line, problem))?;
        let (Some(position), Some(component)) = (position, component) else {
            return Err(fail(line, format!("{text}: a node has a position and a component")));
        };
        let Some(&known) = layers.get(&layer) else {
            let names: Vec<String> = components.keys().map(ToString::to_string).collect();
            return Err(fail(
                line,
                format!("{layer} is no decomposed layer of the run; there are {}", names.join(", ")),
            ));
        };
        if position > last || component >= components[&known] {
            let problem = format!(
                "{text}: positions are 0 to {last}, that which is looked at, and components of the layer 0 to {}",
                components[&known] - 1
            );
            return Err(fail(line, problem));
        }
        nodes.insert((known, position, component));
    }
    Ok(nodes)
}
