//! Requests drawn from client profiles.
//!
//! Owns the numbering of sessions, the limits, and what is known of the load beforehand. The laws: no request arrives
//! at or after the duration; never more than the total, follow-up turns included; memory is that of the profiles, for
//! nothing is kept of a session. With a total, which follow-ups still fit depends on the order of completions; without
//! one nothing does.

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use super::arrivals::Process;
use super::distribution::Choice;
use super::error::WorkloadError;
use super::facts::WorkloadFacts;
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
        let process = match workload.arrivals {
            Arrivals::Mixed => {
                Process::mixed(weights(&workload.profiles)?, stream(workload.seed, Purpose::ProfileChoice))
            }
            Arrivals::Independent => Process::independent(&mut profiles, end),
        };
        Ok(Self {
            profiles,
            prefixes,
            process,
            end,
            remaining: workload.total_requests.unwrap_or(u64::MAX),
            max_turns: workload.max_turns_per_session,
            sessions: 0,
        })
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
        let may_go_on =
            record.status == Status::Success && self.remaining > 0 && spec.turn.saturating_add(1) < self.max_turns;
        if !may_go_on {
            return;
        }
        let Some(profile) = self.profiles.get(usize::from(spec.profile)) else { return };
        if let Some(turn) = profile.next_turn(spec, record.completion, record.output_tokens, self.end) {
            self.remaining -= 1;
            next.push(turn);
        }
    }

    fn promises(&self) -> Promises {
        Promises {
            no_follow_ups: self.max_turns <= 1 || !self.profiles.iter().any(ProfileSource::may_converse),
            streams_only: self.profiles.iter().all(ProfileSource::always_streams),
        }
    }
}

/// What can be told of the load beforehand.
pub(super) fn facts(workload: &SyntheticWorkload) -> WorkloadFacts {
    let gaps = workload.profiles.iter().map(|profile| profile.inter_arrival_s.mean());
    // First turns a second, by profile.
    let rates: Option<Vec<f64>> = match workload.arrivals {
        Arrivals::Independent => Some(gaps.map(|gap| 1.0 / gap.unwrap_or(f64::INFINITY)).collect()),
        Arrivals::Mixed => {
            let weights = workload.profiles.iter().map(|profile| profile.weight);
            let cycle: Option<f64> = gaps
                .zip(weights.clone())
                .filter(|&(_, weight)| weight > 0.0)
                .map(|(gap, weight)| Some(weight * gap?))
                .sum();
            cycle.map(|cycle| weights.map(|weight| weight / cycle).collect())
        }
    };
    let rate_per_s = rates.map(|rates| {
        let turns = workload.profiles.iter().map(|profile| mean_turns(profile, workload.max_turns_per_session));
        rates.iter().zip(turns).map(|(r, turns)| r * turns).sum()
    });
    let rate_per_s: Option<f64> = rate_per_s.filter(|rate: &f64| rate.is_finite());
    let by_duration = workload.duration.zip(rate_per_s);
    let by_duration = by_duration.map(|(end, rate)| (end.as_secs_f64() * rate).round() as u64);
    WorkloadFacts {
        profile_names: workload.profiles.iter().map(|p| p.name.clone()).collect(),
        profile_slos: workload.profiles.iter().map(|p| p.slo).collect(),
        expected_requests: match (by_duration, workload.total_requests) {
            (Some(by_duration), Some(total)) => Some(by_duration.min(total)),
            (by_duration, total) => by_duration.or(total),
        },
        mean_rate_per_s: rate_per_s,
        trace: None,
    }
}

/// Turns of a session on average, if every answer succeeds and nothing cuts it short.
fn mean_turns(profile: &Profile, max_turns: u32) -> f64 {
    let further = f64::from(max_turns.saturating_sub(1));
    let goes_on = profile.continuation_probability;
    let after_the_second = if goes_on < 1.0 { (1.0 - goes_on.powf(further)) / (1.0 - goes_on) } else { further };
    1.0 + profile.conversational_probability * after_the_second
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
    let never_advances = |profile: &&Profile| {
        let longest = profile.inter_arrival_s.upper_bound();
        longest.is_some_and(|seconds| SimTime::from_secs_f64(seconds) == SimTime::ZERO)
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
