//! What is said of a load: against theory for drawn ones, by hand for small ones, and of a published trace.

use llmperforacle::describe::Description;
use llmperforacle::workload::{Distribution, TraceWorkload, Workload};
use oracle_components::SimTime;

use super::traces::{shared, written};
use super::{constant, profile, talker, workload};

fn of(load: &Workload) -> Description {
    Description::of(load.open().expect("a sound load").0).expect("it ends")
}

fn close(value: Option<f64>, expected: f64, by: f64) {
    let value = value.expect("it can be told");
    assert!((value - expected).abs() <= by, "{value} for {expected}");
}

/// Arrivals of a renewal process: the CV of gaps is the distribution's, and over long windows the index of dispersion tends to CV².
#[test]
fn burstiness_is_that_of_the_process() {
    // Gamma of shape k has the CV 1/√k, and vLLM calls k the burstiness.
    for shape in [0.25_f64, 1.0, 4.0] {
        let mut gamma = profile("gamma", 1.0);
        gamma.inter_arrival_s = Distribution::Gamma { shape, scale: 0.1 / shape };
        let mut load = workload(vec![gamma]);
        load.duration = Some(SimTime::from_secs_f64(20_000.0));
        let told = of(&Workload::Synthetic(load));
        close(told.arrivals.mean_rate_per_s, 10.0, 0.2);
        close(told.arrivals.burstiness, shape, 0.05 * shape);
        close(told.arrivals.gap_coefficient_of_variation, shape.sqrt().recip(), 0.03 / shape.sqrt());
        let windows = &told.arrivals.windows[1];
        assert_eq!((windows.window_s, windows.windows), (10.0, 1999));
        // 2,000 windows: a deviation of √(2/2000) = 3 %.
        close(windows.index_of_dispersion, shape.recip(), 0.13 / shape);
        close(told.prompt_output_correlation, 0.0, 0.01);
    }
}

#[test]
fn images_are_told_where_there_are_any() {
    let of_rows = |name: &str, rows: &str| of(&Workload::Trace(written(name, rows).1));
    let told = of_rows(
        "images.csv",
        "arrival_s,prompt_tokens,output_tokens,encoder_tokens\n0,900,7,1024\n1,100,7,0\n2,900,7,2048\n",
    );
    let images = told.images.expect("two prompts hold some");
    assert_eq!((images.requests, images.encoder_tokens), (2, 3072));
    assert!(told.text().contains("in 2 prompts, 3,072 tokens in the vision encoder"), "{}", told.text());
    let plain = of_rows("plain.csv", "arrival_s,prompt_tokens,output_tokens\n0,900,7\n1,100,7\n");
    assert!(plain.images.is_none() && !plain.text().contains("encoder"));
}

/// Mean of Uniform(100, 900) and of its quantiles.
#[test]
fn lengths_have_the_quantiles_of_their_distribution() {
    let mut load = workload(vec![profile("chat", 200.0)]);
    load.total_requests = Some(200_000);
    let told = of(&Workload::Synthetic(load));
    assert_eq!(told.requests, told.sessions.sessions);
    let prompt = told.prompt.quantiles.expect("there are requests");
    for (value, expected) in [
        (prompt.mean, 500.0),
        (prompt.deviation, 800.0 / 12.0_f64.sqrt()),
        (prompt.p5, 140.0),
        (prompt.p50, 500.0),
        (prompt.p95, 860.0),
    ] {
        assert!((value - expected).abs() < 3.0, "{value} for {expected}");
    }
    assert_eq!((prompt.minimum, prompt.maximum), (100.0, 900.0));
    assert_eq!(told.prompt_octaves.iter().map(|&(_, count)| count).sum::<u64>(), told.requests);
    assert_eq!(told.plot.requests.iter().sum::<u64>(), told.requests);
    assert!(told.plot.requests.len() <= 128);
}

#[test]
fn a_small_trace_by_hand() {
    let text = "{\"timestamp\": 0, \"input_length\": 1024, \"output_length\": 10, \"hash_ids\": [1, 2]}\n\
        {\"timestamp\": 1000, \"input_length\": 1024, \"output_length\": 20, \"hash_ids\": [1, 2]}\n\
        {\"timestamp\": 3000, \"input_length\": 1100, \"output_length\": 30, \"hash_ids\": [1, 3, 4]}\n\
        {\"timestamp\": 13000, \"input_length\": 600, \"output_length\": 40}\n";
    let (_folder, trace) = written("small.jsonl", text);
    let told = of(&Workload::Trace(trace));
    assert_eq!((told.requests, told.span_s), (4, 13.0));
    close(told.arrivals.mean_rate_per_s, 3.0 / 13.0, 1e-12);
    // Gaps of 1, 2 and 10 s: mean 13/3, variance 105/3 − (13/3)².
    let gaps = told.arrivals.gap_s.expect("three");
    assert!((gaps.mean - 13.0 / 3.0).abs() < 1e-9 && (gaps.deviation - (35.0_f64 - 169.0 / 9.0).sqrt()).abs() < 1e-9);
    let by_10_s = &told.arrivals.windows[1];
    assert_eq!((by_10_s.windows, by_10_s.peak_requests, by_10_s.peak_from_s), (1, 3, 0.0));
    assert_eq!(by_10_s.index_of_dispersion, None, "of one window");
    // Of 13 windows of a second, three hold one: variance 3/13 − (3/13)², over the mean.
    let by_1_s = &told.arrivals.windows[0];
    assert_eq!((by_1_s.windows, by_1_s.peak_requests), (13, 1));
    close(by_1_s.index_of_dispersion, 1.0 - 3.0 / 13.0, 1e-12);
    assert_eq!(told.reuse.requests_with_shared_content, 3);
    let [by_1, by_16, by_64, by_512] = told.reuse.block_sizes.try_into().expect("four sizes");
    // The second finds its whole prompt, of which the last token is computed, the third one block of 512.
    let prompts = f64::from(1024 + 1024 + 1100 + 600);
    for (size, blocks, seen, tokens) in [
        (by_1, prompts, 1536.0, 1023.0 + 512.0),
        (by_16, f64::from(64 + 64 + 69 + 38), 96.0, 1008.0 + 512.0),
        (by_64, f64::from(16 + 16 + 18 + 10), 24.0, 960.0 + 512.0),
        (by_512, f64::from(2 + 2 + 3 + 2), 3.0, 512.0 + 512.0),
    ] {
        assert!((size.blocks_seen_before - seen / blocks).abs() < 1e-12, "{size:?}");
        assert!((size.infinite_cache_hit_rate - tokens / prompts).abs() < 1e-12, "{size:?}");
    }
}

/// Every turn of a session goes on after 2 s, to the fifth; a later turn finds the whole conversation.
#[test]
fn sessions_and_what_they_share() {
    let mut talker = talker("talker", 0.5);
    talker.think_time_s = constant(2.0);
    talker.prompt_tokens = constant(100.0);
    talker.output_tokens = Some(constant(50.0));
    let told = of(&Workload::Synthetic(workload(vec![talker])));
    let sessions = told.sessions;
    assert_eq!(sessions.most_turns, 5);
    assert!(sessions.sessions > 400 && sessions.sessions - sessions.with_more_turns < 10, "but for the last");
    assert_eq!(told.requests_after_answers, told.requests - sessions.sessions);
    let pause = sessions.pause_s.expect("turns have pauses");
    assert_eq!((pause.minimum, pause.maximum), (2.0, 2.0));
    // Prompts of 100, 250, 400, 550, 700: of each later one all but its 100 new tokens and the answer's last.
    let by_1 = &told.reuse.block_sizes[0];
    let expected = f64::from(149 + 299 + 449 + 599) / f64::from(100 + 250 + 400 + 550 + 700);
    // The end of the run cuts a few sessions short.
    assert!((by_1.infinite_cache_hit_rate - expected).abs() < 0.01, "{by_1:?} for {expected}");
}

#[test]
fn the_published_conversations() {
    let Some(shared) = shared() else { return };
    let path = shared.join("data/traces/mooncake_conversation_trace.jsonl");
    let told = of(&Workload::Trace(TraceWorkload { path, ..written("ignored.csv", "").1 }));
    assert_eq!(told.requests, 12_031);
    // Counted from the file: 12,035 tokens in, 343 out, 3,537 s, 36.6 % of the references to blocks repeat.
    let mean = |lengths: &Option<llmperforacle::describe::Quantiles>| lengths.as_ref().expect("some").mean.round();
    assert_eq!((mean(&told.prompt.quantiles), mean(&told.output.quantiles)), (12_035.0, 343.0));
    assert_eq!(told.span_s.round(), 3_537.0);
    let by_512 = told.reuse.block_sizes.iter().find(|size| size.block_tokens == 512).expect("Mooncake's");
    assert!((by_512.blocks_seen_before - 0.366).abs() < 0.01, "{by_512:?}");
}
