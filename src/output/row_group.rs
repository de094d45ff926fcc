//! A row group in the making: each of its columns takes rows as they come.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use super::columns::{Column, Value};
use super::names::Names;
use super::reserve::ReservedFile;
use super::value_chunk::{Encoded, ValueChunk};
use super::word_chunk::{Packer, WordChunk};

/// A row group in the making, and after it the next one.
pub(super) struct RowGroup<Row: 'static> {
    columns: Vec<&'static Column<Row>>,
    schema: Arc<Schema>,
    encoders: ArrowRowGroupWriterFactory,
    packer: Packer,
    chunks: Vec<Chunk>,
    rows: usize,
}

/// A column of it.
enum Chunk {
    Words(WordChunk),
    Values(Box<ValueChunk>),
}

impl<Row> RowGroup<Row> {
    pub(super) fn new(
        columns: Vec<&'static Column<Row>>,
        schema: Arc<Schema>,
        encoders: ArrowRowGroupWriterFactory,
        writer: &SerializedFileWriter<ReservedFile>,
    ) -> Result<Self> {
        let described = columns.iter().zip(writer.schema_descr().columns());
        let chunks = described.map(|(column, descr)| match column.value {
            Value::Keyed(..) | Value::KeyedOrNull(..) | Value::Word(..) | Value::WordOrNull(..) => {
                Chunk::Words(WordChunk::new(Arc::clone(descr)))
            }
            _ => Chunk::Values(Box::new(ValueChunk::new(Arc::clone(descr)))),
        });
        let chunks = chunks.collect();
        let packer = Packer::new()?;
        Ok(Self { columns, schema, encoders, packer, chunks, rows: 0 })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that it holds, about.
    pub(super) fn bytes(&self) -> usize {
        let bytes = self.chunks.iter().map(|chunk| match chunk {
            Chunk::Words(words) => words.bytes(),
            Chunk::Values(values) => values.bytes(),
        });
        bytes.sum()
    }

    pub(super) fn take(&mut self, rows: &[Row], names: &Names) -> Result<()> {
        if self.rows == 0 {
            // Rows are flat, so a column is a leaf.
            for (chunk, new) in self.chunks.iter_mut().zip(self.encoders.create_column_writers(0)?) {
                if let Chunk::Values(values) = chunk {
                    values.begin(new);
                }
            }
        }
        for ((column, field), chunk) in self.columns.iter().zip(self.schema.fields()).zip(&mut self.chunks) {
            chunk.take(&column.value, field, rows, names)?;
        }
        self.rows += rows.len();
        Ok(())
    }

    /// Writes it, if it has a row, and begins the next one.
    pub(super) fn write_to(&mut self, writer: &mut SerializedFileWriter<ReservedFile>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let mut group = writer.next_row_group()?;
        for chunk in &mut self.chunks {
            let (bytes, close) = match chunk {
                Chunk::Words(words) => words.finish(&mut self.packer)?,
                Chunk::Values(values) => match values.finish()? {
                    Encoded::Same(mut same) => same.finish(&mut self.packer)?,
                    Encoded::Values(values) => {
                        values.append_to_row_group(&mut group)?;
                        continue;
                    }
                },
            };
            group.append_column(&bytes, close)?;
        }
        group.close()?;
        Ok(())
    }
}

impl Chunk {
    fn take<Row>(&mut self, value: &Value<Row>, field: &Field, rows: &[Row], names: &Names) -> Result<()> {
        match self {
            Self::Words(words) => {
                take_words(words, value, rows, names);
                Ok(())
            }
            Self::Values(values) => values.take(value, field, rows, names),
        }
    }
}

fn take_words<Row>(words: &mut WordChunk, value: &Value<Row>, rows: &[Row], names: &Names) {
    match value {
        Value::Keyed(key, write) => words.take(rows, *key, |row, text| {
            write(row, names, text);
            true
        }),
        Value::KeyedOrNull(key, write) => words.take(rows, *key, |row, text| {
            write(row, text);
            !text.is_empty()
        }),
        Value::Word(key, word) => words.take(rows, *key, |row, text| {
            text.push_str(word(row, names));
            true
        }),
        Value::WordOrNull(key, word) => {
            words.take(rows, *key, |row, text| word(row, names).map(|word| text.push_str(word)).is_some());
        }
        _ => unreachable!("the chunk was made for words"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use oracle_components::SimTime;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::output::columns::Scale;
    use crate::output::parquet_file::{ParquetFile, ROW_GROUP_ROWS};
    use crate::output::staged::Claim;

    /// Rows are numbers.
    static COLUMNS: [Column<u64>; 8] = [
        Column::new("few", "", "", Value::Word(|row| row % 2, |row, _| ["even", "odd"][(row % 2) as usize])),
        Column::new("many", "", "", Value::Keyed(|row| row / 3, |row, _, text| text.push_str(&(row / 3).to_string()))),
        Column::new(
            "some",
            "",
            "",
            Value::KeyedOrNull(
                |row| row % 5,
                |row, text| {
                    if row % 5 > 2 {
                        text.push_str(&(row % 5).to_string());
                    }
                },
            ),
        ),
        Column::new("none", "", "", Value::WordOrNull(|_| 0, |_, _| None)),
        Column::new("same", "", "", Value::Integer(|_| -7)),
        Column::new("late", "", "", Value::Integer(|&row| if row == LATE { 1 } else { 0 })),
        Column::new(
            "until",
            "",
            "",
            Value::TimeOrNull(Scale::Milliseconds, |&row| (row > LATE).then_some(SimTime::from_secs_f64(1.5))),
        ),
        Column::new("never", "", "", Value::TextOrNull(|_, _| ())),
    ];
    /// A row of the second row group.
    const LATE: u64 = ROW_GROUP_ROWS as u64 + 5000;

    #[test]
    fn readers_get_what_was_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rows.parquet");
        let staged = Claim::take(&path).and_then(Claim::begin).expect("it can be written");
        let mut file = ParquetFile::create(staged, &COLUMNS).expect("it can be written");
        let rows: Vec<u64> = (0..2 * ROW_GROUP_ROWS as u64 + 100).collect();
        rows.chunks(3000).for_each(|rows| file.write(rows, &Names::default()).expect("the disk has room"));
        file.close(false).and_then(|closed| closed.staged.commit()).expect("the disk has room");
        let reader = SerializedFileReader::new(File::open(&path).expect("it is there")).expect("it has a footer");
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let mut found = reader.get_row_iter(None).expect("it can be read");
        for number in rows {
            let row = found.next().expect("there are as many").expect("it can be read");
            assert_eq!(row.get_string(0).expect("a word"), if number % 2 == 0 { "even" } else { "odd" });
            assert_eq!(row.get_string(1).expect("a word"), &(number / 3).to_string());
            assert_eq!(row.get_string(2).ok(), (number % 5 > 2).then(|| (number % 5).to_string()).as_ref());
            assert!(row.get_string(3).is_err() && row.get_string(7).is_err());
            assert_eq!((row.get_long(4).ok(), row.get_long(5).ok()), (Some(-7), Some((number == LATE).into())));
            assert_eq!(row.get_double(6).ok(), (number > LATE).then_some(1500.0));
        }
        assert!(found.next().is_none());
    }
}
