//! Whether an exported file gives what our own engine gives, on real pictures.

use std::path::{Path, PathBuf};

use yolo11_config::Settings;
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::{Picture, SplitName, demo, letterbox};
use yolo11_detection::decode::decode;
use yolo11_detection::geometry::iou;
use yolo11_detection::{Detection, Heads, NmsSettings, detect};
use yolo11_engine::InferenceSession;
use yolo11_export::{ExportOptions, Head, Precision};
use yolo11_network::BINS;

use super::runtime::{Output, Runtime};
use crate::weights::Loaded;
use crate::{Announcer, Error, data, sources};

/// Pictures that a file is verified on.
const PICTURES: usize = 4;
/// Seed of the pictures that are drawn where the user names none.
const SEED: u64 = 0;
/// Boxes of scores below this are looked at only in float32: half precision moves what is hardly there.
const SURE: f32 = 0.25;

/// What the verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// What ran the file, with its version.
    pub runtime: String,
    /// Pictures it ran on.
    pub pictures: usize,
    /// Where they are from.
    pub source: String,
    /// Greatest difference of a box to our own engine, in pixels of the input.
    pub boxes: f32,
    /// Greatest difference of a score.
    pub scores: f32,
}

/// Greatest differences that are taken: of boxes in pixels and of scores. None for 8 bits, which are measured by what they cost.
pub fn tolerances(precision: Precision) -> Option<[f32; 2]> {
    match precision {
        Precision::Float32 => Some([0.5, 1e-3]),
        Precision::Float16 => Some([0.5, 1e-2]),
        Precision::Int8(_) => None,
    }
}

/// Pictures in the network's input.
pub(super) struct Cases {
    source: String,
    size: [usize; 2],
    pictures: Vec<Vec<u8>>,
}

impl Cases {
    /// From `source`, else the validation pictures of `data`, else drawn.
    pub fn gather(settings: &Settings, size: [usize; 2], announcer: &mut Announcer) -> Result<Cases, Error> {
        let read = |paths: Vec<PathBuf>| -> Result<Vec<Picture>, Error> {
            paths.iter().map(|path| Ok(decode_file(path)?)).collect()
        };
        let (source, pictures) = if !settings.source.is_empty() {
            let paths = sources::pictures(&settings.source)?;
            (settings.source.join(", "), read(paths.into_iter().take(PICTURES).collect())?)
        } else if settings.data.is_some() {
            let description = data::open(settings, announcer)?;
            let split = data::scan(&description, SplitName::Val, settings, announcer)?;
            let paths = split.images.iter().take(PICTURES).map(|image| image.path.clone()).collect();
            (description.file.display().to_string(), read(paths)?)
        } else {
            ("drawn".into(), demo::pictures(PICTURES, SEED))
        };
        let pictures = pictures.iter().map(|picture| letterbox(picture, size, true).0).collect();
        Ok(Cases { source, size, pictures })
    }

    /// Runs the file and our engine on every picture, `batch` at a time.
    pub fn compare(
        &self,
        loaded: &Loaded,
        options: &ExportOptions,
        runtime: &mut Runtime,
    ) -> Result<Verification, Error> {
        let batch = options.batch;
        let mut session = InferenceSession::plan(&loaded.model, batch, self.size)?;
        let classes = loaded.model.network().classes;
        let mut found = Verification {
            runtime: runtime.name.clone(),
            pictures: self.pictures.len(),
            source: self.source.clone(),
            boxes: 0.0,
            scores: 0.0,
        };
        for first in (0..self.pictures.len()).step_by(batch) {
            // A batch that is not full is filled up with the first pictures.
            let images: Vec<u8> =
                (first..first + batch).flat_map(|index| self.pictures[index % self.pictures.len()].clone()).collect();
            let heads = session.forward(&images)?;
            let heads =
                Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size: self.size };
            let [boxes, scores] =
                differences(&heads, &runtime.run(&images)?, options).ok_or_else(|| Error::Verification {
                    path: PathBuf::new(),
                    reason: "its outputs have other shapes than they should".into(),
                })?;
            found.boxes = found.boxes.max(boxes);
            found.scores = found.scores.max(scores);
        }
        Ok(found)
    }
}

impl Verification {
    /// # Errors
    /// The file differs by more than its precision explains.
    pub fn check(&self, path: &Path, precision: Precision) -> Result<(), Error> {
        let Some([boxes, scores]) = tolerances(precision) else { return Ok(()) };
        // A difference that is not a number is none that can be taken.
        if self.boxes <= boxes && self.scores <= scores {
            return Ok(());
        }
        Err(Error::Verification {
            path: path.to_owned(),
            reason: format!(
                "in {} it differs from our own engine by {:.3} px and {:.4} in score, where {boxes} px and {scores} are taken",
                self.runtime, self.boxes, self.scores
            ),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        format!(
            "verified in {} on {} pictures ({}): boxes within {:.4} px, scores within {:.6} of our own float32",
            self.runtime, self.pictures, self.source, self.boxes, self.scores
        )
    }
}

/// Greatest differences of boxes and scores; none where the shapes are not what they should be.
fn differences(heads: &Heads, outputs: &[Output], options: &ExportOptions) -> Option<[f32; 2]> {
    match options.head {
        Head::Suppressed(suppression) => {
            let settings = NmsSettings {
                confidence: suppression.confidence,
                iou: suppression.iou,
                agnostic: suppression.agnostic,
                max_detections: suppression.max_detections,
                ..NmsSettings::default()
            };
            let (shape, values) = outputs.first()?;
            (*shape == [heads.images, suppression.max_detections, 6]).then_some(())?;
            let rows = values.chunks(6 * suppression.max_detections);
            let each = rows.enumerate().map(|(image, rows)| {
                let given: Vec<Detection> = (rows.chunks(6).filter(|row| row[4] > 0.0))
                    .map(|row| Detection {
                        bbox: [row[0], row[1], row[2], row[3]],
                        score: row[4],
                        class: row[5] as usize,
                    })
                    .collect();
                detections_apart(&detect(heads, image, &settings), &given, suppression.confidence)
            });
            Some(each.fold([0.0; 2], greater))
        }
        Head::Decoded => {
            let own = decode(heads).ok()?;
            let (shape, values) = outputs.first()?;
            let (anchors, channels) = (heads.anchors(), 4 + heads.classes);
            (*shape == [heads.images, channels, anchors]).then_some(())?;
            let value =
                |row: usize, channel: usize| values[(row / anchors * channels + channel) * anchors + row % anchors];
            let given = |row: usize| {
                ([0, 1, 2, 3].map(|side| value(row, side)), (0..heads.classes).map(move |class| value(row, 4 + class)))
            };
            Some(anchors_apart(&own.boxes, &own.scores, heads.classes, options.precision, given))
        }
        Head::Raw => {
            let channels = 4 * BINS + heads.classes;
            let (mut boxes, mut scores) = (vec![0.0; heads.boxes.len()], vec![0.0; heads.scores.len()]);
            let mut first = 0;
            for (shape, values) in outputs {
                let &[images, given, rows, columns] = shape.as_slice() else { return None };
                (images == heads.images && given == channels).then_some(())?;
                let cells = rows * columns;
                for (place, value) in values.iter().enumerate() {
                    let (image, channel, cell) = (place / cells / channels, place / cells % channels, place % cells);
                    let anchor = image * heads.anchors() + first + cell;
                    match channel.checked_sub(4 * BINS) {
                        None => *boxes.get_mut(anchor * 4 * BINS + channel)? = *value,
                        Some(class) => *scores.get_mut(anchor * heads.classes + class)? = *value,
                    }
                }
                first += cells;
            }
            let own = decode(heads).ok()?;
            let given = decode(&Heads { boxes: &boxes, scores: &scores, ..*heads }).ok()?;
            let classes = heads.classes;
            let given = |row: usize| (given.boxes[row], given.scores[row * classes..][..classes].iter().copied());
            Some(anchors_apart(&own.boxes, &own.scores, classes, options.precision, given))
        }
    }
}

fn anchors_apart<S: Iterator<Item = f32>>(
    boxes: &[[f32; 4]],
    scores: &[f32],
    classes: usize,
    precision: Precision,
    given: impl Fn(usize) -> ([f32; 4], S),
) -> [f32; 2] {
    let mut apart = [0f32; 2];
    for (row, (bbox, scores)) in boxes.iter().zip(scores.chunks(classes)).enumerate() {
        let (given_box, given_scores) = given(row);
        let score = scores.iter().zip(given_scores).map(|(own, given)| (own - given).abs());
        let score = score.fold(0.0, nan_or_max);
        let counts = precision == Precision::Float32 || scores.iter().any(|score| *score > SURE);
        let side = if counts { side_apart(*bbox, given_box) } else { 0.0 };
        apart = greater(apart, [side, score]);
    }
    apart
}

/// Detections are compared with the nearest of their class; one that the other side lacks counts by how far it is above the
/// confidence from which there are detections at all.
fn detections_apart(own: &[Detection], given: &[Detection], confidence: f32) -> [f32; 2] {
    let mut apart = [0f32; 2];
    for (these, those) in [(own, given), (given, own)] {
        for one in these {
            let nearest = (those.iter().filter(|other| other.class == one.class))
                .map(|other| (iou(one.bbox, other.bbox), other))
                .filter(|(overlap, _)| *overlap > 0.5)
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            apart = greater(
                apart,
                match nearest {
                    Some((_, other)) => [side_apart(one.bbox, other.bbox), (one.score - other.score).abs()],
                    None => [0.0, one.score - confidence],
                },
            );
        }
    }
    apart
}

fn side_apart(one: [f32; 4], other: [f32; 4]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, nan_or_max)
}

fn greater(one: [f32; 2], other: [f32; 2]) -> [f32; 2] {
    [nan_or_max(one[0], other[0]), nan_or_max(one[1], other[1])]
}

/// The greater one; what is not a number is greater than all.
fn nan_or_max(one: f32, other: f32) -> f32 {
    if one.is_nan() || other.is_nan() { f32::NAN } else { one.max(other) }
}
