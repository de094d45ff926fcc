//! `requests.csv`: RFC 4180 with a header, `\n` line ends, an empty field where there is no value. Floats are printed with
//! the fewest digits that read back as the same number, so the CSV says what the Parquet says, to the last bit.

use std::path::Path;

use super::OutputError;
use super::columns::{Column, Value};
use super::names::Names;
use super::staged::{ClosedFile, StagedFile, cut};

/// A CSV file in the making.
#[derive(Debug)]
pub(super) struct CsvFile<Row: 'static> {
    columns: &'static [Column<Row>],
    file: StagedFile,
    /// Lines of the batch at hand.
    lines: Vec<u8>,
    text: String,
    rows: u64,
    /// Bytes of the batches that were written whole.
    bytes: u64,
}

impl<Row> CsvFile<Row> {
    pub(super) fn create(
        path: &Path,
        columns: &'static [Column<Row>],
    ) -> Result<Self, OutputError> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let mut lines = names.join(",").into_bytes();
        lines.push(b'\n');
        Ok(Self {
            columns,
            file: StagedFile::create(path)?,
            lines,
            text: String::new(),
            rows: 0,
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, rows: &[Row], names: &Names) -> Result<(), OutputError> {
        for row in rows {
            for column in self.columns {
                write_field(&mut self.lines, &mut self.text, &column.value, row, names);
                self.lines.push(b',');
            }
            // In place of the last comma.
            self.lines.pop();
            self.lines.push(b'\n');
        }
        self.rows += rows.len() as u64;
        self.flush()
    }

    /// After a failed write: cuts off the lines of the batch that could not be written whole.
    pub(super) fn keep(self) {
        if let Ok(mut file) = self.file.try_clone_file() {
            let _ = cut(&mut file, self.bytes);
        }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        let written = self.file.write_all(&self.lines);
        if written.is_ok() {
            self.bytes += self.lines.len() as u64;
        }
        self.lines.clear();
        written
    }

    /// Writes what is left: the header of an empty file.
    pub(super) fn close(mut self) -> Result<ClosedFile, OutputError> {
        self.flush()?;
        Ok(ClosedFile {
            staged: self.file,
            rows: self.rows,
            bytes: self.bytes,
        })
    }
}

fn write_field<Row>(
    line: &mut Vec<u8>,
    text: &mut String,
    value: &Value<Row>,
    row: &Row,
    names: &Names,
) {
    match value {
        Value::Identifier(prefix, number) => {
            line.extend_from_slice(prefix.as_bytes());
            write_integer(line, number(row));
        }
        Value::Text(write) => {
            text.clear();
            write(row, names, text);
            write_text(line, text);
        }
        Value::Word(word) => write_text(line, word(row, names)),
        Value::WordOrNull(word) => write_text(line, word(row, names).unwrap_or_default()),
        Value::Integer(number) => write_integer(line, number(row)),
        Value::Float(number) => write_float(line, number(row)),
        Value::FloatOrNull(number) => {
            if let Some(number) = number(row) {
                write_float(line, number);
            }
        }
        Value::Flag(flag) => line.extend_from_slice(if flag(row) { b"true" } else { b"false" }),
    }
}

fn write_integer(line: &mut Vec<u8>, number: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_float(line: &mut Vec<u8>, number: f64) {
    line.extend_from_slice(zmij::Buffer::new().format(number).as_bytes());
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    if !text
        .bytes()
        .any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'))
    {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}
