//! Rows by session, in a temporary file without a name: each points to the one before it in its session, so that memory holds
//! a few words a session while the rows of one may lie anywhere in a trace.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where a record lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    offset: u64,
    /// 0: there is none.
    bytes: u32,
}

/// The bytes before a record that say where the one before it is.
const LINK_BYTES: usize = 12;

/// The first record of a chain and the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    first: Place,
    last: Place,
}

/// A file of records, in chains.
pub(super) struct Store {
    file: BufWriter<File>,
    end: u64,
    buffer: Vec<u8>,
}

impl Store {
    pub fn new() -> io::Result<Self> {
        let file = tempfile::tempfile().map_err(unkept)?;
        Ok(Self { file: BufWriter::with_capacity(1 << 18, file), end: 0, buffer: Vec::new() })
    }

    /// Puts a record at the end of `chain`.
    pub fn append(&mut self, chain: &mut Chain, record: &impl Serialize) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&link(chain.last));
        let written = postcard::to_io(record, &mut self.buffer).map_err(io::Error::other)?;
        let bytes = u32::try_from(written.len()).map_err(io::Error::other)?;
        self.file.write_all(&self.buffer).map_err(unkept)?;
        chain.last = Place { offset: self.end, bytes };
        if chain.first.bytes == 0 {
            chain.first = chain.last;
        }
        self.end += u64::from(bytes);
        Ok(())
    }

    /// Puts the chain `other` behind `chain`.
    pub fn join(&mut self, chain: &mut Chain, other: Chain) -> io::Result<()> {
        if other.last.bytes == 0 {
            return Ok(());
        }
        if chain.last.bytes > 0 {
            self.file.seek(SeekFrom::Start(other.first.offset)).map_err(unkept)?;
            self.file.write_all(&link(chain.last)).map_err(unkept)?;
            self.file.seek(SeekFrom::Start(self.end)).map_err(unkept)?;
        } else {
            chain.first = other.first;
        }
        chain.last = other.last;
        Ok(())
    }

    /// No more records come.
    pub fn finish(self) -> io::Result<Records> {
        let file = self.file.into_inner().map_err(|error| unkept(error.into_error()))?;
        Ok(Records { file, buffer: self.buffer })
    }
}

/// The records of a store.
pub(super) struct Records {
    file: File,
    buffer: Vec<u8>,
}

impl Records {
    /// The records of a chain, the last first.
    pub fn read<T: DeserializeOwned>(&mut self, chain: Chain, mut each: impl FnMut(T)) -> io::Result<()> {
        let mut place = chain.last;
        while place.bytes > 0 {
            self.buffer.resize(place.bytes as usize, 0);
            self.file.read_exact_at(&mut self.buffer, place.offset)?;
            let (link, record) = self.buffer.split_at(LINK_BYTES);
            each(postcard::from_bytes(record).map_err(io::Error::other)?);
            let (offset, bytes) = link.split_at(8);
            place = Place {
                offset: u64::from_le_bytes(offset.try_into().expect("8 bytes")),
                bytes: u32::from_le_bytes(bytes.try_into().expect("4 bytes")),
            };
        }
        Ok(())
    }
}

fn link(to: Place) -> [u8; LINK_BYTES] {
    let mut bytes = [0; LINK_BYTES];
    bytes[..8].copy_from_slice(&to.offset.to_le_bytes());
    bytes[8..].copy_from_slice(&to.bytes.to_le_bytes());
    bytes
}

fn unkept(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("its sessions cannot be kept in $TMPDIR: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize, Vec<u64>),
        Join(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let append = (0_usize..5, prop::collection::vec(any::<u64>(), 0..9)).prop_map(|(to, x)| Step::Append(to, x));
        let join = (0_usize..5, 0_usize..5).prop_map(|(to, from)| Step::Join(to, from));
        prop::collection::vec(prop_oneof![4 => append, 1 => join], 0..60)
    }

    proptest! {
        #[test]
        fn chains_hold_what_was_put_into_them(steps in steps()) {
            let mut store = Store::new().expect("a temporary file");
            let mut chains = [Chain::default(); 5];
            let mut expected: [Vec<Vec<u64>>; 5] = Default::default();
            for step in steps {
                match step {
                    Step::Append(to, record) => {
                        store.append(&mut chains[to], &record).expect("there is room");
                        expected[to].push(record);
                    }
                    Step::Join(to, from) if to != from => {
                        let other = std::mem::take(&mut chains[from]);
                        store.join(&mut chains[to], other).expect("there is room");
                        let other = std::mem::take(&mut expected[from]);
                        expected[to].extend(other);
                    }
                    Step::Join(..) => {}
                }
            }
            let mut records = store.finish().expect("there is room");
            for (chain, expected) in chains.into_iter().zip(expected) {
                let mut read: Vec<Vec<u64>> = Vec::new();
                records.read(chain, |record| read.push(record)).expect("it is there");
                read.reverse();
                prop_assert_eq!(read, expected);
            }
        }
    }
}
