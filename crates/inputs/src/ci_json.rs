//! The three JSON formats of CI-set files, streamed into vectors of `f32`.
//!
//! These files reach hundreds of megabytes, nearly all of it numbers. Visitors put each number where it ends up, so that
//! no tree of JSON values is built, and check it there, so that an error can say which set, layer, position and component
//! it concerns.
//!
//! A file that is held in memory is read faster, row by row, as long as all is well; if it is not, it is read again by the
//! visitors, which find what is wrong.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;
use tributary_model::{CausalImportances, Layer};

use crate::plain_row;

/// Causal importances of all decomposed layers of one set.
pub(crate) type Layers = BTreeMap<Layer, CausalImportances>;

/// A CI-set file as it stands, before its prompts are tokenised.
pub(crate) enum Document {
    /// `{"prompt": ..., "ci_sets": {name: layers}}`
    Sets { prompt: String, sets: Vec<(String, Layers)> },
    /// `{"samples": {name: {"prompt": ..., "ci_vals": layers, "metadata": ...}}}`
    Samples(Vec<(String, Sample)>),
    /// `{"prompt": ..., "optimized_ci": layers}`
    Optimized { prompt: String, layers: Layers },
}

/// One sample of the second format.
pub(crate) struct Sample {
    pub(crate) prompt: String,
    pub(crate) layers: Layers,
    pub(crate) metadata: Option<Value>,
}

/// Why a document could not be read.
pub(crate) enum Failure {
    /// The file could not be read.
    Io(io::Error),
    /// It does not say what it must; the place is empty or ends in `: `.
    Document { place: String, problem: String },
}

/// Reads a document for a model with these decomposed layers (and numbers of components) and this many positions.
pub(crate) fn read(
    reader: impl io::Read,
    components: &BTreeMap<Layer, usize>,
    max_positions: usize,
) -> Result<Document, Failure> {
    let context = Context::new(components, max_positions, false);
    let mut json = serde_json::Deserializer::from_reader(reader);
    let document = Root(&context).deserialize(&mut json);
    document.and_then(|document| json.end().map(|()| document)).map_err(|error| {
        let problem = match error.classify() {
            Category::Io => return Failure::Io(error.into()),
            Category::Eof if error.line() <= 1 && error.column() == 0 => "the file is empty".to_owned(),
            // JSON has no spelling of these, but Python writes them.
            Category::Syntax if context.place.component.get().is_some() => {
                format!("not JSON: {error}; a causal importance must be a finite number")
            }
            Category::Eof => format!("not JSON, or cut short: {error}"),
            Category::Syntax => format!("not JSON: {error}"),
            Category::Data => error.to_string(),
        };
        Failure::Document { place: context.place.to_string(), problem }
    })
}

/// Reads a document that is in memory, with the same result.
pub(crate) fn read_slice(
    bytes: &[u8],
    components: &BTreeMap<Layer, usize>,
    max_positions: usize,
) -> Result<Document, Failure> {
    let context = Context::new(components, max_positions, true);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let document = Root(&context).deserialize(&mut json).and_then(|document| json.end().map(|()| document));
    document.or_else(|_| read(bytes, components, max_positions))
}

/// What the numbers must fit, and where the reader is.
struct Context<'a> {
    /// Whether rows are read as [`plain_row`] does.
    plain_rows: bool,
    components: &'a BTreeMap<Layer, usize>,
    max_positions: usize,
    place: Place,
    /// Rows of the matrix before, of which the next one has as many: so that its values are not moved as they grow.
    rows: Cell<usize>,
}

impl<'a> Context<'a> {
    fn new(components: &'a BTreeMap<Layer, usize>, max_positions: usize, plain_rows: bool) -> Self {
        Self { plain_rows, components, max_positions, place: Place::default(), rows: Cell::new(0) }
    }
}

/// The innermost thing being read. Entered on the way in, left on success only, so that it stays for an error.
#[derive(Default)]
struct Place {
    set: RefCell<Option<String>>,
    layer: Cell<Option<Layer>>,
    position: Cell<Option<usize>>,
    component: Cell<Option<usize>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.borrow().as_ref().map(|name| format!("set {name:?}"));
        let layer = self.layer.get().map(|layer| format!("layer {layer}"));
        let position = self.position.get().map(|position| format!("position {position}"));
        let component = self.component.get().map(|component| format!("component {component}"));
        let parts: Vec<String> = [set, layer, position, component].into_iter().flatten().collect();
        if parts.is_empty() { Ok(()) } else { write!(f, "{}: ", parts.join(", ")) }
    }
}

/// Reads a value into an empty slot; a filled one means that the key came twice.
fn fill<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    slot: &mut Option<S::Value>,
    key: &str,
    map: &mut A,
    seed: S,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::custom(format!("the key {key:?} is given twice")));
    }
    *slot = Some(map.next_value_seed(seed)?);
    Ok(())
}

fn required<T, E: Error>(slot: Option<T>, key: &str) -> Result<T, E> {
    slot.ok_or_else(|| E::custom(format!("the key {key:?} is missing")))
}

/// The whole file.
struct Root<'a>(&'a Context<'a>);

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an object with the keys \"prompt\" and \"ci_sets\", or \"samples\", or \"prompt\" and \"optimized_ci\"",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let (mut prompt, mut sets, mut samples, mut optimized) = (None, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt" => fill(&mut prompt, &key, &mut map, std::marker::PhantomData)?,
                "ci_sets" => fill(&mut sets, &key, &mut map, Named(self.0, LayersSeed))?,
                "samples" => fill(&mut samples, &key, &mut map, Named(self.0, SampleSeed))?,
                "optimized_ci" => fill(&mut optimized, &key, &mut map, LayersSeed(self.0))?,
                _ => {
                    let problem = format!("unknown key {key:?}; expected prompt, ci_sets, samples or optimized_ci");
                    return Err(A::Error::custom(problem));
                }
            }
        }
        match (sets, samples, optimized) {
            (Some(sets), None, None) => Ok(Document::Sets { prompt: required(prompt, "prompt")?, sets }),
            (None, Some(samples), None) if prompt.is_none() => Ok(Document::Samples(samples)),
            (None, Some(_), None) => Err(A::Error::custom("the key \"prompt\" belongs into each of the samples")),
            (None, None, Some(layers)) => Ok(Document::Optimized { prompt: required(prompt, "prompt")?, layers }),
            (None, None, None) => Err(A::Error::custom("one of the keys ci_sets, samples and optimized_ci is needed")),
            _ => Err(A::Error::custom("only one of the keys ci_sets, samples and optimized_ci can be given")),
        }
    }
}

/// An object from set names to something, in the file's order.
struct Named<'a, F>(&'a Context<'a>, F);

impl<'a, 'de, S: DeserializeSeed<'de>, F: Fn(&'a Context<'a>) -> S> DeserializeSeed<'de> for Named<'a, F> {
    type Value = Vec<(String, S::Value)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, 'de, S: DeserializeSeed<'de>, F: Fn(&'a Context<'a>) -> S> Visitor<'de> for Named<'a, F> {
    type Value = Vec<(String, S::Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from set names to sets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(context, seed) = self;
        let mut entries = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.is_empty() {
                return Err(A::Error::custom("a set has an empty name"));
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("there are two sets named {name:?}")));
            }
            context.place.set.replace(Some(name.clone()));
            entries.push((name, map.next_value_seed(seed(context))?));
            context.place.set.replace(None);
        }
        if entries.is_empty() {
            return Err(A::Error::custom("there are no sets; at least one is needed"));
        }
        Ok(entries)
    }
}

/// One sample.
struct SampleSeed<'a>(&'a Context<'a>);

impl<'de> DeserializeSeed<'de> for SampleSeed<'_> {
    type Value = Sample;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sample, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SampleSeed<'_> {
    type Value = Sample;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys \"prompt\", \"ci_vals\" and, if wanted, \"metadata\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sample, A::Error> {
        let (mut prompt, mut layers, mut metadata) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt" => fill(&mut prompt, &key, &mut map, std::marker::PhantomData)?,
                "ci_vals" => fill(&mut layers, &key, &mut map, LayersSeed(self.0))?,
                "metadata" => fill(&mut metadata, &key, &mut map, std::marker::PhantomData)?,
                _ => {
                    let problem = format!("unknown key {key:?}; expected prompt, ci_vals or metadata");
                    return Err(A::Error::custom(problem));
                }
            }
        }
        Ok(Sample { prompt: required(prompt, "prompt")?, layers: required(layers, "ci_vals")?, metadata })
    }
}

/// An object from all decomposed layers to their matrices.
struct LayersSeed<'a>(&'a Context<'a>);

impl<'de> DeserializeSeed<'de> for LayersSeed<'_> {
    type Value = Layers;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Layers, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LayersSeed<'_> {
    type Value = Layers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from layer names to causal importances")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Layers, A::Error> {
        let context = self.0;
        let mut layers = Layers::new();
        while let Some(name) = map.next_key::<String>()? {
            let known = context.components.iter().find(|(layer, _)| layer.path() == name);
            let Some((&layer, &components)) = known else {
                let problem =
                    format!("{name:?} is not a decomposed layer; those are {}", list(context.components.keys()));
                return Err(A::Error::custom(problem));
            };
            if layers.contains_key(&layer) {
                return Err(A::Error::custom(format!("layer {layer} is given twice")));
            }
            context.place.layer.set(Some(layer));
            layers.insert(layer, map.next_value_seed(Matrix { context, components })?);
            context.place.layer.set(None);
        }
        let missing = list(context.components.keys().filter(|layer| !layers.contains_key(layer)));
        if missing.is_empty() {
            Ok(layers)
        } else {
            Err(A::Error::custom(format!("missing decomposed layers: {missing}; every one needs causal importances")))
        }
    }
}

fn list<'a>(layers: impl Iterator<Item = &'a Layer>) -> String {
    layers.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One row of causal importances per position.
struct Matrix<'a> {
    context: &'a Context<'a>,
    components: usize,
}

impl<'de> DeserializeSeed<'de> for Matrix<'_> {
    type Value = CausalImportances;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<CausalImportances, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Matrix<'_> {
    type Value = CausalImportances;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows, one per position")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<CausalImportances, A::Error> {
        let Self { context, components } = self;
        let mut values = Vec::with_capacity(context.rows.get() * components);
        for position in 0.. {
            context.place.position.set(Some(position));
            if rows.next_element_seed(Row { context, components, values: &mut values })?.is_none() {
                context.rows.set(position);
                break;
            }
            if position >= context.max_positions {
                let problem = format!("there are more rows than the {} positions of the model", context.max_positions);
                return Err(A::Error::custom(problem));
            }
        }
        context.place.position.set(None);
        Ok(CausalImportances::from_dense(components, &values))
    }
}

/// The causal importances at one position, appended to `values`.
struct Row<'a> {
    context: &'a Context<'a>,
    components: usize,
    values: &'a mut Vec<f32>,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.context.plain_rows {
            return deserializer.deserialize_seq(self);
        }
        let row = <&RawValue>::deserialize(deserializer)?;
        let is_plain = plain_row::append(row.get(), self.components, self.values);
        if is_plain { Ok(()) } else { Err(D::Error::custom("not a row of plain numbers")) }
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers, one per component")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let Self { context, components, values } = self;
        for component in 0.. {
            context.place.component.set(Some(component));
            match row.next_element::<Finite>()? {
                Some(_) if component == components => {
                    let problem = format!("the row goes on, but the layer has {components} components");
                    return Err(A::Error::custom(problem));
                }
                Some(Finite(value)) => values.push(value),
                None if component == components => break,
                None => {
                    let problem = format!("the row ends here, but the layer has {components} components");
                    return Err(A::Error::custom(problem));
                }
            }
        }
        context.place.component.set(None);
        Ok(())
    }
}

/// A number that is finite in single precision.
struct Finite(f32);

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Finite;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finite number")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Finite, E> {
                let single = value as f32;
                if single.is_finite() {
                    Ok(Finite(single))
                } else {
                    Err(E::custom(format!("{value} is beyond the range of single precision")))
                }
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Finite, E> {
                Ok(Finite(value as f32))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Finite, E> {
                Ok(Finite(value as f32))
            }
        }

        // The nearest double and then its nearest single, as Python and PyTorch read such a file.
        deserializer.deserialize_f64(Number)
    }
}
