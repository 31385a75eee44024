//! The doctor finds what is wrong with a data set, each fault by its name and place, and nothing in a sound one; the corrected copy
//! is sound.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{folder, write};
use image::{DynamicImage, ImageFormat, RgbImage};
use yolo11_dataset::annotations::{Link, WriteOptions};
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::doctor::correct;
use yolo11_dataset::{Check, DatasetDescription, Examination, ExamineOptions, Severity};

/// A finding without its words: id, file in the set, line.
type Place = (&'static str, String, Option<usize>);

fn examine(file: &Path) -> Examination {
    let options = ExamineOptions { imgsz: Some(640), thorough: true, cache: None };
    DatasetDescription::read(file).unwrap().examine(&options)
}

fn places(examination: &Examination, root: &Path) -> BTreeSet<Place> {
    let place = |file: &Path| file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
    let findings = examination.findings.iter();
    findings.map(|finding| (finding.check.id(), place(&finding.file), finding.line)).collect()
}

/// A copy of BCCD with all three splits.
fn bccd(root: &Path) -> Option<PathBuf> {
    let shared = common::shared()?.join("data/bccd");
    for split in ["train", "valid", "test"] {
        for kind in ["images", "labels"] {
            let to = root.join(split).join(kind);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(shared.join(split).join(kind)).unwrap() {
                let entry = entry.unwrap();
                fs::write(to.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    let file = root.join("dataset.yaml");
    write(&file, "train: train/images\nval: valid/images\ntest: test/images\nnames: [RBC, WBC, Platelets]\n");
    Some(file)
}

/// Sound pictures of the copy to plant faults in, and what is to be found.
struct Garden {
    root: PathBuf,
    train: Vec<String>,
    expected: BTreeSet<Place>,
}

impl Garden {
    /// The name of a picture that nothing was done to yet.
    fn pick(&mut self) -> String {
        self.train.remove(0)
    }

    fn image(&self, name: &str) -> PathBuf {
        self.root.join("train/images").join(name)
    }

    fn label(&self, name: &str) -> PathBuf {
        self.root.join("train/labels").join(name).with_extension("txt")
    }

    fn expect(&mut self, id: &'static str, file: impl Into<String>, line: Option<usize>) {
        assert!(Check::ALL.iter().any(|check| check.id() == id), "{id}");
        self.expected.insert((id, file.into(), line));
    }

    /// Adds a row to the labels of a sound picture and gives its line.
    fn add_row(&self, name: &str, row: &str) -> usize {
        let text = fs::read_to_string(self.label(name)).unwrap();
        let text = format!("{}\n{row}\n", text.trim_end());
        write(&self.label(name), &text);
        text.lines().count()
    }

    /// Plants a faulty row.
    fn row(&mut self, id: &'static str, row: impl Fn(&[f64]) -> String) {
        let name = self.pick();
        let text = fs::read_to_string(self.label(&name)).unwrap();
        let first: Vec<f64> = text.lines().next().unwrap().split(' ').map(|column| column.parse().unwrap()).collect();
        let line = self.add_row(&name, &row(&first));
        self.expect(id, format!("train/labels/{}", name.replace(".jpg", ".txt")), Some(line));
    }

    /// Stores a sound picture's pixels anew under another name or as it is, and plants that.
    fn stored(&mut self, id: &'static str, extension: &str, store: impl Fn(&RgbImage) -> Vec<u8>) -> String {
        let name = self.pick();
        let picture = decode_file(&self.image(&name)).unwrap();
        let picture = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.pixels).unwrap();
        fs::remove_file(self.image(&name)).unwrap();
        let new = name.replace("jpg", extension);
        write(&self.image(&new), store(&picture));
        self.expect(id, format!("train/images/{new}"), None);
        new
    }

    /// A new picture that looks like no other, with an empty label file.
    fn new_picture(&self, path: &str, number: u32) {
        let mut image = RgbImage::new(200, 150);
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let block = (x / 25 * 31 + y / 25 * 17 + number * 101).wrapping_mul(2_654_435_761);
            pixel.0 = [(block >> 24) as u8, (block >> 16) as u8, (block >> 8) as u8];
        }
        write(&self.root.join(path), encoded(&image.into(), ImageFormat::from_path(path).unwrap()));
        let label = path.replace("images", "labels");
        write(&self.root.join(label).with_extension("txt"), "");
    }
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    if format == ImageFormat::Jpeg {
        return jpeg(image.as_rgb8().unwrap().as_raw(), image.width(), image.height(), jpeg_encoder::ColorType::Rgb);
    }
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(pixels: &[u8], width: u32, height: u32, colour: jpeg_encoder::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 90).encode(pixels, width as u16, height as u16, colour).unwrap();
    bytes
}

/// The JPEG with an EXIF segment: orientation, width, height.
fn with_exif(jpeg: &[u8], orientation: u16, size: [u32; 2]) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &1u32.to_be_bytes(), &value].concat()
    };
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02".to_vec();
    exif.extend(entry(0x0112, 3, [(orientation >> 8) as u8, orientation as u8, 0, 0]));
    exif.extend(entry(0x8769, 4, 38u32.to_be_bytes()));
    exif.extend([0, 0, 0, 0, 0, 2]);
    exif.extend(entry(0xa002, 4, size[0].to_be_bytes()));
    exif.extend(entry(0xa003, 4, size[1].to_be_bytes()));
    exif.extend([0; 4]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn plant(file: &Path, root: &Path) -> Garden {
    let sound = examine(file);
    let expected = places(&sound, root);
    // Faults are planted where the original has nothing to complain about.
    let complained: String = sound.findings.iter().map(|finding| format!("{finding} ")).collect();
    let mut train: Vec<String> = fs::read_dir(root.join("train/images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !complained.contains(name.trim_end_matches(".jpg")))
        .collect();
    train.sort();
    let mut garden = Garden { root: root.to_path_buf(), train, expected };
    plant_rows(&mut garden);
    plant_files(&mut garden);
    plant_twins(&mut garden);
    plant_classes(&mut garden, file);
    garden
}

fn plant_rows(garden: &mut Garden) {
    garden.row("label-text", |_| "0 0.5 wide 0.1 0.1".into());
    garden.row("label-not-finite", |_| "0 nan 0.5 0.1 0.1".into());
    garden.row("label-columns", |_| "0 0.5 0.5 0.1".into());
    garden.row("label-class", |_| "9 0.5 0.5 0.1 0.1".into());
    garden.row("label-class", |_| "0.5 0.5 0.5 0.1 0.1".into());
    garden.row("label-outside", |_| "0 0.98 0.5 0.2 0.2".into());
    garden.row("label-pixels", |_| "0 320 240 50 60".into());
    garden.row("label-no-area", |_| "0 0.5 0.5 0 0.1".into());
    garden.row("label-twice", |row| format!("{} {} {} {} {}", row[0], row[1], row[2], row[3], row[4]));
    garden.row("box-near-duplicate", |row| format!("{} {} {} {} {}", row[0], row[1], row[2], row[3] * 0.99, row[4]));
    garden
        .row("box-two-classes", |row| format!("{} {} {} {} {}", 1.0 - row[0].min(1.0), row[1], row[2], row[3], row[4]));
    garden.row("box-whole-picture", |_| "0 0.5 0.5 1 1".into());
    garden.row("object-tiny", |_| "2 0.5 0.5 0.003 0.003".into());
}

fn plant_files(garden: &mut Garden) {
    let name = garden.pick();
    let label = garden.label(&name);
    fs::remove_file(&label).unwrap();
    fs::create_dir(&label).unwrap();
    garden.expect("label-unreadable", format!("train/labels/{}", name.replace(".jpg", ".txt")), None);
    let name = garden.pick();
    fs::remove_file(garden.label(&name)).unwrap();
    garden.expect("label-missing", format!("train/images/{name}"), None);
    write(&garden.root.join("valid/labels/nobody.txt"), "0 0.5 0.5 0.1 0.1\n");
    garden.expect("label-orphan", "valid/labels/nobody.txt", None);

    let spoil = |garden: &mut Garden, id, content: fn(Vec<u8>) -> Vec<u8>| {
        let name = garden.pick();
        let bytes = fs::read(garden.image(&name)).unwrap();
        write(&garden.image(&name), content(bytes));
        garden.expect(id, format!("train/images/{name}"), None);
    };
    spoil(garden, "picture-empty", |_| Vec::new());
    spoil(garden, "picture-truncated", |bytes| bytes[..bytes.len() / 2].to_vec());
    spoil(garden, "picture-unreadable", |_| b"<html>not found</html>".to_vec());
    spoil(garden, "exif-invalid", |bytes| with_exif(&bytes, 9, [640, 480]));
    spoil(garden, "exif-orientation", |bytes| with_exif(&bytes, 3, [640, 480]));
    spoil(garden, "exif-turned-twice", |bytes| with_exif(&bytes, 6, [480, 640]));
    garden.stored("picture-extension", "jpg", |image| encoded(&image.clone().into(), ImageFormat::Png));
    garden.stored("picture-grey", "jpg", |image| {
        let grey = DynamicImage::from(image.clone()).into_luma8();
        jpeg(grey.as_raw(), grey.width(), grey.height(), jpeg_encoder::ColorType::Luma)
    });
    garden.stored("picture-mode", "png", |image| {
        encoded(&DynamicImage::from(image.clone()).into_rgba8().into(), ImageFormat::Png)
    });
    garden.stored("picture-mode", "png", |image| {
        encoded(&DynamicImage::from(image.clone()).into_rgb16().into(), ImageFormat::Png)
    });
    garden.stored("picture-mode", "jpg", |image| {
        let cmyk: Vec<u8> =
            image.pixels().flat_map(|pixel| [255 - pixel.0[0], 255 - pixel.0[1], 255 - pixel.0[2], 0]).collect();
        jpeg(&cmyk, image.width(), image.height(), jpeg_encoder::ColorType::Cmyk)
    });

    write(&garden.root.join("train/images/plain.jpg"), jpeg(&[90; 64 * 48 * 3], 64, 48, jpeg_encoder::ColorType::Rgb));
    write(&garden.root.join("train/labels/plain.txt"), "");
    garden.expect("picture-blank", "train/images/plain.jpg", None);
    garden.new_picture("train/images/thumb.png", 1);
    let thumb =
        image::open(garden.image("thumb.png")).unwrap().resize_exact(30, 22, image::imageops::FilterType::Nearest);
    write(&garden.image("thumb.png"), encoded(&thumb, ImageFormat::Png));
    garden.expect("picture-small", "train/images/thumb.png", None);

    let name = garden.pick();
    let lower = format!("train/images/{}", name.to_lowercase());
    garden.new_picture(&lower, 2);
    garden.expect("name-case", lower, None);
    let name = garden.pick();
    let labels = fs::read(garden.label(&name)).unwrap();
    let png = format!("train/images/{}", name.replace("jpg", "png"));
    garden.new_picture(&png, 3);
    write(&garden.label(&name), labels);
    garden.expect("name-shared-label", png, None);
    garden.new_picture("train/images/what is this?.jpg", 4);
    garden.expect("name-unportable", "train/images/what is this?.jpg", None);
}

fn plant_twins(garden: &mut Garden) {
    let root = garden.root.clone();
    let labels = |garden: &Garden, name: &str| fs::read(garden.label(name)).unwrap();
    let name = garden.pick();
    fs::copy(garden.image(&name), root.join("train/images/Copy.jpg")).unwrap();
    write(&root.join("train/labels/Copy.txt"), labels(garden, &name));
    garden.expect("picture-duplicate", "train/images/Copy.jpg", None);

    let name = garden.pick();
    fs::copy(garden.image(&name), root.join("train/images/Other.jpg")).unwrap();
    write(&root.join("train/labels/Other.txt"), "1 0.5 0.5 0.3 0.3\n");
    garden.expect("picture-duplicate", "train/images/Other.jpg", None);
    garden.expect("duplicate-labels-differ", "train/labels/Other.txt", None);

    let name = garden.pick();
    fs::copy(garden.image(&name), root.join("valid/images/leaked.jpg")).unwrap();
    write(&root.join("valid/labels/leaked.txt"), labels(garden, &name));
    garden.expect("leakage-duplicate", "valid/images/leaked.jpg", None);

    let smaller = |name: &str, garden: &Garden, gain: f32| {
        let picture = decode_file(&garden.image(name)).unwrap();
        let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.pixels).unwrap();
        let mut image = image::imageops::resize(&image, 320, 240, image::imageops::FilterType::Triangle);
        image.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| (f32::from(value) * gain) as u8));
        encoded(&image.into(), ImageFormat::Jpeg)
    };
    let name = garden.pick();
    write(&root.join("test/images/smaller.jpg"), smaller(&name, garden, 1.0));
    write(&root.join("test/labels/smaller.txt"), labels(garden, &name));
    garden.expect("leakage-near-duplicate", "test/images/smaller.jpg", None);
    let name = garden.pick();
    // After its twin in order of the names.
    write(&root.join("train/images/darker.jpg"), smaller(&name, garden, 0.8));
    write(&root.join("train/labels/darker.txt"), labels(garden, &name));
    garden.expect("picture-near-duplicate", "train/images/darker.jpg", None);

    let name = garden.pick();
    write(&root.join("more.txt"), format!("./train/images/{name}\n./valid/images/gone.jpg\n./train/images/{name}\n"));
    garden.expect("leakage-same-file", format!("train/images/{name}"), None);
    garden.expect("list-missing", "more.txt", Some(2));
    garden.expect("list-twice", "more.txt", Some(3));
}

fn plant_classes(garden: &mut Garden, file: &Path) {
    let names = "names:\n  0: RBC\n  1: WBC\n  2: Platelets\n  3: Blast\n  4: Clump\n  5: clump\n  6: Rare\n";
    write(file, format!("train: train/images\nval: [valid/images, more.txt]\ntest: test/images\n{names}"));
    let at = |line| ("dataset.yaml", Some(line));
    for (id, (file, line)) in [
        ("class-unused", at(8)),
        ("class-untested", at(9)),
        ("class-few", at(9)),
        ("class-names-alike", at(10)),
        ("class-unseen", at(10)),
        ("class-imbalance", at(11)),
    ] {
        garden.expect(id, file, line);
    }
    let name = garden.pick();
    garden.add_row(&name, "4 0.1 0.1 0.05 0.05");
    let valid: Vec<PathBuf> =
        fs::read_dir(garden.root.join("valid/labels")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let sound =
        valid.iter().filter(|path| !path.ends_with("nobody.txt") && !path.ends_with("leaked.txt")).min().unwrap();
    let text = fs::read_to_string(sound).unwrap();
    write(sound, format!("{}\n5 0.1 0.1 0.05 0.05\n6 0.9 0.1 0.05 0.05\n", text.trim_end()));
    for _ in 0..12 {
        let name = garden.pick();
        garden.add_row(&name, "6 0.9 0.9 0.05 0.05");
    }
    write(&garden.root.join("train/labels/classes.txt"), "RBC\nPlatelets\nWBC\n");
    garden.expect("class-names-differ", "train/labels/classes.txt", Some(2));
    write(&garden.root.join("other.yaml"), "train: train/images\nnames:\n- RBC\n- WBC\n- Plates\n");
    garden.expect("class-names-differ", "other.yaml", Some(5));
}

#[test]
fn every_planted_fault_is_found_and_nothing_else() {
    let root = folder();
    let root = root.path();
    let Some(file) = bccd(root) else { return };
    let sound = examine(&file);
    let errors = |examination: &Examination| {
        let serious = |check: Check| check.severity() == Severity::Error;
        examination
            .findings
            .iter()
            .filter(|finding| serious(finding.check))
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(errors(&sound), [""; 0], "nothing serious in the original");

    let garden = plant(&file, root);
    let planted = garden.expected.len() - places(&sound, root).len();
    let kinds: BTreeSet<&str> = garden.expected.iter().map(|(id, _, _)| *id).collect();
    assert!(planted >= 30 && kinds.len() >= 30, "{planted} faults of {} kinds", kinds.len());
    let started = Instant::now();
    let found = examine(&file);
    eprintln!("{planted} faults of {} kinds, looked over in {:.2?}", kinds.len(), started.elapsed());
    let places = places(&found, root);
    let missed: Vec<_> = garden.expected.difference(&places).collect();
    let invented: Vec<_> = places.difference(&garden.expected).collect();
    assert!(missed.is_empty() && invented.is_empty(), "missed {missed:#?}\ninvented {invented:#?}");

    // The corrected copy keeps what only a person can decide, and is otherwise sound. The original stays as it is.
    let before = digest(root);
    let corrected = correct(&DatasetDescription::read(&file).unwrap(), &found).unwrap();
    let elsewhere = folder();
    let options = WriteOptions { link: Link::Copy, ..WriteOptions::default() };
    let copy = corrected.annotations.write(&elsewhere.path().join("copy"), options).unwrap();
    assert_eq!(digest(root), before);
    let left = examine(&copy);
    let ids: BTreeSet<&str> = left.findings.iter().map(|finding| finding.check.id()).collect();
    let expected = [
        "box-two-classes",
        "box-whole-picture",
        "class-few",
        "class-imbalance",
        "class-names-alike",
        "class-unseen",
        "class-untested",
        "class-unused",
        "exif-turned-twice",
        "leakage-near-duplicate",
        "object-tiny",
        "picture-blank",
        "picture-grey",
        "picture-near-duplicate",
        "picture-small",
    ];
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), expected, "{:#?}", left.findings);
    let done: Vec<_> = corrected.changes.iter().map(|(check, what, count)| (check.id(), *what, *count)).collect();
    for change in [
        ("label-outside", "boxes cut off at the edge", 1),
        ("label-pixels", "rows divided by the picture's size", 1),
        ("picture-mode", "pictures stored anew", 3),
        ("leakage-duplicate", "pictures left out of train", 1),
        ("picture-duplicate", "copies left out", 2),
    ] {
        assert!(done.contains(&change), "{change:?} in {done:?}");
    }
}

/// Every file's path and bytes, in short.
fn digest(root: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                let sum = bytes.iter().fold(7u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
                found.push((path, sum));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_second_look_takes_what_the_first_found_out() {
    let root = folder();
    let file = common::rectangles(root.path(), 12);
    write(&file, "train: images/train\nval: images/val\nnames: [red, blue]\n");
    for number in 0..3 {
        let name = format!("{number:03}");
        for (kind, extension) in [("images", "png"), ("labels", "txt")] {
            let from = root.path().join(format!("{kind}/train/{name}.{extension}"));
            let to = root.path().join(format!("{kind}/val/{name}.{extension}"));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
    let cache = folder();
    let description = DatasetDescription::read(&file).unwrap();
    let look = |thorough: bool, cache: Option<&Path>| {
        let options = ExamineOptions { imgsz: None, thorough, cache: cache.map(Path::to_path_buf) };
        places(&description.examine(&options), root.path())
    };
    let leaks = |places: &BTreeSet<Place>| places.iter().filter(|(id, _, _)| *id == "leakage-duplicate").count();
    // Without decoding, equal files are found all the same: only files of one length are read.
    assert_eq!(leaks(&look(false, None)), 3);
    let thorough = look(true, Some(cache.path()));
    assert_eq!(leaks(&thorough), 3);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    assert_eq!(look(true, Some(cache.path())), thorough);
    // What was seen by decoding is known without it the next time.
    assert_eq!(look(false, Some(cache.path())), thorough);
    // A folder that cannot be written is told, and no more.
    let blocked = root.path().join("blocked");
    write(&blocked, "");
    let with = look(true, Some(&blocked));
    assert_eq!(with.iter().filter(|(id, _, _)| *id == "cache").count(), 1);
}

#[test]
fn a_set_without_its_splits_says_so() {
    let root = folder();
    let file = root.path().join("dataset.yaml");
    write(&file, "train: nowhere\nnames: [a]\n");
    let found = examine(&file);
    let texts: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("the key `val` is missing"), "{texts:?}");
    assert!(texts[1].contains("`train: nowhere` does not exist"), "{texts:?}");
    assert!(found.findings.iter().all(|finding| finding.check == Check::Description));
}
