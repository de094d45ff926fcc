//! KV blocks: - `pool`: all of an engine's, each an object; - `prefix`: who holds which, and what is left for others to find;
//! - `groups`: the same where layers of several kinds share them.

pub mod groups;
pub mod pool;
pub mod prefix;
