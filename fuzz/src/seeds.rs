//! Writes the corpus that the targets start from: `cargo run --release --bin seeds` in this folder, before the first run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use yolo11_checkpoint::{StateArray, save_state};
use yolo11_export::{ExportOptions, Head, Precision, Suppression};
use yolo11_fuzz::life;
use yolo11_network::{Model, Network, Scale};

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
    write("onnx", "small", &onnx())?;
    for (name, file) in exports()? {
        write("onnx", name, &without_weights(&file))?;
    }
    write("requests", "life", &life::input(life::FIRST))?;
    for (number, call) in life::FIRST.iter().chain(life::LATER).enumerate() {
        write("requests", &format!("call-{number}"), &life::input(&[*call]))?;
    }
    for (number, text) in FILTERS.iter().enumerate() {
        write("filter", &format!("filter-{number}"), text.as_bytes())?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.safetensors");
    let values = [0.5; 18];
    let weight = StateArray { name: "model.0.conv.weight".to_owned(), shape: vec![2, 1, 3, 3], values: &values };
    let metadata = [("names", r#"["cat", "dog"]"#), ("epoch", "3"), ("train_args", r#"{"lr0": 0.01}"#)];
    let metadata: BTreeMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    save_state(&path, &metadata, &[weight])?;
    let bytes = fs::read(&path)?;
    write("safetensors", "small", &bytes)?;
    write("state", "small", &bytes)
}

/// Every word of the language of searches.
const FILTERS: [&str; 8] = [
    "metrics.mAP50 > 0.5 and params.lr = '0.001' AND tags.`a.b` like '%tr_in%'",
    "attributes.status != \"FINISHED\" and run_id in ('a', 'b') and params.x is null",
    "tag.y IS NOT NULL and datasets.name not in ('c',) and metrics.`loss (val)`<=-1e-3",
    "run name = 'it''s' and start_time >= 17 and parameter.a ilike 'GR%' and attr.end_time < 3",
    "metrics.\"val/box_loss\" == 1 and metric.a <> .5",
    "metrics.`a b` DESC",
    "attributes.end_time asc",
    "metrics.mAP50(B)",
];

/// Files as `yolo11 export` writes them.
fn exports() -> std::result::Result<Vec<(&'static str, Vec<u8>)>, yolo11_export::Error> {
    let names = ["cat".to_owned(), "driver's cab".to_owned()];
    let model = Model::initialise(&Network::yolo11(Scale::Nano, names.len()), 1);
    let suppression = Suppression { confidence: 0.25, iou: 0.7, agnostic: false, max_detections: 300 };
    let forms = [
        ("decoded", Head::Decoded, Precision::Float32, false),
        ("half", Head::Decoded, Precision::Float16, true),
        ("raw", Head::Raw, Precision::Float32, true),
        ("suppressed", Head::Suppressed(suppression), Precision::Float32, true),
    ];
    let write = |(name, head, precision, dynamic)| {
        let options = ExportOptions { names: &names, size: [64; 2], batch: 1, dynamic, opset: 17, precision, head };
        Ok((name, yolo11_export::onnx(&model, &options)?))
    };
    forms.into_iter().map(write).collect()
}

/// The file with every large tensor emptied: small enough to be changed a thousand times a second, with the whole graph in it.
fn without_weights(file: &[u8]) -> Vec<u8> {
    each_field(file, |number, content| match number {
        7 => each_field(content, |number, content| match number {
            // Sizes go first in what the exporter writes, then the type, the numbers, the name.
            5 if content.len() > 256 => {
                each_field(content, |number, content| if matches!(number, 1 | 9) { Vec::new() } else { content.to_vec() })
                    .into_iter()
                    .chain([1 << 3, 0])
                    .collect()
            }
            _ => content.to_vec(),
        }),
        _ => content.to_vec(),
    })
}

/// A message with the content of each of its fields of bytes changed.
fn each_field(mut message: &[u8], change: impl Fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
    fn varint(bytes: &mut &[u8]) -> usize {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    fn put(out: &mut Vec<u8>, mut value: usize) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut out = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        put(&mut out, key);
        if key & 7 == 0 {
            put(&mut out, varint(&mut message));
        } else {
            let length = varint(&mut message);
            let content = change((key >> 3) as u8, &message[..length]);
            message = &message[length..];
            put(&mut out, content.len());
            out.extend(content);
        }
    }
    out
}

/// A graph with everything that is looked at: an input, an output, weights, a resize, a branch, metadata.
fn onnx() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let int = |number: u8, value: u8| vec![number << 3, value];
    let sizes = [1, 3, 32, 32].map(|size| field(1, &int(1, size))).concat();
    let kind = field(1, &[int(1, 1), field(2, &sizes)].concat());
    let value = |name: &[u8]| [field(1, name), field(2, &kind)].concat();
    let scales: Vec<u8> = [1f32, 1.0, 2.0, 2.0].iter().flat_map(|scale| scale.to_le_bytes()).collect();
    let scales = [int(1, 4), int(2, 1), field(8, b"scales"), field(9, &scales)].concat();
    let shape = [int(1, 2), int(2, 7), field(7, &[2, 3]), field(8, b"shape")].concat();
    let resize =
        [field(1, b"images"), field(1, b""), field(1, b"scales"), field(2, b"a"), field(4, b"Resize")].concat();
    let pads = field(5, &[field(1, b"pads"), int(8, 1), int(8, 1), vec![0xa0, 1, 7]].concat());
    let pool = [field(1, b"a"), field(2, b"b"), field(4, b"MaxPool"), pads].concat();
    let expand = [field(1, b"b"), field(1, b"shape"), field(2, b"output0"), field(4, b"Expand")].concat();
    let inner = [field(1, &expand), field(12, &field(1, b"output0"))].concat();
    let branch = [field(2, b"c"), field(4, b"If"), field(5, &[field(1, b"then_branch"), field(6, &inner)].concat())];
    let nodes = [resize, pool, expand, branch.concat()].map(|node| field(1, &node)).concat();
    let ends = [field(11, &value(b"images")), field(12, &value(b"output0"))].concat();
    // The graph is longer than a length of one byte can say.
    let graph = [nodes, field(5, &scales), field(5, &shape), ends].concat();
    let length = [(graph.len() as u8 & 0x7f) | 0x80, (graph.len() >> 7) as u8];
    let metadata = [("names", "{0: 'cat', 1: 'it\\'s'}"), ("stride", "32"), ("imgsz", "[32, 32]"), ("task", "detect")];
    let metadata =
        metadata.map(|(key, value)| field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    [&int(1, 8)[..], &field(8, &int(2, 17)), &[7 << 3 | 2], &length, &graph, &metadata.concat()].concat()
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
