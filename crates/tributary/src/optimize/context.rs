//! What an optimisation is made with.

use tributary_backend::DeviceInfo;
use tributary_inputs::{Fingerprint, Tokenizer};

use super::request::Optimization;

/// What everything in a file is told of.
pub(super) struct Context<'a> {
    pub(super) asked: &'a Optimization,
    pub(super) fingerprint: &'a Fingerprint,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) device: &'a DeviceInfo,
}
