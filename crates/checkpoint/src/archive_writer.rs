//! Writes zip archives as PyTorch does: stored entries whose data begin at multiples of 64 bytes, so that they can be mapped.

use std::io::{self, Write};
use std::path::Path;

use crate::safetensors_format::Encoding;
use crate::{Error, atomic};

const ALIGNMENT: usize = 64;
/// UTF-8 names.
const FLAGS: u16 = 0x0800;

/// Writes a zip archive of these entries, name and content, in the form PyTorch's own have, atomically.
pub fn save_archive<'a>(path: &Path, entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<(), Error> {
    atomic::write(path, |writer| {
        let mut archive = ArchiveWriter::new(writer);
        for (name, content) in entries {
            archive.add(name, &Data::Bytes(content))?;
        }
        archive.finish()
    })
}

/// An archive under way. Dates are left zero: equal content gives equal bytes.
pub(crate) struct ArchiveWriter<'w> {
    writer: &'w mut dyn Write,
    offset: usize,
    entries: Vec<Written>,
}

struct Written {
    name: String,
    header: u32,
    size: u32,
    checksum: u32,
}

/// What an entry holds.
pub(crate) enum Data<'a> {
    Bytes(&'a [u8]),
    Numbers(&'a [f32], Encoding),
}

impl Data<'_> {
    fn size(&self) -> usize {
        match self {
            Data::Bytes(bytes) => bytes.len(),
            Data::Numbers(values, encoding) => values.len() * encoding.size(),
        }
    }

    fn hand_over(&self, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Data::Bytes(bytes) => to(bytes),
            Data::Numbers(values, encoding) => encoding.encode(values, to),
        }
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the archive would be larger than 4 GiB")
}

impl<'w> ArchiveWriter<'w> {
    pub fn new(writer: &'w mut dyn Write) -> ArchiveWriter<'w> {
        ArchiveWriter { writer, offset: 0, entries: Vec::new() }
    }

    /// Appends one entry.
    pub fn add(&mut self, name: &str, data: &Data<'_>) -> io::Result<()> {
        let size = u32::try_from(data.size()).map_err(|_| too_large())?;
        let header = u32::try_from(self.offset).map_err(|_| too_large())?;
        // The checksum stands before the data, so the numbers are encoded twice rather than held.
        let mut hasher = crc32fast::Hasher::new();
        data.hand_over(|bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        let checksum = hasher.finalize();
        // Padding is an extra field of PyTorch's own kind, "FB", filled with Z; the field's head takes four bytes.
        let unpadded = self.offset + 30 + name.len() + 4;
        let filler = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        let mut head = Vec::with_capacity(30 + name.len() + 4 + filler);
        head.extend(b"PK\x03\x04");
        entry_fields(&mut head, checksum, size, name, filler as u16 + 4);
        head.extend(name.as_bytes());
        head.extend(b"FB");
        head.extend((filler as u16).to_le_bytes());
        head.resize(head.len() + filler, b'Z');
        self.writer.write_all(&head)?;
        data.hand_over(|bytes| self.writer.write_all(bytes))?;
        self.offset += head.len() + size as usize;
        self.entries.push(Written { name: name.to_string(), header, size, checksum });
        Ok(())
    }

    /// Writes the directory.
    pub fn finish(self) -> io::Result<()> {
        let start = u32::try_from(self.offset).map_err(|_| too_large())?;
        let count = u16::try_from(self.entries.len()).map_err(|_| too_large())?;
        let mut directory = Vec::new();
        for entry in &self.entries {
            directory.extend(b"PK\x01\x02");
            directory.extend(0u16.to_le_bytes()); // made by
            entry_fields(&mut directory, entry.checksum, entry.size, &entry.name, 0);
            directory.extend([0; 10]); // comment, disk, attributes
            directory.extend(entry.header.to_le_bytes());
            directory.extend(entry.name.as_bytes());
        }
        let length = directory.len() as u32;
        directory.extend(b"PK\x05\x06");
        directory.extend([0; 4]); // disks
        directory.extend(count.to_le_bytes());
        directory.extend(count.to_le_bytes());
        directory.extend(length.to_le_bytes());
        directory.extend(start.to_le_bytes());
        directory.extend([0; 2]); // comment
        self.writer.write_all(&directory)
    }
}

/// The fields that the entry's own header and the directory share, from "version needed" to the length of the extra field.
fn entry_fields(out: &mut Vec<u8>, checksum: u32, size: u32, name: &str, extra: u16) {
    out.extend(10u16.to_le_bytes()); // version needed
    out.extend(FLAGS.to_le_bytes());
    out.extend(0u16.to_le_bytes()); // stored
    out.extend([0; 4]); // time, date
    out.extend(checksum.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend((name.len() as u16).to_le_bytes());
    out.extend(extra.to_le_bytes());
}
