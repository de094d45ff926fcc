//! What a shard has finished: a line of JSON a point, appended when the point is over, with the hash of what is before it.
//!
//! A line that was cut off or changed does not have its hash, so its point counts as not run. When a shard is over, its lines
//! are put in order, so that a folder does not tell in which order points ended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::figure::Figure;
use super::grid::{Grid, Shard};
use super::problem::SweepError;
use crate::inputs;
use crate::output::Lock;

/// What a point came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was simulated.
    Ok,
    /// Its configuration cannot be simulated.
    Refused,
    /// Its simulation came to no end.
    Failed,
}

impl Status {
    /// The word in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A point that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub point: usize,
    /// What it sets, for people: what counts is the number.
    pub settings: Vec<(String, String)>,
    /// How it ended.
    pub status: Status,
    /// Why, unless well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Rows of its requests' file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// What it came to, by name.
    pub metrics: Vec<(String, Figure)>,
}

/// What the journals of a folder hold.
#[derive(Debug, Default)]
pub(super) struct Journals {
    pub(super) records: BTreeMap<usize, Record>,
    /// The shards that have one.
    pub(super) shards: Vec<Shard>,
    /// Lines that cannot be used, in words, and of which shard they are.
    pub(super) damaged: Vec<(Shard, String)>,
}

const HASH: &str = ",\"sha256\":\"";
/// Hexadecimal digits of a line's hash.
const HASH_DIGITS: usize = 16;

/// The folder of journals.
pub(super) fn folder(sweep: &Path) -> PathBuf {
    sweep.join("points")
}

fn path(sweep: &Path, shard: Shard) -> PathBuf {
    folder(sweep).join(format!("{}-of-{}.jsonl", shard.number, shard.of))
}

/// Reads every journal of a sweep's folder, as far as they are of the sweep of a grid.
pub(super) fn read_all(sweep: &Path, grid: &Grid) -> Result<Journals, SweepError> {
    let mut journals = Journals::default();
    let entries = match folder(sweep).read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(journals),
        entries => entries.map_err(|error| SweepError::cannot_read(&folder(sweep), &error))?,
    };
    let shard = |name: &str| name.strip_suffix(".jsonl")?.replace("-of-", "/").parse::<Shard>().ok();
    let names = entries.flatten().filter_map(|entry| shard(entry.file_name().to_str()?));
    journals.shards = names.collect();
    journals.shards.sort_by_key(|shard| (shard.of, shard.number));
    for shard in journals.shards.clone() {
        let (records, damaged) = read(&path(sweep, shard), grid)?;
        journals.damaged.extend(damaged.into_iter().map(|line| (shard, line)));
        for record in records {
            let better = journals.records.get(&record.point).is_none_or(|known| known.status != Status::Ok);
            if better {
                journals.records.insert(record.point, record);
            }
        }
    }
    Ok(journals)
}

/// The records of a journal, and what is wrong with the others.
fn read(path: &Path, grid: &Grid) -> Result<(Vec<Record>, Vec<String>), SweepError> {
    let bytes = inputs::read_file(path).map_err(|error| SweepError::cannot_read(path, &error))?;
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        match std::str::from_utf8(line).ok().and_then(record) {
            Some(record) if is_of(grid, &record) => records.push(record),
            Some(_) => damaged.push(format!("{}:{}: the line is of another sweep", path.display(), index + 1)),
            None => damaged.push(format!("{}:{}: the line is damaged", path.display(), index + 1)),
        }
    }
    Ok((records, damaged))
}

/// Whether a record is of a point of the grid: a journal may have been brought from elsewhere.
fn is_of(grid: &Grid, record: &Record) -> bool {
    let settings = record.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    record.point < grid.points() && settings.eq(grid.settings(record.point))
}

fn record(line: &str) -> Option<Record> {
    let (before, hash) = line.rsplit_once(HASH)?;
    if hash.strip_suffix("\"}")? != hash_of(before) {
        return None;
    }
    serde_json::from_str(line).ok()
}

fn hash_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..HASH_DIGITS].to_owned()
}

fn line(record: &Record) -> String {
    let text = serde_json::to_string(record).expect("the keys of a record are text");
    let text = text.strip_suffix('}').expect("a record is an object");
    format!("{text}{HASH}{}\"}}\n", hash_of(text))
}

/// Puts records in order into the journal of a shard, in place of what is there.
pub(super) fn write(sweep: &Path, shard: Shard, records: &BTreeMap<usize, Record>) -> Result<(), SweepError> {
    let path = path(sweep, shard);
    let text: String = records.values().map(line).collect();
    super::whole_file(&path, text.as_bytes())
}

/// The journal of a shard that is running; nobody else writes it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    _lock: Lock,
}

impl Journal {
    /// Locks the journal of a shard and begins it with records that are there already.
    pub(super) fn open(sweep: &Path, shard: Shard, grid: &Grid) -> Result<(Self, BTreeMap<usize, Record>), SweepError> {
        let path = path(sweep, shard);
        let lock = Lock::take(&path).map_err(|error| SweepError::Refused(error.to_string()))?;
        let kept = if path.exists() { read(&path, grid)?.0 } else { Vec::new() };
        // What was refused is tried again: the file that it lacked may be there now.
        let kept: BTreeMap<usize, Record> = kept
            .into_iter()
            .filter(|record| record.status == Status::Ok)
            .map(|record| (record.point, record))
            .collect();
        write(sweep, shard, &kept)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| SweepError::cannot_write(&path, &error))?;
        Ok((Self { path, file, _lock: lock }, kept))
    }

    /// Adds a point that is over.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), SweepError> {
        let written = self.file.write_all(line(record).as_bytes());
        written.map_err(|error| SweepError::cannot_write(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::grid::Axis;

    #[test]
    fn a_line_that_is_cut_off_or_changed_is_not_taken() {
        let sweep = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder(sweep.path())).expect("it can be made");
        let grid = |key: &str| Grid::new(vec![Axis::of(key, (0..3).map(|value| value.to_string()).collect())]);
        let (grid, another) = (grid("a.b").expect("a grid"), grid("a.c").expect("a grid"));
        let record = |point: usize| Record {
            point,
            settings: vec![("a.b".to_owned(), point.to_string())],
            status: Status::Ok,
            error: None,
            requests: None,
            metrics: vec![("ttft_p99_ms".to_owned(), Figure::Float(0.1)), ("gpus".to_owned(), Figure::Integer(2))],
        };
        let (mut journal, _) = Journal::open(sweep.path(), Shard::WHOLE, &grid).expect("it opens");
        for point in 0..3 {
            journal.add(&record(point)).expect("it is written");
        }
        drop(journal);
        let path = path(sweep.path(), Shard::WHOLE);
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(read(&path, &grid).expect("it is read").0, (0..3).map(record).collect::<Vec<_>>());
        let cut = &text[..text.len() - 5];
        std::fs::write(&path, cut.replacen("0.1", "0.2", 1)).expect("it is written");
        let journals = read_all(sweep.path(), &grid).expect("they are read");
        assert_eq!(journals.records.into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(journals.damaged.len(), 2);
        // Opened again, it holds what is whole.
        let (_journal, kept) = Journal::open(sweep.path(), Shard::WHOLE, &grid).expect("it opens");
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(read(&path, &grid).expect("it is read"), (vec![record(1)], Vec::new()));
        let (records, damaged) = read(&path, &another).expect("it is read");
        assert!(records.is_empty() && damaged[0].ends_with(":1: the line is of another sweep"), "{damaged:?}");
    }
}
