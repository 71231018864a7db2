//! CI-set files, written.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use tributary_model::{CausalImportances, CiSet};

/// A set for a file, and what goes with it.
#[derive(Clone, Copy, Debug)]
pub struct SetToWrite<'a> {
    /// The set.
    pub set: &'a CiSet,
    /// Whether the run's tokenizer makes the prompt's tokens of its text; where it does not, a file has the tokens alone.
    pub has_text: bool,
    /// Its metadata.
    pub metadata: &'a Value,
}

/// Writes sets as JSON: of one prompt as [`CiSetFormat::Sets`](crate::CiSetFormat::Sets), of several as
/// [`CiSetFormat::Samples`](crate::CiSetFormat::Samples). Read again they are the same.
pub fn write_ci_sets(out: impl Write, sets: &[SetToWrite<'_>]) -> io::Result<()> {
    let is_one = sets.windows(2).all(|pair| pair[0].set.prompt.tokens == pair[1].set.prompt.tokens);
    let written = match sets.first().filter(|_| is_one) {
        Some(first) => serde_json::to_writer(out, &OfOnePrompt(*first, sets)),
        None => serde_json::to_writer(out, &Samples(sets)),
    };
    Ok(written?)
}

struct OfOnePrompt<'a>(SetToWrite<'a>, &'a [SetToWrite<'a>]);

impl Serialize for OfOnePrompt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(first, sets) = self;
        let mut file = serializer.serialize_map(None)?;
        prompt(&mut file, *first)?;
        file.serialize_entry("ci_sets", &Each(sets, Layers))?;
        file.serialize_entry("metadata", &Each(sets, metadata))?;
        file.end()
    }
}

struct Samples<'a>(&'a [SetToWrite<'a>]);

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_map(Some(1))?;
        file.serialize_entry("samples", &Each(self.0, Sample))?;
        file.end()
    }
}

struct Sample<'a>(SetToWrite<'a>);

impl Serialize for Sample<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sample = serializer.serialize_map(None)?;
        prompt(&mut sample, self.0)?;
        sample.serialize_entry("ci_vals", &Layers(self.0))?;
        sample.serialize_entry("metadata", self.0.metadata)?;
        sample.end()
    }
}

fn metadata(set: SetToWrite<'_>) -> &Value {
    set.metadata
}

fn prompt<M: SerializeMap>(map: &mut M, SetToWrite { set, has_text, .. }: SetToWrite<'_>) -> Result<(), M::Error> {
    if has_text {
        map.serialize_entry("prompt", &set.prompt.text)?;
    }
    map.serialize_entry("tokens", &set.prompt.tokens)
}

/// Something of every set, by name.
struct Each<'a, F>(&'a [SetToWrite<'a>], F);

impl<'a, T: Serialize, F: Fn(SetToWrite<'a>) -> T> Serialize for Each<'a, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|set| (&set.set.name, (self.1)(*set))))
    }
}

struct Layers<'a>(SetToWrite<'a>);

impl Serialize for Layers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.0.set.layers.iter().map(|(layer, importances)| (layer.to_string(), Rows(importances))))
    }
}

struct Rows<'a>(&'a CausalImportances);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let importances = self.0;
        let mut rows = serializer.serialize_seq(Some(importances.positions()))?;
        let mut row = Vec::new();
        for position in 0..importances.positions() {
            row.clear();
            row.resize(importances.components(), Importance(0.0));
            importances.row(position).for_each(|(component, value)| row[component] = Importance(value));
            rows.serialize_element(&row)?;
        }
        rows.end()
    }
}

/// A causal importance: nearly all are 0, which takes one byte.
#[derive(Clone, Copy)]
struct Importance(f32);

impl Serialize for Importance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0.0 { serializer.serialize_u8(0) } else { serializer.serialize_f32(self.0) }
    }
}
