//! Joins the shards of a sweep.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::description::{Description, refuse_inputs};
use super::grid::{Grid, Shard};
use super::journal::{self, Journals, Record, Status};
use super::partition;
use super::problem::SweepError;
use crate::inputs::ReadFiles;

/// Points that a message names.
const NAMED: usize = 5;

/// A sweep that is whole.
#[derive(Debug)]
pub struct Merged {
    /// Its grid.
    pub grid: Grid,
    /// All of its points.
    pub records: BTreeMap<usize, Record>,
}

/// Joins what is in `folders` into the sweep at `output`, which may be one of them.
///
/// # Errors
/// Folders of other sweeps, points that are missing, points that came out differently, files that cannot be written.
pub fn merge(folders: &[PathBuf], output: &Path, overwrite: bool) -> Result<Merged, SweepError> {
    let mut shards: Vec<(&PathBuf, Description, Journals)> = Vec::new();
    for folder in folders {
        let description = Description::read(folder)?;
        let description = description
            .ok_or_else(|| SweepError::Refused(format!("{} holds no sweep: it has no sweep.json", folder.display())))?;
        let journals = journal::read_all(folder, &description.grid()?)?;
        shards.push((folder, description, journals));
    }
    let Some((first, description, _)) = shards.first() else {
        return Err(SweepError::Refused("there is nothing to merge: name folders of shards".to_owned()));
    };
    let others = shards.iter().skip(1);
    let strange = others.filter_map(|(folder, other, _)| Some((folder, description.difference(other)?))).next();
    if let Some((folder, difference)) = strange {
        let (folder, first) = (folder.display(), first.display());
        return Err(SweepError::Refused(format!("{folder} is of another sweep than {first}: {difference}")));
    }
    let grid = description.grid()?;
    let mut records: BTreeMap<usize, (Record, &PathBuf)> = BTreeMap::new();
    for (folder, _, journals) in &shards {
        for (point, record) in &journals.records {
            match records.get(point) {
                // A point that was refused in one place and could run in another is run.
                Some((known, _)) if known.status != Status::Ok => _ = records.insert(*point, (record.clone(), *folder)),
                Some((known, elsewhere)) if record.status == Status::Ok && known != record => {
                    let (folder, elsewhere) = (folder.display(), elsewhere.display());
                    let message =
                        format!("point {point} came out otherwise in {folder} than in {elsewhere}; leave one out");
                    return Err(SweepError::Refused(message));
                }
                Some(_) => {}
                None => _ = records.insert(*point, (record.clone(), *folder)),
            }
        }
    }
    refuse_if_missing(&grid, &records, &shards)?;
    let is_new = !folders.iter().any(|folder| is_same(folder, output));
    if is_new {
        refuse_inputs(output, &ReadFiles { files: folders.to_vec(), ..ReadFiles::default() })?;
        description.claim(output, overwrite)?;
    }
    for (point, (record, folder)) in records.iter().filter(|(_, (record, _))| record.requests.is_some()) {
        take_requests(&partition::file(&grid, *point), folder, output, record)?;
    }
    let records: BTreeMap<usize, Record> = records.into_iter().map(|(point, (record, _))| (point, record)).collect();
    if is_new || folders.len() > 1 {
        journal::write(output, Shard::WHOLE, &records)?;
    }
    super::write_tables(output, &grid, &records)?;
    Ok(Merged { grid, records })
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn refuse_if_missing(
    grid: &Grid,
    records: &BTreeMap<usize, (Record, &PathBuf)>,
    shards: &[(&PathBuf, Description, Journals)],
) -> Result<(), SweepError> {
    let missing: Vec<usize> = (0..grid.points()).filter(|point| !records.contains_key(point)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = missing.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if missing.len() > NAMED { ", …" } else { "" };
    let of = shards.iter().flat_map(|(.., journals)| &journals.shards).map(|shard| shard.of).max().unwrap_or(1);
    let mut lacking: Vec<u32> = missing.iter().map(|&point| Shard::of_point(point, of).number).collect();
    lacking.sort_unstable();
    lacking.dedup();
    let runs: Vec<String> = lacking.iter().take(NAMED).map(|number| format!("--shard {number}/{of}")).collect();
    let runs = if of == 1 { "the sweep".to_owned() } else { format!("it with {}", runs.join(", ")) };
    let damaged = shards.iter().flat_map(|(.., journals)| &journals.damaged);
    let damaged: Vec<&str> = damaged.map(|(_, line)| line.as_str()).collect();
    let damaged = if damaged.is_empty() { String::new() } else { format!(" ({})", damaged.join("; ")) };
    let (count, all, named) = (missing.len(), grid.points(), named.join(", "));
    Err(SweepError::Refused(format!(
        "{count} of {all} points are missing: {named}{more}{damaged}; run {runs}, then merge again"
    )))
}

/// Brings the requests of a point from the folder of its shard.
fn take_requests(file: &Path, from: &Path, to: &Path, record: &Record) -> Result<(), SweepError> {
    let to = if is_same(from, to) { from } else { to };
    let (from, to) = (from.join(file), to.join(file));
    if partition::rows(&from) != record.requests {
        let from = from.display();
        return Err(SweepError::Refused(format!("{from} is missing or damaged; run its shard again")));
    }
    if from == to {
        return Ok(());
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    let linked = fs::create_dir_all(folder).and_then(|()| {
        // It may be there from a merge before; what is in the way otherwise is told by the link.
        let _ = fs::remove_file(&to);
        // A link costs nothing; where it cannot be, as between two disks, it is a copy.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))
    });
    linked.map_err(|error| SweepError::cannot_write(&to, &error))
}
