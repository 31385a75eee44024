//! Training states, which are safetensors with names and texts of their own.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = || yolo11_checkpoint::state_from_bytes(bytes, Path::new("fuzzed.state.safetensors"));
    let _ = yolo11_fuzz::bounded(bytes.len(), read);
});
