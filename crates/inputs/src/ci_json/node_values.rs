//! Causal importances as the published app exports them, `node_ci_vals`: an object from `LAYER:POSITION:COMPONENT` to values,
//! of which those that are not there are 0.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use tributary_model::{CausalImportances, Layer};

use super::{Context, Finite, Layers, OPTIMIZED, OTHER_RUN, list};
use crate::error::shortened;

/// The values of one set, before its prompt is tokenised.
#[derive(Default)]
pub(crate) struct NodeValues {
    entries: Vec<Entry>,
    /// Entries that are no components.
    pub(crate) ignored: usize,
}

/// Layer, position and component, and its value.
type Entry = ((Layer, usize, usize), f32);

impl NodeValues {
    /// Rows for every position of a prompt; `Err` says what does not fit.
    pub(crate) fn layers(mut self, components: &BTreeMap<Layer, usize>, positions: usize) -> Result<Layers, String> {
        self.entries.sort_unstable_by_key(|&(node, _)| node);
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("{} is given twice", spelt(pair[0].0)));
        }
        if let Some(&(node, _)) = self.entries.iter().find(|((_, position, _), _)| *position >= positions) {
            return Err(format!(
                "{}: there is no position {}; the prompt has {positions} tokens, numbered from 0",
                spelt(node),
                node.1
            ));
        }
        let mut entries = self.entries.into_iter().peekable();
        let mut layers = Layers::new();
        for (&layer, &count) in components {
            let mut importances = CausalImportances::new(count);
            let mut row = vec![0.0; count];
            for position in 0..positions {
                row.fill(0.0);
                while let Some(((_, _, component), value)) =
                    entries.next_if(|&((of, at, _), _)| (of, at) == (layer, position))
                {
                    row[component] = value;
                }
                importances.push_row(&row);
            }
            layers.insert(layer, importances);
        }
        Ok(layers)
    }
}

/// The key of a node, with the layer's whole path.
fn spelt((layer, position, component): (Layer, usize, usize)) -> String {
    format!("{layer}:{position}:{component}")
}

/// The node that a key means; `None` for one that is no component, `Err` says what is wrong.
fn node(
    key: &str,
    components: &BTreeMap<Layer, usize>,
    max_positions: usize,
) -> Result<Option<(Layer, usize, usize)>, String> {
    let quoted = || format!("the key {}", shortened(key));
    let mut parts = key.rsplitn(3, ':');
    let (Some(component), Some(position), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("{}: expected LAYER:POSITION:COMPONENT, such as 0.attn.q:3:17", quoted()));
    };
    let number = |what: &str, text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse::<usize>().ok().filter(|_| is_plain);
        value.ok_or_else(|| format!("{}: its {what} is {}, expected a whole number from 0", quoted(), shortened(text)))
    };
    let (position, component) = (number("position", position)?, number("component", component)?);
    let Some((&layer, &count)) =
        components.iter().find(|(layer, _)| layer.path() == name || layer.is_canonically(name))
    else {
        if is_pseudo_layer(name) {
            return Ok(None);
        }
        return Err(format!(
            "{}: {} is not a decomposed layer; those are {}, which may be written in short, as 0.attn.q, 0.mlp.up",
            quoted(),
            shortened(name),
            list(components.keys())
        ));
    };
    if component >= count {
        return Err(format!("{}: layer {layer} has {count} components, numbered from 0; {OTHER_RUN}", quoted()));
    }
    if position >= max_positions {
        return Err(format!("{}: the model has {max_positions} positions, numbered from 0", quoted()));
    }
    Ok(Some((layer, position, component)))
}

/// Whether the app calls nodes so that are no components, now or in its first files. A decomposed layer of that name comes first.
fn is_pseudo_layer(name: &str) -> bool {
    name == Layer::wte().path() || [Layer::wte(), Layer::output()].iter().any(|layer| layer.is_canonically(name))
}

/// Reads the values of one set, or of several by name.
pub(super) struct NodeValuesSeed<'a>(pub(super) &'a Context<'a>);

/// The sets in the file's order, and whether they stand by their names.
pub(super) type NodeSets = (Vec<(String, NodeValues)>, bool);

impl<'de> DeserializeSeed<'de> for NodeValuesSeed<'_> {
    type Value = NodeSets;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeSets, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NodeValuesSeed<'_> {
    type Value = NodeSets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from LAYER:POSITION:COMPONENT to causal importances, or from set names to such objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeSets, A::Error> {
        let context = self.0;
        let mut one = NodeValues::default();
        let mut sets = Vec::<(String, NodeValues)>::new();
        let mut count = 0_usize;
        while let Some(key) = map.next_key::<String>()? {
            let nodes = std::mem::take(&mut one);
            match map.next_value_seed(NodeOrSet { context, key: &key, nodes })? {
                Read::Node(nodes) => {
                    one = nodes;
                    count += 1;
                }
                Read::Set(nodes) => {
                    if key.is_empty() {
                        return Err(A::Error::custom("a set has an empty name"));
                    }
                    if sets.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format!("there are two sets named {}", shortened(&key))));
                    }
                    sets.push((key, nodes));
                }
            }
            if count > 0 && !sets.is_empty() {
                let problem =
                    "there are sets by name and causal importances beside each other; expected one or the other";
                return Err(A::Error::custom(problem));
            }
        }
        if sets.is_empty() { Ok((vec![(OPTIMIZED.to_owned(), one)], false)) } else { Ok((sets, true)) }
    }
}

/// What a key of `node_ci_vals` leads to.
enum Read {
    /// The value of a node, which is among these now.
    Node(NodeValues),
    /// The values of a set.
    Set(NodeValues),
}

/// Reads the value of a node, to stand among `nodes`, or all values of a set.
struct NodeOrSet<'a> {
    context: &'a Context<'a>,
    key: &'a str,
    nodes: NodeValues,
}

impl<'de> DeserializeSeed<'de> for NodeOrSet<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        let context = self.context;
        context.enter_node(self.key);
        let read = deserializer.deserialize_any(self)?;
        context.place.leave_node();
        Ok(read)
    }
}

impl NodeOrSet<'_> {
    fn number<E: Error>(mut self, value: f64) -> Result<Read, E> {
        let Finite(value) = Finite::checked(value)?;
        self.nodes.take(self.context, self.key, value)?;
        Ok(Read::Node(self.nodes))
    }
}

impl<'de> Visitor<'de> for NodeOrSet<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a finite number, or the object of a set")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Read, E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Read, E> {
        self.number(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Read, E> {
        self.number(value as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read, A::Error> {
        let Self { context, key, .. } = self;
        context.place.leave_node();
        context.place.set.replace(Some(key.to_owned()));
        let nodes = OneSet(context).deserialize(MapAccessDeserializer::new(map))?;
        context.place.set.replace(None);
        Ok(Read::Set(nodes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Read, A::Error> {
        Err(A::Error::custom("found an array, expected a finite number: node_ci_vals has one for each node"))
    }
}

/// Reads the values of a set that has a name.
struct OneSet<'a>(&'a Context<'a>);

impl<'de> DeserializeSeed<'de> for OneSet<'_> {
    type Value = NodeValues;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeValues, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneSet<'_> {
    type Value = NodeValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from LAYER:POSITION:COMPONENT to causal importances")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeValues, A::Error> {
        let mut nodes = NodeValues::default();
        while let Some(key) = map.next_key::<String>()? {
            self.0.enter_node(&key);
            let Finite(value) = map.next_value()?;
            nodes.take(self.0, &key, value)?;
            self.0.place.leave_node();
        }
        Ok(nodes)
    }
}

impl NodeValues {
    /// Takes the value of a key.
    fn take<E: Error>(&mut self, context: &Context<'_>, key: &str, value: f64) -> Result<(), E> {
        let Some(node) = context.node(key).map_err(E::custom)? else {
            self.ignored += 1;
            return Ok(());
        };
        // More of them hold some twice; so many are not kept to find which.
        let expected = context.expected;
        if self.entries.len() >= expected.components.values().sum::<usize>().saturating_mul(expected.max_positions) {
            return Err(E::custom(format!("the key {}: there are more keys than nodes", shortened(key))));
        }
        self.entries.push((node, context.admit(value)?));
        Ok(())
    }
}

impl Context<'_> {
    fn node(&self, key: &str) -> Result<Option<(Layer, usize, usize)>, String> {
        node(key, self.expected.components, self.expected.max_positions)
    }

    /// Says where the reader is before it reads a number, which it may not be able to.
    fn enter_node(&self, key: &str) {
        if let Ok(Some((layer, position, component))) = self.node(key) {
            self.place.layer.set(Some(layer));
            self.place.position.set(Some(position));
            self.place.component.set(Some(component));
        }
    }
}
