//! The bytes of a trace and the records in them, whatever they mean: rows of tables and objects of JSON, packed or not.

mod csv_records;
pub(in crate::workload) mod digest;
mod feed;
mod lines;
pub(super) mod objects;
mod packing;
mod parquet_records;
pub(super) mod replay;
pub(super) mod table;
mod values;

/// Bytes of the longest object of JSON: a line, an element of an array, or a document.
const MOST_OBJECT_BYTES: usize = 1 << 29;

/// `text` without the mark that some editors put at the head of a file.
pub(super) fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
