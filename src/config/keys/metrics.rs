//! `metrics_config`: what is measured and where it is written.

use crate::config::declare::{Field, Ignored, Literal, Set, default, ignored, optional, section};

use super::LONGEST_S;

section! {
    /// What is measured and where it is written.
    Metrics {
        /// Quantiles of the summary; 0.999 is printed as p99.9.
        percentiles_to_calculate: Set<Vec<f64>> = default(Literal::Numbers(&[0.5, 0.9, 0.95, 0.99])).inside_one()
            .example("[0.5, 0.9, 0.95, 0.99]").also_called(&["percentiles"]);
        /// Requests that arrive before this are left out of the summary (not of the records).
        warm_up_duration_s: Set<f64> = default(Literal::Number(0.0)).unit("s").range(0.0, LONGEST_S).example("5");
        /// Folder of the run.
        output_directory: Field<String> = optional("output/<name of the run>");
        /// The summary.
        output_summary_json_path: Field<String> = optional("summary.json in the folder of the run");
        /// Records of requests as CSV.
        output_requests_csv_path: Field<String> = optional("requests.csv in the folder of the run");
        /// Records of requests as Parquet.
        output_requests_parquet_path: Field<String> = optional("requests.parquet in the folder of the run");
        /// The time series as Parquet.
        output_timeseries_parquet_path: Field<String> = optional("timeseries.parquet in the folder of the run");
        /// Write the CSV; of a million requests it is some 150 MB.
        write_csv: Set<bool> = default(Literal::Flag(true)).example("true");
        /// Width of a row of the time series.
        timeseries_interval_s: Field<f64> = optional("1 s, or a 2,000th of the simulated time if that is longer")
            .unit("s").range(1e-3, LONGEST_S);
        /// Log level; use `--log-level`.
        log_level: Ignored = ignored();
        /// Token statistics; they are always computed.
        compute_token_stats: Ignored = ignored();
        /// Percentiles; they are always computed.
        compute_percentiles: Ignored = ignored();
    }
}
