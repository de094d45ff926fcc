//! Reasoning, tools, sub-agents, images, documents and lengths that go together.

use llmperforacle::workload::{
    Behaviour, Distribution, Documents, Images, PrefixPattern, Profile, Reasoning, SubAgents, SyntheticWorkload,
    ToolCalls,
};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;

use super::{constant, exponential, first_turns, follow_up, open, profile, success, talker, workload};

fn with(behaviour: Behaviour) -> SyntheticWorkload {
    workload(vec![Profile {
        prompt_tokens: constant(100.0),
        max_output_tokens: constant(50.0),
        output_tokens: None,
        behaviour,
        ..talker("a", 5.0)
    }])
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&one, &other| values[one].total_cmp(&values[other]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let mut to = from;
        while to + 1 < order.len() && values[order[to + 1]] == values[order[from]] {
            to += 1;
        }
        order[from..=to].iter().for_each(|&index| ranks[index] = (from + to) as f64 / 2.0);
        from = to + 1;
    }
    ranks
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let n = one.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (a, b) = (mean(one), mean(other));
    let sum = |f: &dyn Fn(f64, f64) -> f64| one.iter().zip(other).map(|(&x, &y)| f(x - a, y - b)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn lengths_have_the_rank_correlation_asked_for_and_their_own_distributions() {
    for rank in [-0.6, 0.0, 0.3, 0.9] {
        let mut one = workload(vec![profile("a", 100.0)]);
        one.total_requests = None;
        one.duration = Some(SimTime::from_secs_f64(500.0));
        one.profiles[0].prompt_tokens = Distribution::LogNormal { mu: 7.0, sigma: 1.0 };
        one.profiles[0].max_output_tokens = constant(1e6);
        one.profiles[0].output_tokens = Some(Distribution::Weibull { shape: 0.8, scale: 300.0 });
        one.profiles[0].behaviour.length_correlation = Some(rank);
        let specs = first_turns(&one);
        let prompts: Vec<f64> = specs.iter().map(|spec| f64::from(spec.prompt_tokens)).collect();
        let outputs: Vec<f64> = specs.iter().map(|spec| f64::from(spec.output_tokens)).collect();
        let found = correlation(&ranks(&prompts), &ranks(&outputs));
        assert!((found - rank).abs() < 0.015, "{found}, asked for {rank}");
        let share_below = |values: &[f64], limit: f64| {
            values.iter().filter(|&&value| value < limit).count() as f64 / values.len() as f64
        };
        // The medians: e^7, and 300 · ln(2)^(1/0.8).
        assert!((share_below(&prompts, 7_f64.exp()) - 0.5).abs() < 0.01);
        assert!((share_below(&outputs, 300.0 * 2_f64.ln().powf(1.25)) - 0.5).abs() < 0.01);
    }
    let mut one = with(Behaviour { length_correlation: Some(0.5), ..Behaviour::default() });
    one.profiles[0].prompt_tokens = Distribution::Gamma { shape: 2.0, scale: 100.0 };
    let error = llmperforacle::workload::Workload::Synthetic(one).open().err().expect("Gamma has no quantiles here");
    assert!(error.to_string().contains("Weibull"), "{error}");
}

/// Reasoning is a part of the answer; the next prompt shares the prompt before it and nothing after that.
#[test]
fn dropped_reasoning_is_in_no_later_prompt() {
    let reasoning =
        |is_kept| Behaviour { reasoning: Some(Reasoning { tokens: constant(400.0), is_kept }), ..Behaviour::default() };
    let dropped = with(reasoning(false));
    let first = first_turns(&dropped).remove(0);
    assert_eq!((first.prompt_tokens, first.output_tokens, first.max_output_tokens, first.tail_key), (100, 450, 450, 0));
    let mut source = open(&dropped);
    let second = follow_up(&mut *source, &first, &success(&first, 1.0)).expect("a talker goes on");
    assert_eq!(second.prompt_tokens, 100 + 50 + 100);
    assert_eq!(second.prefix[..first.prefix.len()], first.prefix[..]);
    let named = |spec: &RequestSpec| spec.prefix.iter().map(|segment| segment.tokens).sum::<u32>();
    assert_eq!((named(&first), named(&second)), (100, 250));
    let third = follow_up(&mut *source, &second, &success(&second, 1.0)).expect("it goes on");
    assert_eq!((third.prompt_tokens, third.prefix[..2].to_vec()), (400, second.prefix[..2].to_vec()));
    // An answer that was cut off within its reasoning leaves nothing for the next prompt.
    let mut cut = success(&first, 1.0);
    cut.output_tokens = 300;
    assert_eq!(follow_up(&mut *source, &first, &cut).expect("it goes on").prompt_tokens, 200);

    let kept = with(reasoning(true));
    let first = first_turns(&kept).remove(0);
    let second = follow_up(&mut *open(&kept), &first, &success(&first, 1.0)).expect("it goes on");
    assert_eq!((second.prompt_tokens, second.tail_key), (100 + 450 + 100, first.tail_key));
}

#[test]
fn a_tools_turn_comes_after_its_time_with_its_result() {
    let tool_calls = Some(ToolCalls { probability: 0.25, time_s: constant(2.0), result_tokens: constant(7.0) });
    let mut one = with(Behaviour { tool_calls, ..Behaviour::default() });
    one.profiles[0].think_time_s = constant(60.0);
    let mut source = open(&one);
    let firsts = super::drain(&mut *source);
    let mut tools = 0;
    for first in &firsts {
        let record = success(first, 1.0);
        let next = follow_up(&mut *source, first, &record);
        let Some(next) = next else { break };
        let pause_s = (next.arrival - record.completion).as_secs_f64();
        let new_tokens = next.prompt_tokens - 150;
        assert!((pause_s, new_tokens) == (2.0, 7) || (pause_s, new_tokens) == (60.0, 100), "{pause_s} {new_tokens}");
        tools += u32::from(new_tokens == 7);
    }
    let share = f64::from(tools) / firsts.len() as f64;
    assert!((share - 0.25).abs() < 4.0 * (0.1875 / firsts.len() as f64).sqrt(), "{share}");
}

/// Three at once; the next turn waits for the last of them and holds their answers.
#[test]
fn a_session_waits_for_all_of_its_sub_agents() {
    let team = SubAgents {
        probability: 1.0,
        count: constant(3.0),
        prompt_tokens: constant(30.0),
        output_tokens: constant(20.0),
    };
    let mut one = with(Behaviour { sub_agents: Some(team), ..Behaviour::default() });
    one.profiles[0].think_time_s = constant(1.0);
    let mut source = open(&one);
    let first = source.next_request().expect("some");
    let other = source.next_request().expect("some");
    let record = success(&first, 5.0);
    let mut agents = Vec::new();
    source.follow_ups(&first, &record, &mut agents);
    assert_eq!(agents.len(), 3);
    for agent in &agents {
        assert_eq!((agent.arrival, agent.session, agent.turn), (record.completion, first.session, 0));
        assert_eq!((agent.prompt_tokens, agent.output_tokens, agent.tail_key), (30, 20, 0));
    }
    let mut next = Vec::new();
    // Another session has its own.
    source.follow_ups(&other, &success(&other, 1.0), &mut next);
    assert_eq!(next.len(), 3);
    next.clear();
    for (agent, latency_s) in [(1, 9.0), (0, 2.0)] {
        source.follow_ups(&agents[agent], &success(&agents[agent], latency_s), &mut next);
        assert!(next.is_empty());
    }
    source.follow_ups(&agents[2], &success(&agents[2], 4.0), &mut next);
    let [turn] = &next[..] else { panic!("{next:?}") };
    assert_eq!(turn.arrival, record.completion + SimTime::from_secs_f64(9.0 + 1.0));
    assert_eq!((turn.turn, turn.prompt_tokens, turn.tail_key), (1, 100 + 50 + 100 + 60, first.tail_key));
}

/// Sub-agents count as requests: never more than the total.
#[test]
fn sub_agents_keep_the_total() {
    let team = SubAgents {
        probability: 0.7,
        count: Distribution::Uniform { low: 1.0, high: 6.0 },
        prompt_tokens: exponential(0.01),
        output_tokens: exponential(0.05),
    };
    let mut one = with(Behaviour { sub_agents: Some(team), ..Behaviour::default() });
    one.total_requests = Some(500);
    (one.duration, one.max_turns_per_session) = (None, 8);
    let mut source = open(&one);
    let (mut in_flight, mut sent) = (Vec::new(), 0);
    for _ in 0..50 {
        in_flight.extend(source.next_request());
    }
    while let Some(spec) = in_flight.pop() {
        sent += 1;
        let mut next = Vec::new();
        source.follow_ups(&spec, &success(&spec, 1.0), &mut next);
        in_flight.append(&mut next);
    }
    let rest = super::drain(&mut *source).len();
    assert_eq!(sent + rest, 500);
    assert!(sent > 300, "{sent}");
}

#[test]
fn images_are_tokens_of_the_prompt_and_of_the_encoder() {
    let images = Some(Images {
        count: Distribution::Histogram { bins: vec![(1.0, 0.0, 0.0), (1.0, 2.0, 2.0)] },
        tokens_each: 576,
        encoder_tokens_each: 2304,
    });
    let specs = first_turns(&with(Behaviour { images, ..Behaviour::default() }));
    let with_images = specs.iter().filter(|spec| spec.prompt_tokens == 100 + 2 * 576).count();
    let tokens = |spec: &RequestSpec| (spec.prompt_tokens, spec.encoder_tokens);
    assert!(specs.iter().all(|spec| [(100, 0), (100 + 2 * 576, 2 * 2304)].contains(&tokens(spec))));
    let share = with_images as f64 / specs.len() as f64;
    assert!((share - 0.5).abs() < 4.0 * (0.25 / specs.len() as f64).sqrt(), "{share}");
}

/// The n-th of N documents has a share of 1/n over the sum of all 1/n, and is always the same.
#[test]
fn documents_are_shared_by_their_popularity() {
    let documents =
        Documents { count: 1000, popularity: 1.0, tokens: Distribution::Uniform { low: 500.0, high: 3000.0 } };
    let pattern = PrefixPattern {
        name: "corpus".to_owned(),
        weight: 1.0,
        pieces: vec![("system".to_owned(), 40)],
        documents: Some(documents),
    };
    let mut one = workload(vec![profile("a", 100.0)]);
    (one.total_requests, one.duration) = (Some(50_000), None);
    one.profiles[0].prompt_tokens = constant(100.0);
    one.prefix_patterns = vec![pattern];
    let mut counts = std::collections::HashMap::new();
    for spec in first_turns(&one) {
        let [system, document] = spec.prefix[..] else { panic!("a system prompt and a document") };
        assert_eq!((system.tokens, spec.prompt_tokens), (40, 100 + document.tokens));
        let (count, tokens) = counts.entry(document.key).or_insert((0_u32, document.tokens));
        *count += 1;
        assert_eq!(*tokens, document.tokens, "a document has its length");
    }
    let mut counts: Vec<f64> = counts.values().map(|(count, _)| f64::from(*count)).collect();
    counts.sort_by(|one, other| other.total_cmp(one));
    let harmonic: f64 = (1..=1000).map(|n| 1.0 / f64::from(n)).sum();
    for rank in [1.0_f64, 2.0, 5.0, 10.0] {
        let expected = 50_000.0 / rank / harmonic;
        let found = counts[rank as usize - 1];
        assert!((found - expected).abs() < 4.5 * expected.sqrt(), "rank {rank}: {found} of {expected}");
    }
}
