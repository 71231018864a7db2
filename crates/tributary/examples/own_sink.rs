//! Graphs that go elsewhere than into files: here only the strongest edge of each pair of layers is kept, of the model's own
//! causal importances on a text.
//!
//! `cargo run --example own_sink`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

use std::collections::BTreeMap;

use tributary::backend::Element;
use tributary::engine::{Sink, SinkError};
use tributary::model::SetAttributions;
use tributary::{Input, Session, Settings};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/gpt2s-2L");

/// The largest absolute attribution of each pair, by set.
#[derive(Default)]
struct Strongest {
    pairs: BTreeMap<usize, Vec<(String, f64)>>,
}

impl<E: Element> Sink<E> for Strongest {
    /// All of a graph but its edges' values.
    fn begin(&mut self, set: usize, graph: SetAttributions<E>) -> Result<(), SinkError> {
        let pairs = graph.pairs.iter().map(|pair| (format!("{} -> {}", pair.pair.source, pair.pair.target), 0.0));
        self.pairs.insert(set, pairs.collect());
        Ok(())
    }

    /// Values of a pair, which may come in several pieces.
    fn values(&mut self, set: usize, pair: usize, values: &[E]) -> Result<(), SinkError> {
        let pairs = self.pairs.get_mut(&set).ok_or("values of a set that has not begun")?;
        let largest = &mut pairs[pair].1;
        *largest = values.iter().map(|value| value.to_f64().abs()).fold(*largest, f64::max);
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::new(RUN, Input::prompt("once upon a time"));
    let session = Session::open(settings, tributary_flex::f32(), &mut |_| {})?;
    let mut strongest = Strongest::default();
    session.stream(&mut strongest, &mut |_| {})?;
    for (pair, largest) in &strongest.pairs[&0] {
        println!("{pair:40} {largest:.3e}");
    }
    assert!(strongest.pairs[&0].iter().any(|&(_, largest)| largest > 0.0));
    Ok(())
}
