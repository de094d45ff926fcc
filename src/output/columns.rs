//! What a column of a file is: its name, unit and meaning, and how a row gives its value. The Parquet and the CSV writer
//! both read these, so a column is declared once.
//!
//! Types are those that need no cast in DuckDB, pandas and polars: strings, 64-bit signed integers (a difference of
//! unsigned ones wraps or fails), 64-bit floats and booleans.

use oracle_components::SimTime;

use super::names::Names;

/// A column of rows of type `Row`.
#[derive(Debug)]
pub(super) struct Column<Row: 'static> {
    pub(super) name: &'static str,
    /// Unit of the numbers, empty if they have none.
    pub(super) unit: &'static str,
    pub(super) comment: &'static str,
    pub(super) value: Value<Row>,
}

/// In what a column tells time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    Seconds,
    Milliseconds,
}

impl Scale {
    /// The number in the files. Correctly rounded (below 104 days), so it is what reading `nanoseconds / 10^decimals` as
    /// a decimal fraction gives.
    pub(super) fn number(self, time: SimTime) -> f64 {
        match self {
            Self::Seconds => time.as_secs_f64(),
            Self::Milliseconds => time.as_millis_f64(),
        }
    }

    /// Nanoseconds of one.
    pub(super) fn nanoseconds(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
        }
    }
}

/// Where a column's values come from.
#[derive(Debug)]
pub(super) enum Value<Row: 'static> {
    /// A prefix and a number, nearly all distinct.
    Identifier(&'static str, fn(&Row) -> u64),
    /// Text appended to a buffer, often one that was there before.
    Text(fn(&Row, &Names, &mut String)),
    /// Text appended to a buffer, often one that was there before; or none, where nothing is appended.
    TextOrNull(fn(&Row, &mut String)),
    /// Text appended to a buffer. Rows of a key, which is the first, have the same.
    Keyed(fn(&Row) -> u64, fn(&Row, &Names, &mut String)),
    /// Text appended to a buffer; or none, where nothing is appended. Rows of a key have the same.
    KeyedOrNull(fn(&Row) -> u64, fn(&Row, &mut String)),
    /// One of a few words. Rows of a key have the same.
    Word(fn(&Row) -> u64, for<'a> fn(&'a Row, &'a Names) -> &'a str),
    /// One of a few words, or none. Rows of a key have the same.
    WordOrNull(fn(&Row) -> u64, for<'a> fn(&'a Row, &'a Names) -> Option<&'a str>),
    /// A count.
    Integer(fn(&Row) -> i64),
    /// A time or a span of it.
    Time(Scale, fn(&Row) -> SimTime),
    /// A time or a span of it, or none.
    TimeOrNull(Scale, fn(&Row) -> Option<SimTime>),
    /// A number, or none.
    FloatOrNull(fn(&Row) -> Option<f64>),
    /// Yes or no.
    Flag(fn(&Row) -> bool),
    /// Yes or no, or neither.
    FlagOrNull(fn(&Row, &Names) -> Option<bool>),
}

impl<Row> Column<Row> {
    pub(super) const fn new(name: &'static str, unit: &'static str, comment: &'static str, value: Value<Row>) -> Self {
        Self { name, unit, comment, value }
    }
}

impl<Row> Value<Row> {
    /// Whether a row may lack a value.
    pub(super) fn nullable(&self) -> bool {
        matches!(
            self,
            Self::TextOrNull(_)
                | Self::KeyedOrNull(..)
                | Self::WordOrNull(..)
                | Self::TimeOrNull(..)
                | Self::FloatOrNull(_)
                | Self::FlagOrNull(_)
        )
    }
}
