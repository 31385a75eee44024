//! Thousands of damaged files give an error or a valid result: no panic, and no allocation above four times the file's size.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use common::{Random, checkpoint, shared};
use yolo11_checkpoint::{from_bytes, save_pt, save_safetensors};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread asks for.
struct Counting;

fn count(size: usize, change: isize) {
    LARGEST.set(LARGEST.get().max(size));
    LIVE.set(LIVE.get() + change);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are constant-initialised and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where the interesting bytes of a file lie.
struct Anatomy {
    /// Header or pickle.
    text: std::ops::Range<usize>,
    /// The checksums of `data.pkl`, to be mended so that a mutation gets past them.
    checksums: Vec<usize>,
    /// Where the directory begins, or the end.
    directory: usize,
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    (0..size).fold(0, |number, byte| number | (bytes[at + byte] as usize) << (8 * byte))
}

fn anatomy(bytes: &[u8]) -> Anatomy {
    if bytes[8] == b'{' {
        return Anatomy { text: 0..8 + number(bytes, 0, 8), checksums: vec![], directory: bytes.len() - 1 };
    }
    // `data.pkl` is the first entry of what PyTorch writes and of ours.
    let directory = number(bytes, bytes.len() - 6, 4);
    let start = 30 + number(bytes, 26, 2) + number(bytes, 28, 2);
    let size = number(bytes, directory + 24, 4);
    Anatomy { text: start..start + size, checksums: vec![14, directory + 16], directory }
}

fn mutate(original: &[u8], anatomy: &Anatomy, random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let text = |random: &mut Random| anatomy.text.start + random.below(anatomy.text.len());
    match random.below(10) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => bytes.truncate(anatomy.text.start + random.below(anatomy.text.len())),
        2 => {
            let at = anatomy.directory + random.below(bytes.len() - anatomy.directory);
            bytes[at] ^= 1 << random.below(8);
        }
        3 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        4 => {
            // A length field of one of the usual sizes, set to something large or random.
            let (at, size) = (text(random), 1 << random.below(4));
            let value = if random.below(2) == 0 { u64::MAX } else { random.next() };
            let end = (at + size).min(bytes.len());
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        5 => {
            // A stretch moved over another.
            let (from, to, length) = (text(random), text(random), random.below(64));
            let length = length.min(anatomy.text.end - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
        6 => {
            // A run of one instruction.
            let (at, length) = (text(random), random.below(4096));
            let end = (at + length).min(anatomy.text.end);
            bytes[at..end].fill(b"}]()N0(1eutaRQb\x85\x94\x81"[random.below(18)]);
        }
        _ => {
            for _ in 0..1 + random.below(6) {
                let at = text(random);
                bytes[at] = if random.below(2) == 0 { random.next() as u8 } else { bytes[at] ^ 1 << random.below(8) };
            }
        }
    }
    if bytes.len() == original.len() {
        let checksum = crc32fast::hash(&bytes[anatomy.text.clone()]).to_le_bytes();
        for &at in &anatomy.checksums {
            // A quarter keeps the stale checksum.
            if random.below(4) > 0 {
                bytes[at..at + 4].copy_from_slice(&checksum);
            }
        }
    }
    bytes
}

/// Reads `count` mutations of a file; returns how many were valid.
fn survive(original: &[u8], count: usize, seed: u64) -> usize {
    assert!(from_bytes(original, Path::new("original")).is_ok());
    let anatomy = anatomy(original);
    let mut random = Random(seed);
    let mut valid = 0;
    for index in 0..count {
        let bytes = mutate(original, &anatomy, &mut random);
        let before = LIVE.get();
        LARGEST.set(0);
        PEAK.set(before);
        let result = from_bytes(&bytes, Path::new("mutated"));
        let (largest, peak) = (LARGEST.get(), (PEAK.get() - before) as usize);
        // Messages and the description of the network have a size of their own.
        assert!(largest <= (4 * bytes.len()).max(1 << 16), "mutation {index}: {largest} of {}", bytes.len());
        assert!(peak <= 4 * bytes.len() + (1 << 22), "mutation {index}: {peak} of {}", bytes.len());
        match result {
            Ok(checkpoint) => {
                valid += 1;
                assert_eq!(checkpoint.names.len(), checkpoint.model.network().classes);
            }
            Err(error) => assert!(error.to_string().starts_with("mutated: "), "{error}"),
        }
    }
    valid
}

#[test]
fn a_thousand_mutated_pt_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.pt");
    save_pt(&path, &checkpoint(3)).unwrap();
    let valid = survive(&std::fs::read(path).unwrap(), 1000, 1);
    assert!(valid > 10 && valid < 900, "{valid} valid");
}

#[test]
fn a_thousand_mutated_safetensors_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    save_safetensors(&path, &checkpoint(3)).unwrap();
    let valid = survive(&std::fs::read(path).unwrap(), 1000, 2);
    assert!(valid > 10 && valid < 900, "{valid} valid");
}

#[test]
fn a_thousand_mutated_ultralytics_checkpoints() {
    let Some(shared) = shared() else { return };
    let valid = survive(&std::fs::read(shared.join("oracle/yolo11n_nc3_s0.pt")).unwrap(), 1000, 3);
    assert!(valid > 10 && valid < 900, "{valid} valid");
}
