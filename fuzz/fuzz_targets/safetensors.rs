//! Weights in safetensors.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = || yolo11_checkpoint::from_bytes(bytes, Path::new("fuzzed.safetensors"));
    let _ = yolo11_fuzz::bounded(bytes.len(), read);
});
