//! Configuration: files and flags in, a resolved scenario out.

mod declare;
mod diagnostic;
mod keys;
mod tree;

pub use diagnostic::{Diagnostic, Severity};
