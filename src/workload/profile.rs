//! One client profile, ready to be drawn from: samplers and streams of first turns, and the draws of later turns.
//!
//! The laws: a profile's streams are named by the master seed and its name, so what other profiles there are changes
//! nothing here. Each draw of a later turn has a generator named by (session, turn, purpose), so the order in which
//! answers complete changes nothing, and nothing need be remembered of a session. A session is named by its profile and
//! its number within the profile; where the request's `tail_key` carries that name it is read from there, else the
//! session's number stands in for it (which does depend on what other profiles there are).

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::distribution::{MAX_TOKENS, Sampler, happens};
use super::error::WorkloadError;
use super::prefixes::Prefixes;
use super::spec::{Distribution, Profile, SyntheticWorkload};
use super::streams::{Purpose, combine, hash_bytes, stream};

/// Clients of a profile; its requests go round among them.
const CLIENTS: u64 = 100;

/// A client profile and where its streams have got to.
pub(super) struct ProfileSource {
    inter_arrival_s: Sampler,
    prompt_tokens: Sampler,
    max_output_tokens: Sampler,
    output_tokens: Option<Sampler>,
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

/// The streams that first turns are drawn from.
struct Streams {
    arrival: Xoshiro256PlusPlus,
    prompt_tokens: Xoshiro256PlusPlus,
    max_output_tokens: Xoshiro256PlusPlus,
    output_tokens: Xoshiro256PlusPlus,
    priority: Xoshiro256PlusPlus,
    streaming: Xoshiro256PlusPlus,
    prefix_pattern: Xoshiro256PlusPlus,
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
            prompt_tokens: sampler("prompt tokens", &profile.prompt_tokens)?,
            max_output_tokens: sampler("max output tokens", &profile.max_output_tokens)?,
            output_tokens: optional("output tokens", &profile.output_tokens)?,
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
        SimTime::from_secs_f64(self.inter_arrival_s.sample(&mut self.streams.arrival))
    }

    /// The first turn of a session.
    #[inline]
    pub fn first_turn(&mut self, profile: u16, arrival: SimTime, session: u64, prefixes: &Prefixes) -> RequestSpec {
        let streams = &mut self.streams;
        let prefix = prefixes.draw(self.pattern, &mut streams.prefix_pattern);
        let new_tokens = self.prompt_tokens.sample_tokens(&mut streams.prompt_tokens);
        let max_output_tokens = self.max_output_tokens.sample_tokens(&mut streams.max_output_tokens);
        let output_tokens = self
            .output_tokens
            .as_ref()
            .map_or(max_output_tokens, |s| s.sample_tokens(&mut streams.output_tokens).min(max_output_tokens));
        let priority = self.priority.as_ref();
        let number = self.opened;
        self.opened += 1;
        RequestSpec {
            arrival,
            profile,
            client: (number % CLIENTS) as u32,
            session,
            turn: 0,
            prompt_tokens: new_tokens.max(prefix.tokens + 1),
            max_output_tokens,
            output_tokens,
            priority: priority.map_or(0, |s| s.sample_priority(&mut streams.priority)),
            streaming: happens(self.streaming_probability, &mut streams.streaming),
            timeout: self.timeout,
            prefix: prefix.segments,
            tail_key: if self.continues_content { combine(self.sessions, number).max(1) } else { 0 },
        }
    }

    /// The turn after `spec`, whose answer of `output_tokens` was complete at `completion`; `None` if the session ends.
    /// Arrivals before `end` only. The user keeps priority and patience.
    pub fn next_turn(
        &self,
        spec: &RequestSpec,
        completion: SimTime,
        output_tokens: u32,
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
        let think_time_s = self.think_time_s.sample(&mut stream(owner, Purpose::ThinkTime));
        let arrival = completion.saturating_add(SimTime::from_secs_f64(think_time_s));
        if arrival >= end {
            return None;
        }
        let draw = |sampler: &Sampler, purpose| sampler.sample_tokens(&mut stream(owner, purpose));
        let max_output_tokens = draw(&self.max_output_tokens, Purpose::MaxOutputTokens);
        let output_tokens_next = self
            .output_tokens
            .as_ref()
            .map_or(max_output_tokens, |s| draw(s, Purpose::OutputTokens).min(max_output_tokens));
        let new_tokens = draw(&self.prompt_tokens, Purpose::PromptTokens);
        Some(RequestSpec {
            arrival,
            profile: spec.profile,
            client: spec.client,
            session: spec.session,
            turn,
            prompt_tokens: self.next_prompt_tokens(spec, output_tokens, new_tokens),
            max_output_tokens,
            output_tokens: output_tokens_next,
            priority: spec.priority,
            streaming: happens(self.streaming_probability, &mut stream(owner, Purpose::Streaming)),
            timeout: self.timeout,
            prefix: spec.prefix.clone(),
            tail_key: spec.tail_key,
        })
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

fn check_probabilities(profile: &Profile) -> Result<(), WorkloadError> {
    let probabilities = [
        ("the conversational probability", profile.conversational_probability),
        ("the continuation probability", profile.continuation_probability),
        ("the streaming probability", profile.streaming_probability),
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
