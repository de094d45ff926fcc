//! A column of words in a row group: a dictionary of those that there are, and a code a row.
//!
//! The encoder of the parquet crate hashes and compares every word of every row. Here a key says which word a row has, so that
//! a word is looked at once a row group, which takes a fifth off the writing of a million requests. Pages, their headers and metadata are the crate's.

use std::mem::take;

use bytes::Bytes;
use oracle_components::key_map::KeyMap;
use parquet::basic::{CompressionCodec, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// The code of rows without a word.
const NULL: u32 = u32::MAX;
/// Values that are packed at once.
const PACK: usize = 8;

/// The words of a row group in the making.
pub(super) struct WordChunk {
    column: ColumnDescPtr,
    /// A code a row.
    codes: Vec<u32>,
    code_of: KeyMap<u32>,
    /// The key of the last row, and its code.
    last: Option<(u64, u32)>,
    /// Every word behind its length.
    dictionary: Vec<u8>,
    words: u32,
    text: String,
}

impl WordChunk {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            column,
            codes: Vec::new(),
            code_of: KeyMap::default(),
            last: None,
            dictionary: Vec::new(),
            words: 0,
            text: String::new(),
        }
    }

    /// A column of which all rows have one value, as it is in the file, or none.
    pub(super) fn of_one(column: ColumnDescPtr, value: Option<[u8; 8]>, rows: usize) -> Self {
        let codes = vec![if value.is_some() { 0 } else { NULL }; rows];
        let dictionary = value.map(Vec::from).unwrap_or_default();
        Self { codes, words: u32::from(value.is_some()), dictionary, ..Self::new(column) }
    }

    /// Adds rows, of which those with equal keys have the same word. `write` appends that of a row, and says whether it has one.
    pub(super) fn take<Row>(&mut self, rows: &[Row], key: fn(&Row) -> u64, write: impl Fn(&Row, &mut String) -> bool) {
        self.codes.reserve(rows.len());
        for row in rows {
            let key = key(row);
            let code = match self.last {
                Some((last, code)) if last == key => code,
                _ => match self.code_of.get(&key) {
                    Some(&code) => code,
                    None => self.learn(key, |text| write(row, text)),
                },
            };
            self.last = Some((key, code));
            self.codes.push(code);
        }
    }

    /// The code of a key that is new.
    fn learn(&mut self, key: u64, write: impl FnOnce(&mut String) -> bool) -> u32 {
        self.text.clear();
        let code = if write(&mut self.text) {
            self.dictionary.extend_from_slice(&(self.text.len() as u32).to_le_bytes());
            self.dictionary.extend_from_slice(self.text.as_bytes());
            self.words += 1;
            self.words - 1
        } else {
            NULL
        };
        self.code_of.insert(key, code);
        code
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.dictionary.len() + size_of_val(&self.codes[..])
    }

    /// The column of the row group as it is in the file, and what the footer says of it. Begins the next one.
    pub(super) fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let (dictionary, data) = (self.dictionary_page(), self.data_page());
        let encodings = vec![Encoding::RLE, data.encoding(), Encoding::PLAIN];
        let dictionary = dictionary.map(|page| pages.write_page(packer.compressed(page)?)).transpose()?;
        let data = pages.write_page(packer.compressed(data)?)?;
        let plain_bytes = data.uncompressed_size + dictionary.as_ref().map_or(0, |page| page.uncompressed_size);
        let bytes = sink.into_inner()?;
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression_codec(CompressionCodec::ZSTD)
            .set_encodings(encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(plain_bytes as i64)
            .set_num_values(self.codes.len() as i64)
            .set_dictionary_page_offset(dictionary.map(|page| page.offset as i64))
            .set_data_page_offset(data.offset as i64)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.codes.len() as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        self.codes.clear();
        self.code_of.clear();
        self.last = None;
        self.dictionary.clear();
        self.words = 0;
        Ok((bytes.into(), close))
    }

    /// The words, if there are any.
    fn dictionary_page(&mut self) -> Option<Page> {
        (self.words > 0).then(|| Page::DictionaryPage {
            buf: take(&mut self.dictionary).into(),
            num_values: self.words,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        })
    }

    /// Which rows have a word, and the codes of these.
    fn data_page(&self) -> Page {
        let mut page = Vec::new();
        if self.column.max_def_level() > 0 {
            let have_one: Vec<u32> = self.codes.iter().map(|&code| u32::from(code != NULL)).collect();
            let mut levels = Vec::new();
            pack(&have_one, 1, &mut levels);
            page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
            page.extend_from_slice(&levels);
        }
        // Without words there is no dictionary, and readers take what comes after the levels for plain values.
        if self.words > 0 {
            let width = u32::BITS - (self.words - 1).leading_zeros();
            page.push(width as u8);
            let codes: Vec<u32> = self.codes.iter().copied().filter(|&code| code != NULL).collect();
            pack(&codes, width, &mut page);
        }
        Page::DataPage {
            buf: page.into(),
            num_values: self.codes.len() as u32,
            encoding: if self.words > 0 { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN },
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }
}

/// Parquet's hybrid of run lengths and packed bits: `values` below 2^`width`, appended to `bytes`.
fn pack(values: &[u32], width: u32, bytes: &mut Vec<u8>) {
    let mut rest = values;
    while let Some(&first) = rest.first() {
        let run = rest.iter().position(|&value| value != first).unwrap_or(rest.len());
        if run >= PACK || run == rest.len() {
            varint((run as u32) << 1, bytes);
            bytes.extend_from_slice(&first.to_le_bytes()[..width.div_ceil(u8::BITS) as usize]);
            rest = &rest[run..];
            continue;
        }
        let is_run = |pack: &[u32]| pack.len() == PACK && pack.iter().all(|&value| value == pack[0]);
        let packs = rest.chunks(PACK).position(is_run).unwrap_or(rest.len().div_ceil(PACK));
        let (packed, after) = rest.split_at(rest.len().min(packs * PACK));
        varint((packs as u32) << 1 | 1, bytes);
        let (mut bits, mut used) = (0_u64, 0);
        let padding = packs * PACK - packed.len();
        for value in packed.iter().copied().chain(std::iter::repeat_n(0, padding)) {
            bits |= u64::from(value) << used;
            used += width;
            while used >= u8::BITS {
                bytes.push(bits as u8);
                bits >>= u8::BITS;
                used -= u8::BITS;
            }
        }
        rest = after;
    }
}

/// A number in groups of seven bits, the lowest first.
fn varint(mut number: u32, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// How hard pages are compressed.
pub(super) fn compression_level() -> ZstdLevel {
    ZstdLevel::try_new(1).expect("zstd has a level 1")
}

/// Compresses pages, one context for all.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Compressor::new(compression_level().compression_level())?))
    }

    fn compressed(&mut self, mut page: Page) -> Result<CompressedPage> {
        let (Page::DataPage { buf, .. } | Page::DataPageV2 { buf, .. } | Page::DictionaryPage { buf, .. }) = &mut page;
        let bytes = buf.len();
        *buf = self.0.compress(buf)?.into();
        Ok(CompressedPage::new(page, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of the hybrid makes of it.
    fn unpacked(bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut bytes = bytes.iter().copied();
        let mut values = Vec::new();
        while values.len() < count {
            let mut header = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes.next().expect("a header has an end");
                header |= u32::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            let mut number = |bytes_each: u32| {
                (0..bytes_each).fold(0, |sum, place| sum | u64::from(bytes.next().expect("a byte")) << (8 * place))
            };
            if header & 1 == 0 {
                let value = number(width.div_ceil(8)) as u32;
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
                continue;
            }
            for _ in 0..header >> 1 {
                let bits: Vec<u64> = (0..width).map(|_| number(1)).collect();
                let bit = |place: u32| (bits[(place / 8) as usize] >> (place % 8) & 1) as u32;
                values.extend(
                    (0..8).map(|value| (0..width).fold(0, |sum, place| sum | bit(value * width + place) << place)),
                );
            }
        }
        assert_eq!(bytes.next(), None, "nothing is left");
        values.truncate(count);
        values
    }

    #[test]
    fn packed_values_come_back() {
        for width in [0, 1, 3, 8, 11, 17, 32] {
            // Runs of all lengths between values that differ.
            let draw = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
            let mut values = Vec::new();
            for at in 0..400 {
                let value = draw(at).checked_shr(u32::BITS - width).unwrap_or(0);
                values.extend(std::iter::repeat_n(value, if at % 7 == 0 { at as usize % 40 } else { 1 }));
            }
            for count in [0, 1, 7, 8, 9, values.len() - 1, values.len()] {
                let mut bytes = Vec::new();
                pack(&values[..count], width, &mut bytes);
                assert_eq!(unpacked(&bytes, width, count), values[..count], "{width} bits, {count} values");
            }
        }
    }
}
