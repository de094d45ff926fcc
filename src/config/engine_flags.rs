//! What flags say of engines and of the router before them, and the keys of a configuration that say the same.

use super::diagnostic::Mark;
use super::tree::{Node, Value};

/// Of a run without a configuration.
#[derive(Clone, Debug, Default)]
pub struct EngineFlags {
    /// `--quantization`: how weights are stored.
    pub quantization: Option<String>,
    /// `--max-num-batched-tokens`: token budget of a step.
    pub max_num_batched_tokens: Option<u32>,
    /// `--max-num-seqs`: seats.
    pub max_num_seqs: Option<u32>,
    /// `--router`: its policy.
    pub router: Option<String>,
}

impl EngineFlags {
    /// The flags that are given, each with the key that says the same, and its value.
    #[must_use]
    pub fn keys(&self) -> Vec<(&'static str, String, String)> {
        let of_engines = self.config().into_iter().map(|(key, flag, node)| {
            let value = node.as_text().map_or_else(|| node.value.to_string(), str::to_owned);
            (flag, format!("frameworks_to_test[*].config.{key}"), value)
        });
        let of_router = self.router.iter().map(|policy| ("--router", format!("workload.{ROUTER}"), policy.clone()));
        of_engines.chain(of_router).collect()
    }

    /// Keys of each framework's `config`, with their flags.
    pub(super) fn config(&self) -> Vec<(&'static str, &'static str, Node)> {
        let number = |flag, value: u32| Node::new(Value::Integer(value.into()), Mark::flag(flag));
        let (quantization, budget, seats) = ("--quantization", "--max-num-batched-tokens", "--max-num-seqs");
        let weights = self.quantization.as_ref();
        let weights = weights.map(|word| ("weight_dtype", quantization, Node::text(word, Mark::flag(quantization))));
        let tokens = self.max_num_batched_tokens.map(|count| ("max_num_batched_tokens", budget, number(budget, count)));
        let seats = self.max_num_seqs.map(|count| ("max_num_seqs", seats, number(seats, count)));
        weights.into_iter().chain(tokens).chain(seats).collect()
    }

    /// Keys of `workload`.
    pub(super) fn workload(&self) -> Option<(&'static str, Node)> {
        self.router.as_ref().map(|policy| (ROUTER, Node::text(policy, Mark::flag("--router"))))
    }

    /// What tells such engines from others, for the run's name: `-fp8-max-num-seqs32`.
    pub(super) fn name(&self) -> String {
        let count = |word: &str, value: Option<u32>| value.map(|value| format!("-{word}{value}"));
        let word = |value: &Option<String>| value.as_ref().map(|value| format!("-{value}"));
        let parts = [
            word(&self.quantization),
            count("max-num-batched-tokens", self.max_num_batched_tokens),
            count("max-num-seqs", self.max_num_seqs),
            word(&self.router),
        ];
        parts.into_iter().flatten().collect()
    }
}

/// The key of the router's policy.
const ROUTER: &str = "load_balancing_strategy";
