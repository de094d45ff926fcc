//! What can be typed of sweeps.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{Format, Run};
use crate::sweep::Shard;

/// `sweep`.
#[derive(Debug, Args)]
#[command(
    override_usage = "llmperforacle sweep [OPTIONS] CONFIG --set KEY=A,B,C\n       llmperforacle sweep [OPTIONS] --rate 1,2,5 --tensor-parallel 1,2,4 --workload NAME --model NAME --device NAME"
)]
pub struct Sweep {
    /// What each point is told, as `run` would be.
    #[command(flatten)]
    pub run: RunWords,
    /// Keys that go through their values together, the first of each, then the second: --zip KEY=A,B --zip KEY=C,D; flags as
    /// --rate=1,2.
    #[arg(long, value_name = "KEY=A,B,…", allow_hyphen_values = true)]
    pub zip: Vec<String>,
    /// Grid of keys and flags in YAML: product, zip, seeds.
    #[arg(long, value_name = "FILE")]
    pub grid: Option<PathBuf>,
    /// Repeat every setting with this many seeds, 1 to N: the table then has means with 95 % confidence intervals.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub seeds: Option<u32>,
    /// Run this part alone: 2/8 is every eighth point from the second on. `merge` joins the parts.
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// Keep the requests of every point, as requests/KEY=VALUE/…/requests.parquet.
    #[arg(long)]
    pub save_requests: bool,
    /// Folder to sweep into, instead of output/sweep-<name>. One that holds a part of this sweep is gone on with.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Start anew, whatever sweep the folder holds.
    #[arg(long, conflicts_with = "shard")]
    pub overwrite: bool,
    /// Name of the sweep, instead of the configuration's.
    #[arg(long)]
    pub name: Option<String>,
    /// Print neither progress nor the table.
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print the points: headlines by setting as text or Markdown; all metrics, point by point, as JSON or CSV.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `merge`.
#[derive(Debug, Args)]
pub struct Merge {
    /// Folders that shards of one sweep were swept into.
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Folder of the whole, which may be one of them; not needed for one.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace another sweep in the folder of the whole.
    #[arg(long)]
    pub overwrite: bool,
    /// Do not print the table.
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print the points: headlines by setting as text or Markdown; all metrics, point by point, as JSON or CSV.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Flags of `run` that are about what one run leaves behind.
const OF_ONE_RUN: [&str; 9] =
    ["output", "overwrite", "quiet", "format", "profile", "no_csv", "trace_window", "name", "config_format"];

/// Words for `run`, as they were typed: any value may be a list.
#[derive(Clone, Debug, Default)]
pub struct RunWords {
    /// The configuration.
    pub config: Option<String>,
    /// Flags with their dashes, in the order in which they were typed, and what is behind them.
    pub flags: Vec<(String, Option<String>)>,
}

impl RunWords {
    /// The arguments of `run` that make sense for many.
    fn arguments() -> Vec<Arg> {
        let run = Run::augment_args(Command::new("run"));
        run.get_arguments().filter(|arg| !OF_ONE_RUN.contains(&arg.get_id().as_str())).cloned().collect()
    }

    /// Whether a flag is about what one run leaves behind, so that no sweep goes through it.
    pub fn is_of_one_run(flag: &str) -> bool {
        flag.strip_prefix("--").is_some_and(|name| OF_ONE_RUN.contains(&name.replace('-', "_").as_str()))
    }

    fn add(command: Command) -> Command {
        Self::arguments().iter().map(listing).fold(command, Command::arg)
    }
}

/// The same argument, with any text as its value: what goes together is seen point by point.
fn listing(arg: &Arg) -> Arg {
    // A sweep reads its files more than once.
    let help = arg.get_help().map(|help| help.to_string().replace("; - for standard input", "")).unwrap_or_default();
    let mut listing = Arg::new(arg.get_id().clone()).help(help);
    if let Some(long) = arg.get_long() {
        listing = listing.long(long.to_owned());
        let seen = arg.get_visible_aliases().unwrap_or_default();
        let hidden = arg.get_all_aliases().unwrap_or_default().into_iter().filter(|alias| !seen.contains(alias));
        let owned = |alias: &str| clap::builder::Str::from(alias.to_owned());
        listing = listing.aliases(hidden.map(owned)).visible_aliases(seen.iter().map(|alias| owned(alias)));
    } else {
        return listing.value_name("CONFIG");
    }
    if let Some(heading) = arg.get_help_heading() {
        listing = listing.help_heading(heading.to_owned());
    }
    if arg.get_action().takes_values() {
        let names = arg.get_value_names().unwrap_or_default().iter().cloned();
        listing.action(ArgAction::Append).value_names(names).allow_hyphen_values(arg.is_allow_hyphen_values_set())
    } else {
        listing.action(ArgAction::SetTrue)
    }
}

impl Args for RunWords {
    fn augment_args(command: Command) -> Command {
        Self::add(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::add(command)
    }
}

impl FromArgMatches for RunWords {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words = Self::default();
        let mut flags = Vec::new();
        for arg in Self::arguments() {
            let id = arg.get_id().as_str();
            let Some(long) = arg.get_long() else {
                words.config = matches.get_one::<String>(id).cloned();
                continue;
            };
            let flag = format!("--{long}");
            if !arg.get_action().takes_values() {
                flags.extend(matches.get_flag(id).then_some((usize::MAX, flag, None)));
                continue;
            }
            let values = matches.get_many::<String>(id).into_iter().flatten();
            let places = matches.indices_of(id).into_iter().flatten();
            flags.extend(places.zip(values).map(|(place, value)| (place, flag.clone(), Some(value.clone()))));
        }
        flags.sort_by_key(|(place, ..)| *place);
        words.flags = flags.into_iter().map(|(_, flag, value)| (flag, value)).collect();
        Ok(words)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
