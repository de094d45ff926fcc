//! Prefill and decode pools, whole process.

use std::collections::HashMap;
use std::path::Path;

use crate::{Desk, SMALL, assert_conserved, number};

/// The KV cache of a token of Llama 3 8B: 32 layers of 8 heads of 128 keys and values in 16 bits.
const KV_BYTES_PER_TOKEN: f64 = 2.0 * 32.0 * 8.0 * 128.0 * 2.0;
const BLOCK_TOKENS: f64 = 16.0;

/// The small deployment: its first GPU prefills for its second one.
fn with_pools() -> String {
    let text = SMALL.replace("- name: first\n", "- name: first\n    role: prefill\n");
    let text = text.replace("- name: second\n", "- name: second\n    role: decode\n");
    let link = "  network_links:\n    - {link_id: between, source_id: gpu0, dest_id: gpu1, bandwidth_bps: 2e11, latency_s: 0.00001}\n";
    text.replace("  network_links:\n", link)
}

/// The rows of a CSV, each by column.
fn rows(csv: &str) -> Vec<HashMap<&str, &str>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    lines.map(|line| header.iter().copied().zip(line.split(',')).collect()).collect()
}

#[test]
fn one_engine_prefills_and_the_other_answers() {
    let desk = Desk::small();
    desk.write("pools.yaml", &with_pools());
    let summary = desk.summary("run pools.yaml");
    assert_conserved(&summary);
    let csv = desk.read("output/pools/requests.csv");
    let (mut answered, mut loaded_bytes) = (0, 0.0);
    for row in rows(&csv).iter().filter(|row| row["status"] == "SUCCESS") {
        let value = |column: &str| row[column].parse::<f64>().unwrap_or_else(|_| panic!("{column} in {row:?}"));
        assert_eq!((row["framework"], row["prefill_framework"]), ("second", "first"));
        let blocks = (value("prompt_tokens") / BLOCK_TOKENS).ceil();
        let bytes = blocks * BLOCK_TOKENS * KV_BYTES_PER_TOKEN;
        assert!(value("kv_transfer_time_ms") >= bytes / 25e9 * 1e3, "no faster than the link");
        let waited =
            value("queue_time_ms") + value("ingress_time_ms") + value("kv_wait_time_ms") + value("kv_transfer_time_ms");
        assert!(value("ttft_ms") > waited, "the first token comes after all of it");
        assert!(value("prefill_end_time") < value("first_token_time"));
        loaded_bytes += bytes;
        answered += 1;
    }
    assert!(answered > 20, "{answered} answered");
    let link = number(&summary, "/links/between/bytes");
    // What was still under way at the end has no row of its own kind, but crossed the link.
    assert!(link >= loaded_bytes && link < loaded_bytes * 1.1, "{link} bytes, {loaded_bytes} of them in rows");
    assert_eq!(number(&summary, "/engines/first/output_tokens"), 0.0);
    assert_eq!(number(&summary, "/engines/second/prefill_tokens"), 0.0);
}

#[test]
fn one_side_of_a_transfer_serves_alone() {
    let desk = Desk::small();
    let side = "frameworks_to_test[0].config.kv_transfer_config";
    for (role, tokens) in [("kv_consumer", None), ("kv_producer", Some("1"))] {
        let run = format!("run small.yaml --set {side}.kv_role={role} --set {side}.transfer_s=0.25 --name {role}");
        let summary = desk.summary(&run);
        assert_conserved(&summary);
        assert_eq!(summary.pointer("/deployment/0/role").and_then(|role| role.as_str()), Some(role));
        let csv = desk.read(&format!("output/{role}/requests.csv"));
        let rows = rows(&csv);
        let first = || rows.iter().filter(|row| row["framework"] == "first" && row["status"] == "SUCCESS");
        assert!(first().count() > 5, "{} are answered", first().count());
        for row in first() {
            let value = |column: &str| row[column].parse::<f64>().unwrap_or_else(|_| panic!("{column} in {row:?}"));
            match tokens {
                None => assert!(value("ttft_ms") > 250.0 && value("tokens_actually_prefilled") == 0.0, "{row:?}"),
                Some(tokens) => assert_eq!(row["output_tokens"], tokens),
            }
        }
    }
}

#[test]
fn without_roles_every_file_is_as_it_was() {
    let desk = Desk::small();
    desk.write("both.yaml", &SMALL.replace("- name: first\n", "- name: first\n    role: both\n"));
    assert_eq!(desk.run("run small.yaml -o plain -q").code, 0);
    assert_eq!(desk.run("run both.yaml -o both -q --name small").code, 0);
    let read = |name: &str| std::fs::read(desk.path(name)).expect("it is there");
    for file in ["requests.csv", "requests.parquet", "timeseries.parquet", "summary.json"] {
        assert_eq!(read(&format!("plain/{file}")), read(&format!("both/{file}")), "{file}");
    }
    assert!(!desk.read("plain/requests.csv").contains("prefill_framework"));
}

#[test]
fn a_profile_tells_of_the_handover() {
    let desk = Desk::small();
    desk.write("pools.yaml", &with_pools());
    let told = desk.run("run pools.yaml --quiet --profile");
    assert!(told.err.contains("handover"), "{}", told.err);
}

#[test]
fn the_scenario_that_is_shipped_runs() {
    let desk = Desk::small();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios/disaggregated.yaml");
    let few = "--set workload.total_requests_to_generate=1000";
    let apart = desk.summary(&format!("run {} {few}", scenario.display()));
    let both = "--set frameworks_to_test[0].role=both --set frameworks_to_test[1].role=both";
    let together = desk.summary(&format!("run {} {few} {both}", scenario.display()));
    let quantile = |summary, metric: &str| number(summary, &format!("/latency/{metric}/p99"));
    for summary in [&apart, &together] {
        assert_conserved(summary);
        assert_eq!(number(summary, "/requests/successful"), 1000.0);
    }
    // What pools are for: nobody's prompt is computed between two tokens of another's answer.
    let gap = |summary| quantile(summary, "inter_token_latency_ms");
    assert!(gap(&apart) < gap(&together) / 3.0, "{} and {}", gap(&apart), gap(&together));
}
