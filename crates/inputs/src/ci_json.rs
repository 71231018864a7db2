//! The four JSON formats of CI-set files, streamed into vectors of `f32`.
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
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;
use tributary_model::{CausalImportances, Layer};

use crate::ci_range::{Admitted, CiRange};
use crate::error::{abridged, clipped, listed, shortened};
use crate::metadata::{Metadata, Room};
use crate::plain_row;
use node_values::NodeValuesSeed;
use unknown_keys::UnknownKeys;

mod node_values;
mod unknown_keys;

pub(crate) use node_values::NodeValues;

/// Name of the one set of a file that does not name its sets.
pub(crate) const OPTIMIZED: &str = "optimized";

/// Causal importances of all decomposed layers of one set.
pub(crate) type Layers = BTreeMap<Layer, CausalImportances>;

/// A CI-set file as it stands, before its prompts are tokenised.
pub(crate) enum Document {
    /// `{"prompt": ..., "ci_sets": {name: layers}, "metadata": {name: ...}}`
    Sets { prompt: Text, sets: Vec<(String, Layers)>, metadata: Option<Value> },
    /// `{"samples": {name: {"prompt": ..., "ci_vals": layers, "metadata": ...}}}`
    Samples(Vec<(String, Sample)>),
    /// `{"prompt": ..., "optimized_ci": layers, "metadata": ...}`
    Optimized { prompt: Text, layers: Layers, metadata: Option<Value> },
    /// `{"prompt": ..., "node_ci_vals": {"LAYER:POSITION:COMPONENT": value}, "metadata": ...}`, or with such an object for each
    /// set: then the sets are named.
    NodeValues { prompt: Text, sets: Vec<(String, NodeValues)>, is_named: bool, metadata: Option<Value> },
}

/// A prompt as the file gives it: its text, its tokens, or both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text {
    pub(crate) prompt: Option<String>,
    pub(crate) tokens: Option<Vec<u64>>,
}

impl Text {
    fn new<E: Error>(prompt: Option<String>, tokens: Option<Vec<u64>>, unknown: &[String]) -> Result<Self, E> {
        match (prompt, tokens) {
            (None, None) => {
                let problem = format!("the key \"prompt\" is missing, and \"tokens\" too{}", listing(unknown));
                Err(E::custom(problem))
            }
            (prompt, tokens) => Ok(Self { prompt, tokens }),
        }
    }
}

/// One sample of the second format.
pub(crate) struct Sample {
    pub(crate) prompt: Text,
    pub(crate) layers: Layers,
    pub(crate) metadata: Option<Value>,
}

/// What the numbers of a document must fit.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// The decomposed layers, and how many components each has.
    pub(crate) components: &'a BTreeMap<Layer, usize>,
    /// How many positions a prompt may have.
    pub(crate) max_positions: usize,
    /// Which numbers causal importances are.
    pub(crate) range: CiRange,
}

/// What is to be said of a document that was read.
#[derive(Default)]
pub(crate) struct Remarks {
    pub(crate) clamped: Clamped,
    /// Keys that nobody knows, in a sentence.
    pub(crate) unknown: Option<String>,
}

/// Numbers that were taken for the nearest causal importance.
#[derive(Default)]
pub(crate) struct Clamped {
    pub(crate) count: usize,
    /// The first of them, and where it is.
    pub(crate) first: Option<(f64, String)>,
}

/// Why a document could not be read.
pub(crate) enum Failure {
    /// The file could not be read.
    Io(io::Error),
    /// It does not say what it must; the place is empty or ends in `: `.
    Document {
        place: String,
        problem: String,
        /// Whether the place is among metadata.
        is_in_metadata: bool,
    },
}

/// Reads a document.
pub(crate) fn read(reader: impl io::Read, expected: Expected<'_>) -> Result<(Document, Remarks), Failure> {
    let context = Context::new(expected, false);
    let mut json = serde_json::Deserializer::from_reader(reader);
    let document = Root(&context).deserialize(&mut json);
    let document = document.and_then(|document| json.end().map(|()| document)).map_err(|error| {
        let problem = match error.classify() {
            Category::Io => return Failure::Io(error.into()),
            Category::Eof if error.line() <= 1 && error.column() == 0 => "the file is empty".to_owned(),
            // JSON has no spelling of these, but Python writes them.
            Category::Syntax if context.place.component.get().is_some() => {
                format!("not JSON: {error}; a causal importance must be a finite number")
            }
            Category::Eof => format!("not JSON, or cut short: {error}"),
            Category::Syntax => format!("not JSON: {error}"),
            Category::Data => with_place(&error),
        };
        Failure::Document {
            place: context.place.to_string(),
            problem: clipped(&problem),
            is_in_metadata: context.place.is_in_metadata.get(),
        }
    })?;
    Ok((document, context.remarks()))
}

/// An error of ours, and where it is: what it says may end in advice.
fn with_place(error: &serde_json::Error) -> String {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(problem) => format!("{problem} (line {line}, column {column})"),
        None => text,
    }
}

/// Reads a document that is in memory, with the same result.
pub(crate) fn read_slice(bytes: &[u8], expected: Expected<'_>) -> Result<(Document, Remarks), Failure> {
    let context = Context::new(expected, true);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let document = Root(&context).deserialize(&mut json).and_then(|document| json.end().map(|()| document));
    document.map(|document| (document, context.remarks())).or_else(|_| read(bytes, expected))
}

/// What the numbers must fit, and where the reader is.
struct Context<'a> {
    /// Whether rows are read as [`plain_row`] does.
    plain_rows: bool,
    expected: Expected<'a>,
    place: Place,
    clamped: RefCell<Clamped>,
    unknown: RefCell<UnknownKeys>,
    metadata: Room,
    /// Rows of the matrix before, of which the next one has as many: so that its values are not moved as they grow.
    rows: Cell<usize>,
}

impl<'a> Context<'a> {
    fn new(expected: Expected<'a>, plain_rows: bool) -> Self {
        Self {
            plain_rows,
            expected,
            place: Place::default(),
            clamped: RefCell::default(),
            unknown: RefCell::default(),
            metadata: Room::default(),
            rows: Cell::new(0),
        }
    }

    fn remarks(self) -> Remarks {
        Remarks { clamped: self.clamped.into_inner(), unknown: self.unknown.into_inner().remark() }
    }

    /// Passes over a key that nobody knows, beside `known` ones. `beside` has those of the same object.
    fn pass_over<'de, A: MapAccess<'de>>(
        &self,
        key: String,
        known: &'static str,
        beside: &mut Vec<String>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>()?;
        self.unknown.borrow_mut().add(&key, &self.place.to_string(), known);
        // Some are named if one that is needed is missing.
        if beside.len() < 8 {
            beside.push(key);
        }
        Ok(())
    }
}

/// The innermost thing being read. Entered on the way in, left on success only, so that it stays for an error.
#[derive(Default)]
struct Place {
    set: RefCell<Option<String>>,
    layer: Cell<Option<Layer>>,
    position: Cell<Option<usize>>,
    component: Cell<Option<usize>>,
    is_in_metadata: Cell<bool>,
}

impl Place {
    fn leave_node(&self) {
        self.layer.set(None);
        self.position.set(None);
        self.component.set(None);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.borrow().as_ref().map(|name| format!("set {}", shortened(name)));
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

/// Reads metadata into an empty slot.
fn fill_metadata<'de, A: MapAccess<'de>>(
    slot: &mut Option<Value>,
    context: &Context<'_>,
    map: &mut A,
) -> Result<(), A::Error> {
    context.place.is_in_metadata.set(true);
    fill(slot, "metadata", map, Metadata(&context.metadata))?;
    context.place.is_in_metadata.set(false);
    Ok(())
}

/// What a slot must hold; `unknown` are keys that may be meant for it.
fn required<T, E: Error>(slot: Option<T>, key: &str, unknown: &[String]) -> Result<T, E> {
    slot.ok_or_else(|| E::custom(format!("the key {key:?} is missing{}", listing(unknown))))
}

/// What to say of keys that may be misspelt.
fn listing(unknown: &[String]) -> String {
    match unknown {
        [] => String::new(),
        [key] => format!("; unknown key {}", shortened(key)),
        keys => format!("; unknown keys {}", listed(keys)),
    }
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
            "an object with the keys \"prompt\" and \"ci_sets\", or \"samples\", or \"prompt\" and \"optimized_ci\" or \
             \"node_ci_vals\"",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        const KNOWN: &str = "prompt, tokens, metadata, ci_sets, samples, optimized_ci and node_ci_vals";
        let (mut prompt, mut tokens, mut metadata) = (None::<String>, None, None);
        let (mut sets, mut samples, mut optimized, mut node_values) = (None, None, None, None);
        let mut unknown = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt" => fill(&mut prompt, &key, &mut map, PhantomData)?,
                "tokens" => fill(&mut tokens, &key, &mut map, TokenIds(self.0))?,
                "metadata" => fill_metadata(&mut metadata, self.0, &mut map)?,
                "ci_sets" => fill(&mut sets, &key, &mut map, Named(self.0, LayersSeed))?,
                "samples" => fill(&mut samples, &key, &mut map, Named(self.0, SampleSeed))?,
                "optimized_ci" => fill(&mut optimized, &key, &mut map, LayersSeed(self.0))?,
                "node_ci_vals" => fill(&mut node_values, &key, &mut map, NodeValuesSeed(self.0))?,
                _ => self.0.pass_over(key, KNOWN, &mut unknown, &mut map)?,
            }
        }
        let text = |prompt, tokens| Text::new(prompt, tokens, &unknown);
        match (sets, samples, optimized, node_values) {
            (Some(sets), None, None, None) => Ok(Document::Sets { prompt: text(prompt, tokens)?, sets, metadata }),
            (None, Some(samples), None, None) => {
                let given =
                    [("prompt", prompt.is_some()), ("tokens", tokens.is_some()), ("metadata", metadata.is_some())];
                match given.into_iter().find(|(_, is_given)| *is_given) {
                    None => Ok(Document::Samples(samples)),
                    Some((key, _)) => {
                        Err(A::Error::custom(format!("the key {key:?} belongs into each of the samples")))
                    }
                }
            }
            (None, None, Some(layers), None) => {
                Ok(Document::Optimized { prompt: text(prompt, tokens)?, layers, metadata })
            }
            (None, None, None, Some((sets, is_named))) => {
                Ok(Document::NodeValues { prompt: text(prompt, tokens)?, sets, is_named, metadata })
            }
            (None, None, None, None) => Err(A::Error::custom(format!(
                "one of the keys ci_sets, samples, optimized_ci and node_ci_vals is needed{}",
                listing(&unknown)
            ))),
            _ => {
                let problem = "only one of the keys ci_sets, samples, optimized_ci and node_ci_vals can be given";
                Err(A::Error::custom(problem))
            }
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
                return Err(A::Error::custom(format!("there are two sets named {}", shortened(&name))));
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
        f.write_str("an object with the keys \"prompt\", \"ci_vals\" and, if wanted, \"tokens\" and \"metadata\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sample, A::Error> {
        const KNOWN: &str = "prompt, tokens, ci_vals and metadata";
        let (mut prompt, mut tokens, mut layers, mut metadata) = (None::<String>, None, None, None);
        let mut unknown = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt" => fill(&mut prompt, &key, &mut map, PhantomData)?,
                "tokens" => fill(&mut tokens, &key, &mut map, TokenIds(self.0))?,
                "ci_vals" => fill(&mut layers, &key, &mut map, LayersSeed(self.0))?,
                "metadata" => fill_metadata(&mut metadata, self.0, &mut map)?,
                _ => self.0.pass_over(key, KNOWN, &mut unknown, &mut map)?,
            }
        }
        let prompt = Text::new(prompt, tokens, &unknown)?;
        Ok(Sample { prompt, layers: required(layers, "ci_vals", &unknown)?, metadata })
    }
}

/// The ids of a prompt's tokens.
struct TokenIds<'a>(&'a Context<'a>);

impl<'de> DeserializeSeed<'de> for TokenIds<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TokenIds<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of token ids")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Vec<u64>, A::Error> {
        let (mut tokens, most) = (Vec::new(), self.0.expected.max_positions);
        while let Some(TokenId(id)) = ids.next_element()? {
            if tokens.len() == most {
                return Err(A::Error::custom(format!("there are more tokens than the {most} positions of the model")));
            }
            tokens.push(id);
        }
        Ok(tokens)
    }
}

struct TokenId(u64);

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;

        impl Visitor<'_> for Id {
            type Value = TokenId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token id, a whole number")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<TokenId, E> {
                Ok(TokenId(id))
            }

            // As published graphs have them.
            fn visit_str<E: Error>(self, text: &str) -> Result<TokenId, E> {
                Err(E::custom(format!(
                    "found the text {}, expected a token id, a whole number: several tokens may have one text; give their ids, \
                     or the text of the prompt as \"prompt\" in place of \"tokens\"",
                    shortened(text)
                )))
            }
        }

        deserializer.deserialize_any(Id)
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
            let known = context.expected.components.iter().find(|(layer, _)| layer.path() == name);
            let Some((&layer, &components)) = known else {
                let problem = format!(
                    "{} is not a decomposed layer; those are {}",
                    shortened(&name),
                    list(context.expected.components.keys())
                );
                return Err(A::Error::custom(problem));
            };
            if layers.contains_key(&layer) {
                return Err(A::Error::custom(format!("layer {layer} is given twice")));
            }
            context.place.layer.set(Some(layer));
            layers.insert(layer, map.next_value_seed(Matrix { context, components })?);
            context.place.layer.set(None);
        }
        let missing = list(context.expected.components.keys().filter(|layer| !layers.contains_key(layer)));
        if missing.is_empty() {
            Ok(layers)
        } else {
            Err(A::Error::custom(format!("missing decomposed layers: {missing}; every one needs causal importances")))
        }
    }
}

fn list<'a>(layers: impl Iterator<Item = &'a Layer>) -> String {
    abridged(layers.map(ToString::to_string))
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
            let most = context.expected.max_positions;
            if position >= most {
                let problem = format!("there are more rows than the {most} positions of the model");
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
        let is_plain = plain_row::append(row.get(), self.components, self.context.expected.range, self.values);
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
                    let problem = format!("the row goes on, but the layer has {components} components; {OTHER_RUN}");
                    return Err(A::Error::custom(problem));
                }
                Some(Finite(value)) => values.push(context.admit(value)?),
                None if component == components => break,
                None => {
                    let problem = format!("the row ends here, but the layer has {components} components; {OTHER_RUN}");
                    return Err(A::Error::custom(problem));
                }
            }
        }
        context.place.component.set(None);
        Ok(())
    }
}

/// What else may be wrong with a file whose rows have other lengths.
const OTHER_RUN: &str = "the file may belong to another run";

impl Context<'_> {
    /// Takes a number for the causal importance at the place being read.
    fn admit<E: Error>(&self, value: f64) -> Result<f32, E> {
        let range = self.expected.range;
        match range.admit(value as f32) {
            Admitted::Inside(value) => Ok(value),
            Admitted::Clamped(nearest) => {
                let mut clamped = self.clamped.borrow_mut();
                clamped.count += 1;
                clamped.first.get_or_insert_with(|| (value, self.place.to_string()));
                Ok(nearest)
            }
            Admitted::Outside => {
                Err(E::custom(format!("{value:?} is out of range; a causal importance of this run is {range}")))
            }
        }
    }
}

/// A number that is finite in single precision.
struct Finite(f64);

impl Finite {
    fn checked<E: Error>(value: f64) -> Result<Self, E> {
        if (value as f32).is_finite() {
            Ok(Self(value))
        } else {
            Err(E::custom(format!("{value} is beyond the range of single precision")))
        }
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl<'de> Visitor<'de> for Number {
            type Value = Finite;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finite number")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Finite, E> {
                Finite::checked(value)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Finite, E> {
                Ok(Finite(value as f64))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Finite, E> {
                Ok(Finite(value as f64))
            }

            // Python's `tensor.tolist()` of a batch of one.
            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Finite, A::Error> {
                let problem = "found an array, expected a finite number: there is one dimension too many; a layer has a \
                               row for each position, of a number for each component";
                Err(A::Error::custom(problem))
            }
        }

        // The nearest double and then its nearest single, as Python and PyTorch read such a file.
        deserializer.deserialize_any(Number)
    }
}
