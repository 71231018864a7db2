//! Reports: what is in the page, that the committed bundle is the sources', and how the page behaves in a browser.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod bundle;
mod case;
mod content;
mod node;
