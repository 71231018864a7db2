//! Files that appear in a folder together or not at all, and inputs that are files.
//!
//! A [`Transaction`] writes files into a hidden folder inside their folder and moves all of them into place at the end. What
//! a killed program leaves is undone by the next one that looks at the folder, which calls [`recover`]; a program that is
//! asked to end undoes its own ([`undo_when_interrupted`]).
//!
//! ```
//! use std::io::Write;
//!
//! use tributary_files::{Replace, Transaction};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let transaction = Transaction::begin(folder)?;
//! for name in ["nodes.txt", "edges.txt"] {
//!     let mut file = transaction.create(name, Replace::Nothing)?;
//!     file.write_all(b"...")?;
//!     file.close()?;
//! }
//! transaction.commit()?;
//! assert!(folder.join("nodes.txt").exists() && folder.join("edges.txt").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`input`] opens what is read: regular files, of at most the size that is plausible for them; [`memory`] tells whether they
//! fit. [`sha256`] tells whether one has changed, and [`visible`] is how text from one is shown.

mod durable;
mod error;
pub mod input;
mod interrupt;
mod journal;
mod lock;
pub mod memory;
mod output_file;
mod place;
mod recovery;
pub mod sha256;
mod transaction;
pub mod visible;

pub use error::FilesError;
pub use interrupt::{Interruption, finish_when_interrupted, interrupted, undo_when_interrupted};
pub use output_file::OutputFile;
pub use recovery::recover;
pub use transaction::{Replace, Transaction};

/// Name of the hidden folder in which files are written before they are moved into place.
pub const PARTIAL: &str = ".tributary-partial";
