//! What can be typed after `report` and `plot`.

use std::path::PathBuf;

use clap::Args;

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
    /// Folder of the run, as `run` wrote it.
    #[arg(value_name = "RUN", required_unless_present = "list")]
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
    /// List the kinds.
    #[arg(long, exclusive = true)]
    pub list: bool,
}
