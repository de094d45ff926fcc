//! `report` and `plot`: the folder of a run or a sweep, or a plan, in; a page or a picture out.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{Format, Plot, Report};
use super::{Failure, print, print_findings, tell};
use crate::catalog::did_you_mean;
use crate::inputs::ReadFiles;
use crate::output::{REPORT_FILE, is_report, put, refuse_input};
use crate::report::{
    Drawn, Figure, KINDS, Kind, Plan, ReportError, Run, SWEEP_KINDS, Source, Sweep, page, plan_page, png, rates_page,
    svg, sweep_page,
};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Writes the page of a run, a sweep or a plan.
pub fn report(command: &Report) -> Result<(), Failure> {
    let page = page_of(&command.run).map_err(failure)?;
    if command.output.as_ref().is_some_and(|output| output.as_os_str() == "-") {
        return print(&page);
    }
    let beside =
        || if command.run.is_file() { command.run.with_extension("html") } else { command.run.join(REPORT_FILE) };
    let path = command.output.clone().unwrap_or_else(beside);
    refuse_input(&path, &read_by(&command.run)).map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    if path.exists() && !command.overwrite && !is_report(&path) {
        return Err(taken(&path, "and no report"));
    }
    write(&path, page.as_bytes())
}

/// A plan, or the tables and descriptions of a folder.
fn read_by(path: &Path) -> ReadFiles {
    let is_read = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "json" || ending == "parquet");
    let entries = path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let files = if path.is_file() { vec![path.to_owned()] } else { entries.filter(is_read).collect() };
    ReadFiles { files, ..ReadFiles::default() }
}

fn page_of(path: &Path) -> Result<String, ReportError> {
    if path.is_file() {
        let plan = Plan::read(path)?;
        return Ok(if plan.is_of_rates() { rates_page(&plan) } else { plan_page(&plan) });
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

/// Writes a picture of a run or a sweep.
pub fn plot(command: &Plot) -> Result<(), Failure> {
    let (Some(folder), Some(kind)) = (&command.run, &command.kind) else {
        return print_findings(&Listed, command.format.unwrap_or(Format::Text));
    };
    if command.format.is_some() {
        return Err(Failure::BadInput(Some(
            "--format is of --list; a picture's format is the end of its name".to_owned(),
        )));
    }
    known(kind)?;
    let path = command.output.clone().unwrap_or_else(|| PathBuf::from(format!("{kind}.png")));
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
    let figure = if Sweep::is_one(folder) { of_sweep(command, folder, kind) } else { of_run(command, folder, kind) };
    let figure = figure.map_err(failure)?;
    if is_png { write(&path, &png(&figure).map_err(failure)?) } else { write(&path, svg(&figure).as_bytes()) }
}

fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name).chain(SWEEP_KINDS.iter().map(|kind| kind.name))
}

fn known(name: &str) -> Result<(), Failure> {
    if names().any(|known| known == name) {
        return Ok(());
    }
    let near = did_you_mean(name, names());
    Err(Failure::BadInput(Some(format!("there is no kind {name:?}{near}; `llmperforacle plot --list` lists them all"))))
}

fn of_sweep(command: &Plot, folder: &Path, name: &str) -> Result<Figure, ReportError> {
    let kind = SWEEP_KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let why = format!("it is of a run, and {} holds a sweep", folder.display());
        ReportError::NothingToDraw { kind: name.to_owned(), why }
    })?;
    kind.draw(&Sweep::read(folder)?, &Drawn { x: command.x.as_deref(), y: command.y.as_deref() })
}

fn of_run(command: &Plot, folder: &Path, name: &str) -> Result<Figure, ReportError> {
    let nothing = |why: String| ReportError::NothingToDraw { kind: name.to_owned(), why };
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| nothing(format!("it is of a sweep, and {} holds none", folder.display())))?;
    if command.x.is_some() || command.y.is_some() {
        return Err(nothing("--x and --y are of pictures of sweeps".to_owned()));
    }
    let run = Run::read(folder, &[kind.source])?;
    kind.draw(&run).ok_or_else(|| nothing(why_nothing(&run, kind)))
}

/// Why a run has nothing of a kind.
fn why_nothing(run: &Run, kind: &Kind) -> String {
    let file = kind.source.file();
    let is_missing = run.folder.missing.iter().any(|missing| missing.starts_with(file));
    if is_missing { format!("{file} is not there") } else { format!("the run has no values for it in {file}") }
}

/// All kinds.
struct Listed;

impl Listed {
    fn rows() -> impl Iterator<Item = [&'static str; 3]> {
        let of_runs = KINDS.iter().map(|kind| [kind.name, "run", kind.about]);
        of_runs.chain(SWEEP_KINDS.iter().map(|kind| [kind.name, "sweep", kind.about]))
    }
}

impl Findings for Listed {
    fn document(&self) -> Document {
        Document(vec![Block::Wide(self.records())])
    }

    fn records(&self) -> Table {
        Table {
            columns: [("kind", "kind"), ("of", "of"), ("about", "what it shows")]
                .map(|(key, head)| Column::words(key, head))
                .into(),
            rows: Self::rows().map(|row| row.map(Cell::of).into()).collect(),
        }
    }

    fn json(&self) -> String {
        let rows: Vec<_> =
            Self::rows().map(|[kind, of, about]| json!({"kind": kind, "of": of, "about": about})).collect();
        pretty(&rows.into())
    }
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
