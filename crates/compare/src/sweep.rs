//! What dies as sets get sparser.

use serde::Serialize;
use tributary_model::Layer;

use crate::alignment::{Alignment, Items, Value};
use crate::coefficient::{self, Coefficients};
use crate::listing::strongest;
use crate::{EdgeKey, NodeKey, json};

/// The course of nodes and edges along a sparsity coefficient.
///
/// Sets of one coefficient are one step; a node or edge is alive at a step when any of its sets has it. It dies at the
/// first step from which on no set has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// Where the coefficients were found: `metadata KEY` or `name KEY`.
    pub found_in: String,
    /// The steps, their coefficients ascending.
    pub steps: Vec<Step>,
    /// The sets without a coefficient, which have no part in this.
    pub without: Vec<usize>,
    /// The nodes, weighed by importance.
    pub nodes: NodeCourse,
    /// The edges, weighed by magnitude.
    pub edges: EdgeCourse,
}

/// The sets of one coefficient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The coefficient.
    pub coefficient: f64,
    /// Indices of the sets among all that are compared.
    pub sets: Vec<usize>,
}

/// How nodes or edges fare along the steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course<K> {
    /// For each step.
    pub steps: Vec<StepCounts<K>>,
    /// How many are alive at every step.
    pub survivors: usize,
    /// The strongest of those by their magnitude at the last step; `since` is the first.
    pub strongest_survivors: Vec<LastAlive<K>>,
    /// How many are absent at a step between two at which they are alive.
    pub returning: usize,
}

/// What happens at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepCounts<K> {
    /// How many are alive.
    pub alive: usize,
    /// How many are alive that were at no step before; at the first step, all.
    pub appeared: usize,
    /// How many were alive at the step before and are not from here on.
    pub died: usize,
    /// How many of those were alive at the first step.
    pub died_of_first: usize,
    /// The strongest of those that died here by their magnitude at the step before, the strongest first.
    pub strongest_deaths: Vec<LastAlive<K>>,
}

/// A node or edge at the last step at which it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LastAlive<K> {
    /// Which.
    #[serde(flatten)]
    pub key: K,
    /// Its importance or absolute attribution, the largest of that step's sets.
    pub magnitude: f64,
    /// The coefficient of the first step at which it was alive.
    pub since: f64,
    /// Whether it was absent in between.
    pub returned: bool,
}

/// How nodes fare along the steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeCourse {
    /// All nodes.
    #[serde(flatten)]
    pub course: Course<NodeKey>,
    /// Those of each layer.
    pub layers: Vec<LayerCourse>,
}

/// How edges fare along the steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeCourse {
    /// All edges.
    #[serde(flatten)]
    pub course: Course<EdgeKey>,
    /// Those of each pair.
    pub pairs: Vec<PairCourse>,
}

/// The nodes of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCourse {
    /// The layer.
    #[serde(serialize_with = "json::layer")]
    pub layer: Layer,
    /// How many are alive at each step.
    pub alive: Vec<usize>,
    /// How many died at each step.
    pub died: Vec<usize>,
}

/// The edges of a pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairCourse {
    /// Where they start.
    #[serde(serialize_with = "json::layer")]
    pub source: Layer,
    /// Where they lead.
    #[serde(serialize_with = "json::layer")]
    pub target: Layer,
    /// How many are alive at each step.
    pub alive: Vec<usize>,
    /// How many died at each step.
    pub died: Vec<usize>,
}

impl Sweep {
    /// The sweep that the sets are, if they are one: at least two have sparsity coefficients, in their metadata or names,
    /// that differ. `top` limits what is listed.
    pub(crate) fn new(alignment: &Alignment<'_>, top: Option<usize>) -> Option<Self> {
        let Coefficients { found_in, of_set } = coefficient::find(alignment.sets)?;
        let mut coefficients: Vec<f64> = of_set.iter().copied().flatten().collect();
        coefficients.sort_by(f64::total_cmp);
        coefficients.dedup();
        let with = |coefficient| (0..of_set.len()).filter(|&set| of_set[set] == Some(coefficient)).collect();
        let steps: Vec<Step> =
            coefficients.into_iter().map(|coefficient| Step { coefficient, sets: with(coefficient) }).collect();
        let (nodes, layers) = course(&alignment.nodes, &steps, top, |id| alignment.node_key(id));
        let (edges, pairs) = course(&alignment.edges, &steps, top, |id| alignment.edge_key(id));
        let layers = alignment.layers.iter().zip(layers);
        let pairs = alignment.pairs.iter().zip(pairs);
        Some(Self {
            found_in,
            without: (0..of_set.len()).filter(|&set| of_set[set].is_none()).collect(),
            nodes: NodeCourse {
                course: nodes,
                layers: layers
                    .map(|(&layer, GroupCourse { alive, died })| LayerCourse { layer, alive, died })
                    .collect(),
            },
            edges: EdgeCourse {
                course: edges,
                pairs: pairs
                    .map(|(pair, GroupCourse { alive, died })| {
                        let (source, target) = (pair.source, pair.target);
                        PairCourse { source, target, alive, died }
                    })
                    .collect(),
            },
            steps,
        })
    }
}

/// The counts of a layer or pair at each step.
struct GroupCourse {
    alive: Vec<usize>,
    died: Vec<usize>,
}

/// The life of an item.
#[derive(Clone, Copy, Default)]
struct Life {
    /// How many steps it is alive at.
    steps: u32,
    first: u32,
    last: u32,
    /// At the last step, the largest of its sets.
    magnitude: f64,
}

impl Life {
    fn extend(&mut self, step: u32, magnitude: f64) {
        if self.steps == 0 {
            self.first = step;
        }
        if self.steps == 0 || self.last < step {
            self.steps += 1;
            self.last = step;
            self.magnitude = magnitude;
        } else {
            self.magnitude = self.magnitude.max(magnitude);
        }
    }

    fn returned(self) -> bool {
        self.steps <= self.last - self.first
    }
}

fn course<V: Value, K>(
    items: &Items<V>,
    steps: &[Step],
    top: Option<usize>,
    key: impl Fn(u32) -> K,
) -> (Course<K>, Vec<GroupCourse>) {
    let mut lives = vec![Life::default(); items.counts.len()];
    let mut alive = vec![vec![0; steps.len()]; items.groups.len()];
    let mut died = alive.clone();
    for (at, step) in steps.iter().enumerate() {
        for (id, value) in step.sets.iter().flat_map(|&set| items.members[set].iter()) {
            let life = &mut lives[id as usize];
            let before = life.steps;
            life.extend(at as u32, value.magnitude());
            if life.steps > before {
                alive[items.group_of(id)][at] += 1;
            }
        }
    }
    let last = steps.len() - 1;
    let (mut appeared, mut died_of_first) = (vec![0; steps.len()], vec![0; steps.len()]);
    let mut deaths: Vec<Vec<(f64, u32)>> = vec![Vec::new(); steps.len()];
    let (mut survivors, mut returning) = (Vec::new(), 0);
    for (id, life) in (0..).zip(&lives).filter(|(_, life)| life.steps > 0) {
        appeared[life.first as usize] += 1;
        returning += usize::from(life.returned());
        let at = life.last as usize + 1;
        if at <= last {
            died[items.group_of(id)][at] += 1;
            died_of_first[at] += usize::from(life.first == 0);
            deaths[at].push((life.magnitude, id));
        } else if life.steps as usize == steps.len() {
            survivors.push((life.magnitude, id));
        }
    }
    let list = |found: Vec<(f64, u32)>| {
        let death = |(magnitude, id): (f64, u32)| {
            let life = lives[id as usize];
            let since = steps[life.first as usize].coefficient;
            LastAlive { key: key(id), magnitude, since, returned: life.returned() }
        };
        strongest(found, top).into_iter().map(death).collect::<Vec<_>>()
    };
    let counts = deaths.into_iter().enumerate().map(|(at, deaths)| StepCounts {
        alive: alive.iter().map(|alive| alive[at]).sum(),
        appeared: appeared[at],
        died: deaths.len(),
        died_of_first: died_of_first[at],
        strongest_deaths: list(deaths),
    });
    let course =
        Course { steps: counts.collect(), survivors: survivors.len(), strongest_survivors: list(survivors), returning };
    (course, alive.into_iter().zip(died).map(|(alive, died)| GroupCourse { alive, died }).collect())
}
