//! `validate-run`, `validate-points` and `calibrate run`: measurements in, errors of the prediction out.

use std::path::{Path, PathBuf};

use super::args::{CalibrateRun, Changes, LogLevel, ValidatePoints, ValidateRun};
use super::run::overrides;
use super::{Failure, in_format, print, put_in_folder, refuse_output, tell};
use crate::inputs::ReadFiles;
use crate::validate::{
    Comparison, Comparisons, DeploymentOptions, FILES_OF_RUN, Options, Problems, calibrate, plot, validate_points,
    validate_run,
};

/// Compares recorded runs with their simulations. A folder that cannot be used keeps no other from being compared.
pub fn runs(command: &ValidateRun, log_level: LogLevel) -> Result<(), Failure> {
    check_files(command)?;
    let options = options(command.model_config.as_ref(), &command.changes);
    let (mut comparisons, mut failed) = (Vec::new(), 0);
    for folder in &command.folders {
        match validate_run(folder, &options) {
            Ok(comparison) => {
                warn(&comparison.run, &comparison.warnings, log_level);
                comparisons.push(comparison);
            }
            Err(problems) => {
                failed += 1;
                complain(&problems);
            }
        }
    }
    if !comparisons.is_empty() {
        let all = Comparisons { all: &comparisons, asked: command.folders.len() };
        write(&in_format(&all, command.format), command.output.as_deref())?;
    }
    if let (Some(path), Some(comparison)) = (&command.plot, comparisons.first()) {
        draw(path, comparison)?;
    }
    if let (Some(path), Some(comparison)) = (&command.requests, comparisons.first()) {
        put_in_folder(path, comparison.requests_csv.as_bytes())?;
    }
    if failed > 0 { Err(Failure::BadInput(None)) } else { Ok(()) }
}

/// Whether files can be written as they are asked for: said before anything is simulated.
fn check_files(command: &ValidateRun) -> Result<(), Failure> {
    if command.requests.is_some() && command.folders.len() > 1 {
        return Err(Failure::BadInput(Some("--requests writes those of one run; give one folder".to_owned())));
    }
    if let Some(path) = &command.plot {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
            let message = format!("{}: plots are SVG; name the file .svg", path.display());
            return Err(Failure::BadInput(Some(message)));
        }
        if command.folders.len() > 1 {
            return Err(Failure::BadInput(Some("--plot draws one run; give one folder".to_owned())));
        }
    }
    let reads = reads(
        command.folders.iter().flat_map(|folder| of_run(folder)),
        command.model_config.as_ref(),
        &command.changes,
    );
    let outputs = [&command.output, &command.plot, &command.requests];
    outputs.into_iter().flatten().try_for_each(|path| refuse_output(path, &reads, command.overwrite))
}

fn of_run(folder: &Path) -> [PathBuf; 2] {
    FILES_OF_RUN.map(|file| folder.join(file))
}

/// What a command reads: files, and those that flags name.
fn reads(files: impl Iterator<Item = PathBuf>, model_config: Option<&PathBuf>, changes: &Changes) -> ReadFiles {
    let files = files.chain(model_config.cloned()).collect();
    ReadFiles { files, names: overrides(changes).texts(), folder: None }
}

fn draw(path: &Path, comparison: &Comparison) -> Result<(), Failure> {
    match plot(comparison) {
        Some(svg) => put_in_folder(path, svg.as_bytes()),
        None => {
            let message = format!("{}: no request of this run was measured by itself; nothing to draw", path.display());
            Err(Failure::BadInput(Some(message)))
        }
    }
}

/// Compares serving points with their simulations.
pub fn points(command: &ValidatePoints, log_level: LogLevel) -> Result<(), Failure> {
    let reads = reads(command.files.iter().cloned(), command.model_config.as_ref(), &command.changes);
    command.output.iter().try_for_each(|path| refuse_output(path, &reads, command.overwrite))?;
    let options = options(command.model_config.as_ref(), &command.changes);
    let report = validate_points(&command.files, &options).map_err(|problems| {
        complain(&problems);
        Failure::BadInput(None)
    })?;
    let name = match command.files.as_slice() {
        [file] => file.display().to_string(),
        files => format!("{} files", files.len()),
    };
    warn(&name, &report.warnings, log_level);
    let text = if command.cohorts {
        in_format(&report.by_cohort(), command.format)
    } else {
        in_format(&report, command.format)
    };
    write(&text, command.output.as_deref())
}

/// Fits a GPU's efficiency and the host's time to a recorded run.
pub fn calibrate_run(command: &CalibrateRun, log_level: LogLevel) -> Result<(), Failure> {
    let reads = reads(of_run(&command.folder).into_iter(), command.model_config.as_ref(), &command.changes);
    command.output.iter().try_for_each(|path| refuse_output(path, &reads, command.overwrite))?;
    let options = options(command.model_config.as_ref(), &command.changes);
    let calibration = calibrate(&command.folder, &options).map_err(|problems| {
        complain(&problems);
        Failure::BadInput(None)
    })?;
    warn(&calibration.after.run, &calibration.after.warnings, log_level);
    write(&in_format(&calibration, command.format), command.output.as_deref())
}

fn options(model_config: Option<&PathBuf>, changes: &Changes) -> Options {
    let deployment = DeploymentOptions { model_config: model_config.cloned() };
    Options { deployment, overrides: overrides(changes) }
}

/// Says what was assumed.
fn warn(name: &str, warnings: &[String], log_level: LogLevel) {
    if log_level <= LogLevel::Warning {
        warnings.iter().for_each(|warning| tell(&format!("{name}: warning: {warning}")));
    }
}

/// Says what is wrong, a line each.
fn complain(problems: &Problems) {
    match problems {
        // These say of themselves that they are errors, or warnings.
        Problems::Deployment(found) => found.iter().for_each(|diagnostic| tell(&diagnostic.to_string())),
        other => other.to_string().lines().for_each(|line| tell(&format!("error: {line}"))),
    }
}

/// To a file, or to standard output.
fn write(text: &str, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else {
        return print(text);
    };
    put_in_folder(path, text.as_bytes())
}
