//! One self-contained HTML page of the attribution graphs of a result folder, for looking at all sets side by side.
//!
//! [`write()`] reads the sets one by one, keeps the strongest edges of each, and writes them as compressed columns into a
//! page that needs no network and no server. The page itself is in `web/`: modules in `web/src` that esbuild bundles into
//! the committed `web/dist/report.js`, so that building this crate takes no Node. `docs/report.md` of the repository says
//! what the page shows.
//!
//! ```
//! use std::path::Path;
//!
//! use tributary_report::Options;
//! use tributary_results::ResultFolder;
//!
//! let result = ResultFolder::open(Path::new("../../tests/results/walked"))?;
//! let mut page = Vec::new();
//! let summary = tributary_report::write(&result, &Options::default(), &mut page)?;
//! for set in &summary.sets {
//!     println!("{}: {} of {} edges", set.name, set.written, set.edges);
//! }
//! assert_eq!(summary.bytes, page.len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collect;
mod columns;
mod curve;
mod error;
mod evaluation;
mod metadata;
mod page;
mod report;
mod request;

pub use error::ReportError;
pub use report::write;
pub use request::{Options, SetSummary, Summary};
