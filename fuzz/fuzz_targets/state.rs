//! Training states, which are safetensors with names and texts of their own.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = || {
        let file = yolo11_checkpoint::StateFile::from_bytes(bytes, Path::new("fuzzed.state.safetensors"))?;
        let mut values = vec![0.0; bytes.len() / 4];
        let count = file.shape("model.0.conv.weight").map_or(0, |shape| shape.iter().product());
        values.truncate(count);
        file.read("model.0.conv.weight", &mut values)
    };
    let _ = yolo11_fuzz::bounded(bytes.len(), read);
});
