//! Keys that nobody knows, which are passed over: other programs keep more in such files than this one reads.

use crate::error::{abridged, shortened};

/// Different keys that are kept to be named.
const NAMED: usize = 12;

/// The keys that were passed over.
#[derive(Default)]
pub(super) struct UnknownKeys {
    /// Different ones, shortened, each once.
    named: Vec<String>,
    count: usize,
    /// Where the first of them is, and what is known there.
    first: Option<(String, &'static str)>,
}

impl UnknownKeys {
    /// Keeps a key at `place`, which is empty or ends in `: `, beside those that are known there.
    pub(super) fn add(&mut self, key: &str, place: &str, known: &'static str) {
        let key = shortened(key);
        self.count += 1;
        self.first.get_or_insert_with(|| (place.to_owned(), known));
        if self.named.len() < NAMED && !self.named.contains(&key) {
            self.named.push(key);
        }
    }

    /// What to say of them; nothing where there are none.
    pub(super) fn remark(self) -> Option<String> {
        let (place, known) = self.first?;
        let times = if self.count > self.named.len() { format!(" ({} in all)", self.count) } else { String::new() };
        let (keys, are) = if self.count == 1 {
            ("the unknown key", "with what it holds, is")
        } else {
            ("the unknown keys", "with what they hold, are")
        };
        Some(format!("{place}{keys} {}{times}, {are} passed over; known are {known}", abridged(self.named)))
    }
}
