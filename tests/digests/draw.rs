//! Choices, each a function of a case's number alone.
//!
//! Whole numbers only, taken from the generator by multiplication: no later version of a library and no machine's
//! floating point draws others, so that a difference of digests is the program's.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The source of every choice of a case.
pub struct Draw(Xoshiro256PlusPlus);

impl Draw {
    pub fn new(number: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(number))
    }

    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// So many thousandths as a decimal.
pub fn thousandths(count: u64) -> String {
    format!("{}.{:03}", count / 1000, count % 1000)
}
