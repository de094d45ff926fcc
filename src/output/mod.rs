//! What a run writes.

mod columns;
mod csv_file;
mod distribution;
mod error;
mod interval_columns;
mod manifest;
mod names;
mod parquet_file;
mod plan;
mod request_columns;
mod run_files;
mod staged;
mod statistics;
mod summarise;
mod summary;
mod table;
mod writer;

pub use distribution::Statistics;
pub use error::OutputError;
pub use plan::OutputPlan;
pub use summary::{
    EngineSummary, GpuSummary, Latency, LatencySummary, LinkSummary, Named, PrefixSummary,
    ProfileSummary, RequestSummary, SimulationSummary, Summary, ThroughputSummary,
};
pub use writer::RunWriter;

#[doc(hidden)]
pub fn scratch_columns(
    records: &[oracle_components::record::RequestRecord],
    scenario: &oracle_components::scenario::Scenario,
    profiles: &[String],
) {
    let cpu = || {
        std::fs::read_to_string("/proc/thread-self/schedstat")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    let names = names::Names::new(scenario, profiles);
    for column in request_columns::REQUEST_COLUMNS.chunks(1) {
        let path = std::path::Path::new("/tmp/scratch_col.parquet");
        let start = cpu();
        for batch in records.chunks(8192) {
            std::hint::black_box(parquet_file::array(&column[0].value, batch, &names));
        }
        let array = cpu();
        let mut file = parquet_file::ParquetFile::create(path, column).unwrap();
        for batch in records.chunks(8192) {
            file.write(batch, &names).unwrap();
        }
        let closed = file.close(false).unwrap();
        let end = cpu();
        println!(
            "{:28} array {:6.1} all {:6.1} ns  {:6.2} MB",
            column[0].name,
            (array - start) / records.len() as f64,
            (end - array) / records.len() as f64,
            closed.bytes as f64 / 1e6 / records.len() as f64 * 1e6
        );
        closed.staged.discard();
    }
    let start = cpu();
    let mut s = statistics::RequestStatistics::new(oracle_components::SimTime(0), 2);
    for r in records {
        s.record(r);
    }
    println!(
        "statistics {:.1} ns",
        (cpu() - start) / records.len() as f64
    );
    let start = cpu();
    let mut file = csv_file::CsvFile::create(
        std::path::Path::new("/dev/null"),
        &request_columns::REQUEST_COLUMNS,
    )
    .unwrap();
    for batch in records.chunks(8192) {
        file.write(batch, &names).unwrap();
    }
    println!("csv {:.1} ns", (cpu() - start) / records.len() as f64);
}
