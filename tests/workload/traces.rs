//! Recorded traces: real ones whole, made ones exactly, broken ones by what is said of them.

use std::fs;
use std::path::{Path, PathBuf};

use llmperforacle::workload::{
    Clock, Shaping, Slo, TRACE_FORMATS, TraceFormat, TraceOptions, TraceSource, TraceWorkload, Workload,
};
use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{drain, success};

pub(super) fn replay(path: PathBuf) -> TraceWorkload {
    TraceWorkload {
        path,
        format: TraceFormat::DETECT,
        rate_scale: 1.0,
        duration: None,
        total_requests: None,
        streaming: true,
        timeout_s: None,
        options: TraceOptions::default(),
        shaping: Shaping::default(),
        slo: Slo::default(),
        seed: 0,
        load: llmperforacle::workload::Load::default(),
    }
}

/// A trace of its own folder, which goes with it.
pub(super) fn written(name: &str, content: impl AsRef<[u8]>) -> (TempDir, TraceWorkload) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("it can be written");
    (folder, replay(path))
}

pub(super) fn read(workload: &TraceWorkload) -> Vec<RequestSpec> {
    let mut source = TraceSource::open(workload).expect("a sound trace");
    let specs = drain(&mut source);
    assert!(source.error().is_none());
    specs
}

/// Arrival in ns, prompt and output tokens.
pub(super) fn basics(specs: &[RequestSpec]) -> Vec<(u64, u32, u32)> {
    let basics = specs.iter().map(|s| (s.arrival.0, s.prompt_tokens, s.output_tokens));
    basics.collect()
}

#[test]
fn azure_rows_are_relative_to_the_first() {
    let text = "\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
        2023-11-16 23:59:59.5000000,374,44\r\n\
        2023-11-17 00:00:00.0000001,396,109\r\n\
        2023-11-17 00:00:00.0000001,1,1\r\n\r\n\r\n";
    let (_folder, workload) = written("azure.csv", text);
    let specs = read(&workload);
    let expected = [(0, 374, 44), (500_000_100, 396, 109), (500_000_100, 1, 1)];
    assert_eq!(basics(&specs), expected);
    assert!(specs.iter().all(|s| s.streaming && s.max_output_tokens == s.output_tokens));
    let sessions: Vec<_> = specs.iter().map(|s| (s.session, s.turn, s.tail_key)).collect();
    assert_eq!(sessions, [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
}

#[test]
fn generic_columns_come_in_any_order_and_others_are_ignored() {
    let text = "output_tokens, note ,session_id,arrival_time,priority,prompt_tokens,max_output_tokens\n\
        10,\"a, \"\"quoted\"\"\nnote\",sess_b,5.5,2,100.0,50\n\
        20,,sess_a,5.5,-1,200,15\n\
        1,,sess_b,1e1,,300,\n";
    let (_folder, workload) = written("own.csv", text);
    let specs = read(&workload);
    let expected = [(0, 100, 10), (0, 200, 15), (4_500_000_000, 300, 1)];
    assert_eq!(basics(&specs), expected);
    let rest: Vec<_> = specs.iter().map(|s| (s.session, s.turn, s.priority, s.max_output_tokens)).collect();
    assert_eq!(rest, [(0, 0, 2, 50), (1, 0, -1, 15), (0, 1, 0, 1)]);
    let opened = Workload::Trace(workload).open().expect("sound");
    let facts = opened.1;
    assert_eq!(facts.profile_names, ["own"]);
    let trace = facts.trace.as_ref().expect("it is a trace");
    assert_eq!((trace.rows, trace.requests), (3, 3));
    assert_eq!((trace.prompt_tokens, trace.last_arrival), (600, SimTime(4_500_000_000)));
    assert!(facts.failure().is_none());
}

#[test]
fn a_client_gives_up_when_its_trace_says() {
    let text = "arrival_s,prompt_tokens,output_tokens,abort_s\n10,5,5,12.5\n11,5,5,\n";
    let (_folder, workload) = written("aborts.csv", text);
    let patience = |workload: &TraceWorkload| read(workload).iter().map(|spec| spec.timeout).collect::<Vec<_>>();
    assert_eq!(patience(&workload), [SimTime(2_500_000_000), SimTime::NEVER]);
    let hasty = TraceWorkload { timeout_s: Some(1.0), rate_scale: 2.0, ..workload };
    assert_eq!(patience(&hasty), [SimTime(1_000_000_000); 2]);
    for abort in ["10", "9.5", "soon"] {
        let (_folder, workload) =
            written("bad.csv", format!("arrival_s,prompt_tokens,output_tokens,abort_s\n10,5,5,{abort}\n"));
        let error = TraceSource::open(&workload).err().expect("nobody gives up before").to_string();
        assert!(error.contains("bad.csv:2") && error.contains("abort_s is"), "{error}");
    }
}

#[test]
fn mooncake_blocks_cover_the_prompt() {
    let text = "{\"timestamp\": 100, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [0, 7, 9]}\n\
        \n\
        {\"timestamp\": 102.5, \"input_length\": 600, \"output_length\": 6, \"hash_ids\": [0, 8], \"extra\": {}}\n\
        {\"timestamp\": 103, \"input_length\": 1024, \"output_length\": 7, \"hash_ids\": [0]}\n\
        {\"timestamp\": 103, \"input_length\": 3, \"output_length\": 7}";
    let (_folder, mut workload) = written("mooncake.jsonl", text);
    workload.options.clock = Some(Clock::Milliseconds);
    let specs = read(&workload);
    let expected = [(0, 1100, 5), (2_500_000, 600, 6), (3_000_000, 1024, 7), (3_000_000, 3, 7)];
    assert_eq!(basics(&specs), expected);
    let lengths: Vec<Vec<u32>> =
        specs.iter().map(|spec| spec.prefix.iter().map(|segment| segment.tokens).collect()).collect();
    assert_eq!(lengths, [vec![512, 512, 76], vec![512, 88], vec![512], vec![]]);
    assert_eq!(specs[0].prefix[0], specs[1].prefix[0]);
    assert_ne!(specs[0].prefix[1].key, specs[1].prefix[1].key);
    assert!(specs.iter().flat_map(|s| &s.prefix).all(|segment| segment.key != 0));
}

#[test]
fn limits_and_rate_scale() {
    let text = "arrival_s,prompt_tokens,output_tokens\n10,1,1\n11,1,1\n12,1,1\n13,1,1\n";
    let (_folder, base) = written("steady.csv", text);
    let arrivals = |workload: &TraceWorkload| {
        let specs = read(workload);
        let count = TraceSource::open(workload).expect("sound").facts();
        assert_eq!(count.expected_requests, Some(specs.len() as u64));
        specs.iter().map(|spec| spec.arrival.as_secs_f64()).collect::<Vec<_>>()
    };
    assert_eq!(arrivals(&base), [0.0, 1.0, 2.0, 3.0]);
    let twice = TraceWorkload { rate_scale: 2.0, ..base.clone() };
    assert_eq!(arrivals(&twice), [0.0, 0.5, 1.0, 1.5]);
    let short = TraceWorkload { duration: Some(SimTime::from_secs_f64(1.0)), ..twice };
    assert_eq!(arrivals(&short), [0.0, 0.5]);
    let few = TraceWorkload { total_requests: Some(3), timeout_s: Some(4.0), ..base.clone() };
    assert_eq!(arrivals(&few), [0.0, 1.0, 2.0]);
    assert!(read(&few).iter().all(|spec| spec.timeout == SimTime(4_000_000_000)));
    for rate_scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let broken = TraceWorkload { rate_scale, ..base.clone() };
        let error = TraceSource::open(&broken).err().expect("no scale");
        assert!(error.to_string().contains("rate_scale"), "{error}");
    }
}

#[test]
fn a_trace_has_no_follow_ups() {
    let (_folder, workload) = written("t.csv", "arrival_s,prompt_tokens,output_tokens\n0,1,1\n");
    let mut source = TraceSource::open(&workload).expect("sound");
    let spec = source.next_request().expect("one");
    assert_eq!(super::follow_up(&mut source, &spec, &success(&spec, 1.0)), None);
}

/// (name of the file, content, what the message must hold)
const BROKEN: &[(&str, &[u8], &[&str])] = &[
    ("empty.csv", b"", &["empty.csv is empty"]),
    ("blank.csv", b"\xef\xbb\xbf \r\n\n ", &["blank.csv is empty"]),
    ("empty.jsonl", b"\n\n", &["empty.jsonl is empty"]),
    ("head.csv", b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n\r\n", &["no requests"]),
    ("gz.csv", b"\x1f\x8b\x08\x00", &["gz.csv: the gzip archive is broken or cut short"]),
    ("tar.csv.zst", b"\x28\xb5\x2f\xfd\x00", &["tar.csv.zst: the zstd archive is broken or cut short"]),
    ("x.xz", b"\xfd7zXZ\x00\x00", &["x.xz: the xz archive is broken or cut short"]),
    ("t.zip", b"PK\x03\x04", &["a zip archive", "unpack"]),
    ("utf16.csv", b"\xff\xfea\x00r\x00", &["UTF-16"]),
    ("table.parquet", b"PAR1\x15\x04", &["table.parquet: the Parquet file is broken or cut short"]),
    ("nul.csv", b"arrival_s\x00,prompt_tokens", &["not a text file"]),
    ("other.csv", b"a,b\n1,2\n", &["other.csv:1: ", "\"a,b\"", "arrival_s,prompt_tokens,output_tokens"]),
    ("semi.csv", b"arrival_s;prompt_tokens;output_tokens\n1;2;3\n", &[":1: ", "commas"]),
    ("noout.csv", b"\narrival_s,prompt_tokens\n1,2\n", &["no column \"output_tokens\""]),
    ("noarr.csv", b"prompt_tokens,output_tokens\n1,2\n", &["no column \"arrival_s\""]),
    ("noctx.csv", b"TIMESTAMP,GeneratedTokens\n", &["no column \"ContextTokens\""]),
    (
        "word.csv",
        b"arrival_s,prompt_tokens,output_tokens\n1,2,3\n2,many,3\n",
        &["word.csv:3: ", "prompt_tokens is \"many\"", "whole number", "\"2,many,3\""],
    ),
    ("crlf.csv", b"arrival_s,prompt_tokens,output_tokens\r\n1,2,3\r\n2,many,3\r\n", &["crlf.csv:3: "]),
    ("gaps.csv", b"arrival_s,prompt_tokens,output_tokens\n\n1,2,3\n\n\n2,many,3\n", &["gaps.csv:6: "]),
    ("negative.csv", b"arrival_s,prompt_tokens,output_tokens\n1,-2,3\n", &[":2: ", "\"-2\""]),
    ("half.csv", b"arrival_s,prompt_tokens,output_tokens\n1,2.5,3\n", &["\"2.5\""]),
    ("huge.csv", b"arrival_s,prompt_tokens,output_tokens\n1,5000000000,3\n", &["at most"]),
    ("gap.csv", b"arrival_s,prompt_tokens,output_tokens\n1,,3\n", &["prompt_tokens is \"\""]),
    ("nan.csv", b"arrival_s,prompt_tokens,output_tokens\nnan,1,3\n", &["arrival_s is \"nan\"", "seconds"]),
    ("narrow.csv", b"arrival_s,prompt_tokens,output_tokens\n1,1\n", &["2 fields", "header has 3"]),
    ("wide.csv", b"arrival_s,prompt_tokens,output_tokens\n1,1,1,1\n", &["4 fields"]),
    ("latin.csv", b"arrival_s,prompt_tokens,output_tokens\n1,\xe9,1\n", &["not a text file"]),
    ("rank.csv", b"arrival_s,prompt_tokens,output_tokens,priority\n1,1,1,top\n", &["priority is \"top\""]),
    (
        "date.csv",
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-31 00:00:00,1,1\n",
        &["date.csv:2: ", "TIMESTAMP is \"2023-11-31", "2023-11-16 18:17:03"],
    ),
    (
        "order.csv",
        b"prompt_tokens,arrival_s,output_tokens\n1,2,1\n1,1.5,1\n",
        &["order.csv:3: ", "0.5 s before", "sort -s -t, -k2,2g"],
    ),
    (
        "order.jsonl",
        b"{\"timestamp\": 2000, \"input_length\": 1, \"output_length\": 1}\n\
        {\"timestamp\": 1000, \"input_length\": 1, \"output_length\": 1}\n",
        &["order.jsonl:2: ", "jq"],
    ),
    (
        "bad.jsonl",
        b"\xef\xbb\xbf{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n{\"timestamp\": 0\n",
        &["bad.jsonl:2: ", "EOF", "must look like"],
    ),
    (
        "answer.csv",
        b"arrival_s,prompt_tokens,output_tokens\n1,1,1\n1,5,0\n",
        &["answer.csv:3: output_tokens is 0", "take the line out"],
    ),
    ("prompt.csv", b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.5,0.0,4\n", &["ContextTokens is 0"]),
    ("limit.csv", b"arrival_s,prompt_tokens,output_tokens,max_output_tokens\n1,1,1,0\n", &["max_output_tokens is 0"]),
    ("none.jsonl", b"{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}\n", &["input_length is 0"]),
    ("field.jsonl", b"{\"timestamp\": 0, \"input_length\": 1}\n", &["field.jsonl:1: missing field `output_length`"]),
    ("minus.jsonl", b"{\"timestamp\": 0, \"input_length\": -1, \"output_length\": 1}\n", &["-1"]),
    (
        "blocks.jsonl",
        b"{\"timestamp\": 0, \"input_length\": 33, \"output_length\": 1, \"hash_ids\": [1, 2, 3]}\n",
        &["3 hash_ids for 34 tokens", "512"],
    ),
    ("words.jsonl", b"arrival_s\n1,1,1\n", &["words.jsonl:1: ", "no column \"prompt_tokens\""]),
];

#[test]
fn what_is_wrong_with_a_trace_is_said_before_the_run() {
    for (name, content, expected) in BROKEN {
        let (_folder, workload) = written(name, content);
        let error = TraceSource::open(&workload).err();
        let error = error.unwrap_or_else(|| panic!("{name} was taken")).to_string();
        for words in *expected {
            assert!(error.contains(words), "{name}: {words:?} is not in: {error}");
        }
    }
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = TraceSource::open(&replay(folder.path().join("no.csv"))).err();
    assert!(missing.expect("none").to_string().contains("no.csv"));
    let no_file = TraceSource::open(&replay(folder.path().into())).err();
    assert!(no_file.expect("a folder").to_string().contains("is a directory"));
}

#[test]
fn long_lines_are_shortened() {
    let long = "x".repeat(100_000);
    let text = format!("arrival_s,prompt_tokens,output_tokens\n{long},1,1\n");
    let (_folder, workload) = written("long.csv", text);
    let error = TraceSource::open(&workload).err().expect("no number");
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn a_file_that_changes_under_way_ends_the_stream() {
    let row = "5,1,1\n".repeat(50_000);
    let text = format!("arrival_s,prompt_tokens,output_tokens\n{row}");
    for damage in ["", "4,1,1\n", "arrival_s,prompt_tokens,output_tokens\n5,1,1\n5,what,1\n"] {
        let (_folder, workload) = written("changing.csv", &text);
        let (mut source, facts) = Workload::Trace(workload.clone()).open().expect("sound");
        fs::write(&workload.path, damage).expect("it can be written");
        let read = drain(source.as_mut());
        assert!(read.len() < 50_000);
        let error = facts.failure().expect("it is noticed").to_string();
        assert!(error.contains("changing.csv"), "{error}");
        assert_eq!(source.next_request(), None);
    }
}

/// The folder with the real traces, where this machine has it.
pub(super) fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("LLMPERFORACLE_SHARED").map(PathBuf::from);
    let near = [root.join("../shared"), root.join("../../shared")];
    named.into_iter().chain(near).find(|path| path.join("data/traces").is_dir())
}

#[test]
fn real_traces_are_read_whole() {
    let Some(shared) = shared() else { return };
    for (name, rows, prompt_floor) in [
        ("AzureLLMInferenceTrace_conv.csv", 19_366, 1),
        ("AzureLLMInferenceTrace_code.csv", 8_819, 1),
        ("mooncake_conversation_trace.jsonl", 12_031, 891),
    ] {
        let specs = read(&replay(shared.join("data/traces").join(name)));
        assert_eq!(specs.len(), rows, "{name}");
        assert!(specs.is_sorted_by_key(|spec| spec.arrival));
        assert!(specs.iter().all(|spec| spec.prompt_tokens >= prompt_floor));
        let covered = |spec: &RequestSpec| spec.prefix.iter().map(|s| s.tokens).sum::<u32>();
        let is_mooncake = name.starts_with("mooncake");
        assert!(specs.iter().all(|spec| covered(spec) == if is_mooncake { spec.prompt_tokens } else { 0 }));
        let last = specs.last().expect("some").arrival.as_secs_f64();
        assert!((3400.0..3600.0).contains(&last), "{name}: {last} s");
    }
}

#[test]
fn measured_runs_are_traces() {
    let Some(shared) = shared() else { return };
    let runs = fs::read_dir(shared.join("data/realruns")).expect("it is there");
    for run in runs {
        let path = run.expect("readable").path().join("requests.csv");
        let lines = fs::read_to_string(&path).expect("readable").lines().count();
        assert_eq!(read(&replay(path)).len(), lines - 1);
    }
}

fn line_like() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9.,:\\-+ eT\"{}\\[\\]a-z_\r]{0,30}",
        Just("arrival_s,prompt_tokens,output_tokens".to_owned()),
        Just("TIMESTAMP,ContextTokens,GeneratedTokens".to_owned()),
        Just("2023-11-16 18:17:03.97,1,2".to_owned()),
        Just("{\"timestamp\":1e300,\"input_length\":18446744073709551615,\"output_length\":1}".to_owned()),
        (any::<f64>(), any::<i64>(), any::<u32>()).prop_map(|(a, b, c)| format!("{a},{b},{c}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_reason_to_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in prop::collection::vec(line_like(), 0..6),
        is_text: bool,
        format in prop::sample::select(TRACE_FORMATS.map(|(_, format)| format).to_vec()),
    ) {
        let content = if is_text { lines.join("\n").into_bytes() } else { bytes };
        let (_folder, mut workload) = written("noise", content);
        workload.format = format;
        if let Ok(mut source) = TraceSource::open(&workload) {
            let specs = drain(&mut source);
            prop_assert!(source.error().is_none());
            prop_assert!(!specs.is_empty());
        }
    }
}
