//! The command `predict`: looks at pictures, videos and streams, and shows what is on them.

mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde_json::{Value, json};
use yolo11_config::{Batch, Settings};
use yolo11_dataset::Picture;
use yolo11_dataset::decode::decode_file;
use yolo11_detection::{Detection, NmsSettings};
use yolo11_inference::{Found, Milliseconds, PredictOptions, Predictor, Tiling};

use crate::file::write_atomically;
use crate::run_folder::RunFolder;
use crate::sources::{self, Source};
use crate::video::{Frame, Frames, Video, VideoWriter};
use crate::{Error, compute, weights};
use writer::{Stems, Writer};

/// Confidence below which a detection is not shown, unless the settings say otherwise.
const CONFIDENCE: f32 = 0.25;
/// Pictures that are decoded, and later written, side by side.
const GROUP: usize = 8;

/// What was found on one picture or frame.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The picture's file, or the video's or stream's name.
    pub path: PathBuf,
    /// Which frame of a video it is.
    pub frame: Option<FrameTime>,
    /// Its `[height, width]`.
    pub size: [usize; 2],
    /// What is on it, best first; boxes `[x1, y1, x2, y2]` in its pixels.
    pub detections: Vec<Detection>,
    /// How long it took.
    pub speed: Milliseconds,
    /// Why it could not be read: then nothing else counts.
    pub failure: Option<String>,
}

/// A frame's place in its video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameTime {
    /// Counted from 0.
    pub number: usize,
    /// Since the beginning; none of a live stream.
    pub seconds: Option<f64>,
}

/// What a whole `predict` brought.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictSummary {
    /// Folder with what was written; none where the settings want nothing written.
    pub folder: Option<PathBuf>,
    /// What ran the model.
    pub backend: String,
    /// Pictures looked at.
    pub pictures: usize,
    /// Frames of videos and streams looked at.
    pub frames: usize,
    /// Pictures that were unreadable; where there are any the command ends with [`Error::Unreadable`].
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

    /// `3 pictures, 120 frames`.
    pub fn counts(&self) -> String {
        let parts = [(self.pictures, "pictures"), (self.frames, "frames")];
        let some: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if some.is_empty() { "0 pictures".to_owned() } else { some.join(", ") }
    }
}

/// Looks at everything that `source` names, writes labelled pictures and videos into a run's folder, and tells `found` of each picture
/// and frame in order, as it comes. An unreadable picture is told of and passed over. `stop` may be set at any time: what was begun is
/// finished, and the result is [`Error::Interrupted`].
pub fn predict(
    settings: &Settings,
    stop: &AtomicBool,
    mut found: impl FnMut(&Prediction, &[String]) + Send,
) -> Result<PredictSummary, Error> {
    let sources = sources::sources(&settings.source)?;
    let batch = match settings.batch {
        Batch::Images(batch) if settings.is_given("batch") => batch,
        _ => 1,
    };
    let backend = weights::open(settings, batch)?;
    let model = backend.model().clone();
    let settings = &weights::suit(settings, &model)?;
    check_classes(settings, &model.names)?;
    let mut predictor = Predictor::new(backend, options(settings, batch));
    let name = settings.name.as_deref().unwrap_or("predict");
    let folder = match writes(settings, &sources) {
        true => Some(RunFolder::create(&settings.project, name, settings.exist_ok)?),
        false => None,
    };
    compute::pool(settings.threads)?.install(|| {
        let mut work = Work {
            writer: Writer { settings, names: &model.names, folder: folder.as_ref() },
            predictor: &mut predictor,
            stems: Stems::default(),
            batch,
            stop,
            found: &mut |prediction: &Prediction| found(prediction, &model.names),
            kept: settings.save_json.then(Vec::new),
            summary: PredictSummary {
                folder: folder.as_ref().map(|folder| folder.path().to_owned()),
                backend: String::new(),
                pictures: 0,
                frames: 0,
                unreadable: 0,
            },
        };
        let mut sources = sources.as_slice();
        while let Some(source) = sources.first() {
            let pictures: Vec<&Path> = sources.iter().map_while(Source::picture).collect();
            match source {
                Source::Picture(_) => work.pictures(&pictures)?,
                Source::Video(video) => work.video(video, saves(settings, source))?,
            }
            sources = &sources[pictures.len().max(1)..];
        }
        let Work { kept, mut summary, .. } = work;
        if let (Some(kept), Some(folder)) = (kept, &folder) {
            write_atomically(&folder.file("predictions.json"), Value::Array(kept).to_string().as_bytes())?;
        }
        summary.backend = predictor.backend_name().to_owned();
        Ok(summary)
    })
}

/// Whether the settings want a file of any source; labelled pictures and videos are written unless `save=false`, of live streams only
/// with `save=true`.
fn writes(settings: &Settings, sources: &[Source]) -> bool {
    let data = settings.save_txt || settings.save_crop || settings.save_json;
    data || sources.iter().any(|source| saves(settings, source))
}

/// Whether the source itself is written with labels in it.
fn saves(settings: &Settings, source: &Source) -> bool {
    settings.save.unwrap_or(!matches!(source, Source::Video(video) if video.live))
}

fn options(settings: &Settings, batch: usize) -> PredictOptions {
    let nms = NmsSettings {
        confidence: settings.conf.unwrap_or(CONFIDENCE),
        iou: settings.iou,
        agnostic: settings.agnostic_nms,
        max_detections: settings.max_det,
        classes: (!settings.classes.is_empty()).then(|| settings.classes.clone()),
        ..NmsSettings::default()
    };
    let tiling = settings.tile.map(|side| Tiling { side, overlap: settings.tile_overlap });
    PredictOptions { nms, size: settings.imgsz, batch, tiling }
}

/// A class that the model does not have would silently find nothing.
fn check_classes(settings: &Settings, names: &[String]) -> Result<(), Error> {
    match settings.classes.iter().find(|class| **class >= names.len() && !names.is_empty()) {
        None => Ok(()),
        Some(class) => Err(Error::Setup {
            message: format!("classes: there is no class {class}, the model has {}", names.len()),
            hint: format!("they are numbered from 0 (`{}`) to {}", names[0], names.len() - 1),
        }),
    }
}

/// A whole `predict` under way.
struct Work<'a> {
    writer: Writer<'a>,
    predictor: &'a mut Predictor,
    stems: Stems,
    batch: usize,
    stop: &'a AtomicBool,
    found: &'a mut (dyn FnMut(&Prediction) + Send),
    /// Every prediction as JSON, where they are to be one file.
    kept: Option<Vec<Value>>,
    summary: PredictSummary,
}

impl Work<'_> {
    /// Decodes some pictures side by side, looks at them, writes them side by side.
    fn pictures(&mut self, paths: &[&Path]) -> Result<(), Error> {
        for group in paths.chunks(GROUP.max(self.batch)) {
            let decoded: Vec<_> = group.par_iter().map(|path| decode_file(path)).collect();
            let readable: Vec<&Picture> = decoded.iter().flatten().collect();
            let mut looked = self.predictor.predict(&readable)?.into_iter();
            let mut done = Vec::with_capacity(group.len());
            for (path, decoded) in group.iter().zip(decoded) {
                let prediction = Prediction::new(path.to_path_buf());
                done.push(match decoded {
                    Ok(picture) => {
                        let found = looked.next().unwrap_or_default();
                        (prediction.with(found, picture.size()), Some((picture, self.stems.free(path))))
                    }
                    Err(error) => (Prediction { failure: Some(error.to_string()), ..prediction }, None),
                });
            }
            let writer = self.writer;
            let written: Result<Vec<()>, Error> = done
                .par_iter_mut()
                .map(|(prediction, picture)| match picture.take() {
                    Some((picture, stem)) => writer.picture(prediction, picture, &stem),
                    None => Ok(()),
                })
                .collect();
            written?;
            for (prediction, _) in &done {
                self.summary.pictures += 1;
                self.summary.unreadable += usize::from(prediction.failure.is_some());
                self.tell(prediction);
            }
            self.check_stop()?;
        }
        Ok(())
    }

    /// Looks at the frames of a video as they come.
    fn video(&mut self, video: &Video, saves: bool) -> Result<(), Error> {
        let mut frames = Frames::open(video, self.writer.settings.vid_stride)?;
        let stem = self.stems.free(Path::new(&video.stem()));
        let rate = frames.rate / self.writer.settings.vid_stride as f64;
        let mut result: Option<VideoWriter> = None;
        loop {
            // A stop while a stream says nothing is heard when the next frame comes.
            let group = frames.next(self.batch)?;
            if group.is_empty() {
                break;
            }
            let pictures: Vec<&Picture> = group.iter().map(|frame| &frame.picture).collect();
            let looked = self.predictor.predict(&pictures)?;
            for (Frame { number, mut picture }, found) in group.into_iter().zip(looked) {
                let prediction = Prediction::new(PathBuf::from(&video.name)).with(found, picture.size());
                let seconds = (!video.live).then(|| number as f64 / frames.rate);
                let prediction = Prediction { frame: Some(FrameTime { number, seconds }), ..prediction };
                self.writer.data(&prediction, &picture, &format!("{stem}_{number:06}"))?;
                if let (true, Some(folder)) = (saves, self.writer.folder) {
                    self.writer.draw(&prediction, &mut picture);
                    let writer = match result.take() {
                        Some(writer) => writer,
                        None => VideoWriter::create(&folder.file(&format!("{stem}.mp4")), picture.size(), rate)?,
                    };
                    result.insert(writer).add(&picture)?;
                }
                self.summary.frames += 1;
                self.tell(&prediction);
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(frames);
        if let Some(writer) = result {
            writer.finish()?;
        }
        self.check_stop()
    }

    fn tell(&mut self, prediction: &Prediction) {
        (self.found)(prediction);
        if let Some(kept) = &mut self.kept {
            kept.push(prediction.to_json(self.writer.names));
        }
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted { folder: None }) } else { Ok(()) }
    }
}

impl Prediction {
    fn new(path: PathBuf) -> Prediction {
        Prediction {
            path,
            frame: None,
            size: [0; 2],
            detections: Vec::new(),
            speed: Milliseconds::default(),
            failure: None,
        }
    }

    fn with(self, found: Found, size: [usize; 2]) -> Prediction {
        Prediction { size, detections: found.detections, speed: found.milliseconds, ..self }
    }

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
        let frame = self.frame.map_or_else(String::new, |frame| format!(" frame {}", frame.number));
        format!("{}{frame}: {width}×{height}, {found}, {:.1} ms", self.path.display(), self.speed.inference)
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
        let mut value = json!({
            "path": self.path.display().to_string(),
            "width": self.size[1],
            "height": self.size[0],
            "detections": detections,
            "speed_ms": {
                "preprocess": self.speed.preprocess,
                "inference": self.speed.inference,
                "postprocess": self.speed.postprocess,
            },
        });
        if let Some(frame) = self.frame {
            value["frame"] = json!(frame.number);
            value["seconds"] = json!(frame.seconds);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(bbox: [f32; 4], class: usize) -> Detection {
        Detection { bbox, score: 0.75, class }
    }

    #[test]
    fn pictures_are_summed_up_for_people_and_machines() {
        let mut prediction = Prediction {
            path: "bus.jpg".into(),
            frame: None,
            size: [1080, 810],
            detections: vec![detection([0.0, 0.0, 1.0, 1.0], 1), detection([0.0; 4], 0), detection([0.0; 4], 0)],
            speed: Milliseconds { inference: 12.34, ..Milliseconds::default() },
            failure: None,
        };
        let names = ["person".to_owned(), "bus".to_owned()];
        assert_eq!(prediction.summary(&names), "bus.jpg: 810×1080, 2 person, 1 bus, 12.3 ms");
        let json = prediction.to_json(&names);
        assert_eq!(
            (&json["detections"][0]["name"], &json["detections"][0]["confidence"]),
            (&json!("bus"), &json!(0.75))
        );
        prediction.frame = Some(FrameTime { number: 7, seconds: Some(0.28) });
        assert_eq!(prediction.summary(&names), "bus.jpg frame 7: 810×1080, 2 person, 1 bus, 12.3 ms");
        let json = prediction.to_json(&names);
        assert_eq!((&json["frame"], &json["seconds"]), (&json!(7), &json!(0.28)));
        prediction.failure = Some("bus.jpg: cut short".into());
        assert_eq!(prediction.to_json(&names), json!({"path": "bus.jpg", "error": "bus.jpg: cut short"}));
    }
}
