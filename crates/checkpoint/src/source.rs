//! Where a file's bytes come from. Only the parts that are asked for are read and held.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::Error;
use crate::error::Problem;

/// A file on the disk or in memory.
pub(crate) struct Source<'a> {
    bytes: Bytes<'a>,
    length: u64,
}

enum Bytes<'a> {
    File(RefCell<File>),
    Memory(Cow<'a, [u8]>),
}

impl<'a> Source<'a> {
    pub fn open(path: &Path) -> Result<Source<'static>, Error> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|source| Problem::Read(source).at(path))?;
        Ok(Source { bytes: Bytes::File(RefCell::new(file)), length })
    }

    pub fn memory(bytes: impl Into<Cow<'a, [u8]>>) -> Source<'a> {
        let bytes = bytes.into();
        Source { length: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a stretch lies inside the file.
    pub fn holds(&self, start: u64, length: u64) -> bool {
        start.checked_add(length).is_some_and(|stop| stop <= self.length)
    }

    /// A stretch that the file [holds](Source::holds).
    pub fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, Problem> {
        let mut buffer = Vec::new();
        self.read_into(start, length, &mut buffer)?;
        Ok(buffer)
    }

    /// As [`Source::read`], into a buffer that is used again.
    pub fn read_into(&self, start: u64, length: u64, buffer: &mut Vec<u8>) -> Result<(), Problem> {
        let length = if self.holds(start, length) { length as usize } else { 0 };
        buffer.clear();
        buffer.reserve_exact(length);
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let start = start as usize;
                buffer.extend_from_slice(bytes.get(start..start + length).unwrap_or_default());
            }
            Bytes::File(file) => {
                let mut file = file.borrow_mut();
                file.seek(SeekFrom::Start(start)).map_err(Problem::Read)?;
                file.by_ref().take(length as u64).read_to_end(buffer).map_err(Problem::Read)?;
                if buffer.len() < length {
                    // It was as long when it was opened.
                    return Err(Problem::damaged("end of the file", "it became shorter while it was read"));
                }
            }
        }
        Ok(())
    }

    /// The first bytes, at most so many.
    pub fn head(&self, most: u64) -> Result<Vec<u8>, Problem> {
        self.read(0, self.length.min(most))
    }
}
