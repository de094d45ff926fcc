//! What writing a million records costs, on the simulation's side and in all. Prints figures; asserts nothing.
//! `cargo test --release --test output_speed -- --ignored --nocapture`

mod output_support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use llmperforacle::output::RunWriter;
use oracle_components::SimTime;
use oracle_systems::ports::RecordSink;

/// Time on a processor: of this thread, and of the whole process.
fn processor_s() -> (f64, f64) {
    let read = |path: &str| std::fs::read_to_string(path).expect("Linux has /proc");
    let first = |text: &str| text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    let thread = first(&read("/proc/thread-self/schedstat")).expect("nanoseconds come first");
    let stat = read("/proc/self/stat");
    let fields = stat.rsplit_once(") ").expect("the name ends so").1;
    let ticks: f64 = fields.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    (thread / 1e9, ticks / 100.0)
}

#[test]
#[ignore = "a measurement"]
fn a_million_records() {
    let mut records = output_support::records(1, 1_000_000);
    records.sort_by_key(|record| record.completion);
    for csv in [false, true] {
        for _ in 0..3 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut plan = output_support::plan(folder.path());
            plan.requests_csv = plan.requests_csv.filter(|_| csv);
            let scenario = output_support::scenario();
            let mut writer =
                RunWriter::create(&plan, &scenario, &output_support::profiles()).expect("the folder can be written");
            let outcome = output_support::outcome(&records);
            let (start, before) = (Instant::now(), processor_s());
            for record in &records {
                writer.request(record).expect("the disk has room");
            }
            let handed_over = processor_s().0 - before.0;
            writer.finish(&outcome, false, serde_json::Value::Null).expect("the disk has room");
            let all = processor_s().1 - before.1;
            let whole = start.elapsed();
            let megabytes =
                |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0.0, |m| m.len() as f64 / 1e6);
            println!(
                "csv {csv}: handed over in {handed_over:.3} CPU s, written in {all:.2} CPU s ({whole:.2?} by the clock), parquet {:.1} MB, csv {:.1} MB",
                megabytes("requests.parquet"),
                megabytes("requests.csv"),
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn a_record_when_the_writer_keeps_up() {
    let records = output_support::records(1, 8192);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = output_support::plan(folder.path());
    let scenario = output_support::scenario();
    let mut writer =
        RunWriter::create(&plan, &scenario, &output_support::profiles()).expect("the folder can be written");
    let mut spent_s = 0.0;
    for _ in 0..50 {
        let start_s = processor_s().0;
        for record in &records {
            writer.request(black_box(record)).expect("the disk has room");
        }
        spent_s += processor_s().0 - start_s;
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{:.1} ns a record", spent_s * 1e9 / (50.0 * 8192.0));
    let start_s = processor_s().0;
    for step in 0..20_000_000_u64 {
        let gap = SimTime(8_000_000 + (step * 2_654_435_761) % 4_000_000);
        writer.token_gap(SimTime(3_000_000_000), black_box(gap), 100);
    }
    println!("{:.2} ns a token gap", (processor_s().0 - start_s) * 1e9 / 2e7);
}
