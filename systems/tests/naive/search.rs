//! How widely a test searches random cases: as it says itself, unless the environment says otherwise.

use proptest::test_runner::{Config, RngSeed};

/// So many cases from a fixed seed; `PROPTEST_RNG_SEED` and `PROPTEST_MAX_SHRINK_ITERS` have the last word.
pub fn search(cases: u32, max_shrink_iters: u32) -> Config {
    let from_environment = Config::default();
    Config {
        cases,
        max_shrink_iters: match std::env::var_os("PROPTEST_MAX_SHRINK_ITERS") {
            Some(_) => from_environment.max_shrink_iters,
            None => max_shrink_iters,
        },
        rng_seed: match from_environment.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        ..from_environment
    }
}

/// The number of cases that `PROPTEST_CASES` asks for, if it does.
pub fn cases_asked_for() -> Option<u32> {
    std::env::var("PROPTEST_CASES").ok()?.parse().ok()
}
