//! `sweep` and `merge`: every point is the command line of `run` that one would have typed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, FromArgMatches};

use super::args::{Format, LogLevel, Merge, Run, RunWords, Sweep};
use super::progress::Steps;
use super::run::{self, Refusal, resolve};
use super::{Failure, interruption, print_diagnostics, print_findings, tell};
use crate::config::{Diagnostic, Resolved, Severity, texts_in};
use crate::inputs::{self, ReadFiles};
use crate::sweep::{
    Axis, Description, Event, Grid, Outcome, Points, RESULTS, Record, SEED, Shard, Status, Sweep as Task, SweepError,
    Unresolved, plain, read_grid, values,
};

/// Flags whose values have commas of their own.
const NO_LISTS: [&str; 3] = ["--slo", "--trace-columns", "--efficiency-table"];
/// Points that cannot run, and warnings, that are told one by one.
const MOST_TOLD: usize = 5;

/// A sweep as it was typed: what all points have in common, and what they differ in.
struct Typed {
    grid: Grid,
    /// Words of `run` behind the configuration.
    common: Vec<String>,
}

/// Runs the command `sweep`.
pub fn sweep(command: &Sweep, log_level: LogLevel) -> Result<(), Failure> {
    let Typed { grid, common } = typed(command, log_level)?;
    let config = command.run.config.as_deref();
    refuse_flags_beside(config, &command.run.flags)?;
    if config.is_some_and(|config| inputs::is_standard_input(Path::new(config))) || reads_a_stream(&grid, &common) {
        return refused("a sweep reads its files for every point: name a file instead of -");
    }
    let mut description = Description::new(&grid, common.clone(), command.save_requests);
    if let Some(config) = config {
        description.add_file("the configuration", Path::new(config)).map_err(failure)?;
    }
    for word in files_in(&grid, &common) {
        let (_, file) = word.split_once('=').unwrap_or_default();
        description.add_file(&word, Path::new(file)).map_err(failure)?;
    }
    let folder = command.output.clone().unwrap_or_else(|| default_folder(command));
    let task = Task {
        description,
        shard: command.shard.unwrap_or(Shard::WHOLE),
        folder,
        overwrite: command.overwrite,
        reads: reads(command, &grid, &common),
        threads: rayon::current_num_threads(),
    };
    let quiet = command.quiet || log_level > LogLevel::Info;
    let started = Instant::now();
    let mut bar = None;
    let (mut over, mut all) = (0, 0);
    let resolve_point = |settings: &[(&str, &str)]| point(config, &common, settings);
    let outcome = crate::sweep::run(&task, &resolve_point, &interruption(), |event| match event {
        Event::Begins { points, finished } => {
            if finished > 0 && !quiet {
                tell(&format!("{finished} points are finished already, {points} are left"));
            }
            all = points;
            bar = Some(Steps::new("points", quiet));
        }
        Event::Damaged(what) if log_level <= LogLevel::Warning => {
            tell(&format!("warning: {what}; its point is run again"));
        }
        Event::Damaged(_) => {}
        Event::Ended(_) => {
            over += 1;
            bar.iter().for_each(|bar| bar.update(over, all));
        }
    });
    bar.iter().for_each(Steps::clear);
    let outcome = outcome.map_err(failure)?;
    print_warnings(&outcome, log_level);
    if !quiet {
        print_end(&task, &outcome, started);
    }
    print_rows(&grid, outcome.records.values(), command.format, command.quiet)?;
    how_it_ended(&task, &outcome)
}

/// Runs the command `merge`.
pub fn merge(command: &Merge) -> Result<(), Failure> {
    let output = match (&command.output, command.folders.as_slice()) {
        (Some(output), _) => output,
        (None, [one]) => one,
        (None, _) => return refused("several folders: say with --output where the whole is to lie"),
    };
    let merged = crate::sweep::merge(&command.folders, output, command.overwrite).map_err(failure)?;
    print_rows(&merged.grid, merged.records.values(), command.format, command.quiet)?;
    trouble(&merged.records.into_values().collect::<Vec<_>>(), &output.join(RESULTS))
}

/// Divides what was typed into what is swept and what is not.
fn typed(command: &Sweep, log_level: LogLevel) -> Result<Typed, Failure> {
    let mut axes = Vec::new();
    if let Some(file) = &command.grid {
        let bytes = std::fs::read(file);
        let bytes =
            bytes.map_err(|error| Failure::BadInput(Some(format!("cannot read {}: {error}", file.display()))))?;
        axes.extend(read_grid(&bytes, &file.display().to_string()).map_err(|diagnostics| {
            print_diagnostics(&diagnostics, log_level);
            Failure::BadInput(None)
        })?);
    }
    let mut common = Vec::new();
    for (flag, value) in &command.run.flags {
        match (swept(flag, value.as_deref()), value) {
            (Err(message), _) => return refused(&format!("{flag} {message}")),
            (Ok(Some(axis)), _) => axes.push(axis),
            (Ok(None), Some(value)) => common.push(format!("{flag}={value}")),
            (Ok(None), None) => common.push(flag.clone()),
        }
    }
    let zipped = command.zip.iter().map(|text| {
        let (key, list) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write KEY=A,B"))?;
        Ok((key.trim().to_owned(), values(list)?))
    });
    let zipped: Result<Vec<_>, String> = zipped.collect();
    let zip = zipped.and_then(|columns| if columns.is_empty() { Ok(None) } else { Axis::zip(columns).map(Some) });
    axes.extend(zip.map_err(|message| Failure::BadInput(Some(format!("--zip: {message}"))))?);
    axes.extend(command.seeds.map(|count| Axis::of(SEED, (1..=count).map(|seed| seed.to_string()).collect())));
    let grid = Grid::new(axes).map_err(|message| Failure::BadInput(Some(message)))?;
    refuse_what_has_no_effect(&grid, &common)?;
    Ok(Typed { grid, common })
}

/// With a configuration, what flags say of other runs is said by its keys: each with the values that were typed.
fn refuse_flags_beside(config: Option<&str>, flags: &[(String, Option<String>)]) -> Result<(), Failure> {
    let Some(config) = config else { return Ok(()) };
    let first = |value: &String| values(value).ok().and_then(|values| values.into_iter().next());
    let words: Vec<String> = flags
        .iter()
        .map(|(flag, value)| match value {
            Some(value) => format!("{flag}={}", plain(&first(value).unwrap_or_default())),
            None => flag.clone(),
        })
        .collect();
    // What is wrong with the words is told point by point.
    let Ok(run) = parsed(words_of_run(Some(config), &words)) else { return Ok(()) };
    let told = run::flags_without_a_configuration(&run).into_iter().map(|(flag, key, value)| {
        let typed = flags.iter().find(|(other, _)| other == flag).and_then(|(_, typed)| typed.clone());
        run::of_a_configuration(flag, &key, &typed.unwrap_or(value), Path::new(config))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { Ok(()) } else { refused(&told.join("\nerror: ")) }
}

/// What all points have in common and what they differ in must not be the same.
fn refuse_what_has_no_effect(grid: &Grid, common: &[String]) -> Result<(), Failure> {
    if let Some(flag) = grid.keys().find(|key| RunWords::is_of_one_run(key)) {
        return refused(&format!("{flag} is about what one run leaves behind: no sweep goes through it"));
    }
    let key_of = |word: &String| {
        let (key, value) = word.strip_prefix("--set=").unwrap_or(word).split_once('=')?;
        Some((key.trim().to_owned(), value.to_owned()))
    };
    match common.iter().filter_map(key_of).find(|(key, _)| grid.keys().any(|swept| swept == key)) {
        Some((key, value)) => refused(&format!("{key} is swept, and {value} for all points: leave one of the two out")),
        None => Ok(()),
    }
}

/// The axis of a flag that has several values.
fn swept(flag: &str, value: Option<&str>) -> Result<Option<Axis>, String> {
    let Some(value) = value.filter(|_| !NO_LISTS.contains(&flag)) else { return Ok(None) };
    if flag == "--set" {
        // Without =, `run` says what is wrong with it.
        let Some((key, list)) = value.split_once('=') else { return Ok(None) };
        let values = values(list)?;
        return Ok((values.len() > 1).then(|| Axis::of(key.trim(), values)));
    }
    if flag == "--trace" && Path::new(value).exists() {
        return Ok(None);
    }
    let values = values(value)?;
    Ok((values.len() > 1).then(|| Axis::of(flag, values)))
}

/// Flags that name a file, with it.
fn files_in(grid: &Grid, common: &[String]) -> Vec<String> {
    let of_axis = |axis: &Axis| {
        let cells = axis.rows.iter().flat_map(|row| axis.keys.iter().zip(row));
        cells.map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>()
    };
    let words = grid.axes().iter().flat_map(of_axis).chain(common.iter().cloned());
    let names_a_file = |word: &String| {
        word.starts_with("--") && word.split_once('=').is_some_and(|(_, value)| Path::new(value).is_file())
    };
    words.filter(names_a_file).collect()
}

/// What a sweep may read: its files, and all texts in the values of its points.
fn reads(command: &Sweep, grid: &Grid, common: &[String]) -> ReadFiles {
    let config = command.run.config.as_ref().map(PathBuf::from);
    let swept = grid.axes().iter().flat_map(|axis| axis.rows.iter().flatten()).map(String::as_str);
    let of_all = common.iter().filter_map(|word| Some(word.trim_start_matches("--set=").split_once('=')?.1));
    ReadFiles {
        names: swept.chain(of_all).flat_map(texts_in).collect(),
        folder: config.as_ref().and_then(|config| Some(std::path::absolute(config).ok()?.parent()?.to_owned())),
        files: config.into_iter().chain(command.grid.clone()).collect(),
    }
}

/// Whether a point would read standard input.
fn reads_a_stream(grid: &Grid, common: &[String]) -> bool {
    let of_axes = grid
        .axes()
        .iter()
        .any(|axis| axis.keys.iter().any(|key| key == "--trace") && axis.rows.concat().contains(&"-".to_owned()));
    of_axes || common.iter().any(|word| word == "--trace=-")
}

/// The words of `run` for a point.
fn words(config: Option<&str>, common: &[String], settings: &[(&str, &str)]) -> Vec<String> {
    let of_point = settings.iter().map(|(key, value)| match key.starts_with("--") {
        true => format!("{key}={}", plain(value)),
        false => format!("--set={key}={value}"),
    });
    words_of_run(config, &common.iter().cloned().chain(of_point).collect::<Vec<_>>())
}

/// `run`, its flags and its configuration: behind the flags, so that a name with a dash in front of it is a file.
fn words_of_run(config: Option<&str>, flags: &[String]) -> Vec<String> {
    let words = ["run".to_owned()].into_iter().chain(flags.iter().cloned());
    words.chain(config.into_iter().flat_map(|config| ["--".to_owned(), config.to_owned()])).collect()
}

/// Them, understood.
fn parsed(words: Vec<String>) -> Result<Run, clap::Error> {
    let command = Run::augment_args(clap::Command::new("run"));
    command.try_get_matches_from(words).and_then(|found| Run::from_arg_matches(&found))
}

/// The configuration of a point.
fn point(config: Option<&str>, common: &[String], settings: &[(&str, &str)]) -> Result<Resolved, Unresolved> {
    let run = parsed(words(config, common, settings)).map_err(|error| Unresolved(first_of(&error.to_string())))?;
    resolve(&run).map_err(|refusal| {
        Unresolved(match refusal {
            Refusal::Flags(message) => message,
            Refusal::Config(diagnostics) => errors(&diagnostics),
        })
    })
}

/// What clap says, without its usage.
fn first_of(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

fn errors(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn default_folder(command: &Sweep) -> PathBuf {
    let of_config = || command.run.config.as_ref().map(|config| inputs::stem(Path::new(config)));
    let name = command.name.clone().or_else(of_config);
    Path::new("output").join(name.map_or_else(|| "sweep".to_owned(), |name| format!("sweep-{name}")))
}

fn print_rows<'a>(
    grid: &'a Grid,
    records: impl Iterator<Item = &'a Record>,
    format: Format,
    quiet: bool,
) -> Result<(), Failure> {
    match format {
        Format::Text if quiet => Ok(()),
        format => print_findings(&Points::new(grid, records), format),
    }
}

/// Says each warning once, with the points that it is about.
fn print_warnings(outcome: &Outcome, log_level: LogLevel) {
    if log_level > LogLevel::Warning {
        return;
    }
    for (warning, points) in outcome.warnings.iter().take(MOST_TOLD) {
        tell(&format!("{warning} ({})", counted(points)));
    }
    if outcome.warnings.len() > MOST_TOLD {
        let more = outcome.warnings.len() - MOST_TOLD;
        tell(&format!(
            "warning: {more} more warnings; `llmperforacle run` with the settings of a point says all of its own"
        ));
    }
}

fn counted(points: &[usize]) -> String {
    match points {
        [one] => format!("point {one}"),
        many => format!("{} points, the first of them {}", many.len(), many[0]),
    }
}

fn print_end(task: &Task, outcome: &Outcome, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let shard = if task.shard == Shard::WHOLE { String::new() } else { format!(" of shard {}", task.shard) };
    let folder = task.folder.display();
    let place = if outcome.is_whole { format!("{folder}/{RESULTS}") } else { folder.to_string() };
    let count = outcome.records.len();
    tell(&format!("simulated {} of {count} points{shard} in {seconds:.2} s; {place}", outcome.simulated));
    if task.shard != Shard::WHOLE && !outcome.is_interrupted {
        tell(&format!("when all shards are over, `llmperforacle merge` joins them: merge {folder}"));
    }
}

fn how_it_ended(task: &Task, outcome: &Outcome) -> Result<(), Failure> {
    if outcome.is_interrupted {
        let count = outcome.records.len();
        let message = format!("interrupted; {count} points are finished, and the same command goes on from there");
        return Err(Failure::Failed(message));
    }
    let place = if outcome.is_whole { task.folder.join(RESULTS) } else { task.folder.clone() };
    trouble(&outcome.records.values().cloned().collect::<Vec<_>>(), &place)
}

/// Points that have no figures are told, and the exit code says so.
fn trouble(records: &[Record], place: &Path) -> Result<(), Failure> {
    let lacking: Vec<&Record> = records.iter().filter(|record| record.status != Status::Ok).collect();
    for record in lacking.iter().take(MOST_TOLD) {
        let settings: Vec<String> = record.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let error = record.error.as_deref().unwrap_or_default();
        tell(&format!("point {} ({}): {error}", record.point, settings.join(", ")));
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let (count, all, place) = (lacking.len(), records.len(), place.display());
    let message = format!("{count} of {all} points have no figures; the others are in {place}");
    let failed = lacking.iter().any(|record| record.status == Status::Failed);
    Err(if failed { Failure::Failed(message) } else { Failure::BadInput(Some(message)) })
}

fn refused<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::BadInput(Some(message.to_owned())))
}

fn failure(error: SweepError) -> Failure {
    match error {
        SweepError::Refused(message) => Failure::BadInput(Some(message)),
        SweepError::Failed(message) => Failure::Failed(message),
    }
}
