//! Two runs that must agree, or be in order.

use llmperforacle::output::Summary;

use crate::{Run, Setup, assert_near, bytes_of, e2e_s, poisson, run_in, ttft_s, uniform};

/// Chat-like requests for a small model.
fn chat(per_second: f64) -> Setup {
    Setup {
        model: "Llama3-8B",
        requests: 300,
        gap: poisson(per_second),
        prompt: uniform(20, 800),
        output: uniform(2, 200),
        ..Setup::default()
    }
}

#[test]
fn more_load_never_shortens_the_way() {
    // The same requests at twice the rate, up to far beyond capacity.
    let latencies: Vec<f64> = (0..8).map(|power| chat(0.5 * f64::from(1 << power)).run().mean(e2e_s)).collect();
    assert!(latencies.is_sorted(), "{latencies:?}");
    assert!(latencies[7] > 2.0 * latencies[0], "{latencies:?}");
}

#[test]
fn a_faster_device_never_answers_later() {
    let times = |factor: f64, gap: &str| {
        let slow = chat(2.0);
        let (tflops, gb_per_s) = (slow.tflops * factor, slow.gb_per_s * factor);
        Setup { tflops, gb_per_s, gap: gap.to_owned(), ..slow }.run().mean(ttft_s)
    };
    for gap in [poisson(2.0), poisson(20.0)] {
        let times: Vec<f64> = [4.0, 2.0, 1.5, 1.1, 1.0, 0.5].map(|factor| times(factor, &gap)).into();
        assert!(times.is_sorted(), "{times:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let setup = Setup { tensor: 2, ..chat(8.0) };
    let files = ["requests.parquet", "requests.csv", "summary.json", "timeseries.parquet", "manifest.json"];
    let read = |run: &Run| files.map(|file| bytes_of(run.folder.path(), file));
    let first = setup.run();
    let written = read(&first);
    // Into the same folder, which the manifest names.
    let again = read(&run_in(first.folder, &setup.yaml()));
    for (file, (first, again)) in files.iter().zip(written.iter().zip(&again)) {
        assert!(first == again, "{file} differs: {} and {} bytes", first.len(), again.len());
    }
    let other = read(&Setup { seed: 2, ..setup }.run());
    assert!(other[1] != written[1], "another seed gives other requests");
}

/// Means and percentiles of every latency.
fn latencies(summary: &Summary) -> Vec<f64> {
    let latency = &summary.latency;
    let gaps = latency.inter_token_latency_ms.as_ref().expect("the run's own has it");
    [&latency.time_to_first_token_ms, &latency.time_per_output_token_ms, &latency.end_to_end_latency_ms, gaps]
        .into_iter()
        .filter_map(|latency| latency.statistics.as_ref())
        .flat_map(|statistics| [statistics.mean_ms].into_iter().chain(statistics.quantiles_ms.clone()))
        .collect()
}

#[test]
fn levels_of_detail_agree_where_no_link_is_shared() {
    for (tensor, pipeline) in [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)] {
        let high = Setup { tensor, pipeline, ..chat(6.0) };
        let medium = Setup { lod: "medium", ..high.clone() };
        let (high, medium) = (latencies(&high.run().summary), latencies(&medium.run().summary));
        assert_eq!(high.len(), 4 * 5);
        for (high, medium) in high.iter().zip(&medium) {
            assert_near(*medium, *high, 0.01);
        }
    }
}

#[test]
fn what_shares_nothing_gains_nothing_from_a_cache() {
    let off = chat(8.0);
    let on = Setup { framework: "enable_prefix_caching: true".to_owned(), ..off.clone() };
    let (off, on) = (off.run(), on.run());
    assert_eq!(off.summary.latency, on.summary.latency);
    for (off, on) in off.records.iter().zip(&on.records) {
        assert_eq!((off.request, off.first_token, off.completion), (on.request, on.first_token, on.completion));
        assert_eq!(on.cached_tokens, 0);
    }
}

#[test]
fn two_engines_on_one_link_share_it_at_high_detail_only() {
    // Both rings cross the same pair of links: gpu0 and gpu1 serve two frameworks, so each has half of the GPUs, too.
    let one = Setup { tensor: 2, ..chat(4.0) }.yaml();
    let (head, framework) = one.split_once("  - name: vllm\n").expect("it has a framework");
    let two = format!("{head}  - name: a\n{framework}  - name: b\n{framework}");
    let mean = |yaml: &str| run_in(tempfile::tempdir().expect("a folder"), yaml).mean(ttft_s);
    assert!(mean(&two) > mean(&two.replace("lod: high", "lod: medium")));
}
