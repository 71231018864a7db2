//! What a session says while at work.

use std::path::Path;

use tributary_engine as engine;

use crate::BatchStep;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A trained run and its inputs are read.
    Reading(&'a Path),
    /// The engine is at work.
    Engine(engine::Progress),
    /// CI sets are made; an update is done.
    Optimizing(&'a BatchStep),
    /// Edges are drawn from a result.
    Drawing(&'a Path),
    /// A result is moved into its folder.
    Finishing(&'a Path),
    /// What was taken of the inputs but is worth knowing: a sentence.
    Note(&'a str),
}

/// Is told what is being done. It is called on a thread of the pool.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) + Send + 'a;
