//! The naive float64 backend against the conformance suite, which also tries every default method on it.

use tributary_tests::naive::NaiveBackend;

tributary_backend::conformance!(NaiveBackend);
