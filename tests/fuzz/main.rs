//! A mutational fuzzer of everything that reads what a user wrote: configurations, `--set`, traces, model files, curves and
//! measured kernels. What resolves is also run.
//!
//! The law: whatever the bytes, an answer, and no panic, no hang, no gigabyte. Without settings it is a smoke test of a few
//! hundred inputs, the same each time; `FUZZ_SECONDS=1500 FUZZ_GROUP=config FUZZ_SEED=2 cargo test --test fuzz` is a real run. Groups: `config`
//! (configurations, run if they resolve), `files` (all others). An input depends on the seed and its number
//! alone: `FUZZ_SEED=2 FUZZ_AT=1234` begins with that one. Inputs with a finding are kept in `target/tmp/fuzz`, and the
//! number of the input under way is in `<group>.at` there, should the process be killed.

mod corpus;
mod found;
mod input;
mod mutation;
mod nasty;
mod targets;
mod watch;

use std::time::Duration;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use corpus::Corpus;
use input::{Group, Input};
use watch::Watch;

/// The source of every choice.
pub type Random = Xoshiro256PlusPlus;

/// Inputs of a smoke run, of each group, and seconds that it may take on a slow machine.
const SMOKE_INPUTS: u64 = 400;
const SMOKE_SECONDS: u64 = 20;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")))
}

#[test]
fn no_input_makes_it_panic_hang_or_eat_memory() {
    let seconds = Duration::from_secs(setting("FUZZ_SECONDS").unwrap_or(SMOKE_SECONDS));
    let seed = setting("FUZZ_SEED").unwrap_or(1);
    let first = setting("FUZZ_AT").unwrap_or(0);
    let count = setting("FUZZ_COUNT").or(setting("FUZZ_SECONDS").is_none().then_some(SMOKE_INPUTS));
    let last = count.map_or(u64::MAX, |count| first.saturating_add(count));
    let wanted = std::env::var("FUZZ_GROUP").ok();
    let corpus = Corpus::read();
    let mut findings = 0;
    for group in Group::ALL {
        if wanted.as_deref().is_none_or(|wanted| wanted == group.name()) {
            findings += fuzz(group, &corpus, seconds, seed, first..last);
        }
    }
    assert_eq!(findings, 0, "findings; the inputs are in target/tmp/fuzz");
}

/// Tries inputs for a while; the number of findings.
fn fuzz(group: Group, corpus: &Corpus, seconds: Duration, seed: u64, numbers: std::ops::Range<u64>) -> usize {
    let watch = Watch::start(group, seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tried = 0_u64;
    let mut answers = std::collections::BTreeMap::new();
    for number in numbers {
        if watch.elapsed() > seconds {
            break;
        }
        let mut random = Random::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
        let input = Input::any(group, corpus, &mut random);
        let answer = watch.guard(number, &input, || targets::try_input(&input, folder.path()));
        *answers.entry(answer.unwrap_or("finding")).or_insert(0_u64) += 1;
        tried += 1;
    }
    let elapsed = watch.elapsed().as_secs_f64();
    println!(
        "{}, seed {seed}: {tried} inputs in {elapsed:.0} s ({:.0} s CPU), {:.0} a second; {answers:?}; {} findings",
        group.name(),
        watch.cpu().as_secs_f64(),
        tried as f64 / elapsed,
        watch.findings()
    );
    watch.findings()
}
