//! Compressed files: gzip, zstd and xz, told by their first bytes and unpacked as they are read.

use std::io::{self, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Memory that an xz file may ask for, in KiB: `xz -9` takes 64 MiB.
const MOST_XZ_KIB: u32 = 256 << 10;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

/// Bytes as they come out.
pub(super) type Unpacked = Box<dyn Read + Send + Sync>;

impl Packing {
    /// Bytes that tell how a file is packed.
    pub const MAGIC_BYTES: usize = 6;

    /// By the first bytes of a file.
    pub fn of(head: &[u8]) -> Self {
        let known: [(&[u8], Self); 3] =
            [(b"\x1f\x8b", Self::Gzip), (b"\x28\xb5\x2f\xfd", Self::Zstd), (b"\xfd7zXZ\x00", Self::Xz)];
        let named = known.into_iter().find(|(magic, _)| head.starts_with(magic));
        named.map_or(Self::Plain, |(_, packing)| packing)
    }

    /// The bytes in `packed`, from its beginning.
    pub fn unpack(self, packed: Unpacked) -> io::Result<Unpacked> {
        let (name, unpacked): (_, Unpacked) = match self {
            Self::Plain => return Ok(packed),
            Self::Gzip => ("gzip", Box::new(MultiGzDecoder::new(packed))),
            Self::Zstd => ("zstd", Box::new(zstd::stream::read::Decoder::new(packed)?)),
            Self::Xz => ("xz", Box::new(XzReader::new_mem_limit(packed, true, MOST_XZ_KIB))),
        };
        Ok(Box::new(Archive { name, unpacked }))
    }
}

/// Says of an error that the archive is what is wrong.
struct Archive {
    name: &'static str,
    unpacked: Unpacked,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.unpacked.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let message = format!("the {} archive is broken or cut short ({error})", self.name);
                    return Err(io::Error::new(ErrorKind::InvalidData, message));
                }
                read => return read,
            }
        }
    }
}
