//! The command `val`: measures weights on a split of a data set.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use yolo11_config::{Batch, Settings};
use yolo11_dataset::{Split, SplitName};
use yolo11_detection::CocoMetrics;

use crate::compute::Work;
use crate::event::{Announcer, Event};
use crate::file::write_atomically;
use crate::observers::{LogFile, Progress, draw_validation};
use crate::run_folder::RunFolder;
use crate::train::TrainOptions;
use crate::validation::{PictureDetections, Validation, Validator};
use crate::{Error, compute, data, weights};

/// Batch where the settings leave it to the memory: more makes inference no faster.
const AUTOMATIC_BATCH: usize = 16;
/// Pictures in a batch that is validated or measured.
pub(crate) fn batch_size(settings: &Settings) -> usize {
    match settings.batch {
        Batch::Images(batch) => batch,
        Batch::Automatic => AUTOMATIC_BATCH,
    }
}

/// Numbers that the COCO data set leaves out between 1 and 90.
const COCO_GAPS: [usize; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// How the classes are numbered in the JSON of detections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CategoryIds {
    /// As the model counts, from 0.
    #[default]
    Model,
    /// As the COCO data set's own files count its 80 classes, from 1 to 90.
    Coco,
}

/// What `val` brought.
#[derive(Clone, Debug)]
pub struct ValReport {
    /// The figures.
    pub validation: Validation,
    /// The folder with pictures and detections, where any were asked for.
    pub folder: Option<PathBuf>,
    /// The JSON file of detections, where one was asked for.
    pub detections_file: Option<PathBuf>,
}

/// Measures the weights that the settings name; with `plots` draws curves, confusion matrices and pictures, with `save_json` writes
/// every detection into a run's folder.
/// `stop` may be set at any time: the result is [`Error::Interrupted`].
pub fn validate(
    settings: &Settings,
    options: &TrainOptions,
    ids: CategoryIds,
    stop: &AtomicBool,
) -> Result<ValReport, Error> {
    let mut announcer = Announcer::new();
    if options.progress {
        announcer.add(Progress::new(settings.verbose));
    }
    if let Some(log) = &options.log {
        announcer.add(LogFile::open(log)?);
    }
    compute::pool(settings.threads)?.install(|| measure(settings, &mut announcer, ids, stop))
}

fn measure(
    settings: &Settings,
    announcer: &mut Announcer,
    ids: CategoryIds,
    stop: &AtomicBool,
) -> Result<ValReport, Error> {
    if let Some(note) = compute::device_note(settings, Work::Model)? {
        announcer.warn(note)?;
    }
    let batch = batch_size(settings);
    let mut backend = weights::open(settings, batch)?;
    let model = backend.model().clone();
    let settings = &weights::suit(settings, &model)?;
    announcer.note(format!("model      {}, run by {}", model.path.display(), backend.name()))?;
    if let Some([height, width]) = model.fixed_size.filter(|[height, width]| height != width) {
        return Err(Error::Setup {
            message: format!("{} takes {height}×{width} pixels only: `val` needs a square", model.path.display()),
            hint: "export with dynamic=true".into(),
        });
    }
    let description = data::open(settings, announcer, stop)?.description;
    let name = match settings.split {
        yolo11_config::Split::Train => SplitName::Train,
        yolo11_config::Split::Val => SplitName::Val,
        yolo11_config::Split::Test => SplitName::Test,
    };
    let split = data::scan(&description, name, settings, announcer)?;
    let classes = model.names.len();
    if classes != split.names.len() && !settings.single_cls {
        return Err(Error::Setup {
            message: format!(
                "{} knows {classes} classes, {} has {}",
                model.path.display(),
                description.file.display(),
                split.names.len()
            ),
            hint: "measure weights on the data set they were trained for".into(),
        });
    }
    let mut validator = Validator::new(split.clone(), settings, batch, model.fixed_size.is_some())?;
    let measured = validator.run(backend.as_mut(), |batch, batches| {
        announcer.announce(&Event::ValidationStep { batch, batches })?;
        Ok(!stop.load(Ordering::Relaxed))
    })?;
    for finding in validator.findings() {
        announcer.warn(finding.to_string())?;
    }
    let Some((validation, found)) = measured else {
        return Err(Error::Interrupted { folder: None });
    };
    announcer.announce(&Event::ValidationFinished(&validation))?;
    let folder = run_folder(settings, announcer)?;
    let mut detections_file = None;
    if let Some(folder) = &folder {
        if settings.save_json {
            let path = folder.file("predictions.json");
            write_atomically(&path, coco_json(&split, &found, ids).to_string().as_bytes())?;
            detections_file = Some(path);
        }
        if settings.plots {
            for notice in draw_validation(folder.path(), &validation, &found, &split, batch) {
                announcer.pass_on(&notice)?;
            }
            announcer.note(format!("pictures   in {}", folder.path().display()))?;
        }
    }
    let folder = folder.map(|folder| folder.path().to_owned());
    Ok(ValReport { validation, folder, detections_file })
}

/// Where pictures and detections go; none where nothing is asked for, or where pictures alone would go there and it cannot be
/// written to: the figures matter more.
fn run_folder(settings: &Settings, announcer: &mut Announcer) -> Result<Option<RunFolder>, Error> {
    if !settings.save_json && !settings.plots {
        return Ok(None);
    }
    match RunFolder::create(&settings.project, settings.name.as_deref().unwrap_or("val"), settings.exist_ok) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if !settings.save_json => {
            announcer.warn(format!("no pictures are drawn: {error}"))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// COCO's format for results: image, category, `[x, y, width, height]` in the picture's own pixels, score.
pub fn coco_json(split: &Split, found: &[PictureDetections], ids: CategoryIds) -> Value {
    let mut rows = Vec::new();
    for picture in found {
        let stem = split.images[picture.index].path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // COCO's pictures are named by their number: 000000000139.jpg.
        let image_id = stem.parse::<u64>().map_or_else(|_| json!(stem), |number| json!(number));
        for detection in &picture.detections {
            let [x1, y1, x2, y2] = detection.bbox;
            rows.push(json!({
                "image_id": image_id,
                "category_id": category(detection.class, ids),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": detection.score,
            }));
        }
    }
    Value::Array(rows)
}

fn category(class: usize, ids: CategoryIds) -> usize {
    match ids {
        CategoryIds::Model => class,
        CategoryIds::Coco => COCO_GAPS.iter().fold(class + 1, |id, &gap| if id >= gap { id + 1 } else { id }),
    }
}

impl Validation {
    /// The table per class, ready to print.
    pub fn table(&self) -> String {
        let summary = &self.summary;
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(5, 32);
        let mut text = format!(
            "{:width$}  {:>7}  {:>8}  {:>9}  {:>7}  {:>7}  {:>8}\n",
            "class", "images", "objects", "precision", "recall", "mAP50", "mAP50-95"
        );
        let mut row = |name: &str, images: u64, objects: u64, figures: [f64; 4]| {
            let [precision, recall, map50, map50_95] = figures;
            text += &format!(
                "{name:width$}  {images:>7}  {objects:>8}  {precision:>9.4}  {recall:>7.4}  {map50:>7.4}  {map50_95:>8.4}\n"
            );
        };
        let all = [summary.precision, summary.recall, summary.map50, summary.map50_95];
        row("all", summary.images, summary.targets, all);
        for class in summary.classes.iter().filter(|class| class.targets > 0) {
            let name = self.names.get(class.class).map_or("?", String::as_str);
            row(name, class.images, class.targets, [class.precision, class.recall, class.ap50, class.ap50_95]);
        }
        text += &format!(
            "mAP50 (interpolated) {:.4}, mAP50-95 (interpolated) {:.4}\n",
            summary.interpolated_map50, summary.interpolated_map50_95
        );
        text += &format!("best F1 {:.4} at confidence {:.3}\n", summary.f1, summary.confidence);
        let speed = &self.speed;
        text += &format!(
            "a picture: {:.1} ms preprocess, {:.1} ms inference, {:.1} ms postprocess\n",
            speed.preprocess, speed.inference, speed.postprocess
        );
        text
    }

    /// The figures as JSON.
    pub fn to_json(&self) -> Value {
        let summary = &self.summary;
        let classes: Vec<Value> = summary
            .classes
            .iter()
            .filter(|class| class.targets > 0)
            .map(|class| {
                json!({
                    "class": class.class,
                    "name": self.names.get(class.class),
                    "images": class.images,
                    "objects": class.targets,
                    "precision": class.precision,
                    "recall": class.recall,
                    "f1": class.f1,
                    "mAP50": class.ap50,
                    "mAP50-95": class.ap50_95,
                    "mAP50 (interpolated)": class.interpolated_ap50,
                    "mAP50-95 (interpolated)": class.interpolated_ap50_95,
                })
            })
            .collect();
        let coco: serde_json::Map<String, Value> = summary
            .coco
            .figures()
            .into_iter()
            .zip(CocoMetrics::NAMES)
            // The last limit is 300 detections here, COCO's own is 100.
            .map(|(figure, name)| (name.replace("AR100", "AR300"), json!(figure)))
            .collect();
        json!({
            "images": summary.images,
            "objects": summary.targets,
            "precision": summary.precision,
            "recall": summary.recall,
            "f1": summary.f1,
            "confidence": summary.confidence,
            "mAP50": summary.map50,
            "mAP50-95": summary.map50_95,
            "mAP50 (interpolated)": summary.interpolated_map50,
            "mAP50-95 (interpolated)": summary.interpolated_map50_95,
            "losses": {"box": self.losses[0], "cls": self.losses[1], "dfl": self.losses[2]},
            "coco": coco,
            "classes": classes,
            "speed_ms": {
                "preprocess": self.speed.preprocess,
                "inference": self.speed.inference,
                "postprocess": self.speed.postprocess,
            },
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_dataset::ImageEntry;
    use yolo11_detection::Detection;

    #[test]
    fn the_80_classes_get_cocos_own_numbers() {
        let wanted = [
            (0, 1),
            (10, 11),
            (11, 13),
            (24, 27),
            (26, 31),
            (39, 44),
            (40, 46),
            (60, 67),
            (61, 70),
            (62, 72),
            (79, 90),
        ];
        for (class, id) in wanted {
            assert_eq!(category(class, CategoryIds::Coco), id, "class {class}");
            assert_eq!(category(class, CategoryIds::Model), class);
        }
    }

    #[test]
    fn detections_are_written_as_coco_wants_them() {
        let image = |name: &str| ImageEntry { path: name.into(), size: [10, 20], labels: Vec::new() };
        let images = vec![image("a/000000000139.jpg"), image("a/cat.png")];
        let split = Split { name: SplitName::Val, images, names: vec!["x".into()] };
        let detections = vec![Detection { bbox: [1.0, 2.0, 4.0, 8.0], score: 0.5, class: 0 }];
        let unclipped = vec![[1.0, 2.0, 4.0, 8.0]];
        let found = [0, 1].map(|index| PictureDetections {
            index,
            detections: detections.clone(),
            unclipped: unclipped.clone(),
        });
        let wanted = r#"[{"bbox":[1.0,2.0,3.0,6.0],"category_id":1,"image_id":139,"score":0.5},{"bbox":[1.0,2.0,3.0,6.0],"category_id":1,"image_id":"cat","score":0.5}]"#;
        assert_eq!(coco_json(&split, &found, CategoryIds::Coco).to_string(), wanted);
    }
}
