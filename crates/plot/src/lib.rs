//! Figures of attribution graphs, one per CI set, and [charts of lines](chart).
//!
//! Data flows from bottom to top: a row for each layer, `wte` lowest and `output` on top, with queries, keys and values of a
//! block side by side; a column for each position. [`Figure::new`] chooses what is shown and where, [`Figure::svg`] writes
//! it, and [`png()`] turns that into pixels. Text is set in `DejaVu` Sans, which is part of the program.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_graph::Graph;
//! use tributary_plot::{Figure, PlotOptions, png};
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! let set = &result.manifest().sets[0];
//! let graph = Graph::new(&result.read_set(&set.name)?);
//!
//! let svg = Figure::new(&graph, result.manifest(), set, &PlotOptions::default()).svg();
//! let picture = png(&svg, 1.0)?;
//! assert!(svg.starts_with("<svg") && picture.bytes.starts_with(b"\x89PNG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod chart;
mod document;
mod figure;
mod grid;
mod legend;
mod palette;
mod png;
mod scale;
mod svg;
mod text;

use tributary_model::Remedy;

pub use figure::{Figure, LeftOut, PlotOptions};
pub use png::{Drawing, Png, png};
pub use scale::Scale;

/// Why a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The picture cannot be made of the SVG.
    #[error("the figure cannot be turned into pixels: {0}; the SVG can still be written")]
    Pixels(String),
}

impl PlotError {
    /// What to ask for otherwise.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Pixels(_) => Some(Remedy::Svg),
        }
    }
}
