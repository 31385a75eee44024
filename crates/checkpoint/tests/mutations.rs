//! Thousands of damaged files give an error or a valid result: no panic, and no allocation above four times the file's size.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Random, checkpoint, shared};
use yolo11_checkpoint::{Checkpoint, Error, StateArray, from_bytes, load, save_pt, save_safetensors, save_state};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

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
        let (result, used) = counting::measure(|| from_bytes(&bytes, Path::new("mutated")));
        let counting::Used { largest, peak } = used;
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
fn a_file_is_neither_read_nor_written_as_a_whole() {
    type Save = fn(&Path, &Checkpoint) -> Result<(), Error>;
    let (folder, original) = (tempfile::tempdir().unwrap(), checkpoint(3));
    for (name, save) in [("best.pt", save_pt as Save), ("best.safetensors", save_safetensors)] {
        let path = folder.path().join(name);
        let (saved, writing) = counting::measure(|| save(&path, &original));
        saved.unwrap();
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        let (read, reading) = counting::measure(|| load(&path));
        assert_eq!(read.unwrap().model, original.model);
        // The model itself takes as much as the file; beside it there are one tensor and the descriptions of networks.
        assert!(length > 10_000_000 && reading.peak < length + 4_000_000, "{name}: {} of {length}", reading.peak);
        assert!(writing.peak < 2_000_000, "{name}: {}", writing.peak);
    }
    // A training's whole state: arrays of four times the weights.
    let path = folder.path().join("last.state.safetensors");
    let specs = original.model.network().tensors();
    let array = |part: &str, index: usize| StateArray {
        name: format!("{part}/{}", specs[index].name),
        shape: specs[index].shape.clone(),
        values: original.model.tensor(index),
    };
    let parts = ["model", "ema", "first", "second"];
    let arrays: Vec<_> = parts.iter().flat_map(|part| (0..specs.len()).map(|index| array(part, index))).collect();
    let (saved, writing) = counting::measure(|| save_state(&path, &BTreeMap::new(), &arrays));
    saved.unwrap();
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    assert!(length > 40_000_000 && writing.peak < 2_000_000, "{} of {length}", writing.peak);
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
