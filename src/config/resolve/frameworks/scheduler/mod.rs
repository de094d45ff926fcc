//! Schedulers, a file an engine kind: its keys, defaults and warnings.

pub(in crate::config::resolve) mod vllm;
