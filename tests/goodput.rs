//! Goodput and attainment, computed by hand from the rows of `requests.parquet`, against what the summary, the records and the
//! time series say.

mod output_support;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use llmperforacle::output::{OutputPlan, SloSummary, Summary};
use llmperforacle::workload::Slo;
use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use output_support::{plan, profiles, records, write_run};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

/// What the two profiles' clients expect, in milliseconds: TTFT, TPOT, ITL, E2E.
const EXPECTED: [[Option<f64>; 4]; 2] = [[Some(50.0), Some(9.0), Some(80.0), None], [None, None, None, Some(1500.0)]];
const KEYS: [&str; 4] = ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"];

fn slo([ttft, tpot, itl, e2e]: [Option<f64>; 4]) -> Slo {
    let time = |ms: Option<f64>| ms.map(|ms| SimTime::from_secs_f64(ms / 1e3));
    Slo { ttft: time(ttft), tpot_ms: tpot, itl: time(itl), e2e: time(e2e) }
}

/// A run of made-up records under these objectives.
fn run(expected: &[[Option<f64>; 4]]) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let slos = expected.iter().copied().map(slo).collect();
    let plan = OutputPlan { slos, ..plan(folder.path()) };
    let summary = write_run(&plan, &records(5, 20_000)).expect("the run is written");
    (folder, summary)
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).expect("the file is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    reader.expect("it can be read").map(|batch| batch.expect("it is whole")).collect()
}

/// A request as the file has it.
struct Row {
    profile: String,
    status: String,
    arrival_s: f64,
    completion_s: f64,
    /// TTFT, TPOT, longest gap, E2E.
    ms: [Option<f64>; 4],
    slo_met: Option<bool>,
}

fn rows(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in read(&folder.join("requests.parquet")) {
        let column = |name: &str| batch.column_by_name(name).expect("it is there");
        let number = |name: &str, row: usize| {
            let values = column(name).as_primitive::<Float64Type>();
            (!values.is_null(row)).then(|| values.value(row))
        };
        let met = column("slo_met").as_boolean();
        rows.extend((0..batch.num_rows()).map(|row| Row {
            profile: column("profile").as_string::<i32>().value(row).to_owned(),
            status: column("status").as_string::<i32>().value(row).to_owned(),
            arrival_s: number("arrival_time", row).expect("it arrived"),
            completion_s: number("completion_time", row).expect("it ended"),
            ms: ["ttft_ms", "tpot_ms", "max_itl_ms", "e2e_latency_ms"].map(|name| number(name, row)),
            slo_met: (!met.is_null(row)).then(|| met.value(row)),
        }));
    }
    rows
}

/// Whether a row kept to each objective: what it lacks (a TPOT of one token, gaps that nobody saw) is within it.
fn kept(row: &Row, expected: [Option<f64>; 4]) -> [Option<bool>; 4] {
    let answered = row.status == "SUCCESS";
    std::array::from_fn(|metric| expected[metric].map(|most| answered && row.ms[metric].unwrap_or(0.0) <= most))
}

/// `[met, missed]`.
fn count(verdicts: impl IntoIterator<Item = bool>) -> [u64; 2] {
    verdicts.into_iter().fold([0, 0], |[met, missed], kept| if kept { [met + 1, missed] } else { [met, missed + 1] })
}

fn check(told: &SloSummary, rows: &[(&Row, [Option<f64>; 4])], duration_s: f64, until_s: f64) {
    const WARM_UP_S: f64 = 2.0;
    let counted = || rows.iter().filter(|(row, _)| row.arrival_s >= WARM_UP_S);
    let judged = || counted().filter(|(row, _)| row.status != "INCOMPLETE").map(|(row, slo)| kept(row, *slo));
    let [met, missed] = count(judged().map(|kept| kept.iter().flatten().all(|kept| *kept)));
    assert!(met > 100 && missed > 100, "the records make both: {met}, {missed}");
    assert_eq!((told.met, told.missed), (met, missed));
    assert_eq!(told.attainment, met as f64 / (met + missed) as f64);
    let incomplete = counted().filter(|(row, _)| row.status == "INCOMPLETE").count();
    assert!(incomplete > 10);
    assert_eq!(told.incomplete, incomplete as u64);
    let good = rows.iter().filter(|(row, slo)| kept(row, *slo).iter().flatten().all(|kept| *kept));
    let good = good.filter(|(row, _)| row.status == "SUCCESS" && (WARM_UP_S..=until_s).contains(&row.completion_s));
    let per_s = good.count() as f64 / duration_s;
    assert!((told.goodput_requests_per_second - per_s).abs() < 1e-9 * per_s, "{per_s} in {told:?}");
    for (metric, key) in KEYS.into_iter().enumerate() {
        let [met, missed] = count(judged().filter_map(|kept| kept[metric]));
        let told = told.by_metric.get(key).map_or([0, 0], |told| [told.met, told.missed]);
        assert_eq!(told, [met, missed], "{key}");
    }
}

#[test]
fn what_the_summary_says_is_what_the_records_come_to() {
    let (folder, summary) = run(&EXPECTED);
    let rows = rows(folder.path());
    let with_slo = rows.iter().map(|row| {
        let profile = profiles().iter().position(|name| *name == row.profile).expect("a profile of the run");
        (row, EXPECTED[profile])
    });
    let with_slo: Vec<_> = with_slo.collect();
    for (row, expected) in &with_slo {
        let all_kept = kept(row, *expected).iter().flatten().all(|kept| *kept);
        assert_eq!(row.slo_met, (row.status != "INCOMPLETE").then_some(all_kept));
    }
    let (duration_s, until_s) = (summary.throughput.duration_s, summary.load.offered_until_s);
    let all = summary.slo.as_ref().expect("there is an SLO");
    check(all, &with_slo, duration_s, until_s);
    assert!(all.goodput_requests_per_second < summary.throughput.requests_per_second);
    for ((name, profile), expected) in summary.per_profile.0.iter().zip(EXPECTED) {
        let own: Vec<_> = with_slo.iter().filter(|(row, _)| row.profile == *name).copied().collect();
        let told = profile.slo.as_ref().expect("there is an SLO");
        check(told, &own, duration_s, until_s);
        let objectives = KEYS.map(|key| told.by_metric.get(key).and_then(|told| told.objective_ms));
        assert_eq!(objectives, expected);
    }
    let table = summary.table();
    assert!(table.contains("requests/s within their SLOs"), "{table}");
    assert!(table.contains(&format!("{} incomplete are not counted", all.incomplete)), "{table}");
}

#[test]
fn the_time_series_has_a_row_an_interval_and_profile_that_adds_up() {
    let (folder, _) = run(&EXPECTED);
    let mut expected: BTreeMap<(String, u64), [f64; 2]> = BTreeMap::new();
    for row in rows(folder.path()) {
        let Some(met) = row.slo_met else { continue };
        // One that ends with an interval ended in it.
        let interval = row.completion_s.ceil().max(1.0) as u64 - 1;
        expected.entry((row.profile, interval)).or_default()[usize::from(!met)] += 1.0;
    }
    let mut found = BTreeMap::new();
    for batch in read(&folder.path().join("timeseries.parquet")) {
        let word = |name: &str| batch.column_by_name(name).expect("it is there").as_string::<i32>();
        let number = |name: &str| batch.column_by_name(name).expect("it is there").as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            if word("kind").value(row) != "profile" {
                assert!(number("slo_met").is_null(row) && number("slo_missed").is_null(row));
                continue;
            }
            assert!(number("busy").is_null(row), "a profile is not busy");
            let start_s = number("start_time").value(row);
            let counts = ["slo_met", "slo_missed"].map(|name| number(name).value(row));
            found.insert((word("name").value(row).to_owned(), start_s as u64), counts);
        }
    }
    assert!(expected.len() > 20, "{} intervals", expected.len());
    assert_eq!(found, expected);
}

#[test]
fn who_expects_nothing_is_neither_good_nor_bad() {
    let (folder, summary) = run(&EXPECTED[..1]);
    let second = &profiles()[1];
    assert!(rows(folder.path()).iter().all(|row| row.slo_met.is_none() || row.profile != *second));
    assert_eq!(summary.per_profile.get(second).expect("it sent requests").slo, None);
    let (of_all, of_first) = (&summary.slo, &summary.per_profile.0[0].1.slo);
    assert!(of_all.is_some() && of_all == of_first);

    let (folder, summary) = run(&[]);
    assert_eq!(summary.slo, None);
    assert!(!summary.table().contains("Goodput"));
    let json = std::fs::read_to_string(folder.path().join("summary.json")).expect("it is there");
    assert!(!json.contains("slo"), "nothing is said of what nobody asked for");
    assert!(rows(folder.path()).iter().all(|row| row.slo_met.is_none()));
    let kinds = read(&folder.path().join("timeseries.parquet"));
    let profile = |batch: &RecordBatch| {
        let kinds = batch.column_by_name("kind").expect("it is there").as_string::<i32>();
        kinds.iter().any(|kind| kind == Some("profile"))
    };
    assert!(!kinds.iter().any(profile));
}

#[test]
fn one_token_is_within_a_tpot_and_what_fails_is_within_nothing() {
    let mut template = records(1, 1).remove(0);
    template.status = Status::Success;
    let strict = slo([None, Some(1e-6), None, None]);
    let one_token = RequestRecord { output_tokens: 1, ..template.clone() };
    assert_eq!(strict.met(&one_token), Some(true), "as in vLLM's goodput");
    let two_tokens = RequestRecord {
        output_tokens: 2,
        first_token: Some(template.arrival),
        last_token: Some(template.arrival + SimTime(5_000_000)),
        ..template
    };
    assert_eq!(strict.met(&two_tokens), Some(false));
    assert_eq!(slo([None, Some(5.0), None, None]).met(&two_tokens), Some(true), "as long as it may take");
    for status in [Status::Failed, Status::Timeout] {
        let failed = RequestRecord { status, ..one_token.clone() };
        assert_eq!(slo([Some(1e9), Some(1e9), Some(1e9), Some(1e9)]).met(&failed), Some(false));
    }
}
