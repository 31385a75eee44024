//! Writes the corpus that the targets start from: `cargo run --release --bin seeds` in this folder, before the first run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use yolo11_checkpoint::{Array, State, save_state};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

fn main() -> Result {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| -> Result {
        fs::create_dir_all(corpus.join(target))?;
        Ok(fs::write(corpus.join(target).join(name), bytes)?)
    };
    let numbers = [0x3f; 64];
    for (name, pickle) in pickles() {
        write("pickle", name, &pickle)?;
        let entries = [("a/data.pkl", pickle.as_slice()), ("a/byteorder", b"little"), ("a/data/0", &numbers)];
        write("pt", name, &yolo11_fuzz::archive(&entries))?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.safetensors");
    let weight = Array { shape: vec![2, 1, 3, 3], values: vec![0.5; 18] };
    let metadata = [("names", r#"["cat", "dog"]"#), ("epoch", "3"), ("train_args", r#"{"lr0": 0.01}"#)];
    let state = State {
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        tensors: BTreeMap::from([("model.0.conv.weight".to_owned(), weight)]),
    };
    save_state(&path, &state)?;
    let bytes = fs::read(&path)?;
    write("safetensors", "small", &bytes)?;
    write("state", "small", &bytes)
}

/// A state dictionary, a module, and the odd forms that real checkpoints have.
fn pickles() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let storage = [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x10tQK\0(K\x02K\x08t(K\x08K\x01t\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat();
    let dict = [b"\x80\x02}(".as_slice(), &text("model.0.conv.weight"), &storage, b"u."].concat();
    let module = [
        b"\x80\x02}(".as_slice(),
        &text("model"),
        b"cultralytics.nn.tasks\nDetectionModel\n)\x81q\x01}(",
        &text("_parameters"),
        b"}(",
        &text("weight"),
        b"ctorch._utils\n_rebuild_parameter\n(",
        &storage,
        b"\x88ccollections\nOrderedDict\n)RtRu",
        &text("_buffers"),
        b"}",
        &text("_non_persistent_buffers_set"),
        b"c__builtin__\nset\n(]",
        &text("x"),
        b"atRs",
        &text("_modules"),
        b"}(",
        &text("0"),
        b"h\x01",
        b"u",
        &text("names"),
        b"}(K\0",
        &text("cat"),
        b"u",
        b"ub",
        &text("epoch"),
        b"J\xff\xff\xff\xff",
        &text("best_fitness"),
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(",
        &text("f8"),
        b"\x89\x88tRc_codecs\nencode\n(",
        &text("abcdefgh"),
        &text("latin1"),
        b"tRtR",
        &text("train_args"),
        b"}(",
        &text("data"),
        b"cpathlib\nPosixPath\n(",
        &text("/"),
        &text("set"),
        b"tR",
        &text("lr0"),
        b"G?\xe0\0\0\0\0\0\0uu.",
    ]
    .concat();
    vec![("dict", dict), ("module", module)]
}
