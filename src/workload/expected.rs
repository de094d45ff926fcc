//! What can be told of a synthetic load before it runs.

use super::arrivals::clock;
use super::facts::WorkloadFacts;
use super::load::Starts;
use super::spec::{Arrivals, Profile, SyntheticWorkload};

fn encodes_images(profile: &Profile) -> bool {
    profile.behaviour.images.as_ref().is_some_and(|images| images.encoder_tokens_each > 0)
}

/// Rates and numbers to expect.
pub(super) fn facts(workload: &SyntheticWorkload) -> WorkloadFacts {
    let rates = match &workload.load.starts {
        // Each session waits for the end of another.
        Some(Starts::AtOnce) => None,
        Some(Starts::Rate { rate, .. }) => {
            let total: f64 = workload.profiles.iter().map(|profile| profile.weight).sum();
            let per_s = clock::mean_per_s(rate, workload.duration);
            per_s.map(|per_s| workload.profiles.iter().map(|profile| per_s * profile.weight / total).collect())
        }
        None => rates_by_gaps(workload),
    };
    let rate_per_s = rates.map(|rates: Vec<f64>| {
        let turns = workload.profiles.iter().map(|profile| mean_turns(profile, workload.max_turns_per_session));
        rates.iter().zip(turns).map(|(rate, turns)| rate * turns).sum()
    });
    let rate_per_s: Option<f64> = rate_per_s.filter(|rate: &f64| rate.is_finite());
    let ends_by_itself = match &workload.load.starts {
        Some(Starts::Rate { rate, .. }) => clock::length(rate),
        _ => None,
    };
    let by_duration = workload.duration.or(ends_by_itself).zip(rate_per_s);
    let by_duration = by_duration.map(|(end, rate)| (end.as_secs_f64() * rate).round() as u64);
    WorkloadFacts {
        profile_names: workload.profiles.iter().map(|p| p.name.clone()).collect(),
        profile_slos: workload.profiles.iter().map(|p| p.slo).collect(),
        expected_requests: match (by_duration, workload.total_requests) {
            (Some(by_duration), Some(total)) => Some(by_duration.min(total)),
            (by_duration, total) => by_duration.or(total),
        },
        mean_rate_per_s: rate_per_s,
        encodes_images: workload.profiles.iter().any(encodes_images),
        ..WorkloadFacts::default()
    }
}

/// First turns a second, by profile, where each profile says its gaps.
fn rates_by_gaps(workload: &SyntheticWorkload) -> Option<Vec<f64>> {
    let gaps = workload.profiles.iter().map(|profile| Some(profile.inter_arrival_s.mean()? / workload.rate_scale));
    match workload.arrivals {
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
    }
}

/// Requests of a session on average, sub-agents included, if every answer succeeds and nothing cuts it short.
fn mean_turns(profile: &Profile, max_turns: u32) -> f64 {
    let further = f64::from(max_turns.saturating_sub(1));
    let goes_on = profile.continuation_probability;
    let after_the_second = if goes_on < 1.0 { (1.0 - goes_on.powf(further)) / (1.0 - goes_on) } else { further };
    let further = profile.conversational_probability * after_the_second;
    let team = profile.behaviour.sub_agents.as_ref();
    let side_by_side = team.map_or(0.0, |team| team.probability * team.count.mean().unwrap_or(0.0));
    1.0 + further * (1.0 + side_by_side)
}
