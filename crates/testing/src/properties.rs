//! How properties draw their cases.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, RngSeed, contextualize_config};

use crate::in_ci;

/// How to try a property on `cases` random cases: others on every run, but the same ones [in CI](in_ci), so that a change
/// is not held up by a case that has nothing to do with it.
///
/// A case that fails is kept beside the suite, in `SUITE.proptest-regressions`, and tried first from then on. The
/// environment decides over what is said here: `PROPTEST_CASES`, `PROPTEST_RNG_SEED` and the rest of proptest's variables.
pub fn config(cases: u32) -> ProptestConfig {
    contextualize_config(ProptestConfig {
        cases,
        rng_seed: if in_ci() { RngSeed::Fixed(2026) } else { RngSeed::Random },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })
}

/// How many random cases to try where proptest does not draw them: `default`, unless `PROPTEST_CASES` says otherwise.
pub fn cases(default: u32) -> u32 {
    config(default).cases
}
