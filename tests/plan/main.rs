//! The plan against exhaustive search: every number of replicas of every deployment simulated to its end, quantiles by sorting.

#[path = "../shared_files/mod.rs"]
mod shared_files;

use std::sync::atomic::AtomicBool;

use llmperforacle::config::{LoadFlags, Overrides, TraceRun};
use llmperforacle::plan::{
    Answer, Base, Deployment, Dimension, Objective, PlanError, Question, Replicas, Space, Status, Target,
};
use oracle_components::record::{RequestRecord, Status as Ended};
use oracle_systems::Simulation;

const MODEL: &str = "Qwen2.5-0.5B";

fn load(rate: &str, requests: u64, prompt: &str, output: &str) -> TraceRun {
    let text = |text: &str| Some(text.to_owned());
    let load = LoadFlags {
        rate: text(rate),
        requests: Some(requests),
        prompt_tokens: text(prompt),
        output_tokens: text(output),
        ..LoadFlags::default()
    };
    TraceRun { load, ..TraceRun::default() }
}

fn question(run: TraceRun, slo: &str) -> Question {
    Question {
        space: Space {
            base: Base::Flags(Box::new(run)),
            overrides: Overrides { seed: Some(7), ..Overrides::default() },
            models: vec![MODEL.to_owned()],
            devices: vec!["L4".to_owned(), "H100".to_owned()],
            tensor_parallel: vec![1, 2],
            pipeline_parallel: vec![1],
            disaggregate: false,
            dimensions: Vec::new(),
        },
        rate_scales: vec![1.0, 3.0],
        targets: Target::parse(slo, None).expect("the SLO is well formed"),
        objective: Objective::Gpus,
        most_gpus: 6,
        repeat: 1,
        prices: Vec::new(),
    }
}

/// A target's value, of sorted values.
fn value(target: &Target, records: &[RequestRecord]) -> f64 {
    let within = |record: &RequestRecord, slo: &str| {
        let objective = |name: &str| {
            let word = slo.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix("_ms="))?;
            Some(word.parse::<f64>().expect("a number"))
        };
        let ttft = record.ttft().map_or(f64::INFINITY, |ttft| ttft.as_millis_f64());
        let tpot = record.tpot_ms().unwrap_or(0.0);
        record.status == Ended::Success
            && objective("ttft").is_none_or(|most| ttft <= most)
            && objective("tpot").is_none_or(|most| tpot <= most)
    };
    let name = target.to_string();
    if let Target::Attainment { slo, .. } = target {
        let slo = slo.to_string();
        return records.iter().filter(|record| within(record, &slo)).count() as f64 / records.len() as f64;
    }
    let of = |record: &RequestRecord| match (record.status, &name[..4]) {
        (Ended::Success, "ttft") => record.ttft().map(|ttft| ttft.as_millis_f64()),
        (Ended::Success, "tpot") => record.tpot_ms(),
        (Ended::Success, _) => Some(record.e2e().as_millis_f64()),
        _ => Some(f64::INFINITY),
    };
    let mut values: Vec<f64> = records.iter().filter_map(of).collect();
    values.sort_by(f64::total_cmp);
    let Some(percent) = name.split_once("_p").and_then(|(_, percent)| percent.parse::<f64>().ok()) else {
        return values.iter().sum::<f64>() / values.len() as f64;
    };
    let position = percent / 100.0 * (values.len() - 1) as f64;
    let (low, high) = (values[position.floor() as usize], values[position.ceil() as usize]);
    if low == high { low } else { low + (high - low) * position.fract() }
}

fn meets(question: &Question, deployment: &Deployment, replicas: impl Into<Replicas>, scale: f64) -> Option<bool> {
    let resolved = question.space.resolve(deployment, replicas.into(), scale, None, None).ok()?;
    let (source, _) = resolved.workload.open().expect("the load can be replayed");
    let mut simulation = Simulation::new(resolved.scenario, source, Vec::<RequestRecord>::new());
    let _ = simulation.run(|_| std::ops::ControlFlow::Continue(()));
    let records = simulation.into_sink();
    Some(question.targets.iter().all(|target| target.is_met(value(target, &records))))
}

/// The fewest replicas by trying all.
fn exhaustive(question: &Question, deployment: &Deployment, scale: f64) -> Option<u32> {
    let most = question.most_gpus / deployment.gpus_per_replica();
    let tried = (1..=most).filter(|&replicas| meets(question, deployment, replicas, scale) == Some(true));
    tried.min()
}

#[test]
fn answers_are_those_of_exhaustive_search() {
    let loads = [
        (load("20", 400, "lognormal:600:400", "lognormal:100:80"), "ttft_p99=200ms,tpot_p99=20ms"),
        (load("60", 500, "2000", "20"), "ttft_p95=300ms"),
        (load("80", 600, "lognormal:300:300", "lognormal:300:100"), "tpot_mean=9ms,e2e_p90=4s"),
        (load("inf", 150, "500", "50"), "e2e_p99=2s"),
        (load("40", 500, "lognormal:900:600", "60"), "ttft=150ms,tpot=12ms"),
    ];
    let mut sizes = std::collections::BTreeSet::new();
    for (run, slo) in loads {
        let mut question = question(run, slo);
        if slo.starts_with("e2e") {
            question.rate_scales = vec![1.0];
        }
        let plan = question.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
        for (at, deployment) in question.space.deployments().iter().enumerate() {
            for (nth, &scale) in question.rate_scales.iter().enumerate() {
                let candidate = &plan.candidates[at * question.rate_scales.len() + nth];
                let fewest = exhaustive(&question, deployment, scale);
                let found = candidate.replicas.filter(|_| candidate.status == Status::Meets);
                assert_eq!(found, fewest, "{slo}: {deployment:?} × {scale}");
                assert!(fewest.is_none_or(|fewest| candidate.roofline_replicas <= fewest), "a bound is none");
                sizes.insert(fewest);
            }
        }
        for answer in &plan.answers {
            let own = question.space.deployments().into_iter().filter(|deployment| deployment.device == answer.device);
            let gpus = own.filter_map(|deployment| {
                Some(exhaustive(&question, &deployment, answer.rate_scale)? * deployment.gpus_per_replica())
            });
            assert_eq!(
                answer.gpus.filter(|_| answer.slo_met),
                gpus.min(),
                "{slo}: {} × {}",
                answer.device,
                answer.rate_scale
            );
            check_next_smaller(&question, answer);
        }
    }
    assert!(sizes.contains(&None) && sizes.len() > 3, "the cases tell little apart: {sizes:?}");
}

/// The next smaller of all that there are misses something, and says what.
fn check_next_smaller(question: &Question, answer: &Answer) {
    let gpus = answer.gpus.filter(|_| answer.slo_met).unwrap_or(0);
    let own = question.space.deployments().into_iter().filter(|deployment| deployment.device == answer.device);
    let sizes = own.flat_map(|deployment| {
        (1..gpus).map(move |count| count / deployment.gpus_per_replica() * deployment.gpus_per_replica())
    });
    let largest = sizes.filter(|&size| size > 0).max();
    let less = answer.next_smaller.as_ref();
    assert_eq!(less.map(|less| less.gpus), largest, "{answer:?}");
    if let Some(less) = less {
        assert_eq!(less.replicas * less.tensor_parallel * less.pipeline_parallel, less.gpus);
        assert!(less.targets.iter().any(|target| !target.met), "{less:?}");
    }
    if let Some(margin) = answer.margin_pct {
        assert_eq!(margin >= 0.0, answer.slo_met);
        let least = answer.targets.iter().filter_map(|target| target.margin_pct).fold(f64::INFINITY, f64::min);
        assert_eq!(least.to_bits(), margin.to_bits());
    }
}

#[test]
fn a_plan_is_the_same_for_any_number_of_threads() {
    let question = question(load("60", 300, "lognormal:900:600", "50"), "ttft_p99=200ms,tpot_p95=20ms");
    let plans = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be made");
        let plan = pool.install(|| question.answer(&AtomicBool::new(false), |_, _| {})).expect("there is a plan");
        serde_json::to_string(&plan).expect("it is JSON")
    });
    assert!(plans[0] == plans[1] && plans[1] == plans[2]);
}

#[test]
fn the_knee_lies_between_a_rate_that_meets_and_one_that_misses() {
    let mut question = question(load("30", 2000, "lognormal:900:600", "50"), "ttft_p99=200ms");
    question.space.tensor_parallel = vec![1];
    let knees = question.knees(&[1, 2], &AtomicBool::new(false), |_, _| {}).expect("there are knees");
    assert_eq!(knees.len(), 4);
    let deployments = question.space.deployments();
    for knee in &knees {
        let deployment = deployments.iter().find(|deployment| deployment.device == knee.device).expect("it is one");
        let (met, missed) = (knee.rate_scale.expect("a rate"), knee.missed_at.expect("a rate"));
        assert!(knee.slo_met && met < missed && missed / met <= 1.01, "{met} {missed}");
        assert_eq!(meets(&question, deployment, knee.replicas, met), Some(true));
        assert_eq!(meets(&question, deployment, knee.replicas, missed), Some(false));
    }
    // Twice the replicas carry about twice the rate.
    let ratio = knees[1].rate_scale.zip(knees[0].rate_scale).map(|(two, one)| two / one).expect("they are met");
    assert!((1.3..3.0).contains(&ratio), "{ratio}");
}

/// Twenty requests that come at once are served in time whatever that is called: it is no rate, and none is told for one.
#[test]
fn a_burst_is_not_told_for_a_rate() {
    let mut question = question(load("5", 20, "100", "5"), "tpot_p50=5s");
    question.space.tensor_parallel = vec![1];
    question.space.devices = vec!["H100".to_owned()];
    let knees = question.knees(&[1], &AtomicBool::new(false), |_, _| {}).expect("there is a knee");
    assert!(knees[0].slo_met && knees[0].is_burst && knees[0].missed_at.is_none());
    let reason = knees[0].reason.as_ref().expect("there is one");
    assert!(reason.starts_with("the load is too short to say: its 20 requests come within"), "{reason}");
    assert!(knees[0].rate_scale.is_some_and(|scale| scale < 1e4), "{:?}", knees[0].rate_scale);
}

/// Of what is mostly warm-up little is left to judge by.
#[test]
fn a_load_that_is_over_in_the_warm_up_is_refused() {
    let mut question = question(load("20", 200, "300", "20"), "ttft_p99=200ms");
    question.space.overrides.set = vec!["metrics_config.warm_up_duration_s=4".to_owned()];
    let plan = question.answer(&AtomicBool::new(false), |_, _| {});
    let Err(PlanError::Load(message)) = plan else { panic!("{plan:?}") };
    assert!(message.contains("requests arrive within the warm-up"), "{message}");
    question.rate_scales = vec![1.0];
    question.answer(&AtomicBool::new(false), |_, _| {}).expect("half of them count");
}

#[test]
fn seeds_give_intervals() {
    let mut question = question(load("20", 200, "lognormal:600:400", "50"), "ttft_p99=200ms");
    question.rate_scales = vec![1.0];
    question.repeat = 4;
    let plan = question.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
    for answer in plan.answers.iter().filter(|answer| answer.slo_met) {
        let [interval] = &answer.intervals[..] else { panic!("a target has an interval") };
        assert!(interval.low < interval.mean && interval.mean < interval.high && interval.runs == 4);
        assert_eq!(interval.is_uncertain, interval.low <= 200.0 && 200.0 <= interval.high);
    }
}

#[test]
fn what_cannot_be_is_told_apart_from_mistakes() {
    let base = question(load("1", 20, "100", "10"), "ttft_p99=1s");
    let mut large = base.clone();
    large.space.models = vec!["Llama3.1-70B".to_owned()];
    large.space.devices = vec!["L4".to_owned(), "H100".to_owned()];
    large.rate_scales = vec![1.0];
    large.space.tensor_parallel = vec![1, 4];
    let plan = large.answer(&AtomicBool::new(false), |_, _| {}).expect("four H100 hold it");
    let statuses: Vec<Status> = plan.candidates.iter().map(|candidate| candidate.status).collect();
    assert_eq!(statuses, [Status::CannotBe, Status::CannotBe, Status::CannotBe, Status::Meets]);
    assert!(
        plan.answers[0].reason.as_ref().is_some_and(|reason| reason.contains("does not fit"))
            && !plan.answers[0].slo_met
    );
    assert_eq!(plan.unanswered().count(), 1);
    let mut unknown = base.clone();
    unknown.space.devices = vec!["H100".to_owned(), "H1000".to_owned()];
    assert!(matches!(unknown.answer(&AtomicBool::new(false), |_, _| {}), Err(PlanError::Configuration(_))));
    let mut empty = base.clone();
    empty.space.dimensions =
        vec![Dimension { key: "frameworks_to_test[*].config.max_num_seqs".to_owned(), values: Vec::new() }];
    assert!(matches!(empty.answer(&AtomicBool::new(false), |_, _| {}), Err(PlanError::Question(_))));
    let mut priceless = base;
    priceless.objective = Objective::Cost;
    assert!(matches!(priceless.answer(&AtomicBool::new(false), |_, _| {}), Err(PlanError::Question(_))));
}

#[test]
fn prefill_and_decode_apart_are_searched_by_every_split() {
    let mut question = question(load("400", 400, "lognormal:900:600", "80"), "ttft_p99=60ms");
    question.space.devices = vec!["H100".to_owned()];
    question.space.tensor_parallel = vec![1];
    question.space.disaggregate = true;
    question.rate_scales = vec![1.0];
    let plan = question.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
    let deployments = question.space.deployments();
    let apart = deployments.iter().find(|deployment| deployment.is_disaggregated).expect("it is tried");
    let meets = |all: u32| {
        (1..all).any(|prefill| meets(&question, apart, Replicas { all, prefill: Some(prefill) }, 1.0) == Some(true))
    };
    let fewest = (2..=question.most_gpus).find(|&all| meets(all));
    let candidate = plan.candidates.iter().find(|candidate| candidate.disaggregated).expect("it is told");
    assert_eq!(candidate.replicas.filter(|_| candidate.status == Status::Meets), fewest);
    assert!(fewest.is_some_and(|fewest| fewest > 2), "the case tells little: {fewest:?}");
}

/// Every cell of the study in the README: the fewest GPUs, and TP × replicas; and how many simulations the page of plans says it takes.
#[test]
fn the_study_of_the_page_is_what_a_plan_says() {
    let Some(trace) = shared_files::shared("data/traces/AzureLLMInferenceTrace_conv.csv") else { return };
    let mut question = question(TraceRun { trace: Some(trace), ..TraceRun::default() }, "ttft_p99=1s,tpot_p99=50ms");
    question.space.models = ["Llama3.1-8B", "Llama3.1-70B"].map(str::to_owned).to_vec();
    question.space.devices = ["H100", "A100", "L40S"].map(str::to_owned).to_vec();
    question.space.tensor_parallel = vec![1, 2, 4, 8];
    question.rate_scales = vec![1.0, 4.0, 10.0];
    question.most_gpus = 256;
    let plan = question.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
    let page = include_str!("../../README.md");
    for answer in &plan.answers {
        let head = format!("| {} | {} |", answer.model, answer.device);
        let row = page.lines().find(|line| line.starts_with(&head)).expect("the page has the row");
        let column = question.rate_scales.iter().position(|scale| *scale == answer.rate_scale).expect("it was asked");
        let told = row.split('|').map(str::trim).nth(3 + column).expect("and the column");
        let found = match (answer.gpus, answer.tensor_parallel, answer.replicas) {
            (Some(gpus), Some(ranks), Some(replicas)) if answer.slo_met => format!("{gpus} ({ranks} × {replicas})"),
            _ => format!("none up to {}", question.most_gpus),
        };
        assert_eq!(told, found, "{row}");
    }
    let told = include_str!("../../docs/plan.md");
    assert!(told.contains(&format!("It takes {} simulations", plan.runs)), "{} simulations", plan.runs);
}

/// Prompts that no engine takes are told with the reason, and more replicas are not tried where those alone miss.
#[test]
fn refused_prompts_are_no_want_of_replicas() {
    let mut long = question(load("20", 100, "50000", "20"), "ttft_p99=200ms");
    long.rate_scales = vec![1.0];
    let plan = long.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
    for answer in &plan.answers {
        let [refused] = &answer.refused[..] else { panic!("{answer:?}") };
        assert_eq!((refused.reason.as_str(), refused.requests), ("prompt_exceeds_max_model_len", 100));
        assert_eq!((refused.longest_tokens, refused.limit_tokens), (50_000, 32_768));
        assert!(
            !answer.slo_met && answer.reason.as_ref().is_some_and(|reason| reason.contains("no number of replicas"))
        );
    }
    assert_eq!(plan.runs, 2 * plan.candidates.len() as u64, "the first and, to its end, the same again");
    let knees = long.knees(&[1], &AtomicBool::new(false), |_, _| {}).expect("there are knees");
    assert!(knees.iter().all(|knee| !knee.slo_met && !knee.misses_at_every_rate()), "{knees:?}");

    // One in a hundred or so is within a percentile that leaves as many out.
    let mut few = question(load("5", 400, "lognormal:6000:12000", "20"), "ttft_p50=1s");
    few.rate_scales = vec![1.0];
    let plan = few.answer(&AtomicBool::new(false), |_, _| {}).expect("there is a plan");
    assert!(plan.answers.iter().all(|answer| answer.slo_met && answer.reason.is_none()), "{:?}", plan.answers);
    assert!(
        plan.answers
            .iter()
            .all(|answer| answer.refused.len() == 1 && answer.failed == Some(answer.refused[0].requests))
    );
}
