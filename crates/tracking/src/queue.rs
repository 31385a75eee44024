//! The durable queue of a run: appended to by the training, read by whoever ships it.
//!
//! It is a folder of segments, `outbox-000001.jsonl` and so on. A line is the CRC-32 of its record in eight hexadecimal digits, a blank
//! and the record as JSON. A line is written by one call and counts once its line feed stands: what a crash tore was never acknowledged
//! and is cut off when the queue is opened again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::record::Record;

/// Bytes after which a new segment begins.
const SEGMENT: u64 = 4 << 20;

/// Bytes kept in memory while the disk is full.
const MOST_WAITING: usize = 16 << 20;

/// Longest line that is believed to be one.
const LONGEST_LINE: usize = 64 << 20;

/// A place in the queue: before the byte `offset` of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Number of the segment, from 1; 0 stands for the very beginning.
    pub segment: u64,
    /// Byte in it.
    pub offset: u64,
}

/// A record and the place behind it. `record` is none for a damaged line, which is passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was recorded.
    pub record: Option<Record>,
    /// Where the next one begins.
    pub end: Position,
}

/// Appends records.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    segment: u64,
    file: File,
    length: u64,
    waiting: Vec<u8>,
    lost: u64,
    longest: u64,
}

impl Writer {
    /// Opens the queue in `folder`, which is made where it is missing. The caller holds the run's lock.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::with_segment_length(folder, SEGMENT)
    }

    fn with_segment_length(folder: &Path, longest: u64) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
        let segment = segments(folder)?.last().copied().unwrap_or(1);
        let path = segment_path(folder, segment);
        let failed = |source| Error::write(&path, source);
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).map_err(failed)?;
        let length = whole_lines(&mut file).map_err(failed)?;
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Writer { folder: folder.to_owned(), segment, file, length, waiting: Vec::new(), lost: 0, longest })
    }

    /// Appends a record. When this returns `Ok` a crash of this process no longer loses it; syncing [`Writer::file_to_sync`] makes it outlast one of
    /// the machine.
    ///
    /// # Errors
    /// A full disk: the record then waits in memory and is written with the next one that can be.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let line = line(record);
        if self.waiting.len() + line.len() > MOST_WAITING {
            self.lost += 1;
        } else {
            self.waiting.extend_from_slice(&line);
        }
        self.write_waiting()
    }

    /// Tries to write what a full disk has held up.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn write_waiting(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.length >= self.longest {
            self.begin_segment()?;
        }
        if let Err(source) = self.file.write_all(&self.waiting) {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(Error::write(segment_path(&self.folder, self.segment), source));
        }
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        let path = segment_path(&self.folder, self.segment + 1);
        self.file.sync_data().map_err(|source| Error::write(&path, source))?;
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        self.file = file.map_err(|source| Error::write(&path, source))?;
        self.segment += 1;
        self.length = 0;
        Ok(())
    }

    /// The file to sync, for a thread that does it without holding the writer.
    ///
    /// # Errors
    /// Too many open files.
    pub fn file_to_sync(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Records that were given up because the disk stayed full.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether anything waits in memory for the disk.
    pub fn is_held_up(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// Bytes up to the last line feed.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 65_536];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(found) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Reads on from `position`: at most `most` records, none at the end. A line without its end is left for later.
///
/// # Errors
/// A segment that cannot be read.
pub fn read(folder: &Path, position: Position, most: usize) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for segment in segments(folder)?.into_iter().filter(|&segment| segment >= position.segment) {
        let start = if segment == position.segment { position.offset } else { 0 };
        read_segment(folder, segment, start, most, &mut entries)?;
        if entries.len() >= most {
            break;
        }
    }
    Ok(entries)
}

fn read_segment(folder: &Path, segment: u64, start: u64, most: usize, entries: &mut Vec<Entry>) -> Result<(), Error> {
    let path = segment_path(folder, segment);
    let failed = |source| Error::read(&path, source);
    let mut file = File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let (mut offset, mut buffer, mut block) = (start, Vec::new(), vec![0; 1 << 16]);
    while entries.len() < most {
        let count = file.read(&mut block).map_err(failed)?;
        if count == 0 || buffer.len() > LONGEST_LINE {
            return Ok(());
        }
        buffer.extend_from_slice(&block[..count]);
        let mut taken = 0;
        while let Some(length) = buffer[taken..].iter().position(|&byte| byte == b'\n').filter(|_| entries.len() < most)
        {
            let record = parse(&buffer[taken..taken + length]);
            taken += length + 1;
            offset += length as u64 + 1;
            entries.push(Entry { record, end: Position { segment, offset } });
        }
        buffer.drain(..taken);
    }
    Ok(())
}

/// Deletes segments before that of `position`: all in them is on the server.
pub fn drop_shipped(folder: &Path, position: Position) -> Result<(), Error> {
    for segment in segments(folder)?.into_iter().filter(|&segment| segment < position.segment) {
        let path = segment_path(folder, segment);
        fs::remove_file(&path).map_err(|source| Error::write(&path, source))?;
    }
    Ok(())
}

/// Numbers of the segments there are, in order.
fn segments(folder: &Path) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| Error::read(folder, source))? {
        let name = entry.map_err(|source| Error::read(folder, source))?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix("outbox-")?.strip_suffix(".jsonl")?.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("outbox-{segment:06}.jsonl"))
}

fn line(record: &Record) -> Vec<u8> {
    // A record is made of texts and numbers: it always has a JSON form.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Record> {
    let (sum, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let right = u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(json.as_bytes());
    if right { serde_json::from_str(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(number: usize) -> Record {
        Record::Tags { tags: vec![(number.to_string(), "line\nfeed ü".to_owned())] }
    }

    fn records(folder: &Path, from: Position) -> Vec<Option<Record>> {
        read(folder, from, usize::MAX).unwrap().into_iter().map(|entry| entry.record).collect()
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_the_rest_is_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        (0..3).for_each(|number| writer.append(&tag(number)).unwrap());
        drop(writer);
        let path = segment_path(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        let third = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for length in third..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(records(folder.path(), Position::default()), [Some(tag(0)), Some(tag(1))], "{length}");
            let mut writer = Writer::open(folder.path()).unwrap();
            writer.append(&tag(9)).unwrap();
            assert_eq!(records(folder.path(), Position::default()), [Some(tag(0)), Some(tag(1)), Some(tag(9))]);
        }
    }

    #[test]
    fn a_damaged_line_is_passed_over_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        (0..3).for_each(|number| writer.append(&tag(number)).unwrap());
        let path = segment_path(folder.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let second = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        bytes[second + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(records(folder.path(), Position::default()), [Some(tag(0)), None, Some(tag(2))]);
    }

    #[test]
    fn a_long_block_without_line_feed_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(segment_path(folder.path(), 1), vec![0; 200_000]).unwrap();
        Writer::open(folder.path()).unwrap().append(&tag(1)).unwrap();
        assert_eq!(records(folder.path(), Position::default()), [Some(tag(1))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever the segments' length and wherever the reader stopped, it goes on with the next record; crashes between shipping and
        /// writing the position down repeat records but never leave one out.
        #[test]
        fn reading_in_any_steps_gives_every_record_once_in_order(
            count in 0usize..60, longest in 1u64..400, steps in proptest::collection::vec((1usize..7, any::<bool>()), 1..40),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = Writer::with_segment_length(folder.path(), longest).unwrap();
            let (mut seen, mut position, mut written) = (Vec::new(), Position::default(), 0);
            for (step, forgets) in steps.into_iter().cycle().take(80) {
                if written < count {
                    writer.append(&tag(written)).unwrap();
                    written += 1;
                    if written % 7 == 0 {
                        writer = Writer::with_segment_length(folder.path(), longest).unwrap();
                    }
                }
                let entries = read(folder.path(), position, step).unwrap();
                prop_assert!(entries.len() <= step);
                let already = seen.len();
                seen.extend(entries.iter().map(|entry| entry.record.clone().unwrap()));
                if forgets {
                    seen.truncate(already);
                } else if let Some(last) = entries.last() {
                    position = last.end;
                    drop_shipped(folder.path(), position).unwrap();
                }
            }
            for entry in read(folder.path(), position, usize::MAX).unwrap() {
                seen.push(entry.record.unwrap());
            }
            prop_assert_eq!(seen, (0..count).map(tag).collect::<Vec<_>>());
        }
    }
}
