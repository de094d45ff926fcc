//! What can be typed after `report` and `plot`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Folder that `run` or `sweep` wrote, or the file that `plan --format json` printed.
    #[arg(value_name = "RUN|SWEEP|PLAN")]
    pub run: PathBuf,
    /// File to write, instead of report.html in the folder, or PLAN.html beside the plan; - for standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is no report.
    #[arg(long)]
    pub overwrite: bool,
}

/// `plot`.
#[derive(Debug, Args)]
pub struct Plot {
    /// Folder that `run` or `sweep` wrote.
    #[arg(value_name = "RUN|SWEEP", required_unless_present = "list")]
    pub run: Option<PathBuf>,
    /// What to draw: see --list.
    #[arg(long, required_unless_present = "list")]
    pub kind: Option<String>,
    /// File to write, .png or .svg, instead of KIND.png in the current folder.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    pub overwrite: bool,
    /// Of a sweep: the swept key to the right; the first number that was swept without.
    #[arg(long, value_name = "KEY")]
    pub x: Option<String>,
    /// Of a sweep: a metric of results.parquet; ttft_p99_ms without.
    #[arg(long, value_name = "METRIC")]
    pub y: Option<String>,
    /// List the kinds.
    #[arg(long, conflicts_with_all = ["run", "kind", "output", "overwrite", "x", "y"])]
    pub list: bool,
    /// How to print the list.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}
