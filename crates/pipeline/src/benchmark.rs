//! The command `benchmark`: how long a step takes, and what each format costs and keeps.

pub mod formats;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};
use yolo11_config::{ModelSource, Settings};
use yolo11_detection::{Gains, Heads, LossWorkspace, Target};
use yolo11_engine::{Ema, EmaSettings, Gradients, Optimiser, OptimiserKind, OptimiserSettings, Rates, TrainingSession};
use yolo11_inference::{Backend, ModelInfo, Native};
use yolo11_machine::system::peak_memory;
use yolo11_network::{Model, Network};

use crate::event::Announcer;
use crate::observers::Progress;
use crate::val::batch_size;
use crate::{Error, compute, data, weights};

/// Steps before the clock counts.
const WARM_UP: usize = 2;
/// Objects on each picture of the training benchmark.
const OBJECTS: usize = 8;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A whole training step on a fixed batch: forward, loss, backward, optimiser, average.
    Train,
    /// A forward pass in evaluation form.
    Infer,
    /// Decoding, augmenting and batching; needs `data`.
    Loader,
}

impl Subject {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Train => "train",
            Subject::Infer => "infer",
            Subject::Loader => "loader",
        }
    }
}

/// Seconds of one part of a step, over the repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// What was timed.
    pub part: &'static str,
    /// Seconds, fastest first.
    pub seconds: Vec<f64>,
}

impl Timing {
    fn new(part: &'static str, mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Timing { part, seconds }
    }

    /// The fastest.
    pub fn best(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// From the first to the third quarter.
    pub fn spread(&self) -> f64 {
        self.quantile(0.75) - self.quantile(0.25)
    }

    fn quantile(&self, share: f64) -> f64 {
        let Some(last) = self.seconds.len().checked_sub(1) else {
            return 0.0;
        };
        let place = share * last as f64;
        let (below, above) = (self.seconds[place.floor() as usize], self.seconds[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }
}

/// What a benchmark found.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchmarkReport {
    /// What was measured.
    pub subject: Subject,
    /// Model name or file; none for the loader.
    pub model: Option<String>,
    /// What ran an inference.
    pub backend: Option<String>,
    /// Pictures of a batch.
    pub batch: usize,
    /// Side of the input in pixels.
    pub image_size: usize,
    /// Threads.
    pub threads: usize,
    /// The whole step first, then its parts.
    pub timings: Vec<Timing>,
    /// Bytes of the plan.
    pub planned_memory: Option<usize>,
    /// Most bytes that the process used.
    pub peak_memory: Option<u64>,
}

/// Measures `repeats` steps.
pub fn benchmark(settings: &Settings, subject: Subject, repeats: usize) -> Result<BenchmarkReport, Error> {
    let batch = batch_size(settings);
    let repeats = repeats.max(1);
    let Measured { model, backend, timings, planned_memory } =
        compute::pool(settings.threads)?.install(|| match subject {
            Subject::Train => train(settings, batch, repeats),
            Subject::Infer => infer(settings, batch, repeats),
            Subject::Loader => {
                let timings = loader(settings, batch, repeats)?;
                Ok(Measured { model: None, backend: None, timings, planned_memory: None })
            }
        })?;
    Ok(BenchmarkReport {
        subject,
        model,
        backend,
        batch,
        image_size: settings.imgsz,
        threads: settings.threads,
        timings,
        planned_memory,
        peak_memory: peak_memory(),
    })
}

struct Measured {
    model: Option<String>,
    backend: Option<String>,
    timings: Vec<Timing>,
    planned_memory: Option<usize>,
}

fn model(settings: &Settings) -> Result<Model, Error> {
    match &settings.model {
        ModelSource::Scale(scale) => {
            Ok(Model::initialise(&Network::yolo11(weights::network_scale(*scale), settings.nc), settings.seed))
        }
        ModelSource::Weights(_) => Ok(weights::load(settings)?.model),
    }
}

fn train(settings: &Settings, batch: usize, repeats: usize) -> Result<Measured, Error> {
    let mut model = model(settings)?;
    let network = model.network().clone();
    let size = [settings.imgsz; 2];
    let mut session = TrainingSession::plan(&network, batch, size)?;
    let mut gradients = Gradients::zeros(&network);
    let mut optimiser = Optimiser::new(OptimiserKind::AdamW, &network, OptimiserSettings::default(), |_| false);
    let mut ema = Ema::new(&model, EmaSettings::default());
    let mut workspace = LossWorkspace::new();
    let (images, targets) = fixed_batch(batch, [settings.imgsz; 2], network.classes);
    let rates = Rates { weights: 1e-4, norms: 1e-4, biases: 1e-4, momentum: 0.9 };

    let mut times: [Vec<f64>; 5] = Default::default();
    for repeat in 0..WARM_UP + repeats {
        let begun = Instant::now();
        let heads = session.forward(&mut model, &images)?;
        let forward = begun.elapsed();
        let heads =
            Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes: network.classes, size };
        workspace.compute(&heads, &targets, &Gains::default())?;
        let loss = begun.elapsed();
        let (boxes, scores) = workspace.gradients();
        session.backward(&model, boxes, scores, &mut gradients)?;
        let backward = begun.elapsed();
        optimiser.step(&mut model, &gradients, &rates);
        gradients.clear();
        ema.update(&model);
        let all = begun.elapsed();
        if repeat >= WARM_UP {
            let parts = [all, forward, loss - forward, backward - loss, all - backward];
            times.iter_mut().zip(parts).for_each(|(times, part)| times.push(part.as_secs_f64()));
        }
    }
    let names = ["step", "forward", "loss", "backward", "optimiser"];
    let timings = names.into_iter().zip(times).map(|(name, times)| Timing::new(name, times)).collect();
    let model = Some(network.scale.model_name());
    Ok(Measured { model, backend: None, timings, planned_memory: Some(session.memory_bytes()) })
}

/// A picture's way through a model: by the engine from a random start, else by what runs the file. For ONNX files that includes bringing
/// pictures and outputs to the form of the other side.
fn infer(settings: &Settings, batch: usize, repeats: usize) -> Result<Measured, Error> {
    let (mut backend, name): (Box<dyn Backend>, String) = match &settings.model {
        ModelSource::Scale(_) => {
            let model = model(settings)?;
            let name = model.network().scale.model_name();
            let names = (0..settings.nc).map(|class| format!("class {class}")).collect();
            (Box::new(Native::new(model, ModelInfo::native(name.clone().into(), names), batch)), name)
        }
        ModelSource::Weights(path) => {
            (weights::open(settings, batch)?, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
    };
    let size = backend.model().fixed_size.unwrap_or([settings.imgsz; 2]);
    let (images, _) = fixed_batch(batch, size, 1);
    let mut times = Vec::new();
    for repeat in 0..WARM_UP + repeats {
        let begun = Instant::now();
        backend.run(&images, size)?;
        if repeat >= WARM_UP {
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    let timings = vec![Timing::new("forward", times)];
    let planned_memory = backend.memory_bytes();
    Ok(Measured { model: Some(name), backend: Some(backend.name().to_owned()), timings, planned_memory })
}

fn loader(settings: &Settings, batch: usize, repeats: usize) -> Result<Vec<Timing>, Error> {
    let mut announcer = Announcer::new();
    announcer.add(Progress::new(false));
    let description = data::open(settings, &mut announcer, &AtomicBool::new(false))?.description;
    let split = data::scan(&description, yolo11_dataset::SplitName::Train, settings, &mut announcer)?;
    let loader = data::training_loader(split, settings, batch, yolo11_dataset::Share::ALL)?;
    let mut times = Vec::new();
    let mut epoch = 0;
    while times.len() < WARM_UP + repeats {
        let mut batches = loader.epoch(epoch);
        loop {
            let begun = Instant::now();
            let Some(batch) = batches.next() else { break };
            loader.recycle(batch?);
            times.push(begun.elapsed().as_secs_f64());
        }
        epoch += 1;
    }
    Ok(vec![Timing::new("batch", times.into_iter().skip(WARM_UP).take(repeats).collect())])
}

/// The same pictures of noise and the same objects every time.
fn fixed_batch(batch: usize, [height, width]: [usize; 2], classes: usize) -> (Vec<u8>, Vec<Target>) {
    let mut state = 0x9E37_79B9u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let images = (0..batch * height * width * 3).map(|_| (random() >> 24) as u8).collect();
    let mut targets = Vec::new();
    for image in 0..batch {
        for _ in 0..OBJECTS {
            let mut share = |from: f32, to: f32| from + (to - from) * (random() >> 8) as f32 / (1u32 << 24) as f32;
            let bbox = [share(0.3, 0.7), share(0.3, 0.7), share(0.05, 0.5), share(0.05, 0.5)];
            targets.push(Target { image, class: random() as usize % classes, bbox });
        }
    }
    (images, targets)
}

impl BenchmarkReport {
    /// Ready to print: the whole step with its parts, in milliseconds.
    pub fn table(&self) -> String {
        let what = self.model.as_ref().map_or_else(String::new, |model| format!(" {model}"));
        let mut text = format!(
            "{}{what}, batch {}, {} px, {} threads, {} repeats{}\n",
            self.subject.name(),
            self.batch,
            self.image_size,
            self.threads,
            self.timings.first().map_or(0, |timing| timing.seconds.len()),
            self.backend.as_ref().map_or_else(String::new, |backend| format!(", run by {backend}"))
        );
        text += &format!("{:10}  {:>10}  {:>10}  {:>10}\n", "ms", "median", "best", "spread");
        for timing in &self.timings {
            let [median, best, spread] = [timing.median(), timing.best(), timing.spread()].map(|seconds| seconds * 1e3);
            text += &format!("{:10}  {median:>10.1}  {best:>10.1}  {spread:>10.1}\n", timing.part);
        }
        if let Some(timing) = self.timings.first().filter(|timing| timing.median() > 0.0) {
            text += &format!("{:.1} images/s\n", self.batch as f64 / timing.median());
        }
        if let Some(planned) = self.planned_memory {
            text += &format!("planned memory {:.0} MB\n", planned as f64 / 1e6);
        }
        if let Some(memory) = self.peak_memory {
            text += &format!("peak memory of the process {:.0} MB\n", memory as f64 / 1e6);
        }
        text
    }

    /// The same as JSON, in seconds.
    pub fn to_json(&self) -> Value {
        let timings: serde_json::Map<String, Value> = self
            .timings
            .iter()
            .map(|timing| {
                let figures = json!({
                    "median": timing.median(),
                    "best": timing.best(),
                    "spread": timing.spread(),
                    "repeats": timing.seconds.len(),
                });
                (timing.part.to_owned(), figures)
            })
            .collect();
        json!({
            "benchmark": self.subject.name(),
            "model": self.model,
            "backend": self.backend,
            "batch": self.batch,
            "imgsz": self.image_size,
            "threads": self.threads,
            "seconds": timings,
            "planned_memory_bytes": self.planned_memory,
            "peak_memory_bytes": self.peak_memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_give_best_median_and_the_middle_half() {
        let timing = Timing::new("step", vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((timing.best(), timing.median(), timing.spread()), (1.0, 3.0, 2.0));
        assert_eq!(Timing::new("step", vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(Timing::new("step", vec![]).median(), 0.0);
    }

    #[test]
    fn the_fixed_batch_is_the_same_each_time_and_its_boxes_are_inside() {
        let (images, targets) = fixed_batch(2, [64; 2], 3);
        assert_eq!((images.len(), targets.len()), (2 * 64 * 64 * 3, 16));
        assert_eq!((images, targets.clone()), fixed_batch(2, [64; 2], 3));
        assert!(
            targets.iter().all(|target| target.class < 3 && target.bbox.iter().all(|side| (0.05..=0.7).contains(side)))
        );
    }
}
