//! Decoded pictures at the network's size, kept as long as the settings allow. What is kept changes the speed only.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use crate::decode::decode_file;
use crate::labels::Label;
use crate::letterbox::{Letterbox, resize};
use crate::loader::Cache;
use crate::{Check, Error, Finding, Picture, Split};

/// Start of a cache file: the format's name and version.
const MAGIC: &[u8; 8] = b"y11rgb01";

/// The pictures of a split, scaled so that the long side is the network's size.
pub(crate) struct Store {
    pub split: Arc<Split>,
    size: usize,
    scale_up: bool,
    cache: Cache,
    slots: Vec<Mutex<Slot>>,
    /// Pictures kept for the mosaics to come, oldest first.
    recent: Mutex<VecDeque<usize>>,
    recent_limit: usize,
    ram_bytes: AtomicU64,
    decoded: AtomicUsize,
    disk_failed: AtomicBool,
    findings: Mutex<BTreeMap<usize, Finding>>,
}

enum Slot {
    Empty,
    Kept(Arc<Picture>),
    Broken,
}

impl Store {
    pub fn new(
        split: Arc<Split>,
        size: usize,
        scale_up: bool,
        cache: Cache,
        recent_limit: usize,
    ) -> Result<Self, Error> {
        if let Cache::Disk { folder } = &cache {
            fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
        }
        let slots = split.images.iter().map(|_| Mutex::new(Slot::Empty)).collect();
        Ok(Self {
            split,
            size,
            scale_up,
            cache,
            slots,
            recent: Mutex::default(),
            recent_limit,
            ram_bytes: AtomicU64::new(0),
            decoded: AtomicUsize::new(0),
            disk_failed: AtomicBool::new(false),
            findings: Mutex::default(),
        })
    }

    pub fn labels(&self, index: usize) -> &[Label] {
        &self.split.images[index].labels
    }

    /// Number of files decoded so far.
    pub fn decoded(&self) -> usize {
        self.decoded.load(Ordering::Relaxed)
    }

    /// Pictures that turned out unreadable, and what else was found, in order of the pictures.
    pub fn findings(&self) -> Vec<Finding> {
        lock(&self.findings).values().cloned().collect()
    }

    /// The picture, or the first readable one after it (the last is followed by the first), with its index.
    pub fn readable(&self, index: usize) -> Result<(usize, Arc<Picture>), Error> {
        let count = self.slots.len();
        for index in (index..count).chain(0..index) {
            if let Some(picture) = self.get(index) {
                return Ok((index, picture));
            }
        }
        let first = self.findings().into_iter().next();
        let first = first.unwrap_or_else(|| Finding::new(Check::PictureUnreadable, PathBuf::new(), "no picture"));
        Err(Error::NothingReadable { split: self.split.name.to_string(), first: Box::new(first) })
    }

    /// The scaled picture; None for one that cannot be read, which is then a finding.
    pub fn get(&self, index: usize) -> Option<Arc<Picture>> {
        let mut slot = lock(&self.slots[index]);
        match &*slot {
            Slot::Kept(picture) => return Some(picture.clone()),
            Slot::Broken => return None,
            Slot::Empty => {}
        }
        // Others who want the same picture wait here for the one that decodes it.
        let picture = match self.load(index) {
            Ok(picture) => Arc::new(picture),
            Err(message) => {
                *slot = Slot::Broken;
                let file = self.split.images[index].path.clone();
                lock(&self.findings).insert(index, Finding::new(Check::PictureUnreadable, file, message));
                return None;
            }
        };
        if self.fits_in_ram(picture.pixels.len() as u64) {
            *slot = Slot::Kept(picture.clone());
        } else if self.recent_limit > 0 {
            *slot = Slot::Kept(picture.clone());
            drop(slot);
            let mut recent = lock(&self.recent);
            recent.push_back(index);
            let oldest = if recent.len() > self.recent_limit { recent.pop_front() } else { None };
            drop(recent);
            if let Some(oldest) = oldest {
                *lock(&self.slots[oldest]) = Slot::Empty;
            }
        }
        Some(picture)
    }

    fn fits_in_ram(&self, bytes: u64) -> bool {
        let Cache::Ram { limit_bytes } = self.cache else { return false };
        let add = |held: u64| held.checked_add(bytes).filter(|&sum| sum <= limit_bytes);
        self.ram_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn load(&self, index: usize) -> Result<Picture, String> {
        let path = &self.split.images[index].path;
        let Cache::Disk { folder } = &self.cache else { return self.decode(path) };
        let file = self.cache_file(folder, path).ok_or("cannot be read: the file is gone")?;
        if let Some(picture) = read_cached(&file) {
            return Ok(picture);
        }
        let picture = self.decode(path)?;
        if !self.disk_failed.load(Ordering::Relaxed)
            && let Err(error) = write_cached(&file, &picture)
            && !self.disk_failed.swap(true, Ordering::Relaxed)
        {
            let message = format!("the cache cannot be written, pictures are decoded each time: {error}");
            lock(&self.findings).insert(usize::MAX, Finding::new(Check::Cache, folder, message));
        }
        Ok(picture)
    }

    fn decode(&self, path: &Path) -> Result<Picture, String> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let picture = decode_file(path).map_err(|error| match error {
            Error::Picture { message, .. } => message,
            Error::Read { source, .. } => format!("cannot be read: {source}"),
            other => other.to_string(),
        })?;
        let scaled = Letterbox::of_batch(picture.size(), [self.size; 2], self.size, self.scale_up).scaled;
        Ok(resize(&picture, scaled).unwrap_or(picture))
    }

    /// A name that changes with the picture's place, time, length, with the size and how it is rounded: an old file is never taken.
    fn cache_file(&self, folder: &Path, path: &Path) -> Option<PathBuf> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let key = format!("{}|{modified}|{}|{}|{}|up", whole.display(), metadata.len(), self.size, self.scale_up);
        let stem = path.file_stem()?.to_string_lossy();
        let stem: String = stem.chars().filter(|character| character.is_ascii_alphanumeric()).take(40).collect();
        Some(folder.join(format!("{stem}-{:016x}.rgb", hash(key.as_bytes()))))
    }
}

/// Cache file: magic, height, width (u32), hash of the pixels (u64), pixels; little-endian.
fn read_cached(file: &Path) -> Option<Picture> {
    let mut bytes = fs::read(file).ok()?;
    let header: [u8; 24] = bytes.get(..24)?.try_into().ok()?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (height, width) = (number(8), number(12));
    let expected = u64::from_le_bytes(header[16..24].try_into().ok()?);
    let whole = &header[..8] == MAGIC && bytes.len() == 24 + height * width * 3 && hash(&bytes[24..]) == expected;
    whole.then(|| {
        bytes.drain(..24);
        Picture { height, width, pixels: bytes }
    })
}

fn write_cached(file: &Path, picture: &Picture) -> std::io::Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = file.with_extension(format!("{}-{number}.part", std::process::id()));
    let write = || {
        let mut out = fs::File::create(&temporary)?;
        out.write_all(MAGIC)?;
        out.write_all(&(picture.height as u32).to_le_bytes())?;
        out.write_all(&(picture.width as u32).to_le_bytes())?;
        out.write_all(&hash(&picture.pixels).to_le_bytes())?;
        out.write_all(&picture.pixels)?;
        // Not synced: a file that a power cut damaged fails its hash and is made again.
        fs::rename(&temporary, file)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// FNV-1a over words of eight bytes: to notice damage, not tampering.
fn hash(bytes: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, |state, word| step(state, u64::from_le_bytes(*word)));
    let state = rest.iter().fold(state, |state, &byte| step(state, u64::from(byte)));
    step(step(state, 1), 2)
}

/// A lock that a thread left in panic holds nothing half done here: every change is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
