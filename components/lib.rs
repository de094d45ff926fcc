//! What exists in an LLMPerfOracle world: components, resources and records. Plain data, units in names or types.
//!
//! Invariant: nothing here knows a file format, a command line or a policy; behaviour is in `oracle-systems`.

pub mod calendar;
pub mod collectives;
pub mod device;
pub mod disaggregation;
pub mod efficiency;
pub mod engine;
pub mod follow_ups;
pub mod group_blocks;
pub mod hardware;
pub mod kernel_times;
pub mod key_map;
pub mod kv;
pub mod kv_groups;
pub mod layers;
pub mod model;
pub mod record;
pub mod recurrent;
pub mod request;
pub mod scenario;
pub mod sequence;
pub mod time;
pub mod transformer;
pub mod weight_format;
pub mod work;

pub use time::{MaybeTime, SimTime};
