//! The table of a run, whatever the figures: columns apart, no line wider than a terminal, all that works in it.

mod output_support;

use llmperforacle::output::{Ground, HeldBackSummary, InFlightSummary, Latency, Limit, Named, Statistics, Summary};
use output_support::{plan, records, write_run};
use proptest::prelude::*;

const WIDTH: usize = 100;

fn summary() -> Summary {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let summary = write_run(&plan(folder.path()), &records(1, 500)).expect("the run is written");
    // The files' paths are as long as they are.
    Summary { files: Vec::new(), ..summary }
}

/// Figures from nothing to far beyond sense.
fn any_figure() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), (-12.0..15.0_f64).prop_map(|power| 10_f64.powf(power)), 0.0..1.0_f64]
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[a-zA-Z0-9_#:/.-]{20,160}"]
}

prop_compose! {
    fn any_summary()(
        figures in prop::collection::vec(any_figure(), 40),
        counts in prop::collection::vec(prop_oneof![0_u64..100, 0..10_000_000_000_000_000_u64], 12),
        names in prop::collection::vec(any_name(), 1..30),
        percentiles in 0_usize..14,
    ) -> Summary {
        let base = summary();
        let figure = |index: usize| figures[index % figures.len()];
        let quantiles: Vec<f64> = (0..percentiles).map(|index| (index as f64 + 0.5) / 14.0).collect();
        let latency = |from: usize| Latency {
            statistics: Some(Statistics {
                count: 1,
                mean_ms: figure(from),
                deviation_ms: 0.0,
                minimum_ms: 0.0,
                maximum_ms: 0.0,
                quantiles_ms: (0..percentiles).map(|index| figure(from + index)).collect(),
            }),
            quantiles: quantiles.clone(),
        };
        let mut summary = base.clone();
        summary.latency.time_to_first_token_ms = latency(1);
        summary.latency.time_per_output_token_ms = latency(2);
        summary.latency.end_to_end_latency_ms = latency(3);
        summary.latency.inter_token_latency_ms = Some(latency(4));
        let (_, engine) = base.engines.0[0].clone();
        let (_, gpu) = base.gpus.0[0].clone();
        summary.engines = Named(names.iter().enumerate().map(|(index, name)| {
            let mut engine = engine.clone();
            (engine.busy, engine.kv_use_peak) = (figure(index).min(1.0), figure(index + 7));
            (engine.running_peak, engine.waiting_peak, engine.preemptions) = (counts[index % 12], counts[(index + 1) % 12], counts[3]);
            (name.clone(), engine)
        }).collect());
        summary.gpus = Named(names.iter().enumerate().map(|(index, name)| {
            let mut gpu = gpu.clone();
            (gpu.busy, gpu.mfu, gpu.mbu) = (figure(index + 3).clamp(1e-6, 1.0), figure(index + 5), figure(index + 9));
            (name.clone(), gpu)
        }).collect());
        (summary.requests.total, summary.requests.successful, summary.requests.timeout) = (counts[0], counts[1], counts[2]);
        (summary.throughput.requests_per_second, summary.throughput.output_tokens_per_second) = (figure(20), figure(21));
        (summary.verdict.offered_requests_per_s, summary.verdict.completed_requests_per_s) = (figure(22), figure(23));
        summary.deployment[0].model = names[0].repeat(3);
        summary.deployment[0].kv_pool_tokens = counts[5];
        summary.load.description = format!("trace {}", names[0].chars().take(80).collect::<String>());
        summary.notes = vec![names.join(" ")];
        let held_back = HeldBackSummary { share: figure(24).min(1.0), mean_s: figure(25), longest_s: figure(26) };
        let is_closed = counts[6] % 2 == 0;
        summary.verdict.ground = if is_closed { Ground::ClosedLoop } else { Ground::ClientHeldBack };
        summary.verdict.keeps_up = None;
        summary.verdict.in_flight = Some(InFlightSummary {
            most_sessions: u32::MAX,
            mean_requests: figure(27),
            held_back: (!is_closed).then_some(held_back),
        });
        summary
    }
}

/// Lines of a block that begins with a word, up to the next empty line or block.
fn block<'a>(table: &'a str, head: &str) -> Vec<&'a str> {
    let lines = table.lines().skip_while(|line| !line.starts_with(head)).skip(1);
    lines.take_while(|line| line.starts_with("  ")).collect()
}

fn cells(line: &str) -> usize {
    line.split("  ").filter(|cell| !cell.trim().is_empty()).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_figures_columns_are_apart_and_lines_fit(summary in any_summary()) {
        let table = summary.table();
        for line in table.lines() {
            let notes_alone = summary.notes[0].split(' ').any(|word| line.contains(word) && word.len() > WIDTH - 12);
            prop_assert!(line.chars().count() <= WIDTH || notes_alone, "{}\nin\n{}", line, table);
        }
        for (head, columns, count) in [("GPU", 4, summary.gpus.0.len()), ("Engine", 6, summary.engines.0.len())] {
            let rows = block(&table, head);
            let shown = rows.iter().filter(|line| !line.contains(" between")).count();
            prop_assert_eq!(shown, if count <= 8 { count } else { 6 }, "\n{}", table);
            for row in rows.iter().filter(|line| !line.contains(" between")) {
                prop_assert_eq!(cells(row), columns, "{}\nin\n{}", row, table);
            }
        }
        prop_assert!(table.contains("most running") && table.contains("most waiting"));
    }
}

#[test]
fn of_many_gpus_the_busiest_and_the_idlest_are_shown_and_those_without_work_are_counted() {
    let mut summary = summary();
    let (_, gpu) = summary.gpus.0[0].clone();
    let with = |index: u32| {
        let mut gpu = gpu.clone();
        gpu.busy = f64::from(index) / 100.0;
        (format!("gpu{index}"), gpu)
    };
    summary.gpus = Named((0..60).map(with).collect());
    let table = summary.table();
    let names: Vec<&str> = block(&table, "GPU").iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["gpu59", "gpu58", "gpu57", "…", "gpu3", "gpu2", "gpu1", "1"], "{table}");
    assert!(table.contains("… 53 between") && table.contains("1 without work"), "{table}");
}

#[test]
fn the_table_says_what_was_run() {
    let table = summary().table();
    for words in [
        "these figures are made up",
        "made up",
        "llama-3.1-8b",
        "H100",
        "TP 1",
        "round_robin",
        "seed 7",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(table.contains(words), "no {words:?} in\n{table}");
    }
}

#[test]
fn a_closed_loop_and_a_client_that_holds_back_are_told_as_such() {
    let mut summary = summary();
    summary.load.description = "closed loop of 64 clients, profile chat".to_owned();
    let verdict = &mut summary.verdict;
    (verdict.keeps_up, verdict.ground, verdict.limited_by) = (None, Ground::ClosedLoop, Limit::Clients);
    (verdict.completed_requests_per_s, verdict.backlog, verdict.gave_up) = (21.5, None, 0.02);
    verdict.engine_time.most_held_back = 0.0;
    let in_flight = InFlightSummary { most_sessions: 64, mean_requests: 63.9, held_back: None };
    verdict.in_flight = Some(in_flight);
    let flat = |summary: &Summary| summary.table().split_whitespace().collect::<Vec<_>>().join(" ");
    let told = flat(&summary);
    for words in [
        "Load closed loop of 64 clients, profile chat, ",
        "Verdict closed loop: 21.50 requests/s at 63.9 in flight; no queue was ever held back, so the loop itself limits; clients gave \
         up on 2.0 % of the requests",
        "Limited by what clients have in flight; ",
    ] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    let held_back = Some(HeldBackSummary { share: 0.93, mean_s: 12.3, longest_s: 24.0 });
    summary.verdict.in_flight = Some(InFlightSummary { held_back, ..in_flight });
    summary.verdict.ground = Ground::ClientHeldBack;
    let told = flat(&summary);
    let words = "the client held back 93.0 % of the requests, each for 12.30 s on average, 24.00 s at most";
    assert!(
        told.contains("held back by the client: 21.50 requests/s at 63.9 in flight; ") && told.contains(words),
        "{told}"
    );
}
