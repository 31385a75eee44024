//! Whole `.pt` files: the zip archive as it comes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = yolo11_fuzz::bounded(bytes.len(), || yolo11_checkpoint::from_bytes(bytes, Path::new("fuzzed.pt")));
});
