//! Where a point's requests lie: `requests/KEY=VALUE/…`, as Hive has it, so that DuckDB and others make columns of it.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::columns::setting_names;
use super::grid::Grid;
use super::values::plain;

/// Bytes of a folder's name that file systems take, less what a temporary name adds.
const LONGEST: usize = 200;

/// The file of a point, seen from the sweep's folder.
pub(super) fn file(grid: &Grid, point: usize) -> PathBuf {
    let names = setting_names(grid);
    let parts = grid.settings(point).into_iter().zip(names).map(|((_, value), name)| part(&name, &plain(value), point));
    [super::REQUESTS.to_owned()].into_iter().chain(parts).chain(["requests.parquet".to_owned()]).collect()
}

/// `KEY=VALUE`, with % and the hexadecimal digits of what may not stand there.
fn part(name: &str, value: &str, point: usize) -> String {
    let part = format!("{}={}", escaped(name), escaped(value));
    if part.len() <= LONGEST {
        return part;
    }
    // What is that long is a mapping; the row of the point tells it.
    format!("{}=point-{point}", escaped(name))
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

/// How many rows a file has, if it is whole.
pub(super) fn rows(path: &Path) -> Option<u64> {
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}
