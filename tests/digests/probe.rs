//! What bits this machine computes.
//!
//! `powf`, `exp`, `ln` and the like are the C library's, which takes other instructions on other processors and rounds
//! differently from version to version; random draws and prices are made of them. Digests of what a simulation writes
//! can be held only against those of a machine that computes the same.

use std::hint::black_box;

use sha2::{Digest, Sha256};

use crate::run::digest;

/// Arguments of each function.
const ARGUMENTS: u32 = 20_000;

/// The functions that the program and its distributions call.
const FUNCTIONS: [fn(f64) -> f64; 14] = [
    f64::exp,
    f64::exp_m1,
    f64::ln,
    f64::ln_1p,
    f64::log2,
    f64::log10,
    f64::sqrt,
    f64::cbrt,
    f64::sin,
    f64::cos,
    f64::tan,
    |x| x.powf(0.37),
    |x| x.powf(-2.6 + x / 40.0),
    |x| x.hypot(3.0),
];

/// A digest of what the functions come to.
pub fn probe() -> String {
    let mut hash = Sha256::new();
    for function in FUNCTIONS {
        for number in 1..=ARGUMENTS {
            // From a hundred-thousandth to some hundred, closer where it is small; not known to the compiler.
            let share = f64::from(number) / f64::from(ARGUMENTS);
            let argument = black_box(100.0 * share * share * share);
            hash.update(function(argument).to_bits().to_le_bytes());
        }
    }
    digest(hash)
}
