//! Reads the zip archives that PyTorch writes: stored entries only, found through the directory at the file's end.

use crate::error::{Problem, shown};
use crate::source::Source;
use crate::tensor::Storage;

/// The entries of a zip file. They are named as its directory names them.
pub(crate) struct Archive<'a> {
    source: &'a Source<'a>,
    /// Sorted by name.
    entries: Vec<Entry<'a>>,
    /// Folder that holds `data.pkl`, with its slash.
    root: &'a str,
}

struct Entry<'a> {
    name: &'a str,
    header: u64,
    size: u64,
    checksum: u32,
    /// Why the entry cannot be read, if so.
    obstacle: Option<&'static str>,
}

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const DIRECTORY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const PART: &str = "zip directory";
/// The last record, a comment of any length, and the ZIP64 locator before it.
const LONGEST_TAIL: u64 = 22 + u16::MAX as u64 + 20;

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

impl<'a> Archive<'a> {
    /// Whether the bytes begin as a zip file does.
    pub fn is_zip(bytes: &[u8]) -> bool {
        bytes.starts_with(LOCAL) || bytes.starts_with(END)
    }

    /// The bytes of a file's directory, for [`Archive::open`].
    pub fn directory(source: &Source) -> Result<Vec<u8>, Problem> {
        let truncated = || Problem::damaged(PART, "the directory at the file's end is missing: the file is cut short");
        let length = source.length().min(LONGEST_TAIL);
        let before = source.length() - length;
        let tail = source.read(before, length)?;
        let end = find_end(&tail).ok_or_else(truncated)?;
        let (offset, size) = directory_span(source, &tail, end)?.ok_or_else(truncated)?;
        let inside = offset.checked_add(size).is_some_and(|stop| stop <= before + end as u64);
        if !inside {
            return Err(Problem::damaged(PART, "it lies outside the file"));
        }
        source.read(offset, size)
    }

    /// Finds the entries in the directory.
    pub fn open(source: &'a Source<'a>, directory: &'a [u8]) -> Result<Archive<'a>, Problem> {
        let mut entries = read_directory(directory)?;
        entries.sort_by(|a, b| a.name.cmp(b.name));
        let root = entries
            .iter()
            .filter_map(|entry| entry.name.strip_suffix("data.pkl"))
            .find(|root| root.is_empty() || (root.ends_with('/') && root.matches('/').count() == 1))
            .ok_or_else(|| Problem::Format {
                problem: "a zip file without `data.pkl`: not one that PyTorch wrote".into(),
                hint: "name a checkpoint written by `torch.save` or a .safetensors file",
            })?;
        Ok(Archive { source, entries, root })
    }

    fn position(&self, name: &str) -> Option<usize> {
        let key = |entry: &Entry<'a>| {
            entry.name.strip_prefix(self.root).map_or_else(|| entry.name.cmp(self.root), |rest| rest.cmp(name))
        };
        self.entries.binary_search_by(key).ok()
    }

    /// Whether an entry of that name, such as `byteorder`, lies beside `data.pkl`.
    pub fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// An entry's bytes, its checksum compared.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        self.find(name)?.read(self.source, &mut bytes)?;
        Ok(bytes)
    }

    /// Where an entry's bytes lie. Nothing of them is read yet.
    pub fn find(&self, name: &str) -> Result<Storage, Problem> {
        let position =
            self.position(name).ok_or_else(|| Problem::damaged(shown(name), "the archive has no such entry"))?;
        let entry = &self.entries[position];
        let damaged = |problem: &str| Problem::damaged(shown(name), problem);
        if let Some(obstacle) = entry.obstacle {
            return Err(Problem::Format {
                problem: format!("entry `{}` is {obstacle}, which PyTorch never writes", shown(name)),
                hint: "unpack the archive and write the checkpoint again with `torch.save`",
            });
        }
        let outside = || damaged("it lies outside the file");
        if !self.source.holds(entry.header, 30) {
            return Err(outside());
        }
        let local = self.source.read(entry.header, 30)?;
        if !local.starts_with(LOCAL) {
            return Err(damaged("no entry begins where the directory says"));
        }
        // The local header's own name and padding lengths: PyTorch aligns data by padding that the directory does not mention.
        let name_length = u16_at(&local, 26).ok_or_else(outside)?;
        let padding = u16_at(&local, 28).ok_or_else(outside)?;
        let start = entry.header + 30 + u64::from(name_length) + u64::from(padding);
        if !self.source.holds(start, entry.size) {
            return Err(outside());
        }
        Ok(Storage { name: shown(name), start, length: entry.size, checksum: Some(entry.checksum) })
    }
}

/// Where the last record begins. A comment of up to 65,535 bytes may follow it.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(22)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        bytes[at..].starts_with(END)
            && u16_at(bytes, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) <= bytes.len())
    })
}

/// Offset and size of the directory, from the ZIP64 record where there is one.
fn directory_span(source: &Source, tail: &[u8], end: usize) -> Result<Option<(u64, u64)>, Problem> {
    if let Some(locator) = end.checked_sub(20)
        && tail[locator..].starts_with(LOCATOR_64)
        && let Some(record) = u64_at(tail, locator + 8)
        && source.holds(record, 56)
    {
        let record = source.read(record, 56)?;
        if record.starts_with(END_64) {
            return Ok(u64_at(&record, 48).zip(u64_at(&record, 40)));
        }
    }
    Ok(u32_at(tail, end + 16).map(u64::from).zip(u32_at(tail, end + 12).map(u64::from)))
}

fn read_directory(mut directory: &[u8]) -> Result<Vec<Entry<'_>>, Problem> {
    // An entry takes at least 46 bytes and a few of name, so this stays below the directory's own size.
    let mut entries = Vec::with_capacity(directory.len() / 64);
    while !directory.is_empty() {
        let (entry, length) =
            read_entry(directory).ok_or_else(|| Problem::damaged(PART, "an entry in it is malformed"))?;
        entries.push(entry);
        directory = &directory[length..];
    }
    Ok(entries)
}

/// One directory entry and its length in bytes.
fn read_entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    if !bytes.starts_with(DIRECTORY) {
        return None;
    }
    let (flags, method) = (u16_at(bytes, 8)?, u16_at(bytes, 10)?);
    let checksum = u32_at(bytes, 16)?;
    let (mut packed, mut size) = (u64::from(u32_at(bytes, 20)?), u64::from(u32_at(bytes, 24)?));
    let (name_length, extra_length) = (usize::from(u16_at(bytes, 28)?), usize::from(u16_at(bytes, 30)?));
    let comment_length = usize::from(u16_at(bytes, 32)?);
    let mut header = u64::from(u32_at(bytes, 42)?);
    let name = std::str::from_utf8(bytes.get(46..46 + name_length)?).ok()?;
    let mut extra = bytes.get(46 + name_length..46 + name_length + extra_length)?;
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let field = extra.get(4..4 + length)?;
        if kind == 1 {
            // ZIP64: eight bytes for each of the fields that reads "too large", in this order.
            let mut at = 0;
            for value in [&mut size, &mut packed, &mut header] {
                if *value == u64::from(u32::MAX) {
                    *value = u64_at(field, at)?;
                    at += 8;
                }
            }
        }
        extra = &extra[4 + length..];
    }
    let obstacle = match (flags & 1, method) {
        (1, _) => Some("encrypted"),
        (_, 0) if packed == size => None,
        _ => Some("compressed"),
    };
    let length = 46 + name_length + extra_length + comment_length;
    (length <= bytes.len()).then_some((Entry { name, header, size, checksum, obstacle }, length))
}
