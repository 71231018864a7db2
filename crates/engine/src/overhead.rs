//! Memory that is taken whatever is computed.

/// What libraries take beside the tensors: code, thread pools, buffers of files.
pub(crate) const OVERHEAD: usize = 64 << 20;
