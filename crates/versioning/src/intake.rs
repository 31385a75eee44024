//! Many files read once: digested side by side and, where wanted, copied on the way.
//!
//! Work goes in rounds. While one round's pieces are written, the next are read and digested, so that disk and processor are both busy.
//! Copies pass by the system's memory of files where it lets them: they are to be synced anyway, and nobody reads them soon.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rayon::prelude::*;

use crate::lanes::{self, BLOCK, Digest};
use crate::watch::Step;
use crate::{Error, Result};

/// Buffers are of three sizes; a file takes the smallest that holds it, or goes through the largest in pieces.
const SIZES: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
/// Bytes of buffers in a round. Two rounds are in memory at a time.
const ROUND: usize = 24 << 20;
/// Files in a round: of small ones, no more are needed to keep the processors busy.
const ROUND_FILES: usize = 256;
/// What a disk can be asked to take directly: multiples of this.
const SECTOR: usize = 4096;
/// Below this a copy goes the usual way.
const DIRECT_FROM: u64 = 16 << 10;

/// Processors; to ask for them takes several files of the system.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(2, usize::from));

/// Threads for work that waits for disks: more than there are processors. None where the system gives none.
static POOL: LazyLock<Option<rayon::ThreadPool>> = LazyLock::new(|| {
    let threads = (4 * *PROCESSORS).clamp(8, 64);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()
});

/// Runs work in the pool of threads that may wait.
pub(crate) fn waiting<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match &*POOL {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// A file to read, and its size as far as known.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub path: &'a Path,
    pub size: u64,
}

impl Source<'_> {
    /// Whether it is read in one piece, so that its md5 is known before a copy is begun.
    pub fn is_small(&self) -> bool {
        self.size < SIZES[SIZES.len() - 1] as u64
    }
}

/// Asked for the name of a copy, with the file's place in the list and, of a small one, its md5; no copy is made where it gives none.
pub(crate) type Sink<'a> = dyn Fn(usize, Option<&str>) -> Result<Option<PathBuf>> + Sync + 'a;

/// The md5 of each file's bytes, and the copy that holds exactly those. Copies are read-only and not synced; after an error
/// some may be left half-made.
pub(crate) fn read_through(
    files: &[Source],
    sink: Option<&Sink>,
    step: &Step,
) -> Result<Vec<(String, Option<PathBuf>)>> {
    waiting(|| {
        let mut intake = Intake { files, sink, next: 0, spare: HashMap::new(), done: vec![None; files.len()] };
        intake.run(step)?;
        Ok(intake.done.into_iter().flatten().collect())
    })
}

/// The md5 of each file's bytes.
pub(crate) fn md5_of_files(files: &[Source], step: &Step) -> Result<Vec<String>> {
    Ok(read_through(files, None, step)?.into_iter().map(|(md5, _)| md5).collect())
}

/// A file that is being read.
struct Reading {
    index: usize,
    source: Option<File>,
    digest: Digest,
    offset: u64,
}

/// Bytes of a file on their way to its copy.
struct Piece {
    index: usize,
    buffer: Buffer,
    length: usize,
    offset: u64,
    /// After the last piece.
    md5: Option<String>,
    copy: Copy,
}

#[derive(Default)]
enum Copy {
    #[default]
    NotBegun,
    Declined,
    Begun(File, PathBuf, bool),
}

/// Bytes that start where a disk wants them to.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

impl Buffer {
    fn new(size: usize) -> Buffer {
        let bytes = vec![0; size + SECTOR];
        let start = bytes.as_ptr().align_offset(SECTOR).min(SECTOR);
        Buffer { bytes, start, size }
    }

    fn bytes(&self, length: usize) -> &[u8] {
        &self.bytes[self.start..][..length]
    }

    fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.size]
    }
}

struct Intake<'a> {
    files: &'a [Source<'a>],
    sink: Option<&'a Sink<'a>>,
    next: usize,
    spare: HashMap<usize, Vec<Buffer>>,
    done: Vec<Option<(String, Option<PathBuf>)>>,
}

impl Intake<'_> {
    fn run(&mut self, step: &Step) -> Result<()> {
        let mut reading: VecDeque<Reading> = VecDeque::new();
        let mut pending: Vec<Piece> = Vec::new();
        loop {
            let mut buffers = self.fill(&mut reading);
            if pending.is_empty() && reading.is_empty() {
                return Ok(());
            }
            step.check()?;
            let write = || pending.par_drain(..).map(|piece| self.write(piece)).collect::<Vec<_>>();
            let read = || self.read(reading.make_contiguous(), &mut buffers);
            let (written, read) = rayon::join(write, read);
            let mut copies = HashMap::new();
            for piece in written {
                let Piece { index, buffer, copy, md5, .. } = piece?;
                self.spare.entry(buffer.size).or_default().push(buffer);
                let Some(md5) = md5 else {
                    copies.insert(index, copy);
                    continue;
                };
                let path = if let Copy::Begun(_, path, _) = copy { Some(path) } else { None };
                self.done[index] = Some((md5, path));
                step.advance();
            }
            pending = read?;
            for piece in &mut pending {
                piece.copy = copies.remove(&piece.index).unwrap_or_default();
            }
            let ended: Vec<usize> =
                pending.iter().filter(|piece| piece.md5.is_some()).map(|piece| piece.index).collect();
            reading.retain(|file| !ended.contains(&file.index));
        }
    }

    /// As many files as a round has buffers for, each with its buffer.
    fn fill(&mut self, reading: &mut VecDeque<Reading>) -> Vec<Buffer> {
        let size_of = |file: &Reading| {
            let size = self.files[file.index].size as usize;
            // One byte more than the file has, so that its end is seen.
            *SIZES.iter().find(|&&class| size < class).unwrap_or(&SIZES[SIZES.len() - 1])
        };
        let mut total: usize = reading.iter().map(size_of).sum();
        while total < ROUND && reading.len() < ROUND_FILES && self.next < self.files.len() {
            let file = Reading { index: self.next, source: None, digest: Digest::new(), offset: 0 };
            total += size_of(&file);
            reading.push_back(file);
            self.next += 1;
        }
        let sizes: Vec<usize> = reading.iter().map(size_of).collect();
        let take = |size: usize| self.spare.get_mut(&size).and_then(Vec::pop).unwrap_or_else(|| Buffer::new(size));
        sizes.into_iter().map(take).collect()
    }

    /// A piece of every file, read and digested.
    fn read(&self, reading: &mut [Reading], buffers: &mut Vec<Buffer>) -> Result<Vec<Piece>> {
        let pieces: Result<Vec<(Piece, bool)>> = reading
            .par_iter_mut()
            .zip(buffers.par_drain(..))
            .map(|(file, mut buffer)| {
                let path = self.files[file.index].path;
                let source = match &mut file.source {
                    Some(source) => source,
                    none => none.insert(File::open(path).map_err(Error::io("read", path))?),
                };
                let space = buffer.space();
                let mut length = 0;
                while length < space.len() {
                    match source.read(&mut space[length..]) {
                        Ok(0) => break,
                        Ok(count) => length += count,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(Error::io("read", path)(error)),
                    }
                }
                let is_last = length < space.len();
                let (index, offset) = (file.index, file.offset);
                file.offset += length as u64;
                Ok((Piece { index, buffer, length, offset, md5: None, copy: Copy::NotBegun }, is_last))
            })
            .collect();
        let mut pieces = pieces?;
        // Messages of like length side by side keep the lanes full; each processor takes its share of every length.
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(pieces[index].0.length));
        let groups = PROCESSORS.min(pieces.len() / 4 + 1);
        let digests: Vec<(usize, Digest)> = (0..groups)
            .into_par_iter()
            .flat_map_iter(|group| {
                let members: Vec<usize> = order.iter().copied().skip(group).step_by(groups).collect();
                let mut digests: Vec<Digest> = members.iter().map(|&member| reading[member].digest).collect();
                let messages: Vec<&[u8]> =
                    members.iter().map(|&member| pieces[member].0.buffer.bytes(pieces[member].0.length)).collect();
                lanes::update(&mut digests, &messages);
                members.into_iter().zip(digests)
            })
            .collect();
        for (member, digest) in digests {
            reading[member].digest = digest;
            let (piece, is_last) = &mut pieces[member];
            if *is_last {
                let rest = piece.length / BLOCK * BLOCK;
                piece.md5 = Some(digest.finish(&piece.buffer.bytes(piece.length)[rest..]));
            }
        }
        Ok(pieces.into_iter().map(|(piece, _)| piece).collect())
    }

    /// A piece into its copy, which is begun with the first.
    fn write(&self, mut piece: Piece) -> Result<Piece> {
        let Some(sink) = self.sink else { return Ok(piece) };
        if matches!(piece.copy, Copy::NotBegun) {
            piece.copy = match sink(piece.index, piece.md5.as_deref())? {
                None => Copy::Declined,
                Some(path) => {
                    let (file, is_direct) = create(&path, self.files[piece.index].size)?;
                    Copy::Begun(file, path, is_direct)
                }
            };
        }
        let Copy::Begun(file, path, is_direct) = &mut piece.copy else { return Ok(piece) };
        let written = write(file, is_direct, &mut piece.buffer, piece.length, piece.offset);
        written.map_err(Error::io("write", path))?;
        Ok(piece)
    }
}

/// A new file that nobody may write to but through this handle, past the system's memory of files where it can be.
fn create(path: &Path, size: u64) -> Result<(File, bool)> {
    #[cfg(target_os = "linux")]
    if size >= DIRECT_FROM {
        use std::os::unix::fs::OpenOptionsExt;
        let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or_default();
        let mut options = File::options();
        if let Ok(file) = options.write(true).create_new(true).mode(0o444).custom_flags(direct).open(path) {
            return Ok((file, true));
        }
        // Some systems make the file before they find that they cannot.
        let _ = fs::remove_file(path);
    }
    Ok((new_read_only(path)?, false))
}

/// A new file that nobody may write to but through this handle.
pub(crate) fn new_read_only(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o444);
    options.open(path).map_err(Error::io("write", path))
}

fn write(
    file: &mut File,
    is_direct: &mut bool,
    buffer: &mut Buffer,
    length: usize,
    offset: u64,
) -> std::io::Result<()> {
    if *is_direct {
        let padded = length.next_multiple_of(SECTOR);
        buffer.space()[length..padded].fill(0);
        match file.write_all(buffer.bytes(padded)) {
            Ok(()) if padded == length => return Ok(()),
            Ok(()) => return file.set_len(offset + length as u64),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
        // A disk that wants it otherwise.
        *is_direct = false;
        #[cfg(target_os = "linux")]
        rustix::fs::fcntl_setfl(&*file, rustix::fs::OFlags::empty())?;
        std::io::Seek::seek(file, std::io::SeekFrom::Start(offset))?;
    }
    file.write_all(buffer.bytes(length))
}
