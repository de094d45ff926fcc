//! The bytes of a trace and the records in them, whatever they mean: tables of text and objects of JSON.

mod feed;
pub(super) mod lines;
pub(super) mod replay;
pub(super) mod table;
