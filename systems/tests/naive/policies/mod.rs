//! Batch policies: which sequences are in the next step, with how many tokens each. A file an engine kind, named like the
//! kind; to be held against `systems/SEMANTICS.md` and that engine's own source.
//!
//! A policy reads the engine as it likes and changes it by its verbs alone (`boundary`: decode, extend, admit, preempt; `pools`:
//! load, slot). When a step runs, what it costs and what it leaves behind is none of its business.

pub mod vllm;
