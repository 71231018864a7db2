//! What a backend, once it is open, is to do.

use std::process::ExitCode;

use tributary_backend::AttributionBackend;

use crate::{CliError, attribute, verify};

/// A command that computes, ready but for its backend.
pub(crate) enum Task<'a> {
    Attribute(Box<attribute::Job<'a>>),
    Verify(Box<verify::Job<'a>>),
}

impl Task<'_> {
    pub(crate) fn run<B: AttributionBackend>(self, backend: B) -> Result<ExitCode, CliError> {
        match self {
            Self::Attribute(job) => job.run(backend),
            Self::Verify(job) => job.run(backend),
        }
    }
}
