//! The demo set: complete, labelled, the same bytes for the same seed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use yolo11_dataset::{DatasetDescription, ScanOptions, SplitName, demo};

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_demo_set_is_whole_and_depends_only_on_its_seed() {
    let root = common::folder();
    let [first, second, other] = ["first", "second", "other"].map(|name| root.path().join(name));
    fs::create_dir(&second).unwrap();
    let file = demo::generate(&first, 3).unwrap();
    assert_eq!(file, first.join("dataset.yaml"));
    let made = files(&first);
    assert_eq!(made.len(), 2 * (demo::TRAIN + demo::VAL) + 1);
    demo::generate(&second, 3).unwrap();
    assert!(made == files(&second), "the same seed, the same bytes");
    demo::generate(&other, 4).unwrap();
    assert!(made[Path::new("images/train/0000.jpg")] != files(&other)[Path::new("images/train/0000.jpg")]);

    let description = DatasetDescription::read(&file).unwrap();
    assert_eq!(description.names, demo::NAMES);
    for (split, count) in [(SplitName::Train, demo::TRAIN), (SplitName::Val, demo::VAL)] {
        let (split, findings) = description.scan(split, &ScanOptions::default()).unwrap();
        assert_eq!(findings, []);
        let statistics = split.statistics();
        assert_eq!(statistics.images, count);
        assert!(statistics.boxes > count * 3, "{statistics:?}");
        assert!(statistics.boxes_per_class.iter().all(|&boxes| boxes > count), "{statistics:?}");
        // Sizes from small to half a picture.
        let sides =
            || split.images.iter().flat_map(|image| image.labels.iter().map(|label| label.bbox[2].max(label.bbox[3])));
        assert!(sides().fold(1.0, f32::min) < 0.1 && sides().fold(0.0, f32::max) > 0.4);
    }

    // A second call changes nothing, a folder of something else is not touched.
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(demo::generate(&first, 99).unwrap(), file);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), time);
    let foreign = root.path().join("foreign");
    common::write(&foreign.join("mine.txt"), "mine");
    let error = demo::generate(&foreign, 3).unwrap_err().to_string();
    assert_eq!(error, format!("{} exists, but holds no demo set\nhint: name another folder", foreign.display()));
    assert_eq!(files(&foreign).len(), 1);
    let left = fs::read_dir(root.path()).unwrap().count();
    assert_eq!(left, 4, "no temporary folder is left");
}
