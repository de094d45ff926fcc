//! `workload`: client profiles or a trace.

use std::collections::BTreeMap;

use oracle_components::scenario::Routing;

use super::{Distribution, LONGEST_S, Load, MOST_BYTES_PER_TOKEN};
use crate::config::declare::{
    Field, Ignored, Literal, Placed, Set, default, ignored, names, optional, required, section,
};
use crate::workload::{Arrivals, TraceFormat};

names!(Routing as in Routing::NAMED);
names!(Arrivals { "mixed" => Arrivals::Mixed, "independent" => Arrivals::Independent });
names!(TraceFormat {
    "detect" => TraceFormat::Detect,
    "azure" => TraceFormat::Azure,
    "mooncake" => TraceFormat::Mooncake,
    "generic" => TraceFormat::Generic,
});
names!(PatternKind {
    "system" => PatternKind::System,
    "few_shot" => PatternKind::FewShot,
    "instruction" => PatternKind::Instruction,
    "mixed" => PatternKind::Mixed,
    "random" => PatternKind::Random,
    "documents" => PatternKind::Documents,
});

/// Where a pattern's named pieces come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternKind {
    System,
    FewShot,
    Instruction,
    Mixed,
    Random,
    Documents,
}

section! {
    /// Who sends requests, when, and how long they are.
    Workload {
        /// No new request after this.
        total_duration: Field<f64> = optional("no end; required unless there is a trace or `total_requests_to_generate`")
            .unit("s").up_to(LONGEST_S).example("60").also_called(&["duration", "duration_s"]);
        /// No more requests than this, follow-up turns included.
        total_requests_to_generate: Field<u64> = optional("no limit").at_least(1.0)
            .also_called(&["total_requests", "num_requests", "max_requests"]);
        /// Seed of the workload's draws.
        random_seed: Field<u64> = optional("`simulation.random_seed`").also_called(&["seed"]);
        /// Bytes of a prompt token on the way to the engine.
        bytes_per_token_estimate_for_network: Set<f64> = default(Literal::Number(2.0)).unit("bytes")
            .range(0.0, MOST_BYTES_PER_TOKEN).example("2");
        /// How requests are spread over the target frameworks.
        load_balancing_strategy: Set<Routing> = default(Literal::Text("round_robin")).example("round_robin")
            .also_called(&["load_balancing", "routing"]);
        /// How requests whose prompts are computed are spread over the frameworks that decode.
        decode_balancing_strategy: Field<Routing> = optional("`load_balancing_strategy`");
        /// Weights of the frameworks by name under `weighted_random`; 1 for those that are not named.
        framework_weights: Set<BTreeMap<String, Placed<f64>>> = default(Literal::EmptyMapping).at_least(0.0);
        /// Most turns of a conversation.
        max_turns_per_session: Set<u32> = default(Literal::Integer(10)).at_least(1.0).example("10");
        /// A follow-up's prompt holds the conversation so far.
        accumulate_conversational_tokens: Set<bool> = default(Literal::Flag(true)).example("true");
        /// Give prompts content, which `prefix_patterns` need.
        generate_prompt_tokens: Set<bool> = default(Literal::Flag(false));
        /// Shared beginnings of prompts.
        prefix_patterns: Field<PrefixPatterns> = optional("none");
        /// `mixed`: one stream, for each request a profile by weight and then a gap of that profile's distribution;
        /// `independent`: each profile is a process of its own, and weights do not matter.
        arrivals: Set<Arrivals> = default(Literal::Text("mixed")).example("mixed");
        /// A client gives up after this.
        request_timeout_s: Field<f64> = optional("never").unit("s").up_to(LONGEST_S).also_called(&["timeout_s"]);
        /// A recorded workload in place of `client_profiles`.
        trace: Field<Trace> = optional("`client_profiles`");
        /// What is asked for, by name: `chat`, `code`, `summarization`, `reasoning`, `agent`, `rag`, `batch` or `mixed`.
        /// Stands for keys of this section, each of which may be given beside it and then counts.
        preset: Field<String> = optional("none");
        /// When sessions begin and how many there may be at once, for all profiles together or for the requests of the
        /// trace.
        load: Field<Load> = optional("by the gaps of the profiles, or the times of the trace");
        /// Kinds of clients.
        client_profiles: Field<Vec<ClientProfile>> = optional("required unless there is a trace");
    }
}

section! {
    /// A recorded workload.
    Trace {
        /// The file; relative to the current folder, else to this file's folder or its parents.
        path: Field<String> = required();
        /// Its layout: by extension and header, or one of the named ones.
        format: Set<TraceFormat> = default(Literal::Text("detect"));
        /// Arrivals come this many times as fast.
        rate_scale: Set<f64> = default(Literal::Number(1.0)).range(1e-6, 1e6);
        /// No more requests than this.
        max_requests: Field<u64> = optional("all").at_least(1.0);
        /// Answers are streamed.
        streaming: Set<bool> = default(Literal::Flag(true));
    }
}

section! {
    /// A kind of client.
    ClientProfile {
        /// Its name.
        profile_name: Field<String> = required().example("chatbot").also_called(&["name", "profile_id"]);
        /// Share of the arrivals, relative to the other profiles.
        weight: Set<f64> = default(Literal::Number(1.0)).at_least(0.0).example("1.0");
        /// Seconds between arrivals.
        inter_arrival_time_dist_config: Field<Distribution> = optional("required unless `load` says when sessions begin").unit("s")
            .example("{type: Exponential, rate: 2.0}");
        /// Tokens of a prompt; of a follow-up turn, the new ones. A draw below 1 counts as 1 (draws that are never more are an error).
        prompt_tokens_dist_config: Field<Distribution> = required().unit("tokens")
            .example("{type: LogNormal, mean_tokens: 512, std_tokens: 400}");
        /// Most tokens of an answer. A draw below 1 counts as 1.
        max_output_tokens_dist_config: Field<Distribution> = required().unit("tokens")
            .example("{type: Uniform, low: 50, high: 300, is_int: true}");
        /// Tokens an answer has in the end, held to the maximum. A draw below 1 counts as 1.
        output_tokens_dist_config: Field<Distribution> = optional("always the maximum").unit("tokens");
        /// Probability that a request opens a conversation.
        conversational_probability: Set<f64> = default(Literal::Number(0.0)).range(0.0, 1.0).example("0.6");
        /// Probability that a conversation goes on after each further turn.
        continuation_probability: Set<f64> = default(Literal::Number(0.7)).range(0.0, 1.0).example("0.7");
        /// Seconds from an answer to the next turn.
        follow_up_inter_arrival_time_dist_config: Field<Distribution> = optional("5 s").unit("s")
            .example("{type: Exponential, rate: 0.2}");
        /// Probability that an answer is streamed.
        streaming_response_probability: Set<f64> = default(Literal::Number(1.0)).range(0.0, 1.0).example("1.0");
        /// Priority; lower numbers are served first under `scheduling_policy: priority`.
        user_priority_dist_config: Field<Distribution> = optional("0");
        /// A client gives up after this.
        timeout_s: Field<f64> = optional("`request_timeout_s`").unit("s").up_to(LONGEST_S);
        /// Name of the prefix pattern of all its prompts.
        prefix_pattern: Field<String> = optional("drawn by weight");
        /// Spearman's rank correlation of prompt and answer lengths (a Gaussian copula).
        length_correlation: Field<f64> = optional("drawn apart").range(-1.0, 1.0);
        /// What the model thinks before it answers.
        reasoning: Field<Reasoning> = optional("none");
        /// Further turns that a tool asks for rather than the user.
        tool_calls: Field<ToolCalls> = optional("none");
        /// Requests that an answer starts side by side; the session's next turn waits for all of them.
        sub_agents: Field<SubAgents> = optional("none");
        /// Images in prompts.
        images: Field<Images> = optional("none");
        /// Kinds of turns.
        turn_type_dist_config: Ignored = ignored();
    }
}

section! {
    /// What a model thinks before it answers: tokens of the answer, on top of those that are stated for it.
    Reasoning {
        /// Tokens of it.
        tokens: Field<Distribution> = required().unit("tokens");
        /// The next prompt of the conversation holds it too. Without, it holds the answer proper, whose KV is then
        /// computed anew.
        kept: Set<bool> = default(Literal::Flag(false));
    }
}

section! {
    /// Turns of a tool: so long after the answer that called it, with so much new text.
    ToolCalls {
        /// Probability that a further turn is a tool's.
        probability: Set<f64> = default(Literal::Number(1.0)).range(0.0, 1.0);
        /// Seconds that the tool takes.
        time: Field<Distribution> = required().unit("s");
        /// Tokens that it gives back, which are the turn's new ones.
        result_tokens: Field<Distribution> = required().unit("tokens");
    }
}

section! {
    /// Requests that an answer starts all at once. The next turn comes when the last of them has ended and the pause is over,
    /// and its prompt holds their answers.
    SubAgents {
        /// Probability that an answer starts any, of those after which the session goes on.
        probability: Set<f64> = default(Literal::Number(1.0)).range(0.0, 1.0);
        /// How many, at least 1.
        count: Field<Distribution> = required();
        /// Tokens of a prompt, the pattern's shared beginning included.
        prompt_tokens: Field<Distribution> = required().unit("tokens");
        /// Tokens of an answer.
        output_tokens: Field<Distribution> = required().unit("tokens");
    }
}

section! {
    /// Images in prompts: the tokens that they become there.
    Images {
        /// How many a turn has; 0 is possible.
        count: Field<Distribution> = required();
        /// Tokens of each in the prompt.
        tokens_each: Field<u32> = required().unit("tokens").at_least(1.0);
        /// Tokens of each in the encoder. Its work is not priced yet, so none may be given.
        encoder_tokens_each: Field<u32> = optional("the encoder's work is left out").unit("tokens");
    }
}

section! {
    /// Shared beginnings of prompts.
    PrefixPatterns {
        /// The patterns.
        patterns: Set<Vec<PrefixPattern>> = default(Literal::EmptyList);
    }
}

section! {
    /// A beginning that prompts share.
    PrefixPattern {
        /// A system prompt, few-shot examples, an instruction, several of these, nothing shared, or one of many documents.
        kind: Field<PatternKind> = required().named("type");
        /// Its name: one of the built-in ones, or any with `tokens`.
        name: Field<String> = optional("the type");
        /// Share of the prompts, relative to the other patterns.
        weight: Set<f64> = default(Literal::Number(1.0)).at_least(0.0);
        /// Tokens of a prefix of your own.
        tokens: Field<u32> = optional("the built-in prefix's").unit("tokens").at_least(1.0);
        /// The pieces of a `mixed` pattern, in order; of `documents`, what stands before the document.
        components: Set<Vec<PatternPiece>> = default(Literal::EmptyList);
        /// How many documents there are, of which a prompt holds one.
        documents: Field<u64> = optional("required with `type: documents`").at_least(1.0);
        /// How unlike their shares are: the n-th document is as frequent as n to the power of minus this (Zipf); 0 for all
        /// alike.
        popularity: Field<f64> = optional("1").range(0.0, 10.0);
        /// Tokens of a document, which come on top of the prompt's own; each document always has as many.
        document_tokens: Field<Distribution> = optional("required with `type: documents`").unit("tokens");
    }
}

section! {
    /// A piece of a mixed pattern.
    PatternPiece {
        /// What it is.
        kind: Field<PatternKind> = required().named("type");
        /// One of the built-in names, or any with `tokens`.
        name: Field<String> = optional("the type");
        /// Tokens of a piece of your own.
        tokens: Field<u32> = optional("the built-in prefix's").unit("tokens").at_least(1.0);
    }
}
