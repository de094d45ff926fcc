//! `workload`: client profiles or a trace.

use std::collections::BTreeMap;

use oracle_components::scenario::Routing;

use super::{Distribution, LONGEST_MS, LONGEST_S, Load, MOST_BYTES_PER_TOKEN, MOST_ENCODER_TOKENS};
use crate::config::declare::{
    Field, Ignored, Literal, Placed, Set, default, ignored, names, optional, required, section,
};
use crate::workload::{Arrivals, Clock, MessageMode, RepeatedPrefixes, SessionTimes, TRACE_FORMATS, TraceFormat};

names!(Routing as in Routing::NAMED);
names!(Arrivals { "mixed" => Arrivals::Mixed, "independent" => Arrivals::Independent });
names!(TraceFormat as in TRACE_FORMATS);
names!(TimeUnit { "s" => TimeUnit(Clock::Seconds), "ms" => TimeUnit(Clock::Milliseconds) });
names!(SessionTimes { "closed" => SessionTimes::Closed, "open" => SessionTimes::Open });
names!(MessageMode { "history" => MessageMode::History, "delta" => MessageMode::Delta });
names!(RepeatedPrefixes { "renamed" => RepeatedPrefixes::Renamed, "kept" => RepeatedPrefixes::Kept });
names!(PatternKind {
    "system" => PatternKind::System,
    "few_shot" => PatternKind::FewShot,
    "instruction" => PatternKind::Instruction,
    "mixed" => PatternKind::Mixed,
    "random" => PatternKind::Random,
    "documents" => PatternKind::Documents,
});

/// In what numbers tell time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeUnit(pub Clock);

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
        /// Sessions begin this many times as fast, whatever says when: gaps of profiles are that much shorter, rates of `load` that much
        /// higher, the times of a trace that much closer. A closed loop has no such rate.
        rate_scale: Field<f64> = optional("1").range(1e-6, 1e6);
        /// A client gives up after this.
        request_timeout_s: Field<f64> = optional("never").unit("s").up_to(LONGEST_S).also_called(&["timeout_s"]);
        /// What clients expect of an answer; goodput is what kept to all of it.
        slo: Field<Slo> = optional("nothing");
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
        /// Its layout: told by its fields, or one of the named ones.
        format: Set<TraceFormat> = default(Literal::Text("detect"));
        /// A part of it: `peak:10m` is the fullest ten minutes, `60s:10m` from 60 s to 10 min, `1h:` from there to the end.
        window: Field<String> = optional("all");
        /// Share of its sessions, drawn by the seed, each whole.
        sample: Set<f64> = default(Literal::Number(1.0)).range(1e-9, 1.0);
        /// Prompts are this many times as long, and what they share too.
        prompt_scale: Set<f64> = default(Literal::Number(1.0)).range(1e-6, 1e6);
        /// Answers are this many times as long.
        output_scale: Set<f64> = default(Literal::Number(1.0)).range(1e-6, 1e6);
        /// Requests are put at each other's times, drawn by the seed; a session's turns stay in order.
        shuffle: Set<bool> = default(Literal::Flag(false));
        /// So many times, one behind the other, each of sessions of its own.
        repeat: Set<u32> = default(Literal::Integer(1)).at_least(1.0);
        /// What a repeated prompt is to the first: another one (`renamed`), or the same (`kept`), which a cache finds.
        repeat_prefixes: Set<RepeatedPrefixes> = default(Literal::Text("renamed"));
        /// Arrivals come this many times as fast.
        rate_scale: Set<f64> = default(Literal::Number(1.0)).range(1e-6, 1e6);
        /// Arrivals take this many times as long: the inverse of `rate_scale`.
        time_scale: Field<f64> = optional("1 / `rate_scale`").range(1e-6, 1e6);
        /// No more requests than this.
        max_requests: Field<u64> = optional("all").at_least(1.0);
        /// Answers are streamed.
        streaming: Set<bool> = default(Literal::Flag(true));
        /// Columns (of JSON: fields) of a file of no known format.
        columns: Field<TraceColumns> = optional("the format's");
        /// Tokens of a block that a hash names.
        block_tokens: Field<u32> = optional("the format's: 512 for Mooncake, 16 for Bailian").unit("tokens").at_least(1.0)
            .also_called(&["block_size", "trace_block_size"]);
        /// Unit of Mooncake's timestamps, where they could be either.
        time_unit: Field<TimeUnit> = optional("milliseconds, refused where they look like seconds");
        /// Tokens that an image adds to its prompt; 0 where the prompt's tokens hold them already.
        image_tokens: Field<u32> = optional("requests with images are refused").unit("tokens");
        /// Tokens of an image in the vision encoder, patches say, at the framework's `encoder_token_s`.
        encoder_tokens: Field<u32> = optional("the encoder's work is left out").unit("tokens").range(0.0, MOST_ENCODER_TOKENS);
        /// Characters of a token, to estimate the lengths of texts without token counts.
        chars_per_token: Field<f64> = optional("texts are refused").range(0.1, 1000.0);
        /// Rows that are no requests are counted and left out, instead of refusing the trace.
        skip_bad_rows: Set<bool> = default(Literal::Flag(false));
        /// Later turns of a session are sent when the one before is answered (`closed`), or at their recorded times (`open`).
        sessions: Field<SessionTimes> = optional("as the format means it");
        /// A later turn's prompt holds the conversation so far (`history`), or only what is new, before which that goes (`delta`).
        message_mode: Field<MessageMode> = optional("as the file says");
        /// Requests a second of all of ServeGen's clients together, in each of their windows; for a folder of these only.
        total_rate: Field<f64> = optional("as recorded").unit("requests/s").range(1e-6, 1e9);
    }
}

section! {
    /// Columns of a file of no known format. One of the keys that begin with `arrival` says when a request is sent.
    TraceColumns {
        /// Column of the arrival, in seconds or as a calendar time.
        arrival: Field<String> = optional("one of the others").also_called(&["arrival_s", "arrival_time", "timestamp"]);
        /// The same in milliseconds.
        arrival_ms: Field<String> = optional("one of the others");
        /// The same in microseconds.
        arrival_us: Field<String> = optional("one of the others");
        /// The same in nanoseconds.
        arrival_ns: Field<String> = optional("one of the others");
        /// Column of the prompt's tokens.
        prompt: Field<String> = required().also_called(&["prompt_tokens", "input", "input_tokens"]);
        /// Column of the answer's tokens.
        output: Field<String> = required().also_called(&["output_tokens"]);
        /// Column of the most tokens that the answer may have.
        max_output: Field<String> = optional("as many as the answer has").also_called(&["max_output_tokens", "max_tokens"]);
        /// Column of the session's name.
        session: Field<String> = optional("each request is its own").also_called(&["session_id"]);
        /// Column of the priority.
        priority: Field<String> = optional("0");
        /// Column of the time at which the client gives up, told like the arrival.
        abort: Field<String> = optional("never");
        /// Column of the number of images in the prompt, each of `image_tokens` and `encoder_tokens`.
        images: Field<String> = optional("none");
        /// Column of the tokens of all of them in the vision encoder.
        encoder_tokens: Field<String> = optional("as `images` says");
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
        /// Tokens of a prompt; of a follow-up turn, the new ones. Draws are rounded, and the least is 1, as in vLLM's load generator; what is
        /// 0 whatever is drawn, such as a constant of 0, alone or in a mixture, is an error.
        prompt_tokens_dist_config: Field<Distribution> = required().unit("tokens")
            .example("{type: LogNormal, mean_tokens: 512, std_tokens: 400}");
        /// Most tokens of an answer; rounded, 1 at least, as those of a prompt.
        max_output_tokens_dist_config: Field<Distribution> = required().unit("tokens")
            .example("{type: Uniform, low: 50, high: 300, is_int: true}");
        /// Tokens an answer has in the end, held to the maximum; rounded, 1 at least, as those of a prompt.
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
        /// What its clients expect; each key comes before that of `workload.slo`.
        slo: Field<Slo> = optional("`workload.slo`");
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
    /// Most that an answer may take: what takes as long is within it, and a request without a whole answer is within nothing.
    Slo {
        /// From sending the request to the first token (TTFT).
        ttft_ms: Field<f64> = optional("nothing").unit("ms").up_to(LONGEST_MS).example("500").also_called(&["ttft", "time_to_first_token"]);
        /// A token without the first, on average (TPOT); within it if there is only one.
        tpot_ms: Field<f64> = optional("nothing").unit("ms").up_to(LONGEST_MS).example("50").also_called(&["tpot", "time_per_output_token"]);
        /// The longest gap between two tokens that the client receives; a response that is not streamed has none, and is within it.
        itl_ms: Field<f64> = optional("nothing").unit("ms").up_to(LONGEST_MS).also_called(&["itl", "inter_token_latency"]);
        /// From sending the request to the last byte (E2E).
        e2e_ms: Field<f64> = optional("nothing").unit("ms").up_to(LONGEST_MS).also_called(&["e2e", "e2el", "e2el_ms", "request_latency"]);
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
    /// Images in prompts: the tokens that they become there, and in the vision encoder before.
    Images {
        /// How many a turn has; 0 is possible.
        count: Field<Distribution> = required();
        /// Tokens of each in the prompt.
        tokens_each: Field<u32> = required().unit("tokens").at_least(1.0);
        /// Tokens of each in the vision encoder, patches say, at the framework's `encoder_token_s`.
        encoder_tokens_each: Field<u32> = optional("the encoder's work is left out").unit("tokens").range(0.0, MOST_ENCODER_TOKENS);
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
