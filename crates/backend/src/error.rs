//! What can go wrong inside a backend.

/// A failed tensor operation, or a device that failed under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The shapes of the operands do not go together.
    #[error("{operation}: {problem} (got {})", list(.shapes))]
    Shape {
        /// The operation that was asked for.
        operation: &'static str,
        /// The shapes of its operands, in order.
        shapes: Vec<Vec<usize>>,
        /// What was expected of them.
        problem: String,
    },
    /// The backend has no such capability.
    #[error("the backend {backend} cannot {capability}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// What it cannot do, as a verb phrase.
        capability: String,
    },
    /// The device or its library failed.
    #[error("{operation} failed on {device}: {message}")]
    Device {
        /// The operation under which it failed.
        operation: &'static str,
        /// The device.
        device: String,
        /// What the library said.
        message: String,
    },
}

fn list(shapes: &[Vec<usize>]) -> String {
    shapes.iter().map(|shape| format!("{shape:?}")).collect::<Vec<_>>().join(" and ")
}
