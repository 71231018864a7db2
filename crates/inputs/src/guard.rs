//! Keeps a panic of a third-party parser from ending the program.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a parser that is fed bytes from outside; a panic in it becomes its message.
///
/// The parsers used here are meant to return errors. This is for the case they forgot.
pub(crate) fn no_panic<T>(parser: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(parser)).map_err(|panic| format!("the parser failed: {}", message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}
