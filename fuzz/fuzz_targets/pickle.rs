//! The pickle inside a `.pt` file, in an archive whose checksums are right: mutations get past them to the machine behind.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pickle: &[u8]| {
    let numbers = [0x3f; 64];
    let bytes = yolo11_fuzz::archive(&[
        ("archive/data.pkl", pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &numbers),
        ("archive/data/1", &numbers),
        ("archive/version", b"3\n"),
    ]);
    let _ = yolo11_fuzz::bounded(bytes.len(), || yolo11_checkpoint::from_bytes(&bytes, Path::new("fuzzed.pt")));
});
