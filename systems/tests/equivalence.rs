//! The fast engine against the naive reference.

mod naive;

use naive::cases::Case;
use naive::coverage::Coverage;
use naive::strategy::{Size, case};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::sync::Mutex;

const SMALL: Size = Size {
    sessions: 40,
    least_sessions: 1,
    seats: 16,
    pool_tokens: (40, 600),
    output: 60,
    gap: 40,
};

fn check(case: &Case, coverage: &Mutex<Coverage>) -> Result<(), TestCaseError> {
    let naive = naive::run(&case.scenario(), &mut case.source());
    coverage.lock().unwrap().add(&naive.coverage);
    Ok(())
}

#[test]
fn random_cases() {
    let coverage = Mutex::new(Coverage::default());
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1500);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&case(SMALL), |case| check(&case, &coverage))
        .unwrap();
    println!("{}", coverage.lock().unwrap());
}
