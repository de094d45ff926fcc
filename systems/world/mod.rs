//! The world as the systems see it: what it shares, an engine's components, and the calendar of what is due next.
//!
//! Below all phases: knows none of them.

pub mod calendar;
mod dispatch;
mod engine;
mod shared;

pub use dispatch::{Dispatch, Entrance, Unanswered};
pub use engine::{EngineParts, EngineView};
pub use shared::{Ports, RecordKey, Shared, WorkFlag};
