//! The command `predict`: looks at pictures and shows what is on them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::prelude::*;
use serde_json::{Value, json};
use yolo11_config::Settings;
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::{Letterbox, Picture, letterbox};
use yolo11_detection::{Detection, NmsSettings};
use yolo11_inference::{Backend, ModelInfo};
use yolo11_report::boxes::BoxStyle;
use yolo11_report::{Image, LabelledBox, draw_boxes};

use crate::file::{create_folder, write_atomically};
use crate::run_folder::RunFolder;
use crate::validation::Speed;
use crate::{Error, compute, sources, weights};

/// Confidence below which a detection is not shown, unless the settings say otherwise.
const CONFIDENCE: f32 = 0.25;
/// Pictures that are decoded, and later written, side by side.
const GROUP: usize = 8;

/// What was found on one picture.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The picture's file.
    pub path: PathBuf,
    /// Its `[height, width]`.
    pub size: [usize; 2],
    /// What is on it, best first; boxes `[x1, y1, x2, y2]` in its pixels.
    pub detections: Vec<Detection>,
    /// Milliseconds.
    pub speed: Speed,
    /// Why it could not be read: then nothing else counts.
    pub failure: Option<String>,
}

/// What a whole `predict` brought.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictSummary {
    /// Folder with the labelled pictures.
    pub folder: PathBuf,
    /// Pictures looked at.
    pub pictures: usize,
    /// Of them unreadable; where there are any the command ends with [`Error::Unreadable`].
    pub unreadable: usize,
}

impl PredictSummary {
    /// The error for the exit code, where pictures could not be read.
    pub fn check(&self) -> Result<(), Error> {
        match self.unreadable {
            0 => Ok(()),
            count => Err(Error::Unreadable { count, total: self.pictures }),
        }
    }
}

/// Looks at every picture of `source`, writes labelled ones into a run's folder, and tells `found` of each in order.
/// An unreadable picture is told of and passed over.
pub fn predict(
    settings: &Settings,
    stop: &AtomicBool,
    mut found: impl FnMut(&Prediction, &[String]) + Send,
) -> Result<PredictSummary, Error> {
    let pictures = sources::pictures(&settings.source)?;
    compute::device_note(settings)?;
    let mut backend = weights::open(settings, 1)?;
    let model = backend.model().clone();
    let settings = &weights::suit(settings, &model)?;
    let folder =
        RunFolder::create(&settings.project, settings.name.as_deref().unwrap_or("predict"), settings.exist_ok)?;
    compute::pool(settings.threads)?.install(|| {
        let writer = Writer { settings, names: &model.names, folder: &folder };
        let mut predictor = Predictor::new(settings, backend.as_mut(), &model, writer);
        let mut all = Vec::new();
        let mut unreadable = 0;
        for group in pictures.chunks(GROUP) {
            for prediction in predictor.group(group)? {
                found(&prediction, &model.names);
                unreadable += usize::from(prediction.failure.is_some());
                if settings.save_json {
                    all.push(prediction.to_json(&model.names));
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted { folder: None });
            }
        }
        if settings.save_json {
            write_atomically(&folder.file("predictions.json"), Value::Array(all).to_string().as_bytes())?;
        }
        Ok(PredictSummary { folder: folder.path().to_owned(), pictures: pictures.len(), unreadable })
    })
}

struct Predictor<'a> {
    settings: &'a Settings,
    backend: &'a mut dyn Backend,
    model: &'a ModelInfo,
    writer: Writer<'a>,
    nms: NmsSettings,
    /// Names that are taken in the run's folder: pictures of different folders may share theirs.
    taken: HashSet<String>,
}

/// A picture on its way.
struct Work {
    prediction: Prediction,
    picture: Option<Picture>,
    /// Its name in the run's folder, without ending.
    stem: String,
}

impl<'a> Predictor<'a> {
    fn new(settings: &'a Settings, backend: &'a mut dyn Backend, model: &'a ModelInfo, writer: Writer<'a>) -> Self {
        let nms = NmsSettings {
            confidence: settings.conf.unwrap_or(CONFIDENCE),
            iou: settings.iou,
            agnostic: settings.agnostic_nms,
            max_detections: settings.max_det,
            classes: (!settings.classes.is_empty()).then(|| settings.classes.clone()),
            ..NmsSettings::default()
        };
        Predictor { settings, backend, model, writer, nms, taken: HashSet::new() }
    }

    /// Decodes some pictures side by side, looks at them one after the other, writes them side by side.
    fn group(&mut self, paths: &[PathBuf]) -> Result<Vec<Prediction>, Error> {
        let decoded: Vec<_> = paths.par_iter().map(|path| decode_file(path)).collect();
        let mut works = Vec::with_capacity(paths.len());
        for (path, decoded) in paths.iter().zip(decoded) {
            works.push(self.look(path, decoded)?);
        }
        let writer = self.writer;
        let written: Result<Vec<()>, Error> = works.par_iter_mut().map(|work| writer.write(work)).collect();
        written?;
        Ok(works.into_iter().map(|work| work.prediction).collect())
    }

    fn look(&mut self, path: &Path, decoded: Result<Picture, yolo11_dataset::Error>) -> Result<Work, Error> {
        let mut prediction = Prediction {
            path: path.to_owned(),
            size: [0; 2],
            detections: Vec::new(),
            speed: Speed::default(),
            failure: None,
        };
        let picture = match decoded {
            Ok(picture) => picture,
            Err(error) => {
                prediction.failure = Some(error.to_string());
                return Ok(Work { prediction, picture: None, stem: String::new() });
            }
        };
        let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let shape = input_shape(picture.size(), self.settings.imgsz, self.model);
        let (pixels, place) = letterbox(&picture, shape, true);
        prediction.speed.preprocess = milliseconds(begun);

        let begun = Instant::now();
        let predictions = self.backend.run(&pixels, shape)?;
        prediction.speed.inference = milliseconds(begun);

        let begun = Instant::now();
        prediction.detections = predictions.detect(0, &self.nms);
        for detection in &mut prediction.detections {
            detection.bbox = place.to_original(detection.bbox, picture.size());
        }
        prediction.speed.postprocess = milliseconds(begun);
        prediction.size = picture.size();
        let stem = self.free_stem(path);
        Ok(Work { prediction, picture: Some(picture), stem })
    }

    fn free_stem(&mut self, path: &Path) -> String {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = stem.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{stem}_{number}");
        }
        name
    }
}

/// Writes what was found into the run's folder.
#[derive(Clone, Copy)]
struct Writer<'a> {
    settings: &'a Settings,
    names: &'a [String],
    folder: &'a RunFolder,
}

impl Writer<'_> {
    fn write(&self, work: &mut Work) -> Result<(), Error> {
        let Some(picture) = work.picture.take() else {
            return Ok(());
        };
        let (prediction, stem, names) = (&work.prediction, &work.stem, self.names);
        if self.settings.save_txt {
            let labels = self.folder.file("labels");
            create_folder(&labels)?;
            let text = label_file(&prediction.detections, prediction.size, self.settings.save_conf);
            write_atomically(&labels.join(format!("{stem}.txt")), text.as_bytes())?;
        }
        if self.settings.save_crop {
            for (number, detection) in prediction.detections.iter().enumerate() {
                let Some(crop) = crop(&picture, detection.bbox) else { continue };
                let class =
                    names.get(detection.class).map_or_else(|| detection.class.to_string(), |name| safe_name(name));
                let folder = self.folder.file("crops").join(class);
                create_folder(&folder)?;
                write_picture(&folder.join(format!("{stem}_{}.jpg", number + 1)), crop, |_| {})?;
            }
        }
        let is_jpeg = prediction
            .path
            .extension()
            .is_some_and(|ending| ["jpg", "jpeg"].iter().any(|jpeg| ending.eq_ignore_ascii_case(jpeg)));
        let ending = if is_jpeg { "jpg" } else { "png" };
        write_picture(&self.folder.file(&format!("{stem}.{ending}")), picture, |image| {
            let boxes: Vec<LabelledBox> = prediction.detections.iter().map(LabelledBox::from).collect();
            draw_boxes(image, &boxes, names, &BoxStyle::for_picture(image.width, image.height));
        })
    }
}

/// The smallest input in multiples of the stride that holds the picture with its long side at `size`; the model's own where it
/// takes no other.
fn input_shape(original: [usize; 2], size: usize, model: &ModelInfo) -> [usize; 2] {
    let fitting = |side: usize| side.div_ceil(model.stride).max(1) * model.stride;
    model.fixed_size.unwrap_or_else(|| Letterbox::new(original, [size; 2], size, true).scaled.map(fitting))
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

/// Writes a picture with what is drawn on it as JPEG or PNG by the file's ending, whole or not at all.
fn write_picture(path: &Path, picture: Picture, draw: impl FnOnce(&mut Image)) -> Result<(), Error> {
    let encoded = Image::from_pixels(picture.width, picture.height, picture.pixels).and_then(|mut image| {
        draw(&mut image);
        if path.extension().is_some_and(|ending| ending == "jpg") { image.to_jpeg() } else { image.to_png() }
    });
    let bytes =
        encoded.map_err(|error| Error::Write { path: path.to_owned(), source: std::io::Error::other(error) })?;
    write_atomically(path, &bytes)
}

impl Prediction {
    /// One line for people: `bus.jpg: 640×480, 4 persons, 1 bus, 12.3 ms`.
    pub fn summary(&self, names: &[String]) -> String {
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for detection in &self.detections {
            match counts.iter_mut().find(|(class, _)| *class == detection.class) {
                Some((_, count)) => *count += 1,
                None => counts.push((detection.class, 1)),
            }
        }
        counts.sort();
        let name = |class: usize| names.get(class).map_or_else(|| format!("class {class}"), String::clone);
        let found: Vec<String> = counts.iter().map(|&(class, count)| format!("{count} {}", name(class))).collect();
        let found = if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") };
        let [height, width] = self.size;
        format!("{}: {width}×{height}, {found}, {:.1} ms", self.path.display(), self.speed.inference)
    }

    /// One JSON object.
    pub fn to_json(&self, names: &[String]) -> Value {
        if let Some(failure) = &self.failure {
            return json!({"path": self.path.display().to_string(), "error": failure});
        }
        let detections: Vec<Value> = self
            .detections
            .iter()
            .map(|detection| {
                let [x1, y1, x2, y2] = detection.bbox;
                json!({
                    "class": detection.class,
                    "name": names.get(detection.class),
                    "confidence": detection.score,
                    "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
                })
            })
            .collect();
        json!({
            "path": self.path.display().to_string(),
            "width": self.size[1],
            "height": self.size[0],
            "detections": detections,
            "speed_ms": {
                "preprocess": self.speed.preprocess,
                "inference": self.speed.inference,
                "postprocess": self.speed.postprocess,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(bbox: [f32; 4], class: usize) -> Detection {
        Detection { bbox, score: 0.75, class }
    }

    #[test]
    fn inputs_are_the_smallest_that_hold_the_picture() {
        let mut model = ModelInfo::native("a.pt".into(), Vec::new());
        assert_eq!(input_shape([1080, 810], 640, &model), [640, 480]);
        assert_eq!(input_shape([720, 1280], 640, &model), [384, 640]);
        assert_eq!(input_shape([1, 5000], 640, &model), [32, 640]);
        model.fixed_size = Some([640, 320]);
        assert_eq!(input_shape([720, 1280], 640, &model), [640, 320]);
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

    #[test]
    fn pictures_are_summed_up_for_people_and_machines() {
        let mut prediction = Prediction {
            path: "bus.jpg".into(),
            size: [1080, 810],
            detections: vec![detection([0.0, 0.0, 1.0, 1.0], 1), detection([0.0; 4], 0), detection([0.0; 4], 0)],
            speed: Speed { inference: 12.34, ..Speed::default() },
            failure: None,
        };
        let names = ["person".to_owned(), "bus".to_owned()];
        assert_eq!(prediction.summary(&names), "bus.jpg: 810×1080, 2 person, 1 bus, 12.3 ms");
        let json = prediction.to_json(&names);
        assert_eq!(
            (&json["detections"][0]["name"], &json["detections"][0]["confidence"]),
            (&json!("bus"), &json!(0.75))
        );
        prediction.failure = Some("bus.jpg: cut short".into());
        assert_eq!(prediction.to_json(&names), json!({"path": "bus.jpg", "error": "bus.jpg: cut short"}));
    }
}
