//! What a run leaves on the disk: readable, equal to what went in, the same every time, and honest when it was cut short.

mod folder_names;
mod output_support;

use std::fs::{self, File};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use folder_names::names_in;
use llmperforacle::output::{OutputError, RunWriter, Statistics};
use oracle_components::SimTime;
use oracle_components::record::{Outcome, RequestRecord, Stop};
use oracle_systems::ports::RecordSink;
use output_support::{exponential, outcome, plan, profiles, records, scenario, write_run};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn read_parquet(path: &Path) -> (Vec<RecordBatch>, Vec<KeyValue>) {
    let file = File::open(path).expect("the file is there");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("it has a footer");
    let notes = builder.metadata().file_metadata().key_value_metadata();
    let notes = notes.cloned().unwrap_or_default();
    let batches = builder.build().expect("it can be read");
    let batches = batches.map(|batch| batch.expect("every row group is whole"));
    (batches.collect(), notes)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("it is JSON")
}

/// A value as the CSV prints it.
fn printed(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        // Numbers are compared as numbers.
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        other => panic!("{other} needs a cast somewhere"),
    }
}

/// Fields of a CSV line, in which nothing is quoted but the profile's name.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for character in line.replace("\"\"", "\u{1}").chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            '\u{1}' => fields.last_mut().expect("there is one").push('"'),
            other => fields.last_mut().expect("there is one").push(other),
        }
    }
    fields
}

#[test]
fn the_predecessors_columns_come_first_and_carry_units() {
    let folder = folder();
    write_run(&plan(folder.path()), &records(1, 10)).expect("the run is written");
    let (batches, notes) = read_parquet(&folder.path().join("requests.parquet"));
    let schema = batches[0].schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let predecessors = [
        "request_id",
        "client_id",
        "session_id",
        "prompt_tokens",
        "max_output_tokens",
        "output_tokens",
        "arrival_time",
        "first_token_time",
        "completion_time",
        "status",
        "ttft_ms",
        "tpot_ms",
        "e2e_latency_ms",
        "prefix_cache_event",
        "cached_prefix_length",
        "tokens_actually_prefilled",
    ];
    assert_eq!(names[..predecessors.len()], predecessors);
    let ttft = schema.field_with_name("ttft_ms").expect("it is there");
    assert_eq!(ttft.metadata()["unit"], "ms");
    let unit = notes.iter().find(|note| note.key == "unit:arrival_time");
    assert_eq!(unit.and_then(|note| note.value.as_deref()), Some("s"));
}

#[test]
fn parquet_gives_back_what_was_recorded() {
    let folder = folder();
    let written = records(2, 20_000);
    write_run(&plan(folder.path()), &written).expect("the run is written");
    let (batches, _) = read_parquet(&folder.path().join("requests.parquet"));
    let mut left = written.iter();
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).expect("it is there");
        let ids = column("request_id").as_string::<i32>();
        let tokens = column("output_tokens").as_primitive::<Int64Type>();
        let ttft = column("ttft_ms").as_primitive::<Float64Type>();
        let ingress = column("ingress_time_ms").as_primitive::<Float64Type>();
        let completion = column("completion_time").as_primitive::<Float64Type>();
        let client = column("client_id").as_string::<i32>();
        for row in 0..batch.num_rows() {
            let record = left.next().expect("no row too many");
            assert_eq!(ids.value(row), format!("req_{}", record.request));
            let profile = &profiles()[usize::from(record.profile)];
            assert_eq!(client.value(row), format!("client_{profile}_{}", record.client));
            assert_eq!(tokens.value(row), i64::from(record.output_tokens));
            let ttft = (!ttft.is_null(row)).then(|| ttft.value(row));
            assert_eq!(ttft, record.ttft().map(SimTime::as_millis_f64));
            assert_eq!(completion.value(row), record.completion.as_secs_f64());
            assert_eq!(ingress.is_null(row), record.delivered.is_none());
        }
    }
    assert_eq!(left.next(), None);
}

#[test]
fn csv_and_parquet_agree() {
    let folder = folder();
    write_run(&plan(folder.path()), &records(3, 10_000)).expect("the run is written");
    let csv = fs::read_to_string(folder.path().join("requests.csv")).expect("it is text");
    let mut lines = csv.lines().map(fields);
    let header = lines.next().expect("there is a header");
    let (batches, _) = read_parquet(&folder.path().join("requests.parquet"));
    for batch in batches {
        for row in 0..batch.num_rows() {
            let line = lines.next().expect("no line is missing");
            assert_eq!(line.len(), header.len());
            for (column, field) in line.iter().enumerate() {
                let array = batch.column(column);
                let expected = printed(array, row);
                let equal_numbers = *array.data_type() == DataType::Float64
                    && field.parse::<f64>().ok() == expected.parse::<f64>().ok();
                assert!(*field == expected || equal_numbers, "{}: {field} {expected}", header[column]);
            }
        }
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let (first, second) = (folder(), folder());
    for folder in [&first, &second] {
        write_run(&plan(folder.path()), &records(4, 30_000)).expect("the run is written");
    }
    let names = names_in(first.path());
    assert_eq!(names, ["manifest.json", "requests.csv", "requests.parquet", "summary.json", "timeseries.parquet"]);
    for name in names {
        let read = |folder: &TempDir| fs::read(folder.path().join(&name)).expect("it is there");
        assert_eq!(read(&first), read(&second), "{name}");
    }
}

#[test]
fn an_interrupted_run_leaves_whole_files_that_say_so() {
    let folder = folder();
    let plan = plan(folder.path());
    let records = records(5, 1000);
    let mut writer = RunWriter::create(&plan, &scenario(), &profiles()).expect("it can be written");
    for record in &records {
        writer.request(record).expect("the disk has room");
    }
    assert!(names_in(folder.path()).iter().all(|name| name.ends_with(".partial") || name.ends_with(".lock")));
    let stopped = Outcome { stop: Stop::Interrupted, ..outcome(&records) };
    let summary = writer.finish(&stopped, true, Value::Null).expect("the disk has room");
    assert!(!names_in(folder.path()).iter().any(|name| name.ends_with(".partial")));
    for name in ["requests.parquet", "timeseries.parquet"] {
        let (_, notes) = read_parquet(&folder.path().join(name));
        let mark = notes.iter().find(|note| note.key == "partial");
        assert_eq!(mark.and_then(|note| note.value.as_deref()), Some("true"));
    }
    assert_eq!(read_json(&folder.path().join("summary.json"))["partial"], true);
    assert_eq!(read_json(&folder.path().join("manifest.json"))["partial"], true);
    assert_eq!(read_json(&folder.path().join("manifest.json"))["stop_reason"], "interrupted");
    assert!(summary.table().contains("stopped early"));
}

#[test]
fn the_manifest_names_files_rows_bytes_and_the_hash_of_the_config() {
    let folder = folder();
    let plan = plan(folder.path());
    write_run(&plan, &records(6, 100)).expect("the run is written");
    let manifest = read_json(&folder.path().join("manifest.json"));
    assert_eq!(manifest["seed"], 7);
    let bytes = fs::metadata(folder.path().join("requests.parquet")).expect("it is there").len();
    assert_eq!(manifest["files"][0], json!({"path": "requests.parquet", "rows": 100, "bytes": bytes}));
    // echo -n '{"a":[1.5,null],"b":1}' | sha256sum
    assert_eq!(manifest["config_sha256"], "cf0c4895ed707baaf7f40eaf8263541a10f2599db4d8955d035dc0a8f254ee32");
    let text = fs::read_to_string(folder.path().join("manifest.json")).expect("it is text");
    assert!(!text.contains(&folder.path().display().to_string()));
}

#[test]
fn the_summary_has_the_predecessors_keys_and_leaves_the_warm_up_out() {
    let folder = folder();
    let plan = plan(folder.path());
    let records = records(7, 5000);
    let summary = write_run(&plan, &records).expect("the run is written");
    let counted = records.iter().filter(|record| record.arrival >= plan.warm_up);
    assert_eq!(summary.requests.total, counted.count() as u64);
    let json = read_json(&folder.path().join("summary.json"));
    let keys = |value: &Value| -> Vec<String> { value.as_object().expect("an object").keys().cloned().collect() };
    for (section, expected) in [
        ("simulation", &["total_duration_s", "warm_up_duration_s", "effective_duration_s"][..]),
        ("requests", &["total", "successful", "failed", "success_rate"]),
        ("throughput", &["requests_per_second", "output_tokens_per_second"]),
        ("latency", &["time_to_first_token_ms", "time_per_output_token_ms", "end_to_end_latency_ms"]),
        ("gpu_utilization", &["gpu0", "gpu1"]),
        ("engines", &["vllm#0", "vllm#1"]),
        (
            "prefix_caching",
            &[
                "overall_hit_rate",
                "conversational_hit_rate",
                "cross_request_hit_rate",
                "event_counts",
                "average_cached_prefix_length",
                "average_tokens_prefilled",
                "prefill_reduction_ratio",
                "total_tokens_saved",
                "cross_request_hits",
                "conversational_hits",
            ],
        ),
    ] {
        for key in expected {
            assert!(keys(&json[section]).contains(&(*key).to_owned()), "{section}.{key}");
        }
    }
    for key in ["count", "mean", "std", "min", "max", "p50", "p90", "p95", "p99", "p99.9"] {
        assert!(json["latency"]["time_to_first_token_ms"][key].is_number(), "{key}");
    }
    // Gaps of seconds 2 to 9, twelve sequences each.
    assert_eq!(json["latency"]["inter_token_latency_ms"]["count"], 8 * 12);
}

#[test]
fn a_run_without_requests_divides_by_nothing() {
    let folder = folder();
    let plan = plan(folder.path());
    let summary = write_run(&plan, &[]).expect("the run is written");
    let json = read_json(&folder.path().join("summary.json"));
    assert_eq!(json["latency"]["time_to_first_token_ms"], json!({"count": 0}));
    assert_eq!(json["requests"]["success_rate"], 0.0);
    assert_eq!(json.get("prefix_caching"), None);
    let text = fs::read_to_string(folder.path().join("requests.csv")).expect("it is text");
    assert_eq!(text.lines().count(), 1);
    assert!(summary.table().lines().count() <= 32);
}

/// A record of which only the latencies matter.
fn record_with_latency(template: &RequestRecord, latency_ns: u64) -> RequestRecord {
    let first = SimTime(template.arrival.0 + latency_ns);
    RequestRecord { first_token: Some(first), last_token: Some(first), completion: first, ..template.clone() }
}

fn exact_quantile_ms(sorted_ns: &[u64], quantile: f64) -> f64 {
    let position = quantile * (sorted_ns.len() - 1) as f64;
    let at = |index: f64| sorted_ns[index as usize] as f64;
    let (low, high) = (at(position.floor()), at(position.ceil()));
    (low + (high - low) * position.fract()) / 1e6
}

fn check_statistics(told: &Statistics, values_ns: &mut [u64], quantiles: &[f64], what: &str) {
    values_ns.sort_unstable();
    // The doubles of this test have no digits left below this.
    let noise_ms = 1e-10 * *values_ns.last().expect("not empty") as f64 / 1e6;
    let close = |told: f64, exact: f64, relative: f64, name: &str| {
        let off = (told - exact).abs();
        assert!(off <= relative * exact + noise_ms, "{what} {name}: {told} for {exact}");
    };
    let count = values_ns.len() as f64;
    let mean = values_ns.iter().map(|&ns| ns as f64 / 1e6).sum::<f64>() / count;
    close(told.mean_ms, mean, 1e-9, "mean");
    let squares = values_ns.iter().map(|&ns| (ns as f64 / 1e6 - mean).powi(2));
    close(told.deviation_ms, (squares.sum::<f64>() / count).sqrt(), 1e-6, "std");
    close(told.minimum_ms, values_ns[0] as f64 / 1e6, 0.0, "min");
    close(told.maximum_ms, *values_ns.last().expect("not empty") as f64 / 1e6, 0.0, "max");
    for (&quantile, &told) in quantiles.iter().zip(&told.quantiles_ms) {
        close(told, exact_quantile_ms(values_ns, quantile), 5e-4, &quantile.to_string());
    }
}

#[test]
fn quantiles_are_within_a_twentieth_of_a_percent_for_any_number_of_values() {
    type Draw = fn(&mut Xoshiro256PlusPlus) -> u64;
    let distributions: [(&str, Draw); 4] = [
        ("exponential", |random| exponential(random, 3e7)),
        ("uniform", |random| random.random_range(1..5_000_000_000)),
        ("two far peaks", |random| {
            let peak = if random.random_bool(0.5) { 1_000_000 } else { 90_000_000_000 };
            peak + exponential(random, 1e3)
        }),
        ("constant", |_| 12_345_678),
    ];
    let template = RequestRecord {
        status: oracle_components::record::Status::Success,
        arrival: SimTime(3_000_000_000),
        scheduled: None,
        ..records(1, 1).remove(0)
    };
    for (name, draw) in distributions {
        for count in [1, 2, 1000, 300_000] {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(count);
            let mut values: Vec<u64> = (0..count).map(|_| draw(&mut random)).collect();
            let folder = folder();
            let mut plan = plan(folder.path());
            (plan.requests_parquet, plan.requests_csv) = (None, None);
            let records = values.iter().map(|&ns| record_with_latency(&template, ns));
            let summary = write_run(&plan, &records.collect::<Vec<_>>()).expect("it is written");
            let latency = summary.latency.time_to_first_token_ms;
            let told = latency.statistics.expect("there are values");
            check_statistics(&told, &mut values, &plan.quantiles, &format!("{name} {count}"));
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused_before_the_run() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").expect("the folder can be written");
    let create = |plan| RunWriter::create(&plan, &scenario(), &profiles()).map(drop);
    let error = create(plan(&file.join("run"))).expect_err("a file is no folder");
    assert!(matches!(&error, OutputError::Folder { .. }), "{error}");
    let mut same = plan(folder.path());
    same.requests_csv = same.requests_parquet.clone();
    let error = create(same).expect_err("two files of one name");
    assert!(matches!(&error, OutputError::SamePath { .. }), "{error}");
    let mut occupied = plan(folder.path());
    occupied.summary_json = Some(folder.path().to_owned());
    let error = create(occupied).expect_err("a folder is no file");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
}
