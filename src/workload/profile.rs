//! One client profile, ready to be drawn from: samplers and streams of first turns, and the draws of later turns.
//!
//! The laws: a profile's streams are named by the master seed and its name, so what other profiles there are changes
//! nothing here. Each draw of a later turn has a generator named by (session, turn, purpose), so the order in which
//! answers complete changes nothing, and nothing need be remembered of a session. A session is named by its profile and
//! its number within the profile; where the request's `tail_key` carries that name it is read from there, else the
//! session's number stands in for it (which does depend on what other profiles there are).

use oracle_components::SimTime;
use oracle_components::request::{PrefixSegment, RequestSpec};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::distribution::{MAX_ENCODER_TOKENS, MAX_TOKENS, Sampler, happens};
use super::error::WorkloadError;
use super::lengths::{Length, Lengths};
use super::prefixes::Prefixes;
use super::spec::{Distribution, Profile, SyntheticWorkload};
use super::streams::{Purpose, combine, generator, hash_bytes, stream};

/// Most requests that an answer starts.
const MOST_SUB_AGENTS: u32 = 10_000;
/// Clients of a profile; its requests go round among them.
const CLIENTS: u64 = 100;

/// A client profile and where its streams have got to.
pub(super) struct ProfileSource {
    inter_arrival_s: Sampler,
    rate_scale: f64,
    lengths: Lengths,
    /// Of reasoning, and whether the next prompt holds it.
    reasoning: Option<(Sampler, bool)>,
    /// How many, and tokens of each in the prompt and in the encoder.
    images: Option<(Sampler, u32, u32)>,
    tools: Option<Tools>,
    sub_agents: Option<Team>,
    priority: Option<Sampler>,
    think_time_s: Sampler,
    streaming_probability: f64,
    conversational_probability: f64,
    continuation_probability: f64,
    timeout: SimTime,
    pattern: Option<usize>,
    /// Follow-ups hold the conversation so far.
    accumulates: bool,
    /// Sessions may have a second turn whose prompt continues the first.
    continues_content: bool,
    /// Names the sessions of this profile.
    sessions: u64,
    /// Sessions opened.
    opened: u64,
    streams: Streams,
}

/// A tool's turns.
struct Tools {
    probability: f64,
    time_s: Sampler,
    result_tokens: Sampler,
}

/// Sub-agents of an answer.
struct Team {
    probability: f64,
    count: Sampler,
    prompt_tokens: Sampler,
    output_tokens: Sampler,
}

/// The streams that first turns are drawn from.
struct Streams {
    arrival: Xoshiro256PlusPlus,
    prompt_tokens: Xoshiro256PlusPlus,
    max_output_tokens: Xoshiro256PlusPlus,
    output_tokens: Xoshiro256PlusPlus,
    priority: Xoshiro256PlusPlus,
    streaming: Xoshiro256PlusPlus,
    prefix_pattern: Xoshiro256PlusPlus,
    document: Xoshiro256PlusPlus,
}

impl Streams {
    fn new(owner: u64) -> Self {
        Self {
            arrival: stream(owner, Purpose::Arrival),
            prompt_tokens: stream(owner, Purpose::PromptTokens),
            max_output_tokens: stream(owner, Purpose::MaxOutputTokens),
            output_tokens: stream(owner, Purpose::OutputTokens),
            priority: stream(owner, Purpose::Priority),
            streaming: stream(owner, Purpose::Streaming),
            prefix_pattern: stream(owner, Purpose::PrefixPattern),
            document: stream(owner, Purpose::Document),
        }
    }
}

impl ProfileSource {
    /// Prepares `profile`, the `twin`th of its name (0 unless a name occurs twice).
    pub fn new(
        workload: &SyntheticWorkload,
        profile: &Profile,
        twin: u64,
        prefixes: &Prefixes,
    ) -> Result<Self, WorkloadError> {
        let sampler = |quantity, distribution: &Distribution| {
            Sampler::new(distribution).map_err(|source| WorkloadError::Distribution {
                profile: profile.name.clone(),
                quantity,
                source,
            })
        };
        let optional = |quantity, distribution: &Option<Distribution>| {
            let distribution = distribution.as_ref();
            distribution.map(|d| sampler(quantity, d)).transpose()
        };
        check_probabilities(profile)?;
        let name = combine(hash_bytes(profile.name.as_bytes()), twin);
        let owner = combine(workload.seed, name);
        let pattern = profile.prefix_pattern.as_deref();
        Ok(Self {
            inter_arrival_s: sampler("inter-arrival time", &profile.inter_arrival_s)?,
            rate_scale: workload.rate_scale,
            lengths: Lengths::new(profile)?,
            reasoning: match &profile.behaviour.reasoning {
                Some(reasoning) => Some((sampler("reasoning tokens", &reasoning.tokens)?, reasoning.is_kept)),
                None => None,
            },
            images: match &profile.behaviour.images {
                Some(images) => {
                    Some((sampler("images", &images.count)?, images.tokens_each, images.encoder_tokens_each))
                }
                None => None,
            },
            tools: match &profile.behaviour.tool_calls {
                Some(tools) => Some(Tools {
                    probability: tools.probability,
                    time_s: sampler("tool time", &tools.time_s)?,
                    result_tokens: sampler("tool result tokens", &tools.result_tokens)?,
                }),
                None => None,
            },
            sub_agents: match &profile.behaviour.sub_agents {
                Some(team) => Some(Team {
                    probability: team.probability,
                    count: sampler("sub-agents", &team.count)?,
                    prompt_tokens: sampler("sub-agents' prompt tokens", &team.prompt_tokens)?,
                    output_tokens: sampler("sub-agents' output tokens", &team.output_tokens)?,
                }),
                None => None,
            },
            priority: optional("priority", &profile.priority)?,
            think_time_s: sampler("think time", &profile.think_time_s)?,
            streaming_probability: profile.streaming_probability,
            conversational_probability: profile.conversational_probability,
            continuation_probability: profile.continuation_probability,
            timeout: timeout(profile)?,
            pattern: pattern.map(|pattern| prefixes.find(&profile.name, pattern)).transpose()?,
            accumulates: workload.accumulate_conversation,
            continues_content: workload.accumulate_conversation
                && profile.conversational_probability > 0.0
                && workload.max_turns_per_session > 1,
            sessions: combine(owner, Purpose::Session as u64),
            opened: 0,
            streams: Streams::new(owner),
        })
    }

    /// Whether a request may open a conversation.
    pub fn may_converse(&self) -> bool {
        self.conversational_probability > 0.0
    }

    /// Whether every answer is streamed.
    pub fn always_streams(&self) -> bool {
        self.streaming_probability >= 1.0
    }

    /// The time to the next arrival.
    #[inline]
    pub fn gap(&mut self) -> SimTime {
        SimTime::from_secs_f64(self.inter_arrival_s.sample(&mut self.streams.arrival) / self.rate_scale)
    }

    /// The first turn of a session.
    #[inline]
    pub fn first_turn(&mut self, profile: u16, arrival: SimTime, session: u64, prefixes: &Prefixes) -> RequestSpec {
        let streams = &mut self.streams;
        let prefix = prefixes.draw(self.pattern, &mut streams.prefix_pattern, &mut streams.document);
        let Length { prompt, most, output } =
            self.lengths.draw(&mut streams.prompt_tokens, &mut streams.max_output_tokens, &mut streams.output_tokens);
        let priority = self.priority.as_ref().map_or(0, |s| s.sample_priority(&mut streams.priority));
        let streaming = happens(self.streaming_probability, &mut streams.streaming);
        let number = self.opened;
        self.opened += 1;
        let is_named = self.continues_content && !self.drops_reasoning();
        let name = combine(self.sessions, if is_named { number } else { session });
        let name = if is_named { name.max(1) } else { name };
        let turn = combine(name, 0);
        let reasoning = self.reasoning_tokens(turn);
        let [image_tokens, encoder_tokens] = self.image_tokens(turn);
        let mut spec = RequestSpec {
            arrival,
            profile,
            client: (number % CLIENTS) as u32,
            session,
            turn: 0,
            prompt_tokens: prompt
                .max(prefix.tokens + 1)
                .saturating_add(prefix.added)
                .saturating_add(image_tokens)
                .min(MAX_TOKENS),
            encoder_tokens,
            max_output_tokens: self.with_reasoning(most, reasoning),
            output_tokens: self.with_reasoning(output, reasoning).min(self.with_reasoning(most, reasoning)),
            priority,
            streaming,
            timeout: self.timeout,
            prefix: prefix.segments,
            tail_key: if is_named { name } else { 0 },
        };
        if self.continues_content && self.drops_reasoning() {
            name_prompt(&mut spec, turn);
        }
        spec
    }

    /// Whether the next prompt lacks what the model reasoned before its answer.
    fn drops_reasoning(&self) -> bool {
        matches!(self.reasoning, Some((_, false)))
    }

    /// What the model reasons in a turn, by the turn's name.
    fn reasoning_tokens(&self, turn: u64) -> u32 {
        let reasoning = self.reasoning.as_ref();
        reasoning.map_or(0, |(tokens, _)| tokens.sample_tokens(&mut stream(turn, Purpose::Reasoning)))
    }

    /// Reasoning comes before the answer, and counts against the limit.
    fn with_reasoning(&self, tokens: u32, reasoning: u32) -> u32 {
        tokens.saturating_add(reasoning).min(MAX_TOKENS)
    }

    /// Tokens of a turn's images, by the turn's name: in the prompt, and in the encoder.
    fn image_tokens(&self, turn: u64) -> [u32; 2] {
        self.images.as_ref().map_or([0; 2], |(count, prompt, encoder)| {
            let count = count.sample(&mut stream(turn, Purpose::Images)).round_ties_even();
            let tokens = |each: u32, most: u32| (count * f64::from(each)).min(f64::from(most)) as u32;
            [tokens(*prompt, MAX_TOKENS), tokens(*encoder, MAX_ENCODER_TOKENS)]
        })
    }

    /// Whether answers may start requests side by side.
    pub fn may_fan_out(&self) -> bool {
        self.sub_agents.is_some()
    }

    /// Adds the requests, `most` at the most, that the answer to `spec` starts at `completion`, and says how many.
    pub fn sub_agents(&self, spec: &RequestSpec, completion: SimTime, most: u64, next: &mut Vec<RequestSpec>) -> u32 {
        let Some(team) = &self.sub_agents else { return 0 };
        let owner = combine(combine(self.session_name(spec), u64::from(spec.turn)), Purpose::SubAgents as u64);
        let mut rng = generator(owner);
        if !happens(team.probability, &mut rng) {
            return 0;
        }
        let count = u64::from(team.count.sample_tokens(&mut rng).min(MOST_SUB_AGENTS)).min(most) as u32;
        let prefix = if self.drops_reasoning() { Vec::new() } else { spec.prefix.clone() };
        let shared: u32 = prefix.iter().map(|segment| segment.tokens).sum();
        next.extend((0..count).map(|_| {
            let output_tokens = team.output_tokens.sample_tokens(&mut rng);
            RequestSpec {
                arrival: completion,
                prompt_tokens: team.prompt_tokens.sample_tokens(&mut rng).max(shared + 1),
                encoder_tokens: 0,
                max_output_tokens: output_tokens,
                output_tokens,
                prefix: prefix.clone(),
                tail_key: 0,
                ..spec.clone()
            }
        }));
        count
    }

    /// The turn after `spec`, whose answer of `output_tokens` was complete at `completion`; `None` if the session ends. Its
    /// prompt has `gathered_tokens` beside its own. Arrivals before `end` only. The user keeps priority and patience.
    pub fn next_turn(
        &self,
        spec: &RequestSpec,
        completion: SimTime,
        output_tokens: u32,
        gathered_tokens: u32,
        end: SimTime,
    ) -> Option<RequestSpec> {
        let goes_on = if spec.turn == 0 { self.conversational_probability } else { self.continuation_probability };
        if goes_on <= 0.0 {
            return None;
        }
        let turn = spec.turn + 1;
        let owner = combine(self.session_name(spec), u64::from(turn));
        if !happens(goes_on, &mut stream(owner, Purpose::Continuation)) {
            return None;
        }
        let tool =
            self.tools.as_ref().filter(|tools| happens(tools.probability, &mut stream(owner, Purpose::ToolCall)));
        let pause_s = tool.map_or(&self.think_time_s, |tool| &tool.time_s);
        let think_time_s = pause_s.sample(&mut stream(owner, Purpose::ThinkTime));
        let arrival = completion.saturating_add(SimTime::from_secs_f64(think_time_s));
        if arrival >= end {
            return None;
        }
        let of = |purpose| stream(owner, purpose);
        let [mut prompt, mut most, mut output] =
            [Purpose::PromptTokens, Purpose::MaxOutputTokens, Purpose::OutputTokens].map(of);
        let length = self.lengths.draw(&mut prompt, &mut most, &mut output);
        let new_tokens =
            tool.map_or(length.prompt, |tool| tool.result_tokens.sample_tokens(&mut of(Purpose::PromptTokens)));
        let [image_tokens, encoder_tokens] = self.image_tokens(owner);
        let new_tokens = new_tokens.saturating_add(gathered_tokens).saturating_add(image_tokens);
        let reasoning = self.reasoning_tokens(owner);
        let max_output_tokens = self.with_reasoning(length.most, reasoning);
        let kept = if self.drops_reasoning() {
            let before = self.reasoning_tokens(combine(self.session_name(spec), u64::from(spec.turn)));
            output_tokens.saturating_sub(before)
        } else {
            output_tokens
        };
        let mut next = RequestSpec {
            arrival,
            profile: spec.profile,
            client: spec.client,
            session: spec.session,
            turn,
            prompt_tokens: self.next_prompt_tokens(spec, kept, new_tokens),
            encoder_tokens,
            max_output_tokens,
            output_tokens: self.with_reasoning(length.output, reasoning).min(max_output_tokens),
            priority: spec.priority,
            streaming: happens(self.streaming_probability, &mut stream(owner, Purpose::Streaming)),
            timeout: self.timeout,
            prefix: spec.prefix.clone(),
            tail_key: spec.tail_key,
        };
        if self.continues_content && self.drops_reasoning() {
            name_prompt(&mut next, owner);
        }
        Some(next)
    }

    fn next_prompt_tokens(&self, spec: &RequestSpec, output_tokens: u32, new_tokens: u32) -> u32 {
        if self.accumulates {
            let history = spec.prompt_tokens.saturating_add(output_tokens);
            history.saturating_add(new_tokens).min(MAX_TOKENS)
        } else {
            let shared: u32 = spec.prefix.iter().map(|segment| segment.tokens).sum();
            new_tokens.max(shared + 1)
        }
    }

    fn session_name(&self, spec: &RequestSpec) -> u64 {
        match spec.tail_key {
            0 => combine(self.sessions, spec.session),
            key => key,
        }
    }
}

/// Names what a prompt has beyond its segments, as the turn's own, so that the next prompt shares the prompt but not the
/// answer after it.
fn name_prompt(spec: &mut RequestSpec, turn: u64) {
    let shared: u32 = spec.prefix.iter().map(|segment| segment.tokens).sum();
    let tokens = spec.prompt_tokens.saturating_sub(shared);
    if tokens > 0 {
        let parent = spec.prefix.last().map_or(0, |segment| segment.key);
        spec.prefix.push(PrefixSegment { key: combine(parent, turn).max(1), tokens });
    }
}

fn check_probabilities(profile: &Profile) -> Result<(), WorkloadError> {
    let behaviour = &profile.behaviour;
    let probabilities = [
        ("the conversational probability", profile.conversational_probability),
        ("the continuation probability", profile.continuation_probability),
        ("the streaming probability", profile.streaming_probability),
        ("the probability of a tool call", behaviour.tool_calls.as_ref().map_or(0.0, |tools| tools.probability)),
        ("the probability of sub-agents", behaviour.sub_agents.as_ref().map_or(0.0, |team| team.probability)),
    ];
    let wrong = probabilities.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value));
    wrong.map_or(Ok(()), |(quantity, value)| {
        Err(WorkloadError::Probability { profile: profile.name.clone(), quantity, value })
    })
}

fn timeout(profile: &Profile) -> Result<SimTime, WorkloadError> {
    match profile.timeout_s {
        None => Ok(SimTime::NEVER),
        Some(seconds) if seconds > 0.0 => Ok(SimTime::from_secs_f64(seconds)),
        Some(value) => Err(WorkloadError::Timeout { profile: profile.name.clone(), value }),
    }
}
