//! Which nodes of a set are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tributary_graph::Influence;
use tributary_model::{AliveEntries, CausalImportances, Layer};
use tributary_optimize::{Draws, Entries, Purpose};
use tributary_results::OutputName;

use super::looked_at::LookedAt;
use super::node_file;
use super::node_pattern::{Node, NodePattern};
use super::subject::{Subject, SubjectGraph};
use crate::Error;

/// Which nodes are kept, beside all of each set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selections {
    /// Those whose causal importance is above this, for each of these.
    pub above: Vec<f64>,
    /// Whether those above each of a [ladder](LADDER) of importances are kept, where it is not the same nodes as one rung below.
    pub sweep: bool,
    /// Those of a file, one on a line, for each of these.
    pub files: Vec<PathBuf>,
    /// Of a result: those of most influence.
    pub top_influence: Option<TopInfluence>,
    /// Those that any of these takes in, if there are some.
    pub keep: Vec<NodePattern>,
    /// All but those that one of these takes in, for each of these.
    pub ablate: Vec<NodePattern>,
    /// For each of all these as many nodes of each layer, drawn so many times from what is alive under the model's own causal
    /// importances.
    pub random: usize,
}

/// The nodes of most influence on an output.
#[derive(Clone, Debug, PartialEq)]
pub struct TopInfluence {
    /// They together carry so much of the influence of all components, from 0 to 1.
    pub share: f64,
    /// The output; `None` for the label at its position or, where that is no node, the likeliest output there that is.
    pub to: Option<OutputName>,
}

/// Causal importances that a sweep cuts at.
pub const LADDER: [f64; 17] =
    [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];

/// Nodes that are kept.
pub(super) struct Chosen {
    pub(super) name: String,
    /// What all of them are above, where that is how they are chosen.
    pub(super) above: Option<f64>,
    pub(super) nodes: Arc<Entries>,
    /// How much of each is kept.
    pub(super) factors: Vec<f64>,
    /// The set's others.
    pub(super) left_out: Arc<Entries>,
}

/// What nodes are chosen by.
pub(super) struct Choice<'a> {
    pub(super) selections: &'a Selections,
    pub(super) subject: &'a Subject<'a>,
    pub(super) looked_at: LookedAt,
    /// What is alive under the model's own causal importances, and these.
    pub(super) own: &'a Entries,
    pub(super) own_importances: &'a BTreeMap<Layer, CausalImportances>,
    /// Number of components of each layer.
    pub(super) components: &'a BTreeMap<Layer, usize>,
    pub(super) mask_by_ci: bool,
    pub(super) seed: u64,
}

struct Selected {
    name: String,
    above: Option<f64>,
    nodes: BTreeSet<Node>,
}

impl Choice<'_> {
    /// All of a set up to the position, and whatever is asked for of it.
    pub(super) fn chosen(&self, note: &mut dyn FnMut(&str)) -> Result<Vec<Chosen>, Error> {
        let mut found = vec![self.whole()];
        found.extend(self.selections.above.iter().map(|&above| self.above(above)));
        if self.selections.sweep {
            found.extend(self.sweep());
        }
        for file in &self.selections.files {
            let nodes = node_file::read(file, self.components, self.looked_at.position)?;
            found.push(Selected { name: file.display().to_string(), above: None, nodes });
        }
        if let Some(top) = &self.selections.top_influence {
            found.push(self.top_influence(top)?);
        }
        found.extend(self.by_pattern(note)?);
        found.extend(self.controls(&found, note));
        let everything = self.entries(&found[0].nodes);
        let chosen = |Selected { name, above, nodes }: Selected| {
            let factors = nodes.iter().map(|node| self.factor(node, &name)).collect::<Result<_, _>>()?;
            let nodes = self.entries(&nodes);
            Ok(Chosen { name, above, factors, left_out: Arc::new(everything.without(&nodes)), nodes: Arc::new(nodes) })
        };
        found.into_iter().map(chosen).collect()
    }

    fn fail(&self, problem: String) -> Error {
        Error::Evaluation { set: Some(self.subject.name.to_owned()), problem }
    }

    /// Nodes of the set up to the position of which something holds.
    fn those(&self, is_kept: impl Fn(&Node, f64) -> bool) -> BTreeSet<Node> {
        let nodes = self.subject.nodes.iter().filter(|((_, position, _), _)| *position <= self.looked_at.position);
        nodes.filter(|(node, value)| is_kept(node, f64::from(*value))).map(|&(node, _)| node).collect()
    }

    fn whole(&self) -> Selected {
        Selected { name: "all".to_owned(), above: None, nodes: self.those(|_, _| true) }
    }

    fn above(&self, above: f64) -> Selected {
        let nodes = self.those(|_, value| value > above);
        Selected { name: format!("above {above}"), above: Some(above), nodes }
    }

    fn sweep(&self) -> Vec<Selected> {
        let mut rungs: Vec<Selected> = Vec::new();
        for rung in LADDER.map(|above| self.above(above)) {
            let is_new = rungs.last().is_none_or(|last| last.nodes.len() != rung.nodes.len());
            let is_asked = rung.above.is_some_and(|above| self.selections.above.contains(&above));
            if is_new && !is_asked {
                rungs.push(rung);
            }
        }
        rungs
    }

    /// Of what has most influence on an output as many as carry a share of the influence of all components.
    fn top_influence(&self, top: &TopInfluence) -> Result<Selected, Error> {
        let Some(SubjectGraph { graph, output, manifest, entry }) = &self.subject.graph else {
            return Err(Error::NoInfluence);
        };
        let asked = match &top.to {
            Some(name) => Some(name.find(manifest, entry, output).map_err(|problem| self.fail(problem))?),
            None => None,
        };
        let position = asked.map_or(self.looked_at.position, |(position, _)| position);
        let here = (0..graph.nodes.len()).filter(|&node| {
            let entry = graph.nodes[node].entry;
            entry.layer.is_output() && entry.position as usize == position
        });
        let here: Vec<usize> = here.collect();
        let is = |component: usize| move |&node: &usize| graph.nodes[node].entry.component as usize == component;
        let target = match asked {
            Some((_, component)) => here.iter().copied().find(is(component)),
            None => here.iter().copied().find(is(self.looked_at.label as usize)).or_else(|| {
                let prob = |node: usize| graph.nodes[node].probability.unwrap_or(0.0);
                here.iter().copied().max_by(|&a, &b| prob(a).total_cmp(&prob(b)).then(b.cmp(&a)))
            }),
        };
        let Some(target) = target else {
            return Err(self.fail(format!(
                "no output at position {position} is a node of its graph, so nothing has influence there"
            )));
        };
        let influence = Influence::on(graph, target).nodes;
        let mut order: Vec<usize> =
            (0..graph.nodes.len()).filter(|&node| graph.nodes[node].entry.layer.is_linear()).collect();
        order.sort_by(|&a, &b| influence[b].total_cmp(&influence[a]).then(a.cmp(&b)));
        let whole: f64 = order.iter().map(|&node| influence[node]).sum();
        let (mut nodes, mut carried) = (BTreeSet::new(), 0.0);
        for node in order {
            if carried >= top.share * whole || influence[node] == 0.0 {
                break;
            }
            carried += influence[node];
            let entry = graph.nodes[node].entry;
            if entry.position as usize <= self.looked_at.position {
                nodes.insert((entry.layer, entry.position as usize, entry.component as usize));
            }
        }
        let on = OutputName::spelt(manifest, position, graph.nodes[target].entry.component as usize);
        let name = format!("top influence {} on {on}", top.share);
        Ok(Selected { name, above: None, nodes })
    }

    fn by_pattern(&self, note: &mut dyn FnMut(&str)) -> Result<Vec<Selected>, Error> {
        let names: BTreeMap<Layer, String> = self.components.keys().map(|&layer| (layer, layer.to_string())).collect();
        let takes = |pattern: &NodePattern, node: &Node| pattern.takes((&names[&node.0], node.1, node.2));
        let Selections { keep, ablate, .. } = self.selections;
        for pattern in keep.iter().chain(ablate) {
            let text = pattern.text();
            if !names.values().any(|name| pattern.takes_layer(name)) {
                let known: Vec<&str> = names.values().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(self.fail(format!("{text}: the run decomposes no such layer; there are {known}")));
            }
            if self.those(|node, _| takes(pattern, node)).is_empty() {
                let (set, last) = (self.subject.name, self.looked_at.position);
                note(&format!("set {set:?}: {text} takes in none of its nodes up to position {last}"));
            }
        }
        let mut found = Vec::new();
        if !keep.is_empty() {
            let text: Vec<&str> = keep.iter().map(NodePattern::text).collect();
            let nodes = self.those(|node, _| keep.iter().any(|pattern| takes(pattern, node)));
            found.push(Selected { name: format!("only {}", text.join(",")), above: None, nodes });
        }
        found.extend(ablate.iter().map(|pattern| Selected {
            name: format!("without {}", pattern.text()),
            above: None,
            nodes: self.those(|node, _| !takes(pattern, node)),
        }));
        Ok(found)
    }

    fn controls(&self, of: &[Selected], note: &mut dyn FnMut(&str)) -> Vec<Selected> {
        let mut controls = Vec::new();
        for Selected { name, nodes, .. } in of {
            for number in 0..self.selections.random {
                let drawn = self.control(number, nodes);
                if number == 0 && drawn.len() < nodes.len() {
                    note(&format!(
                        "set {:?}: controls of {name} have {} nodes and not {}: no more are alive under the model's own causal \
                         importances in the same layers",
                        self.subject.name,
                        drawn.len(),
                        nodes.len()
                    ));
                }
                controls.push(Selected { name: format!("random {number} for {name}"), above: None, nodes: drawn });
            }
        }
        controls
    }

    /// As many nodes of each layer, evenly drawn from what is alive up to the position.
    fn control(&self, number: usize, like: &BTreeSet<Node>) -> BTreeSet<Node> {
        let mut draw = Draws::of(self.seed).uniform(Purpose::Controls, number);
        let mut wanted: BTreeMap<Layer, usize> = BTreeMap::new();
        for (layer, ..) in like {
            *wanted.entry(*layer).or_default() += 1;
        }
        let mut drawn = BTreeSet::new();
        for (layer, count) in wanted {
            let of_layer =
                self.own.iter().filter(|&(of, position, _)| of == layer && position <= self.looked_at.position);
            let mut pool: Vec<(f32, Node)> = of_layer.map(|node| (draw(), node)).collect();
            pool.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            drawn.extend(pool.into_iter().take(count).map(|(_, node)| node));
        }
        drawn
    }

    /// How much of a node is kept.
    fn factor(&self, node: &Node, of: &str) -> Result<f64, Error> {
        if !self.mask_by_ci {
            return Ok(1.0);
        }
        if let Ok(at) = self.subject.nodes.binary_search_by_key(node, |&(node, _)| node) {
            return Ok(f64::from(self.subject.nodes[at].1));
        }
        let (layer, position, component) = *node;
        let own = self.own_importances.get(&layer).map_or(0.0, |importances| importances.get(position, component));
        if own > 0.0 {
            return Ok(f64::from(own));
        }
        Err(self.fail(format!(
            "{layer}:{position}:{component} of {of} is alive neither in the set nor under the model's own causal importances, so there \
             is none to mask it by; mask by 1, or take it out"
        )))
    }

    fn entries(&self, nodes: &BTreeSet<Node>) -> Entries {
        let positions = self.subject.prompt.tokens.len();
        let mut layers: BTreeMap<Layer, Vec<Vec<usize>>> = BTreeMap::new();
        for &(layer, position, component) in nodes {
            layers.entry(layer).or_insert_with(|| vec![Vec::new(); positions])[position].push(component);
        }
        let layers = layers
            .into_iter()
            .map(|(layer, rows)| (layer, AliveEntries::from_positions(rows.into_iter().map(Vec::into_iter))));
        Entries::new(layers.collect(), positions)
    }
}
