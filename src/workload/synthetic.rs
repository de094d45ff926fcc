//! Requests drawn from client profiles.
//!
//! Owns the numbering of sessions and the limits. The laws: no request arrives
//! at or after the duration; never more than the total, follow-up turns included; memory is that of the profiles, for
//! nothing is kept of a session but while it waits for sub-agents. With a total, which follow-ups still fit depends on the order of completions; without
//! one nothing does.

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use super::arrivals::Process;
use super::arrivals::clock::Clock;
use super::distribution::Choice;
use super::error::WorkloadError;
use super::fan_out::{Ended, FanOuts};
use super::load::Starts;
use super::prefixes::Prefixes;
use super::profile::ProfileSource;
use super::spec::{Arrivals, Profile, SyntheticWorkload};
use super::streams::{Purpose, stream};

/// A source of requests drawn from client profiles.
pub struct SyntheticSource {
    profiles: Vec<ProfileSource>,
    prefixes: Prefixes,
    process: Process,
    /// Nothing arrives at or after this.
    end: SimTime,
    /// Requests that may still be made.
    remaining: u64,
    max_turns: u32,
    /// Sessions opened.
    sessions: u64,
    fan_outs: FanOuts,
}

impl SyntheticSource {
    /// Prepares the source.
    ///
    /// # Errors
    /// A parameter is out of range, a name unknown, or time would never pass.
    pub fn new(workload: &SyntheticWorkload) -> Result<Self, WorkloadError> {
        check(workload)?;
        let prefixes = Prefixes::new(&workload.prefix_patterns)?;
        let mut profiles = Vec::with_capacity(workload.profiles.len());
        for (index, profile) in workload.profiles.iter().enumerate() {
            let before = &workload.profiles[..index];
            let twin = before.iter().filter(|p| p.name == profile.name).count() as u64;
            profiles.push(ProfileSource::new(workload, profile, twin, &prefixes)?);
        }
        // A request at the last representable moment could not be told from one that never comes.
        let end = workload.duration.unwrap_or(SimTime::NEVER);
        let choice = || weights(&workload.profiles);
        let rng = stream(workload.seed, Purpose::ProfileChoice);
        let process = match (&workload.load.starts, workload.arrivals) {
            (Some(Starts::AtOnce), _) => Process::AtOnce { choice: choice()?, rng },
            (Some(Starts::Rate { gaps, rate }), _) => {
                let clock = Box::new(Clock::new(gaps, rate, workload.seed)?);
                Process::Timed { clock, choice: choice()?, rng }
            }
            (None, Arrivals::Mixed) => Process::mixed(choice()?, rng),
            (None, Arrivals::Independent) => Process::independent(&mut profiles, end),
        };
        Ok(Self {
            profiles,
            prefixes,
            process,
            end,
            remaining: workload.total_requests.unwrap_or(u64::MAX),
            max_turns: workload.max_turns_per_session,
            sessions: 0,
            fan_outs: FanOuts::default(),
        })
    }
}

impl SyntheticSource {
    fn next_turn(&self, spec: &RequestSpec, at: SimTime, output: u32, gathered: u32) -> Option<RequestSpec> {
        if self.remaining == 0 || spec.turn.saturating_add(1) >= self.max_turns {
            return None;
        }
        self.profiles.get(usize::from(spec.profile))?.next_turn(spec, at, output, gathered, self.end)
    }

    /// The session's next turn, or the sub-agents that it will wait for.
    fn after_answer(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        let Some(turn) = self.next_turn(spec, record.completion, record.output_tokens, 0) else { return };
        let profile = &self.profiles[usize::from(spec.profile)];
        if profile.may_fan_out() {
            let count = profile.sub_agents(spec, record.completion, self.remaining, next);
            if count > 0 {
                self.remaining -= u64::from(count);
                self.fan_outs.wait(spec, record, count);
                return;
            }
        }
        self.remaining -= 1;
        next.push(turn);
    }
}

impl RequestSource for SyntheticSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        if self.remaining == 0 {
            return None;
        }
        let (arrival, index) = self.process.next(&mut self.profiles, self.end)?;
        self.remaining -= 1;
        let session = self.sessions;
        self.sessions += 1;
        let profile = &mut self.profiles[index];
        Some(profile.first_turn(index as u16, arrival, session, &self.prefixes))
    }

    /// The session's next turn, if the answer was received whole.
    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        match self.fan_outs.end(record) {
            Ended::NotTheLast => {}
            Ended::All(join) => {
                let turn = self.next_turn(&join.spec, join.completion, join.output_tokens, join.gathered_tokens);
                self.remaining -= u64::from(turn.is_some());
                next.extend(turn);
            }
            Ended::Turn if record.status == Status::Success => self.after_answer(spec, record, next),
            Ended::Turn => {}
        }
    }

    fn promises(&self) -> Promises {
        Promises {
            no_follow_ups: self.max_turns <= 1 || !self.profiles.iter().any(ProfileSource::may_converse),
            streams_only: self.profiles.iter().all(ProfileSource::always_streams),
        }
    }
}

fn weights(profiles: &[Profile]) -> Result<Choice, WorkloadError> {
    Choice::new(profiles.iter().map(|profile| profile.weight)).ok_or(WorkloadError::Weights { what: "client profiles" })
}

fn check(workload: &SyntheticWorkload) -> Result<(), WorkloadError> {
    let count = workload.profiles.len();
    if count == 0 {
        return Err(WorkloadError::NoProfiles);
    }
    if count > usize::from(u16::MAX) + 1 {
        return Err(WorkloadError::TooManyProfiles { count });
    }
    if workload.total_requests.is_some() {
        return Ok(());
    }
    match &workload.load.starts {
        Some(Starts::Rate { .. }) => return Ok(()),
        Some(Starts::AtOnce) if workload.load.places.is_none() || workload.duration.is_none() => {
            return Err(WorkloadError::NoEnd);
        }
        Some(Starts::AtOnce) => return Ok(()),
        None => {}
    }
    let never_advances = |profile: &&Profile| {
        let longest = profile.inter_arrival_s.upper_bound();
        longest.is_some_and(|seconds| SimTime::from_secs_f64(seconds / workload.rate_scale) == SimTime::ZERO)
    };
    let mut stuck = workload.profiles.iter().filter(never_advances);
    let stuck = match workload.arrivals {
        Arrivals::Independent => stuck.next(),
        // One profile that lets time pass is enough, if it is ever chosen.
        Arrivals::Mixed => {
            let mut chosen = workload.profiles.iter().filter(|p| p.weight > 0.0);
            if chosen.all(|profile| never_advances(&profile)) { stuck.next() } else { None }
        }
    };
    stuck.map_or(Ok(()), |profile| Err(WorkloadError::NoGaps { profile: profile.name.clone() }))
}
