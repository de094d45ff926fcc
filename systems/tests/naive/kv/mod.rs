//! KV blocks: - `pool`: all of an engine's, each an object; - `prefix`: who holds which, and what is left for others to find.

pub mod pool;
pub mod prefix;
