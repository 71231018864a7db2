//! Adapter from any burn backend to AttributionBackend.
