//! A sink that keeps nothing.

use std::time::Duration;

use tributary_backend::Element;
use tributary_engine::{Sink, SinkError};
use tributary_model::SetAttributions;

/// Takes graphs and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard {
    /// How long it takes over each piece of values.
    pub pause: Duration,
}

impl<E: Element> Sink<E> for Discard {
    fn begin(&mut self, _: usize, _: SetAttributions<E>) -> Result<(), SinkError> {
        Ok(())
    }

    fn values(&mut self, _: usize, _: usize, _: &[E]) -> Result<(), SinkError> {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
        Ok(())
    }

    fn end(&mut self, _: usize) -> Result<(), SinkError> {
        Ok(())
    }
}
