//! The library as its users have it: real weights where the reference data are there (`YOLO11_SHARED`), random ones elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use yolo11::{Backend, Detector, Error, Image};
use yolo11_checkpoint::Checkpoint;
use yolo11_network::{Model, Network, Scale};

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("YOLO11_SHARED").map(PathBuf::from);
    if shared.is_none() {
        eprintln!("skipped: YOLO11_SHARED is not set");
    }
    shared
}

/// Weights at random, whose scores are all near one another.
fn random_weights(folder: &Path) -> PathBuf {
    let path = folder.join("random.safetensors");
    let names = ["cat", "dog", "bird"].map(String::from).to_vec();
    let model = Model::initialise(&Network::yolo11(Scale::Nano, 3), 1);
    yolo11_checkpoint::save_safetensors(&path, &Checkpoint::new(model, names)).unwrap();
    path
}

fn striped(width: usize, height: usize) -> Image {
    let pixels: Vec<u8> = (0..width * height * 3).map(|at| (at * 31 % 251) as u8).collect();
    Image::from_rgb(width, height, pixels).unwrap()
}

#[test]
fn what_the_builder_says_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let weights = random_weights(folder.path());
    let builder = || Detector::builder().size(64).confidence(0.0).threads(2);
    let mut detector = builder().max_detections(7).load(&weights).unwrap();
    assert_eq!(detector.names().iter().map(|name| &**name).collect::<Vec<_>>(), ["cat", "dog", "bird"]);
    assert_eq!((detector.size(), detector.backend().starts_with("native (")), (64, true));
    let images = [striped(80, 40), striped(33, 90), striped(80, 40)];
    let batch = detector.detect_batch(&images).unwrap();
    assert_eq!(batch.len(), 3);
    assert_eq!(batch[0], batch[2]);
    assert_eq!(batch[1], detector.detect(&images[1]).unwrap());
    for (found, image) in batch.iter().zip(&images) {
        assert!(!found.is_empty() && found.len() <= 7);
        assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        for detection in found {
            let bbox = detection.bbox;
            assert!(bbox.x1 >= 0.0 && bbox.y1 >= 0.0 && bbox.width() >= 0.0 && bbox.height() >= 0.0);
            assert!(bbox.x2 <= image.width() as f32 && bbox.y2 <= image.height() as f32);
            assert_eq!(*detection.name, *["cat", "dog", "bird"][detection.class]);
        }
    }
    let mut one_class = builder().classes([1]).load(&weights).unwrap();
    let found = one_class.detect(&images[0]).unwrap();
    assert!(found.iter().all(|detection| detection.class == 1));
    // A detector goes to another thread.
    let found = std::thread::spawn(move || detector.detect(&striped(80, 40)).unwrap()).join().unwrap();
    assert_eq!(found, batch[0]);
}

#[test]
fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let weights = random_weights(folder.path());
    let text = |error: Option<Error>| error.unwrap().to_string();
    let refused = Detector::builder().size(100).load(&weights).err();
    assert!(matches!(refused, Some(Error::Options(_))));
    assert_eq!(text(refused), "size 100 is not a multiple of 32\nhint: the next one is 128");
    assert_eq!(text(Detector::builder().classes([3]).load(&weights).err()), "there is no class 3: the model has 3");
    assert!(text(Detector::builder().backend(Backend::Rust).load(&weights).err()).contains("runs .onnx files\nhint: "));
    assert!(matches!(Detector::load("none.onnx").err(), Some(Error::Model(_))));
    assert!(matches!(Detector::load(folder.path().join("none.pt")).err(), Some(Error::Model(_))));
    assert_eq!(text(Image::from_rgb(2, 2, [0; 11]).err()), "11 bytes are not 2×2 pixels in RGB");
    assert!(text(Image::open("none.jpg").err()).starts_with("none.jpg: cannot be read: "));
    assert!(Image::decode(b"no picture").is_err());
}

#[test]
fn the_photograph_shows_four_people_and_a_bus() {
    let Some(shared) = shared() else { return };
    let mut detector = Detector::load(shared.join("weights/yolo11n_coco_approx.pt")).unwrap();
    let path = shared.join("data/photos/bus.jpg");
    let image = Image::decode(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((image.width(), image.height(), image.pixels().len()), (810, 1080, 810 * 1080 * 3));
    assert_eq!(image, Image::open(&path).unwrap());
    let found = detector.detect(&image).unwrap();
    let count = |name: &str| found.iter().filter(|detection| &*detection.name == name).count();
    assert_eq!((count("person"), count("bus"), found.len()), (4, 1, 5));
    let bus = found.iter().find(|detection| &*detection.name == "bus").unwrap();
    assert!(bus.bbox.width() > 700.0 && bus.score > 0.5, "{bus:?}");

    // The same picture four times as large, in tiles: the people are found again, each once.
    let (width, height) = (image.width() * 2, image.height() * 2);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            pixels.extend_from_slice(&image.pixels()[((y / 2) * image.width() + x / 2) * 3..][..3]);
        }
    }
    let large = Image::from_rgb(width, height, pixels).unwrap();
    let mut tiled = Detector::builder()
        .tiles(1000, 0.3)
        .confidence(0.4)
        .load(shared.join("weights/yolo11n_coco_approx.pt"))
        .unwrap();
    let again = tiled.detect(&large).unwrap();
    for original in found.iter().filter(|detection| detection.score > 0.6) {
        let [x1, y1, x2, y2] =
            [original.bbox.x1, original.bbox.y1, original.bbox.x2, original.bbox.y2].map(|side| side * 2.0);
        let same: Vec<_> = again
            .iter()
            .filter(|other| {
                let bbox = other.bbox;
                let inside =
                    (bbox.x2.min(x2) - bbox.x1.max(x1)).max(0.0) * (bbox.y2.min(y2) - bbox.y1.max(y1)).max(0.0);
                let union = bbox.width() * bbox.height() + (x2 - x1) * (y2 - y1) - inside;
                other.class == original.class && inside / union > 0.6
            })
            .collect();
        assert_eq!(same.len(), 1, "{original:?}: {again:?}");
    }
}

/// The examples are built with the tests; they are run from where cargo puts them.
#[test]
fn the_examples_run() {
    let Some(shared) = shared() else { return };
    let (weights, photos) = (shared.join("weights/yolo11n_coco_approx.pt"), shared.join("data/photos"));
    let [bus, zidane] = ["bus.jpg", "zidane.jpg"].map(|name| photos.join(name));
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    let run = |name: &str, arguments: &[&Path]| {
        let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let output = Command::new(&program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = run("detect", &[&weights, &bus]);
    assert_eq!(lines.lines().filter(|line| line.starts_with("person 0.")).count(), 4, "{lines}");
    let mut lines: Vec<String> = run("workers", &[&weights, &bus, &zidane]).lines().map(String::from).collect();
    lines.sort();
    assert_eq!(lines, [format!("{}: 5", bus.display()), format!("{}: 3", zidane.display())]);
}
