//! ONNX files: what is checked before a runtime sees them.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = yolo11_fuzz::bounded(bytes.len(), || yolo11_inference::inspect(bytes, Path::new("fuzzed.onnx")));
});
