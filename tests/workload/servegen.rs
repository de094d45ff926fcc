//! ServeGen's clients: rates, gaps and lengths of what is drawn from them.

use std::fs;
use std::path::Path;

use llmperforacle::workload::{TraceSource, TraceWorkload};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use tempfile::TempDir;

use super::drain;
use super::traces::replay;

/// Two clients of three windows; the second rests in the last.
fn folder() -> (TempDir, TraceWorkload) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(
        folder.path(),
        "chunk-0-trace.csv",
        "0,2,1.5,Gamma,0.4444444444444444,1.125\n600,6,1,Gamma,1,0.16\n1200,4,0.8,Weibull,1.26,0.27\n",
    );
    write(
        folder.path(),
        "chunk-0-dataset.json",
        r#"{"0": {"input_tokens": "{10: 0.25, 30: 0.75}", "output_tokens": "{0: 0.5, 7: 0.5}"}, "1200": {"input_tokens": "{99: 1.0}", "output_tokens": "{1: 1.0}"}}"#,
    );
    write(folder.path(), "chunk-1-trace.csv", "0,3,1,Gamma,1.0,0.3\n600,2,1,Gamma,1.0,0.5\n1200,0.0,0.0,,0.0,0.0\n");
    write(
        folder.path(),
        "chunk-1-dataset.json",
        r#"{"0": {"input_tokens": "{500: 1e-3, 501: 0.999}", "output_tokens": "{20: 1.0}", "reason_ratio": "{50: 1.0}"}}"#,
    );
    let workload = replay(folder.path().to_owned());
    (folder, workload)
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("it can be written");
}

fn read(workload: &TraceWorkload) -> Vec<RequestSpec> {
    drain(&mut TraceSource::open(workload).expect("clients"))
}

fn in_window(specs: &[RequestSpec], window: u64, of: impl Fn(&RequestSpec) -> bool) -> Vec<&RequestSpec> {
    specs.iter().filter(|spec| spec.arrival.0 / 600_000_000_000 == window && of(spec)).collect()
}

/// Within five deviations of what is expected, where the deviation of a count grows with the CV of the gaps.
fn is_near(count: usize, expected: f64, cv: f64) -> bool {
    (count as f64 - expected).abs() < 5.0 * cv * expected.sqrt() + 1.0
}

#[test]
fn rates_gaps_and_lengths_are_those_of_the_windows() {
    let (_folder, workload) = folder();
    let specs = read(&workload);
    assert!(specs.is_sorted_by_key(|spec| spec.arrival));
    assert!(specs.iter().all(|spec| spec.arrival < SimTime::from_secs_f64(1800.0)));
    let first = |spec: &RequestSpec| spec.prompt_tokens < 500;
    for (window, rate, cv) in [(0, 2.0, 1.5), (1, 6.0, 1.0), (2, 4.0, 0.8)] {
        assert!(is_near(in_window(&specs, window, first).len(), rate * 600.0, cv), "window {window}");
    }
    let second = |spec: &RequestSpec| !first(spec);
    assert!(is_near(in_window(&specs, 0, second).len(), 1800.0, 1.0));
    assert_eq!(in_window(&specs, 2, second).len(), 0);
    // CV of gaps: sqrt(1 / shape) of a gamma distribution.
    let gaps: Vec<f64> =
        in_window(&specs, 0, first).windows(2).map(|pair| (pair[1].arrival - pair[0].arrival).as_secs_f64()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((variance.sqrt() / mean / 1.5 - 1.0).abs() < 0.1, "{}", variance.sqrt() / mean);
    let early: Vec<_> =
        specs.iter().filter(|spec| first(spec) && spec.arrival < SimTime::from_secs_f64(1200.0)).collect();
    let long = early.iter().filter(|spec| spec.prompt_tokens == 30).count();
    assert!((long as f64 / early.len() as f64 - 0.75).abs() < 0.03);
    // A length of 0 counts as 1.
    assert!(early.iter().all(|spec| [1, 7].contains(&spec.output_tokens)));
    assert!(in_window(&specs, 2, first).iter().all(|spec| (spec.prompt_tokens, spec.output_tokens) == (99, 1)));
    assert_eq!(specs, read(&workload));
    let mut other = workload;
    other.options.seed = 1;
    assert_ne!(specs, read(&other));
}

#[test]
fn clients_are_scaled_to_a_total_rate() {
    let (_folder, mut workload) = folder();
    workload.options.total_rate_per_s = Some(10.0);
    let specs = read(&workload);
    for window in 0..3 {
        assert!(is_near(in_window(&specs, window, |_| true).len(), 6000.0, 1.5), "window {window}");
    }
    let facts = TraceSource::open(&workload).expect("clients").facts();
    assert_eq!(facts.expected_requests, Some(18_000));
    workload.rate_scale = 2.0;
    assert!(read(&workload).iter().all(|spec| spec.arrival < SimTime::from_secs_f64(900.0)));
    workload.total_requests = Some(100);
    assert_eq!(read(&workload).len(), 100);
}

#[test]
fn what_is_wrong_with_clients_is_said() {
    for (name, text, expected) in [
        ("chunk-1-trace.csv", "0,3,1,Gamma,1.0\n", "chunk-1-trace.csv:1: it has 5 fields"),
        (
            "chunk-1-trace.csv",
            "0,3,1,Gamma,1,1\n0,3,1,Gamma,1,1\n",
            "chunk-1-trace.csv:2: its window does not begin after",
        ),
        ("chunk-1-trace.csv", "0,-3,1,Gamma,1,1\n", "rate is \"-3\""),
        ("chunk-1-trace.csv", "0,3,1,Normal,1,1\n", "must be Gamma or Weibull"),
        ("chunk-1-dataset.json", "{\"0\": 1}", "chunk-1-dataset.json:1: invalid type"),
        ("chunk-1-dataset.json", r#"{"0": {"text_tokens": "{1: 1.0}"}}"#, "it has text_tokens and no input_tokens"),
        (
            "chunk-1-dataset.json",
            r#"{"0": {"input_tokens": "{1: x}", "output_tokens": "{1: 1.0}"}}"#,
            "input_tokens: \"1: x\" is no length",
        ),
    ] {
        let (folder, workload) = folder();
        write(folder.path(), name, text);
        let error = TraceSource::open(&workload).err().expect("it is refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let empty = tempfile::tempdir().expect("a temporary folder");
    let error = TraceSource::open(&replay(empty.path().to_owned())).err().expect("it is refused").to_string();
    assert!(error.contains("ServeGen"), "{error}");
    let (_folder, mut file) = super::traces::written("t.csv", "arrival_s,prompt_tokens,output_tokens\n0,1,1\n");
    file.options.total_rate_per_s = Some(1.0);
    assert!(TraceSource::open(&file).err().expect("it is refused").to_string().contains("total_rate"));
}
