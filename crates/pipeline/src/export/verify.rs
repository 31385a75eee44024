//! Whether an exported file gives what our own engine gives, on real pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use yolo11_config::Settings;
use yolo11_dataset::decode::decode_file;
use yolo11_dataset::{Picture, SplitName, demo, letterbox};
use yolo11_detection::decode::{Decoded, decode};
use yolo11_detection::geometry::{iou, xywh_to_xyxy};
use yolo11_detection::nms::suppress;
use yolo11_detection::{Detection, Heads, NmsSettings, detect};
use yolo11_engine::InferenceSession;
use yolo11_export::{ExportOptions, Head, Precision};
use yolo11_inference::{Backend, Predictions};

use crate::weights::Loaded;
use crate::{Announcer, Error, data, sources};

/// Pictures that a file is verified on.
const PICTURES: usize = 4;
/// Seed of the pictures that are drawn where the user names none.
const SEED: u64 = 0;
/// Greatest difference of any score in float16, whether or not it is one of a detection: rounding the weights alone moves single
/// anchors by some hundredths where the network wavers.
const ANYWHERE: f32 = 0.1;

/// What the verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// What ran the file, with its version.
    pub runtime: String,
    /// Pictures it ran on.
    pub pictures: usize,
    /// Where they are from.
    pub source: String,
    /// How many boxes and scores were compared: those of all anchors in float32, those of our engine's detections otherwise and
    /// with suppression inside the file.
    pub compared: usize,
    /// Greatest difference of a box to our own engine, in pixels of the input.
    pub boxes: f32,
    /// Greatest difference of a score.
    pub scores: f32,
    /// Greatest difference of any anchor's score.
    pub anywhere: f32,
}

/// Differences of one batch.
#[derive(Clone, Copy, Default)]
struct Apart {
    compared: usize,
    boxes: f32,
    scores: f32,
    anywhere: f32,
}

impl Apart {
    fn join(self, other: Apart) -> Apart {
        Apart {
            compared: self.compared + other.compared,
            boxes: nan_or_max(self.boxes, other.boxes),
            scores: nan_or_max(self.scores, other.scores),
            anywhere: nan_or_max(self.anywhere, other.anywhere),
        }
    }

    /// A box and its score.
    fn one(boxes: f32, scores: f32) -> Apart {
        Apart { compared: 1, boxes, scores, anywhere: scores }
    }
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
            let description = data::open(settings, announcer, &AtomicBool::new(false))?.description;
            let split = data::scan(&description, SplitName::Val, settings, announcer)?;
            let paths = split.images.iter().take(PICTURES).map(|image| image.path.clone()).collect();
            (description.file.display().to_string(), read(paths)?)
        } else {
            ("drawn".into(), demo::pictures(PICTURES, SEED))
        };
        let pictures = pictures.iter().map(|picture| letterbox(picture, size, true).0).collect();
        Ok(Cases { source, size, pictures })
    }

    /// Runs the file and our engine on every picture, as many at a time as the file is for.
    pub fn compare(
        &self,
        loaded: &Loaded,
        options: &ExportOptions,
        backend: &mut dyn Backend,
    ) -> Result<Verification, Error> {
        let mut session = InferenceSession::plan(&loaded.model, options.batch, self.size)?;
        let classes = loaded.model.network().classes;
        let mut apart = Apart::default();
        for pictures in self.pictures.chunks(options.batch) {
            let images = pictures.concat();
            let heads = session.forward(&images)?;
            let heads =
                Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size: self.size };
            apart = apart.join(differences(&heads, &backend.run(&images, self.size)?, options)?);
        }
        let Apart { compared, boxes, scores, anywhere } = apart;
        let (runtime, source) = (backend.name().to_owned(), self.source.clone());
        Ok(Verification { runtime, pictures: self.pictures.len(), source, compared, boxes, scores, anywhere })
    }
}

impl Verification {
    /// # Errors
    /// The file differs by more than its precision explains.
    pub fn check(&self, path: &Path, precision: Precision) -> Result<(), Error> {
        let Some([boxes, scores]) = tolerances(precision) else { return Ok(()) };
        let anywhere = if precision == Precision::Float32 { scores } else { ANYWHERE };
        // A difference that is not a number is none that can be taken.
        if self.boxes <= boxes && self.scores <= scores && self.anywhere <= anywhere {
            return Ok(());
        }
        Err(Error::Verification {
            path: path.to_owned(),
            reason: format!(
                "in {} it differs from our own engine by {:.3} px and {:.4} in score ({:.4} anywhere), where {boxes} px and {scores} are taken ({anywhere} anywhere)",
                self.runtime, self.boxes, self.scores, self.anywhere
            ),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Verification { runtime, pictures, source, compared, boxes, scores, anywhere } = self;
        format!(
            "verified in {runtime} on {pictures} pictures ({source}): {compared} boxes within {boxes:.4} px, scores within {scores:.6} of our own float32, all scores within {anywhere:.6}"
        )
    }
}

fn differences(heads: &Heads, given: &Predictions, options: &ExportOptions) -> Result<Apart, Error> {
    let settings = match options.head {
        Head::Suppressed(suppression) => NmsSettings {
            confidence: suppression.confidence,
            iou: suppression.iou,
            agnostic: suppression.agnostic,
            max_detections: suppression.max_detections,
            ..NmsSettings::default()
        },
        _ => NmsSettings::default(),
    };
    if let (Predictions::Suppressed(found), Head::Suppressed(_)) = (given, options.head) {
        let each = found.iter().enumerate();
        let each = each.map(|(image, given)| detections_apart(&detect(heads, image, &settings), given, &settings));
        return Ok(each.fold(Apart::default(), Apart::join));
    }
    let own = decode(heads)?;
    let logits;
    let (boxes, scores) = match given {
        Predictions::Logits(given) => {
            logits = decode(given)?;
            (logits.boxes.as_slice(), logits.scores.as_slice())
        }
        Predictions::Decoded { boxes, scores, .. } => (*boxes, *scores),
        // Nothing was to be suppressed: as far apart as can be.
        Predictions::Suppressed(_) => return Ok(Apart::one(f32::INFINITY, f32::INFINITY)),
    };
    let one = |anchor: usize| {
        let scores_of = |scores: &[f32]| scores[anchor * heads.classes..][..heads.classes].to_vec();
        let score = furthest(&scores_of(&own.scores), &scores_of(scores));
        Apart::one(furthest(&own.boxes[anchor], &boxes[anchor]), score)
    };
    if options.precision == Precision::Float32 {
        return Ok((0..own.boxes.len()).map(one).fold(Apart::default(), Apart::join));
    }
    let apart = detected(&own, heads, &settings).into_iter().map(one).fold(Apart::default(), Apart::join);
    Ok(Apart { anywhere: furthest(&own.scores, scores), ..apart })
}

/// The anchors that our own detections come from.
fn detected(own: &Decoded, heads: &Heads, settings: &NmsSettings) -> Vec<usize> {
    let anchors = heads.anchors();
    let mut detected = Vec::new();
    for image in 0..heads.images {
        let candidates: Vec<(usize, Detection)> = (image * anchors..(image + 1) * anchors)
            .filter_map(|anchor| {
                let scores = own.scores[anchor * heads.classes..][..heads.classes].iter().copied();
                let (class, score) = scores.enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
                let bbox = xywh_to_xyxy(own.boxes[anchor]);
                (score > settings.confidence).then_some((anchor, Detection { bbox, score, class }))
            })
            .collect();
        let kept = suppress(candidates.iter().map(|(_, candidate)| *candidate), settings);
        detected.extend(candidates.iter().filter(|(_, candidate)| kept.contains(candidate)).map(|(anchor, _)| *anchor));
    }
    detected
}

/// Detections are compared with the nearest of their class; one that the other side lacks counts by how far it is above the
/// confidence from which there are detections at all.
fn detections_apart(own: &[Detection], given: &[Detection], settings: &NmsSettings) -> Apart {
    let mut apart = Apart::default();
    for (these, those) in [(own, given), (given, own)] {
        for one in these {
            let nearest = (those.iter().filter(|other| other.class == one.class))
                .map(|other| (iou(one.bbox, other.bbox), other))
                .filter(|(overlap, _)| *overlap > 0.5)
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            apart = apart.join(match nearest {
                Some((_, other)) => Apart::one(furthest(&one.bbox, &other.bbox), (one.score - other.score).abs()),
                None => Apart::one(0.0, one.score - settings.confidence),
            });
        }
    }
    Apart { compared: own.len(), ..apart }
}

fn furthest(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, nan_or_max)
}

/// The greater one; what is not a number is greater than all.
fn nan_or_max(one: f32, other: f32) -> f32 {
    if one.is_nan() || other.is_nan() { f32::NAN } else { one.max(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verification(boxes: f32, scores: f32, anywhere: f32) -> Verification {
        let (runtime, source) = ("ncnn 1".to_owned(), "drawn".to_owned());
        Verification { runtime, pictures: 4, source, compared: 7, boxes, scores, anywhere }
    }

    #[test]
    fn what_differs_by_more_than_its_precision_explains_is_refused() {
        let check = |verification: Verification, precision| verification.check(Path::new("a.onnx"), precision);
        assert!(check(verification(0.4, 0.0009, 0.0009), Precision::Float32).is_ok());
        assert!(check(verification(0.4, 0.009, 0.05), Precision::Float16).is_ok());
        for (boxes, scores, anywhere) in
            [(0.6, 0.0, 0.0), (0.0, 0.002, 0.002), (f32::NAN, 0.0, 0.0), (0.0, 0.0, f32::NAN)]
        {
            assert!(check(verification(boxes, scores, anywhere), Precision::Float32).is_err());
        }
        let error = check(verification(0.1, 0.02, 0.02), Precision::Float16).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "a.onnx: not written: in ncnn 1 it differs from our own engine by 0.100 px and 0.0200 in score (0.0200 anywhere), where 0.5 px and 0.01 are taken (0.1 anywhere)\nhint: export without half=true; what is near float16's limits changes with it"
        );
    }

    #[test]
    fn detections_are_compared_with_the_nearest_of_their_class() {
        let detection = |x: f32, score, class| Detection { bbox: [x, 0.0, x + 10.0, 10.0], score, class };
        let settings = NmsSettings { confidence: 0.25, ..NmsSettings::default() };
        let own = [detection(0.0, 0.9, 1), detection(50.0, 0.3, 0)];
        let given = [detection(0.5, 0.85, 1), detection(0.0, 0.26, 2)];
        let apart = detections_apart(&own, &given, &settings);
        assert!(
            (apart.boxes - 0.5).abs() < 1e-6 && (apart.scores - 0.05).abs() < 1e-6,
            "{} {}",
            apart.boxes,
            apart.scores
        );
        assert_eq!(apart.compared, 2);
    }
}
