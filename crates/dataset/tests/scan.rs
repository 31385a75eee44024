//! Finding pictures and reading labels: every shape of `dataset.yaml`, every fault with its place.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, picture, write};
use yolo11_dataset::{DatasetDescription, Error, Finding, ScanOptions, Split, SplitName};

fn scan(file: &Path, split: SplitName, options: &ScanOptions) -> Result<(Split, Vec<Finding>), Error> {
    DatasetDescription::read(file)?.scan(split, options)
}

fn names(split: &Split, root: &Path) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    split.images.iter().map(|image| name(&image.path)).collect()
}

#[test]
fn folders_lists_and_file_lists_name_the_same_pictures() {
    let root = folder();
    let root = root.path();
    for name in ["images/a/1.png", "images/a/deep/2.PNG", "images/b/3.png", "images/b/.hidden.png"] {
        let plain = root.join(name.replace(".PNG", ".png"));
        picture(&plain, 20, 10, [9; 3]);
        fs::rename(&plain, root.join(name)).unwrap();
    }
    write(&root.join("images/a/notes.md"), "no picture");
    write(
        &root.join("lists/all.txt"),
        "\u{feff}./../images/a/1.png\r\n\nimages/a/deep/2.PNG\nimages\\b\\3.png\nimages/b/4.png\n",
    );
    let all = ["images/a/1.png", "images/a/deep/2.PNG", "images/b/3.png"];
    let outside = folder();
    let cases = [
        (root.join("folder.yaml"), "train: images\nnames: [x]\n".to_string()),
        (root.join("list.yaml"), "path: .\ntrain: [images/b, images/a, images/a/1.png]\nnames: [x]\n".to_string()),
        (root.join("sub/up.yaml"), "path: ..\ntrain:\n- images\nnames: [x]\n".to_string()),
        (root.join("exported.yaml"), "train: ../images\nnames: [x]\n".to_string()),
        (outside.path().join("absolute.yaml"), format!("path: {}\ntrain: images\nnames: [x]\n", root.display())),
        (outside.path().join("entry.yaml"), format!("train: {}/images\nnames: [x]\n", root.display())),
        (root.join("files.yaml"), "train: lists/all.txt\nnames: [x]\n".to_string()),
    ];
    for (file, text) in cases {
        write(&file, text);
        let (split, findings) = scan(&file, SplitName::Train, &ScanOptions::default()).unwrap();
        let found: Vec<String> = split
            .images
            .iter()
            .map(|image| image.path.canonicalize().unwrap())
            .map(|path| path.strip_prefix(root.canonicalize().unwrap()).unwrap().display().to_string())
            .collect();
        let mut found_sorted = found.clone();
        found_sorted.sort();
        assert_eq!(found_sorted, all, "{}", file.display());
        assert_eq!(split.images[0].size, [10, 20]);
        let missing: Vec<String> =
            findings.iter().map(Finding::to_string).filter(|text| text.contains("4.png")).collect();
        if file.ends_with("files.yaml") {
            let list = root.join("lists/all.txt");
            assert_eq!(missing, [format!("{}:5: the picture images/b/4.png does not exist; left out", list.display())]);
        } else {
            assert!(missing.is_empty());
        }
    }
}

#[test]
fn what_is_missing_is_named_with_line_and_hint() {
    let root = folder();
    let root = root.path();
    fs::create_dir(root.join("empty")).unwrap();
    write(&root.join("table.csv"), "a,b");
    let file = root.join("dataset.yaml");
    write(&file, "names: [x]\ntrain: images/train\nval: empty\ntest: table.csv\n");
    let shown = file.display();
    let message = |split| scan(&file, split, &ScanOptions::default()).unwrap_err().to_string();
    let looked = root.join("images/train");
    assert_eq!(
        message(SplitName::Train),
        format!(
            "{shown}:2: `train: images/train` does not exist; looked for {}\nhint: paths are relative to `path`, which is relative to this file",
            looked.display()
        )
    );
    assert_eq!(
        message(SplitName::Val),
        format!(
            "{shown}:3: `val` has no pictures; looked in {}\nhint: pictures end in .jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff",
            root.join("empty").display()
        )
    );
    assert_eq!(
        message(SplitName::Test),
        format!(
            "{shown}:4: `test`: {} is neither a folder, a .txt file list nor a picture\nhint: name a folder of pictures, or a .txt file with the path of one on each line",
            root.join("table.csv").display()
        )
    );
    write(&file, "names: [x]\n");
    assert_eq!(
        message(SplitName::Val),
        format!(
            "{shown}: the key `val` is missing\nhint: add `val: ` with the folder of its pictures, such as images/val"
        )
    );
    let gone = root.join("gone.yaml");
    let error = DatasetDescription::read(&gone).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}: ", gone.display())), "{error}");
}

#[test]
fn a_bad_row_is_left_out_and_named_or_stops() {
    let root = folder();
    let root = root.path();
    for name in ["a", "b", "c"] {
        picture(&root.join(format!("images/{name}.png")), 40, 30, [1, 2, 3]);
    }
    let good = "0 0.5 0.5 0.25 0.5\n";
    write(&root.join("labels/a.txt"), format!("{good}0 0.5 0.5 x 0.1\n7 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n"));
    write(&root.join("labels/b.txt"), format!("0 0.5\n{good}\n0 0.98 0.5 0.1 0.1\n{good}"));
    let file = root.join("dataset.yaml");
    write(&file, "train: images\nnames: [x, y]\n");
    let (split, findings) = scan(&file, SplitName::Train, &ScanOptions::default()).unwrap();
    let at = |name: &str, line: usize, text: &str| {
        format!("{}:{line}: {text}; row left out", root.join("labels").join(name).display())
    };
    let expected = [
        at("a.txt", 2, "column 4 is not a number: `x`"),
        at("a.txt", 3, "class 7 is out of range: dataset.yaml names classes 0 to 1"),
        at("b.txt", 1, "2 of 5 columns (class cx cy w h)"),
        at("b.txt", 4, "the box reaches outside the picture: x 0.93 to 1.03, y 0.45 to 0.55"),
        at("b.txt", 5, "the same object stands on an earlier line"),
    ];
    let left_out = |finding: &&Finding| finding.check.consequence().is_some();
    assert_eq!(findings.iter().filter(left_out).map(Finding::to_string).collect::<Vec<_>>(), expected);
    assert_eq!(names(&split, root), ["images/a.png", "images/b.png", "images/c.png"]);
    assert_eq!(split.images.iter().map(|image| image.labels.len()).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(split.images[1].labels[0].bbox, [0.5, 0.5, 0.25, 0.5]);
    let statistics = split.statistics();
    assert_eq!((statistics.images, statistics.backgrounds, statistics.boxes), (3, 1, 3));
    assert_eq!((statistics.boxes_per_class, statistics.images_per_class), (vec![2, 1], vec![2, 1]));

    let strict = ScanOptions { strict_labels: true, ..ScanOptions::default() };
    let error = scan(&file, SplitName::Train, &strict).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "5 faulty label rows: {}\nhint: mend the rows, or set strict_labels=false to leave them out",
            expected.join("; ")
        )
    );
}

#[test]
fn options_choose_pictures_and_classes() {
    let root = folder();
    let file = common::rectangles(root.path(), 10);
    let fraction = ScanOptions { fraction: 0.3, ..ScanOptions::default() };
    assert_eq!(scan(&file, SplitName::Train, &fraction).unwrap().0.images.len(), 3);
    let blue = ScanOptions { classes: Some(vec![1]), ..ScanOptions::default() };
    assert_eq!(scan(&file, SplitName::Train, &blue).unwrap().0.statistics().boxes_per_class, [0, 10]);
    let single = ScanOptions { single_cls: true, ..ScanOptions::default() };
    let (split, _) = scan(&file, SplitName::Train, &single).unwrap();
    assert_eq!(
        (split.names.as_slice(), split.statistics().boxes_per_class),
        (["object".to_string()].as_slice(), vec![20])
    );
    let error = |options: ScanOptions| scan(&file, SplitName::Train, &options).unwrap_err().to_string();
    assert_eq!(
        error(ScanOptions { fraction: 0.0, ..ScanOptions::default() }),
        "fraction=0 is out of range\nhint: choose above 0 and at most 1"
    );
    let unknown = error(ScanOptions { classes: Some(vec![2]), ..ScanOptions::default() });
    assert!(unknown.starts_with("classes holds 2, but "), "{unknown}");
}

#[test]
fn broken_pictures_are_left_out_named_and_untouched() {
    let root = folder();
    let root = root.path();
    let noise: Vec<u8> = (0..64 * 48 * 3u32).map(|value| (value.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 90).encode(&noise, 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
    let mut files: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("a.jpg", jpeg.clone(), None),
        ("b.jpg", jpeg[..jpeg.len() / 2].to_vec(), Some("the file is cut short: no end-of-image marker")),
        ("c.jpg", jpeg[..40].to_vec(), Some("the file is cut short inside its header")),
        ("d.jpg", Vec::new(), Some("the file is empty")),
        ("e.jpg", b"<html>not found</html>".to_vec(), Some("not a JPEG, PNG, BMP, WebP or TIFF picture")),
        ("f.jpg", [&jpeg[..], b"\0\0\0\0"].concat(), None),
        ("g.jpg", [&jpeg[..], b"something behind the picture".repeat(9).as_slice()].concat(), None),
        (
            "h.jpg",
            [&jpeg[..jpeg.len() / 2], &vec![0; jpeg.len() / 2]].concat(),
            Some("the file is cut short: no end-of-image marker"),
        ),
    ];
    let encoded = |extension: &str| {
        let path = root.join(format!("temporary.{extension}"));
        image::RgbImage::from_raw(64, 48, noise.clone()).unwrap().save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        bytes
    };
    for (whole, half, extension) in [
        ("p1.png", "p2.png", "png"),
        ("q1.bmp", "q2.bmp", "bmp"),
        ("r1.webp", "r2.webp", "webp"),
        ("s1.tiff", "s2.tiff", "tiff"),
    ] {
        let bytes = encoded(extension);
        files.push((half, bytes[..bytes.len() / 2].to_vec(), Some("cannot be decoded: ")));
        files.push((whole, bytes, None));
    }
    for (name, bytes, _) in &files {
        write(&root.join("images").join(name), bytes);
    }
    let file = root.join("dataset.yaml");
    write(&file, "train: images\nnames: [x]\n");
    let (split, findings) = scan(&file, SplitName::Train, &ScanOptions::default()).unwrap();
    for (name, bytes, message) in &files {
        let path = root.join("images").join(name);
        assert_eq!(split.images.iter().any(|image| image.path == path), message.is_none(), "{name}: {findings:?}");
        assert_eq!(fs::read(&path).unwrap(), *bytes);
        if let Some(message) = message {
            let finding = findings.iter().find(|finding| finding.file == path).unwrap();
            assert!(finding.message.starts_with(message), "{finding}");
            assert!(finding.to_string().ends_with("; left out"), "{finding}");
        }
    }
    assert!(split.images.iter().all(|image| image.size == [48, 64]));
    // A picture without any label file anywhere: said once.
    assert!(findings.iter().any(|finding| finding.message.starts_with("`train` has no label files")));
}

#[test]
fn nothing_readable_is_an_error() {
    let root = folder();
    let root = root.path();
    write(&root.join("images/a.jpg"), "");
    write(&root.join("dataset.yaml"), "train: images\nnames: [x]\n");
    let error = scan(&root.join("dataset.yaml"), SplitName::Train, &ScanOptions::default()).unwrap_err().to_string();
    let path = root.join("images/a.jpg");
    assert_eq!(
        error,
        format!("no picture of the train split can be read: {}: the file is empty; left out", path.display())
    );
}

#[test]
fn real_sets_have_their_known_counts() {
    let Some(shared) = common::shared() else { return };
    let bccd = shared.join("data/bccd");
    // Its file names no test split; one that does, elsewhere.
    let elsewhere = folder();
    let file = elsewhere.path().join("dataset.yaml");
    let text = format!(
        "path: {}\ntrain: train/images\nval: valid/images\ntest: [test/images]\nnames: {{0: RBC, 1: WBC, 2: Platelets}}\n",
        bccd.display()
    );
    write(&file, text);
    for (split, count) in [(SplitName::Train, 205), (SplitName::Val, 87), (SplitName::Test, 72)] {
        let (split, findings) = scan(&file, split, &ScanOptions::default()).unwrap();
        assert_eq!(split.images.len(), count, "{findings:?}");
        assert!(split.images.iter().all(|image| image.size == [480, 640]));
    }
    assert_eq!(scan(&bccd.join("dataset.yaml"), SplitName::Val, &ScanOptions::default()).unwrap().0.images.len(), 87);
    let (coco, findings) =
        scan(&shared.join("data/coco128/dataset.yaml"), SplitName::Train, &ScanOptions::default()).unwrap();
    let statistics = coco.statistics();
    assert_eq!((statistics.images, statistics.boxes, statistics.boxes_per_class[0]), (128, 929, 254), "{findings:?}");
}
