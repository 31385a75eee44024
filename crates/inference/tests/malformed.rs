//! Damaged ONNX files: an error each, no panic, no allocation out of proportion.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use yolo11_export::{ExportOptions, Head, Precision, Suppression, onnx};
use yolo11_inference::{BackendKind, OpenOptions, inspect, open};
use yolo11_network::{Model, Network, Scale};

/// The system's allocator, with the largest single allocation since it was last asked.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// One test at a time: they share the count.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

/// Where the file's structure is, and not its weights: everything but long raw data, which stand behind key 9 and their length.
fn structure(file: &[u8]) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), 0);
    while at < file.len() {
        places.push(at);
        let bytes = |place: usize| file.get(at + place).copied().unwrap_or(0) as usize;
        let length = (0..4).take_while(|&place| place == 0 || bytes(place) >= 0x80).count();
        let value = (0..length).fold(0, |value, place| value | (bytes(place + 1) & 0x7f) << (7 * place));
        at += 1;
        if file[at - 1] == 0x4a && value >= 256 && at + length + value < file.len() {
            at += length + value;
        }
    }
    places
}

#[test]
fn a_thousand_mutations_give_an_error_or_a_model() {
    let _turn = TURN.lock();
    let network = Network::yolo11(Scale::Nano, 2);
    let model = Model::initialise(&network, 1);
    let names = ["a".to_owned(), "b".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    let suppression = Suppression { confidence: 0.25, iou: 0.7, agnostic: false, max_detections: 300 };
    let files: Vec<Vec<u8>> = [(Head::Decoded, false), (Head::Suppressed(suppression), true), (Head::Raw, true)]
        .into_iter()
        .map(|(head, dynamic)| {
            let options = ExportOptions {
                names: &names,
                size: [64, 64],
                batch: 1,
                dynamic,
                opset: 17,
                precision: Precision::Float32,
                head,
            };
            onnx(&model, &options).unwrap()
        })
        .collect();
    let places: Vec<Vec<usize>> = files.iter().map(|file| structure(file)).collect();
    let path = folder.path().join("mutated.onnx");
    let options = OpenOptions { backend: BackendKind::Rust, threads: 1, ..OpenOptions::default() };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut refused, mut opened) = (0, 0);
    for round in 0..1000 {
        let kind = round % files.len();
        let mut file = files[kind].clone();
        for _ in 0..1 + random.below(4) {
            let at =
                if round % 5 == 0 { random.below(file.len()) } else { places[kind][random.below(places[kind].len())] };
            let at = at.min(file.len() - 1);
            match random.below(6) {
                0 => file[at] ^= 1 << random.below(8),
                1 => file[at] = random.below(256) as u8,
                2 => file[at] = 0xff,
                3 => file.truncate(at.max(1)),
                4 => drop(file.drain(at..(at + 1 + random.below(8)).min(file.len() - 1))),
                _ => file.insert(at, random.below(256) as u8),
            }
        }
        std::fs::write(&path, &file).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        match open(&path, &options) {
            Ok(_) => opened += 1,
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.starts_with(&path.display().to_string()), "{text}");
            }
        }
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= 4 * file.len().max(1 << 20), "round {round}: {largest} bytes for a file of {}", file.len());
    }
    eprintln!("{refused} refused, {opened} opened");
    assert!(refused > 500, "{refused} of 1000");
}

/// A field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![number << 3 | 2], content.len());
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
    out
}

#[test]
fn what_is_small_in_a_file_and_large_in_memory_is_bounded() {
    let _turn = TURN.lock();
    // A number, and a file of a graph.
    let int = |number: u8, value: u8| vec![number << 3, value];
    let file = |graph: &[u8]| [field(8, &int(2, 17)), field(7, graph)].concat();
    let sizes = [1, 3, 32, 32].map(|size| field(1, &int(1, size))).concat();
    let value = [field(1, b"images"), field(2, &field(1, &[int(1, 1), field(2, &sizes)].concat()))].concat();
    let ends = [field(11, &value), field(12, &value)].concat();
    let many = 2_000_000;
    // Numbers of one byte each, as a constant that sizes an output.
    let ones = [field(1, &[0x80, 0x89, 0x7a]), int(2, 7), field(7, &vec![1; many]), field(8, b"shape")].concat();
    let expand = [field(1, b"images"), field(1, b"shape"), field(2, b"a"), field(4, b"Expand")].concat();
    let large = [field(1, &[0x80, 0x89, 0x7a]), int(2, 3), field(8, b"large"), field(9, &vec![1; many])].concat();
    let suppression = [field(1, b"large"), field(1, b"large"), field(2, b"b"), field(4, b"NonMaxSuppression")].concat();
    let names = format!("[{}]", "'',".repeat(many / 3));
    let names = field(14, &[field(1, b"names"), field(2, names.as_bytes())].concat());
    for (what, file, reason) in [
        ("nodes", file(&field(1, b"").repeat(many / 2)), Some("more than 65536 nodes")),
        ("inputs", file(&field(11, b"").repeat(many / 2)), Some("more than 4096 inputs")),
        ("outputs", file(&field(12, b"").repeat(many / 2)), Some("more than 4096 outputs")),
        ("values", file(&field(1, &field(1, b"").repeat(many / 2))), Some("more than 65536 values")),
        ("attributes", file(&field(1, &field(5, b"").repeat(many / 2))), Some("more than 4096 attributes of a node")),
        ("numbers", file(&[field(5, &ones), field(1, &expand), ends.clone()].concat()), None),
        (
            "suppressions",
            file(&[field(5, &large), field(1, &suppression).repeat(1000), ends.clone()].concat()),
            Some("too many suppressions read the same values"),
        ),
        ("names", [file(&ends), names].concat(), None),
    ] {
        LARGEST.store(0, Ordering::Relaxed);
        let told = inspect(&file, std::path::Path::new("large.onnx"));
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= 4 * file.len(), "{what}: {largest} bytes for a file of {}", file.len());
        match (told, reason) {
            (Ok(model), None) => assert!(model.names.is_empty(), "{what}"),
            (Err(error), Some(reason)) => assert!(error.to_string().contains(reason), "{what}: {error}"),
            (told, _) => panic!("{what}: {told:?}"),
        }
    }
}
