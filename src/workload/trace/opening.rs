//! What kind of file a trace is: told by its first bytes, then by the names of its columns or fields, unless the user names it.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::containers::objects::Objects;
use super::containers::replay::Replay;
use super::containers::table::Table;
use super::containers::without_byte_order_mark;
use super::error::{TraceError, excerpt};
use super::formats::{self, Format, Header, Layout, TableFormat};
use super::source::{Source, read_error};
use crate::workload::spec::{TraceFormat, TraceOptions};

/// Bytes looked at to tell what a file is.
const SNIFF_BYTES: u64 = 8192;

/// A file that is open at its first record.
pub(super) struct Opened {
    pub format: &'static Format,
    pub source: Source,
    /// What a user should know of its columns.
    pub remarks: Vec<String>,
}

/// Opens a file of a format that is named or told by what is in it.
pub(super) fn open(
    path: &Path,
    mut file: Replay,
    format: TraceFormat,
    options: &TraceOptions,
) -> Result<Opened, TraceError> {
    let read = |source| read_error(path, source);
    let mut head = Vec::new();
    let sniffed = (&mut file).take(SNIFF_BYTES).read_to_end(&mut head);
    sniffed.map_err(read)?;
    if head.starts_with(b"PAR1") {
        let named = named(path, format, options, false)?;
        return open_table(path, Table::parquet(file).map_err(read)?, named, options);
    }
    if let Some(what) = binary(&head) {
        let path = path.into();
        return Err(TraceError::Binary { path, what });
    }
    let text = without_byte_order_mark(&head).trim_ascii();
    if text.is_empty() && (head.len() as u64) < SNIFF_BYTES {
        return Err(TraceError::Empty { path: path.into() });
    }
    let is_json = text.starts_with(b"{") || text.starts_with(b"[");
    let named = named(path, format, options, is_json)?;
    if is_json {
        open_objects(path, Objects::new(file).map_err(read)?, named, options)
    } else {
        open_table(path, Table::csv(file).map_err(read)?, named, options)
    }
}

/// Opens the same file again.
pub(super) fn reopen(
    path: &Path,
    source: Source,
    format: &'static Format,
    options: &TraceOptions,
) -> Result<Opened, TraceError> {
    let read = |source| read_error(path, source);
    match source {
        Source::Objects { objects, .. } => open_objects(path, objects.rewound().map_err(read)?, Some(format), options),
        Source::Table { table, .. } => open_table(path, table.rewound().map_err(read)?, Some(format), options),
    }
}

/// The format that is asked for, by name or by columns, if one is; it must be of files like this.
fn named(
    path: &Path,
    format: TraceFormat,
    options: &TraceOptions,
    is_json: bool,
) -> Result<Option<&'static Format>, TraceError> {
    let error = |problem| Err(TraceError::Unfit { path: path.into(), line: 1, problem });
    let named = formats::named(format.0, is_json);
    if options.columns.is_some() {
        if let Some(format) = named {
            let problem = format!("the format {} has its own columns; give either it or the columns", format.name);
            return error(problem);
        }
        return Ok(Some(&formats::MAPPED[usize::from(is_json)]));
    }
    let Some(format) = named else { return Ok(None) };
    let problem = match format.layout {
        Layout::Table(_) if is_json => "has a header, and this is JSON",
        Layout::Objects(_) if !is_json => "is JSON, and this begins with neither { nor [",
        _ => return Ok(Some(format)),
    };
    error(format!("{} ({}) {problem}; leave the format to be detected", format.title, format.name))
}

fn open_objects(
    path: &Path,
    mut objects: Objects,
    named: Option<&'static Format>,
    options: &TraceOptions,
) -> Result<Opened, TraceError> {
    let read = |source| read_error(path, source);
    let format = match named {
        Some(format) => format,
        None => {
            if !objects.advance().map_err(read)? {
                return Err(TraceError::NoRequests { path: path.into() });
            }
            let format = detect(path, &objects)?;
            objects = objects.rewound().map_err(read)?;
            format
        }
    };
    let Layout::Objects(layout) = format.layout else { unreachable!("a format of objects") };
    let reader = (layout.reader)(options);
    let source = Source::Objects { objects: Box::new(objects), format: layout, reader, has_ended: false };
    Ok(Opened { format, source, remarks: Vec::new() })
}

/// The format whose object was read last.
fn detect(path: &Path, objects: &Objects) -> Result<&'static Format, TraceError> {
    let line_error = |problem| {
        let (path, text) = (path.into(), excerpt(objects.text()));
        TraceError::Line { path, line: objects.line(), problem, text }
    };
    let object = objects.object().map_err(line_error)?;
    let object = match serde_json::from_slice(object) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(line_error("it is no object of JSON".to_owned())),
        Err(error) => return Err(line_error(formats::json_problem(&error))),
    };
    formats::of_object(&object).ok_or_else(|| {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        let keys = excerpt(keys.join(", ").as_bytes());
        line_error(format!(
            "no known trace has objects with the fields {keys}; name them with --trace-columns arrival=NAME,prompt=NAME,output=NAME"
        ))
    })
}

fn open_table(
    path: &Path,
    (mut table, names): (Table, Option<Vec<String>>),
    named: Option<&'static Format>,
    options: &TraceOptions,
) -> Result<Opened, TraceError> {
    let Some(names) = names else { return Err(TraceError::Empty { path: path.into() }) };
    let (line, text, header) = (table.line().max(1), excerpt(names.join(",").as_bytes()), Header { names });
    let Some(format) = named.or_else(|| formats::of_header(&header)) else {
        return Err(TraceError::UnknownHeader { path: path.into(), line, header: text });
    };
    let Layout::Table(TableFormat { reader, .. }) = format.layout else { unreachable!("a format of tables") };
    let reader = reader(&header, options).map_err(|column| TraceError::MissingColumn {
        path: path.into(),
        line,
        column: formats::name_of(column, options).to_owned(),
        header: text,
    })?;
    table.keep(&reader.used());
    let known = if format.name == "generic" { &formats::NAMES[..] } else { &[] };
    let mut remarks = if reader.tells_unused() { header.remarks(&reader.used(), known) } else { Vec::new() };
    remarks.extend(reader.remarks());
    Ok(Opened { format, source: Source::Table { table: Box::new(table), reader }, remarks })
}

/// What a file that is not text seems to be.
fn binary(head: &[u8]) -> Option<&'static str> {
    let known: [(usize, &[u8], &str); 6] = [
        (0, b"\x1f\x8b", "an archive in an archive"),
        (0, b"PK\x03\x04", "a zip archive"),
        (0, b"BZh", "compressed with bzip2"),
        (0, b"\xff\xfe", "text in UTF-16"),
        (0, b"\xfe\xff", "text in UTF-16"),
        (257, b"ustar", "a tar archive"),
    ];
    let named = known.into_iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|head| head.starts_with(magic)));
    // The cut may go through the last character.
    let is_text = str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    let binary = !is_text || head.contains(&0);
    named.map(|(_, _, what)| what).or(binary.then_some("not a text file"))
}
