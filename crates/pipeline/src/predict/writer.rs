//! What `predict` writes: labelled pictures, label files, cut-outs.

use std::collections::HashSet;
use std::path::Path;

use yolo11_config::Settings;
use yolo11_dataset::Picture;
use yolo11_detection::Detection;
use yolo11_report::boxes::BoxStyle;
use yolo11_report::{Image, LabelledBox, draw_boxes};

use super::Prediction;
use crate::Error;
use crate::file::{create_folder, write_atomically};
use crate::run_folder::RunFolder;

/// Names without ending that are taken in the run's folder: pictures of different folders may share theirs.
#[derive(Default)]
pub(super) struct Stems(HashSet<String>);

impl Stems {
    /// The file's own, with a number where that is taken.
    pub fn free(&mut self, path: &Path) -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = stem.clone();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{stem}_{number}");
        }
        name
    }
}

/// Writes what was found into the run's folder.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub settings: &'a Settings,
    pub names: &'a [String],
    /// None where nothing is to be written.
    pub folder: Option<&'a RunFolder>,
}

impl Writer<'_> {
    /// Everything that the settings want of a picture; `stem` is its name in the run's folder, without ending.
    pub fn picture(&self, prediction: &Prediction, mut picture: Picture, stem: &str) -> Result<(), Error> {
        self.data(prediction, &picture, stem)?;
        let Some(folder) = self.folder.filter(|_| self.settings.save != Some(false)) else { return Ok(()) };
        let is_jpeg = prediction
            .path
            .extension()
            .is_some_and(|ending| ["jpg", "jpeg"].iter().any(|jpeg| ending.eq_ignore_ascii_case(jpeg)));
        let ending = if is_jpeg { "jpg" } else { "png" };
        self.draw(prediction, &mut picture);
        write_picture(&folder.file(&format!("{stem}.{ending}")), picture)
    }

    /// The label file and the cut-outs, where they are wanted.
    pub fn data(&self, prediction: &Prediction, picture: &Picture, stem: &str) -> Result<(), Error> {
        let Some(run) = self.folder else { return Ok(()) };
        if self.settings.save_txt {
            let labels = run.file("labels");
            create_folder(&labels)?;
            let text = label_file(&prediction.detections, prediction.size, self.settings.save_conf);
            write_atomically(&labels.join(format!("{stem}.txt")), text.as_bytes())?;
        }
        if self.settings.save_crop {
            for (number, detection) in prediction.detections.iter().enumerate() {
                let Some(crop) = crop(picture, detection.bbox) else { continue };
                let class = self.names.get(detection.class);
                let class = class.map_or_else(|| detection.class.to_string(), |name| safe_name(name));
                let folder = run.file("crops").join(class);
                create_folder(&folder)?;
                write_picture(&folder.join(format!("{stem}_{}.jpg", number + 1)), crop)?;
            }
        }
        Ok(())
    }

    /// Draws the boxes into the picture.
    pub fn draw(&self, prediction: &Prediction, picture: &mut Picture) {
        let pixels = std::mem::take(&mut picture.pixels);
        if let Ok(mut image) = Image::from_pixels(picture.width, picture.height, pixels) {
            let boxes: Vec<LabelledBox> = prediction.detections.iter().map(LabelledBox::from).collect();
            let style = BoxStyle::for_picture(image.width, image.height);
            draw_boxes(&mut image, &boxes, self.names, &style);
            picture.pixels = image.pixels;
        }
    }
}

/// Rows `class cx cy w h [confidence]`, shares of the picture's sides, as label files have them.
fn label_file(detections: &[Detection], [height, width]: [usize; 2], with_confidence: bool) -> String {
    let (height, width) = (height.max(1) as f32, width.max(1) as f32);
    let mut text = String::new();
    for detection in detections {
        let [x1, y1, x2, y2] = detection.bbox;
        let (cx, cy) = ((x1 + x2) / 2.0 / width, (y1 + y2) / 2.0 / height);
        let (w, h) = ((x2 - x1) / width, (y2 - y1) / height);
        text += &format!("{} {cx:.6} {cy:.6} {w:.6} {h:.6}", detection.class);
        if with_confidence {
            text += &format!(" {:.6}", detection.score);
        }
        text.push('\n');
    }
    text
}

/// The pixels of a box; none where it has none.
fn crop(picture: &Picture, bbox: [f32; 4]) -> Option<Picture> {
    let [left, right] = [bbox[0].floor(), bbox[2].ceil()].map(|side| (side.max(0.0) as usize).min(picture.width));
    let [top, bottom] = [bbox[1].floor(), bbox[3].ceil()].map(|side| (side.max(0.0) as usize).min(picture.height));
    if left >= right || top >= bottom {
        return None;
    }
    let rows = (top..bottom).flat_map(|row| {
        picture.pixels[(row * picture.width + left) * 3..(row * picture.width + right) * 3].iter().copied()
    });
    Some(Picture { height: bottom - top, width: right - left, pixels: rows.collect() })
}

/// A class's name as a folder's: no separators or other characters that a system refuses.
fn safe_name(name: &str) -> String {
    let safe = |letter: char| !letter.is_control() && !r#"/\:*?"<>|"#.contains(letter);
    let name: String = name.chars().map(|letter| if safe(letter) { letter } else { '_' }).collect();
    if name.trim_matches(['.', ' ']).is_empty() { "_".to_owned() } else { name }
}

/// Writes a picture as JPEG or PNG by the file's ending, whole or not at all.
fn write_picture(path: &Path, picture: Picture) -> Result<(), Error> {
    let is_jpeg = path.extension().is_some_and(|ending| ending == "jpg");
    let encoded = Image::from_pixels(picture.width, picture.height, picture.pixels)
        .and_then(|image| if is_jpeg { image.to_jpeg() } else { image.to_png() });
    let bytes =
        encoded.map_err(|error| Error::Write { path: path.to_owned(), source: std::io::Error::other(error) })?;
    write_atomically(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(bbox: [f32; 4], class: usize) -> Detection {
        Detection { bbox, score: 0.75, class }
    }

    #[test]
    fn label_rows_are_shares_with_the_confidence_when_asked() {
        let detections = [detection([10.0, 20.0, 30.0, 60.0], 2)];
        assert_eq!(label_file(&detections, [100, 50], false), "2 0.400000 0.400000 0.400000 0.400000\n");
        assert_eq!(label_file(&detections, [100, 50], true), "2 0.400000 0.400000 0.400000 0.400000 0.750000\n");
    }

    #[test]
    fn crops_hold_the_boxes_pixels_and_stay_inside() {
        let picture = Picture { height: 4, width: 5, pixels: (0..60).collect() };
        let found = crop(&picture, [1.0, 1.0, 2.5, 2.0]).unwrap();
        assert_eq!((found.size(), found.pixels), ([1, 2], vec![18, 19, 20, 21, 22, 23]));
        assert_eq!(crop(&picture, [-5.0, -5.0, 99.0, 99.0]).unwrap().size(), [4, 5]);
        assert!(crop(&picture, [6.0, 1.0, 9.0, 2.0]).is_none());
        assert_eq!(safe_name("a/b:c"), "a_b_c");
        assert_eq!(safe_name(".."), "_");
    }
}
