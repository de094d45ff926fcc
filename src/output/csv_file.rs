//! `requests.csv`: RFC 4180 with a header, `\n` line ends, an empty field where there is no value. Times are printed
//! to the nanosecond and other floats with the fewest digits that read back as the same number, so a CSV says what the
//! Parquet says, to the last bit.

use oracle_components::SimTime;

use super::OutputError;
use super::columns::{Column, Scale, Value};
use super::names::{Names, needs_quotes};
use super::staged::{ClosedFile, StagedFile, cut};

/// A CSV file in the making.
#[derive(Debug)]
pub(super) struct CsvFile<Row: 'static> {
    columns: Vec<&'static Column<Row>>,
    file: StagedFile,
    /// Lines of the batch at hand.
    lines: Vec<u8>,
    text: String,
    rows: u64,
    /// Bytes of the batches that were written whole.
    bytes: u64,
}

impl<Row> CsvFile<Row> {
    pub(super) fn new(file: StagedFile, columns: impl IntoIterator<Item = &'static Column<Row>>) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let mut lines = names.join(",").into_bytes();
        lines.push(b'\n');
        Self { columns, file, lines, text: String::new(), rows: 0, bytes: 0 }
    }

    pub(super) fn write(&mut self, rows: &[Row], names: &Names) -> Result<(), OutputError> {
        for row in rows {
            for column in &self.columns {
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
        Ok(ClosedFile { staged: self.file, rows: self.rows, bytes: self.bytes })
    }
}

fn write_field<Row>(line: &mut Vec<u8>, text: &mut String, value: &Value<Row>, row: &Row, names: &Names) {
    match value {
        Value::Identifier(prefix, number) => {
            line.extend_from_slice(prefix.as_bytes());
            write_integer(line, number(row));
        }
        Value::Text(write) | Value::Keyed(_, write) => {
            text.clear();
            write(row, names, text);
            write_text(line, text, names);
        }
        Value::TextOrNull(write) | Value::KeyedOrNull(_, write) => {
            text.clear();
            write(row, text);
            write_text(line, text, names);
        }
        Value::Word(_, word) => write_text(line, word(row, names), names),
        Value::WordOrNull(_, word) => write_text(line, word(row, names).unwrap_or_default(), names),
        Value::Integer(number) => write_integer(line, number(row)),
        Value::Time(scale, time) => write_time(line, *scale, time(row)),
        Value::TimeOrNull(scale, time) => {
            if let Some(time) = time(row) {
                write_time(line, *scale, time);
            }
        }
        Value::FloatOrNull(number) => {
            if let Some(number) = number(row) {
                write_float(line, number);
            }
        }
        Value::Flag(flag) => write_flag(line, flag(row)),
        Value::FlagOrNull(flag) => {
            if let Some(flag) = flag(row, names) {
                write_flag(line, flag);
            }
        }
    }
}

fn write_flag(line: &mut Vec<u8>, flag: bool) {
    line.extend_from_slice(if flag { b"true" } else { b"false" });
}

fn write_integer(line: &mut Vec<u8>, number: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A decimal fraction from whole nanoseconds, which is cheaper than finding the shortest digits of a float.
fn write_time(line: &mut Vec<u8>, scale: Scale, time: SimTime) {
    let unit = scale.nanoseconds();
    write_integer(line, time.0 / unit);
    line.push(b'.');
    // The leading 1 keeps the zeros after the point, and is not printed.
    let mut buffer = itoa::Buffer::new();
    let digits = &buffer.format(unit + time.0 % unit)[1..];
    let significant = digits.trim_end_matches('0');
    line.extend_from_slice(if significant.is_empty() { b"0" } else { significant.as_bytes() });
}

fn write_float(line: &mut Vec<u8>, number: f64) {
    line.extend_from_slice(zmij::Buffer::new().format(number).as_bytes());
}

fn write_text(line: &mut Vec<u8>, text: &str, names: &Names) {
    if !(names.need_quotes && needs_quotes(text)) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}
