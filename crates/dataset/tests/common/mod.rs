//! Small data sets for tests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A PNG of one colour.
pub fn picture(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour)).save(path).unwrap();
}

/// Black pictures with a red rectangle (class 0) and a blue one (class 1), labelled; `dataset.yaml` beside them.
pub fn rectangles(root: &Path, count: usize) -> PathBuf {
    for number in 0..count {
        let (width, height) = [(160, 120), (120, 160), (96, 96), (200, 80)][number % 4];
        let mut image = RgbImage::new(width, height);
        let mut rows = String::new();
        for (class, colour) in [Rgb([255, 0, 0]), Rgb([0, 0, 255])].into_iter().enumerate() {
            let x1 = 6 + (number as u32 * 7) % 20 + class as u32 * width / 2;
            let (y1, w, h) = (10 + (number as u32 * 5) % 15, 18 + number as u32 % 7, 24 + number as u32 % 11);
            for y in y1..y1 + h {
                for x in x1..x1 + w {
                    image.put_pixel(x, y, colour);
                }
            }
            let share = |low: u32, length: u32, side: u32| {
                ((f64::from(low) + f64::from(length) / 2.0) / f64::from(side), f64::from(length) / f64::from(side))
            };
            let ((cx, w), (cy, h)) = (share(x1, w, width), share(y1, h, height));
            rows += &format!("{class} {cx} {cy} {w} {h}\n");
        }
        let path = root.join(format!("images/train/{number:03}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(&path).unwrap();
        write(&root.join(format!("labels/train/{number:03}.txt")), rows);
    }
    let file = root.join("dataset.yaml");
    write(&file, "train: images/train\nval: images/train\nnames: [red, blue]\n");
    file
}

/// The folder of real data, where there is one.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("YOLO11_SHARED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: YOLO11_SHARED is not set");
    }
    folder
}
