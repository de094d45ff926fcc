//! Flags that say how much load there is and what it asks for.

use clap::Args;

use crate::config::LoadFlags;

/// The load of a run without a configuration.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Load, without a configuration")]
pub struct Load {
    /// Requests (of conversations: sessions) a second; inf: all at once.
    #[arg(long, value_name = "PER_S", conflicts_with_all = ["concurrency", "users"])]
    pub rate: Option<String>,
    /// Shape of gamma gaps between requests, as in vLLM's benchmark: 1 is Poisson's, less is burstier.
    #[arg(long, value_name = "SHAPE", requires = "rate")]
    pub burstiness: Option<f64>,
    /// Closed loop: so many requests at a time.
    #[arg(long, value_name = "N", conflicts_with = "users")]
    pub concurrency: Option<u32>,
    /// Closed loop of so many users, each of whom pauses for --think-time between sessions.
    #[arg(long, value_name = "N", requires = "think_time")]
    pub users: Option<u32>,
    /// Seconds between a user's sessions: a number, or a distribution such as exponential:10.
    #[arg(long, value_name = "SECONDS", requires = "users")]
    pub think_time: Option<String>,
    /// The client holds requests back rather than have more than this in flight.
    #[arg(long, value_name = "N", conflicts_with_all = ["concurrency", "users"])]
    pub max_in_flight: Option<u32>,
    /// Requests, follow-up turns included.
    #[arg(long, value_name = "N", visible_alias = "num-prompts", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Seconds after which no request is sent any more.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Tokens of a prompt: a number, or a distribution such as lognormal:512:300 (mean and standard deviation).
    #[arg(long, value_name = "TOKENS", requires = "output_tokens", conflicts_with = "workload")]
    pub prompt_tokens: Option<String>,
    /// Tokens of an answer, likewise.
    #[arg(long, value_name = "TOKENS", requires = "prompt_tokens", conflicts_with = "workload")]
    pub output_tokens: Option<String>,
    /// What is asked for, by name: chat, code, summarization, reasoning, agent, rag, batch or mixed.
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
}

impl Load {
    /// What they say.
    pub fn flags(&self) -> LoadFlags {
        LoadFlags {
            rate: self.rate.clone(),
            burstiness: self.burstiness,
            concurrency: self.concurrency,
            users: self.users,
            think_time: self.think_time.clone(),
            max_in_flight: self.max_in_flight,
            requests: self.requests,
            duration_s: self.duration,
            prompt_tokens: self.prompt_tokens.clone(),
            output_tokens: self.output_tokens.clone(),
            preset: self.workload.clone(),
        }
    }

    /// Each flag that is given, with the key of a configuration that says the same, and its value.
    pub fn keys(&self) -> Vec<(&'static str, &'static str, String)> {
        fn text<T: ToString>(value: &Option<T>) -> Option<String> {
            value.as_ref().map(ToString::to_string)
        }
        let flags = [
            ("--rate", "workload.load.rate", text(&self.rate)),
            ("--burstiness", "workload.load.burstiness", text(&self.burstiness)),
            ("--concurrency", "workload.load.concurrency", text(&self.concurrency)),
            ("--users", "workload.load.users", text(&self.users)),
            ("--think-time", "workload.load.think_time", text(&self.think_time)),
            ("--max-in-flight", "workload.load.max_in_flight", text(&self.max_in_flight)),
            ("--requests", "workload.total_requests_to_generate", text(&self.requests)),
            ("--duration", "workload.total_duration", text(&self.duration)),
            ("--prompt-tokens", "workload.client_profiles[*].prompt_tokens_dist_config", text(&self.prompt_tokens)),
            ("--output-tokens", "workload.client_profiles[*].max_output_tokens_dist_config", text(&self.output_tokens)),
            ("--workload", "workload.preset", text(&self.workload)),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}
