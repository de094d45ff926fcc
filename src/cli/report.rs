//! `report` and `plot`: the folder of a run or a sweep, or a plan, in; a page or a picture out.

use std::path::{Path, PathBuf};

use super::args::{Plot, Report};
use super::{Failure, print, tell};
use crate::catalog::did_you_mean;
use crate::output::{REPORT_FILE, is_report, put};
use crate::report::{KINDS, Kind, Plan, ReportError, Run, Source, Sweep, page, plan_page, png, svg, sweep_page};

/// Writes the page of a run, a sweep or a plan.
pub fn report(command: &Report) -> Result<(), Failure> {
    let page = page_of(&command.run).map_err(failure)?;
    if command.output.as_ref().is_some_and(|output| output.as_os_str() == "-") {
        return print(&page);
    }
    let beside =
        || if command.run.is_file() { command.run.with_extension("html") } else { command.run.join(REPORT_FILE) };
    let path = command.output.clone().unwrap_or_else(beside);
    if path.exists() && !command.overwrite && !is_report(&path) {
        return Err(taken(&path, "and no report"));
    }
    write(&path, page.as_bytes())
}

fn page_of(path: &Path) -> Result<String, ReportError> {
    if path.is_file() {
        return Plan::read(path).map(|plan| plan_page(&plan));
    }
    if Sweep::is_one(path) {
        return Sweep::read(path).map(|sweep| sweep_page(&sweep));
    }
    let run = Run::read(path, &[Source::Requests, Source::Series])?;
    for missing in &run.folder.missing {
        tell(&format!("warning: {missing}"));
    }
    Ok(page(&run))
}

/// Writes a picture of a run.
pub fn plot(command: &Plot) -> Result<(), Failure> {
    let (Some(folder), Some(name)) = (&command.run, &command.kind) else { return print(&list()) };
    let kind = kind(name)?;
    let path = command.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.png", kind.name)));
    let is_png = match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => true,
        Some("svg") => false,
        _ => {
            let message = format!("{}: a picture's name ends in .png or .svg", path.display());
            return Err(Failure::BadInput(Some(message)));
        }
    };
    if path.exists() && !command.overwrite {
        return Err(taken(&path, "already"));
    }
    let run = Run::read(folder, &[kind.source]).map_err(failure)?;
    let figure = kind.draw(&run).ok_or_else(|| failure(nothing(&run, kind)))?;
    if is_png { write(&path, &png(&figure).map_err(failure)?) } else { write(&path, svg(&figure).as_bytes()) }
}

fn kind(name: &str) -> Result<&'static Kind, Failure> {
    let known = KINDS.iter().find(|kind| kind.name == name);
    known.ok_or_else(|| {
        let near = did_you_mean(name, KINDS.iter().map(|kind| kind.name));
        Failure::BadInput(Some(format!("there is no kind {name:?}{near}; `llmperforacle plot --list` lists them all")))
    })
}

/// Why a run has nothing of a kind.
fn nothing(run: &Run, kind: &Kind) -> ReportError {
    let file = kind.source.file();
    let is_missing = run.folder.missing.iter().any(|missing| missing.starts_with(file));
    let why =
        if is_missing { format!("{file} is not there") } else { format!("the run has no values for it in {file}") };
    ReportError::NothingToDraw { kind: kind.name.to_owned(), why }
}

fn list() -> String {
    KINDS.iter().map(|kind| format!("{:<19}{}\n", kind.name, kind.about)).collect()
}

fn taken(path: &Path, how: &str) -> Failure {
    let path = path.display();
    Failure::BadInput(Some(format!(
        "{path} is there {how}; write elsewhere with --output, or replace it with --overwrite"
    )))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    put(path, bytes).map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    print(&format!("{}\n", path.display()))
}

fn failure(error: ReportError) -> Failure {
    match error {
        ReportError::Picture(_) => Failure::Failed(error.to_string()),
        _ => Failure::BadInput(Some(error.to_string())),
    }
}
