//! The table of settings. One entry here is all it takes: the field of [`Settings`], the keys of the file and of the command line,
//! their checks, the help, the completion and the documentation all come from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use crate::kinds::{
    BackendName, Batch, Cache, CheckpointFormat, Device, ExportFormat, Freeze, Kind, OptimizerName, Pretrained, Range,
    Refusal, Resume, Split,
};
use crate::model::{ModelScale, ModelSource};
use crate::node::Node;
use crate::section::Section;

/// One setting: everything that is known of it.
pub struct Setting {
    /// Its name in args.yaml and on the command line.
    pub name: &'static str,
    /// Other names that are understood; one with a dot is understood in the section before the dot.
    pub aliases: &'static [&'static str],
    /// Where it stands in the settings file.
    pub section: Section,
    /// One sentence of help.
    pub help: &'static str,
    /// What kind of value it takes, with its article.
    pub kind: &'static str,
    /// The words it takes, where they are few.
    pub choices: &'static [&'static str],
    /// The numbers it takes.
    pub range: Range,
    /// What its default depends on, where it is not a constant.
    pub default_note: Option<&'static str>,
    pub(crate) read: fn(&mut Settings, &Node, Range) -> Result<(), Refusal>,
    pub(crate) show: fn(&Settings) -> Value,
    pub(crate) copy: fn(&mut Settings, &Settings),
}

impl Setting {
    /// What is allowed, as it follows "must be": `a whole number, at least 1`.
    pub fn allowed(&self) -> String {
        if self.kind == OptimizerName::NAME {
            return format!("one of {}", self.choices.join(", "));
        }
        match self.range.to_string() {
            range if range.is_empty() => self.kind.to_owned(),
            range => format!("{}, {range}", self.kind),
        }
    }

    /// Its value in `settings` as JSON.
    pub fn value(&self, settings: &Settings) -> Value {
        (self.show)(settings)
    }

    /// Its default for readers: the value, or what it depends on.
    pub fn default_text(&self) -> String {
        match (self.default_note, self.value(&Settings::default())) {
            (Some(note), _) => note.to_owned(),
            (None, Value::Null) => "none".to_owned(),
            (None, Value::String(text)) => text,
            (None, value) => value.to_string(),
        }
    }

    /// Whether it is a map of names to texts.
    pub fn is_map(&self) -> bool {
        self.kind == <BTreeMap<String, String>>::NAME
    }
}

/// Every setting, in the order of the documentation.
pub fn table() -> impl Iterator<Item = &'static Setting> + Clone {
    [Settings::TABLE, Augmentation::TABLE, Gains::TABLE, Mlflow::TABLE].into_iter().flatten()
}

/// Declares a struct of settings and its part of the table. An entry reads
/// `/// help` `field: Type = default, Section [, key "name"] [, aliases […]] [, range …] [, default "note"];`
macro_rules! settings {
    (
        $(#[$note:meta])* pub struct $group:ident in |$settings:ident| $place:expr;
        $(#[doc = $help:literal] $field:ident: $type:ty = $default:expr, $section:ident
            $(, key $key:literal)? $(, aliases [$($alias:literal),*])? $(, range $range:expr)? $(, default $shown:literal)?;)*
        $(with { $($(#[$member_note:meta])* $visible:vis $member:ident: $member_type:ty,)* })?
    ) => {
        $(#[$note])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $group {
            $(#[doc = $help] pub $field: $type,)*
            $($($(#[$member_note])* $visible $member: $member_type,)*)?
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $($field: $default,)* $($($member: Default::default(),)*)? }
            }
        }

        impl $group {
            const TABLE: &'static [Setting] = &[$(Setting {
                name: settings!(@or $($key)?, stringify!($field)),
                aliases: &[$($($alias),*)?],
                section: Section::$section,
                help: $help,
                kind: <$type as Kind>::NAME,
                choices: <$type as Kind>::CHOICES,
                range: settings!(@or $($range)?, Range::ANY),
                default_note: settings!(@option $($shown)?),
                read: |settings, node, range| {
                    let value = <$type as Kind>::read(node, range)?;
                    Self::place_mut(settings).$field = value;
                    Ok(())
                },
                show: |settings| Self::place(settings).$field.show(),
                copy: |settings, other| Self::place_mut(settings).$field = Self::place(other).$field.clone(),
            }),*];

            fn place($settings: &Settings) -> &Self { &$place }
            fn place_mut($settings: &mut Settings) -> &mut Self { &mut $place }
        }
    };
    (@or , $default:expr) => { $default };
    (@or $given:expr, $default:expr) => { $given };
    (@option) => { None };
    (@option $given:expr) => { Some($given) };
}

const SHARE: Range = Range::between(0.0, 1.0);
const COUNT: Range = Range::at_least(0.0);

settings! {
    /// All settings of a run, resolved: defaults, then the file, then the command line.
    pub struct Settings in |settings| *settings;

    /// Network or weights: a YOLO11 by name starts at random, a file brings its weights
    model: ModelSource = ModelSource::Scale(ModelScale::Nano), Training, aliases ["model_name", "weights"];
    /// Passes over the training pictures
    epochs: usize = 100, Training, range Range::between(1.0, 1_000_000.0);
    /// Stop after this many hours, at the end of an epoch; overrides epochs
    time: Option<f64> = None, Training, aliases ["hours"], range Range::between(0.0, 100_000.0);
    /// Pictures in a batch; -1 takes as many as the memory holds
    batch: Batch = Batch::Images(16), Training, aliases ["batch_size"];
    /// Side of the network's input in pixels
    imgsz: usize = 640, Training, aliases ["img_size", "image_size"], range Range::between(32.0, 8192.0).multiples_of(32);
    /// What computes: auto, cpu, cuda, cuda:0, 0, or several as 0,1
    device: Device = Device::Auto, Training;
    /// Stop with an error where the device cannot be used, instead of saying so and going on with the CPU
    strict_device: bool = false, Training, default "true where device is an argument, false where a file names it";
    /// Threads that decode and augment ahead of the training
    workers: usize = default_workers(), Training, range Range::between(0.0, 256.0), default "cores - 1, from 1 to 8";
    /// Threads that compute; the result does not depend on it
    threads: usize = cores(), Training, range Range::between(1.0, 1024.0), default "all cores";
    /// Where several processes train together: batch norm takes its statistics over the shares of all, so that they learn what one would
    sync_bn: bool = true, Training, aliases ["sync_batchnorm"];
    /// Start of every random sequence: same seed, same run
    seed: u64 = 0, Training, range Range::between(0.0, 9_007_199_254_740_991.0);
    /// Epochs without a better fitness before training stops; 0 never stops
    patience: usize = 100, Training, range COUNT;
    /// Write a checkpoint every so many epochs; -1 writes best and last only
    save_period: i64 = -1, Training, range Range::at_least(-1.0);
    /// What the .pt files hold: modules opens with ultralytics.YOLO, state_dict with torch.load(weights_only=True) and PyTorch alone
    checkpoint_format: CheckpointFormat = CheckpointFormat::Modules, Training;
    /// Modules whose weights stay as they are: so many from the first, or a list of their numbers
    freeze: Freeze = Freeze::First(0), Training;
    /// Whether weights are used: false starts at random, a path loads that file into `model`
    pretrained: Pretrained = Pretrained::FromModel, Training;
    /// Go on with an interrupted run: true for the newest, or its folder or last.pt
    resume: Resume = Resume::No, Training;
    /// Epochs at the end without mosaic
    close_mosaic: usize = 10, Training, range COUNT;
    /// Validate after each epoch
    val: bool = true, Training;
    /// Mixed precision on accelerators; the CPU computes in float32
    amp: bool = true, Training;
    /// Track the run on an MLflow server; what cannot be sent is kept in the run's folder
    tracking: bool = false, Training, aliases ["mlflow"], default "true where a server or a setting of mlflow is given";
    /// Longest wait in seconds for the tracking server at the end of a run; Ctrl-C skips it
    tracking_wait: f64 = 10.0, Training, range Range::between(0.0, 86_400.0);

    /// The optimiser; auto chooses it, its learning rate and its momentum by the number of iterations
    optimizer: OptimizerName = OptimizerName::Auto, Optimizer, aliases ["optimizer.name"];
    /// Learning rate at the start
    lr0: f64 = 0.01, Optimizer, aliases ["lr", "learning_rate"], range Range::between(0.0, 10.0), default "0.01; chosen by optimizer=auto";
    /// Learning rate at the end, as a share of lr0
    lrf: f64 = 0.01, Optimizer, range SHARE;
    /// Momentum of SGD, first beta of Adam and AdamW
    momentum: f64 = 0.937, Optimizer, range Range::between(0.0, 0.9999), default "0.937; chosen by optimizer=auto";
    /// Weight decay, on weights but not on norms and biases
    weight_decay: f64 = 0.0005, Optimizer, range SHARE;
    /// Epochs over which the learning rate and the momentum rise
    warmup_epochs: f64 = 3.0, Optimizer, range COUNT;
    /// Momentum at the start of the warm-up
    warmup_momentum: f64 = 0.8, Optimizer, range Range::between(0.0, 0.9999);
    /// Learning rate of biases at the start of the warm-up
    warmup_bias_lr: f64 = 0.1, Optimizer, range SHARE, default "0.1; chosen by optimizer=auto";
    /// Let the learning rate fall by a cosine instead of a line
    cos_lr: bool = false, Optimizer;
    /// Nominal batch: gradients of smaller batches add up until this many pictures are seen
    nbs: usize = 64, Optimizer, aliases ["nominal_batch"], range Range::between(1.0, 65_536.0);
    /// Greatest norm of the gradient; a longer one is shortened to it
    max_grad_norm: f64 = 10.0, Optimizer, range COUNT;
    /// Decay of the running mean of the weights, which is what validation and checkpoints use
    ema_decay: f64 = 0.9999, Optimizer, range SHARE;
    /// Updates over which that decay rises
    ema_tau: f64 = 2000.0, Optimizer, range Range::at_least(1.0);

    /// The data set: its dataset.yaml here, at `REPOSITORY@REVISION:PATH` or at `s3://BUCKET/KEY`; `demo` for a small one that is generated
    data: Option<String> = None, Dataset, aliases ["data_yaml"];
    /// Pull versioned data that is missing here from its remote; false names the command that does
    auto_pull: bool = true, Dataset;
    /// Share of the training pictures to use
    fraction: f64 = 1.0, Dataset, range Range::between(0.000001, 1.0);
    /// Use these classes only, by number
    classes: Vec<usize> = Vec::new(), Dataset, default "all";
    /// Treat every class as one
    single_cls: bool = false, Dataset;
    /// Keep decoded pictures: ram (up to a bound) or disk
    cache: Cache = Cache::Off, Dataset;
    /// Batches of like-shaped pictures: validation always uses them, training keeps to squares
    rect: bool = false, Dataset;
    /// Stop at the first bad label row, instead of leaving that row out with a warning
    strict_labels: bool = false, Dataset;
    /// Number of classes where no data set is read, as in `info` and `benchmark`
    nc: usize = 80, Dataset, range Range::between(1.0, 100_000.0);

    /// Part of the data set that `val` measures
    split: Split = Split::Val, Validation;
    /// Least confidence of a detection
    conf: Option<f32> = None, Validation, range SHARE, default "0.001 in validation, 0.25 in predict";
    /// Overlap above which non-maximum suppression drops the less confident box
    iou: f32 = 0.7, Validation, range SHARE;
    /// Most detections in a picture
    max_det: usize = 300, Validation, range Range::between(1.0, 100_000.0);
    /// Suppress across classes
    agnostic_nms: bool = false, Validation;
    /// Half precision in `val` and `predict` where the device has it, and in the file that `export` writes
    half: bool = false, Validation;
    /// What runs the model: auto takes this program's engine for checkpoints, for ONNX files ONNX Runtime where it is installed and a reader in Rust elsewhere
    backend: BackendName = BackendName::Auto, Validation;
    /// ONNX Runtime's library, a folder with it, or a Python environment that has it
    onnxruntime: Option<PathBuf> = None, Validation, default "ORT_DYLIB_PATH, else looked for";
    /// Execution providers of ONNX Runtime, tried in their order: cuda, tensorrt, openvino, coreml, directml, migraphx, xnnpack, qnn, webgpu, cpu
    providers: Vec<String> = Vec::new(), Validation, default "cuda where device says so, else cpu";
    /// Write detections as COCO JSON (`val`) or one JSON file (`predict`)
    save_json: bool = false, Validation;
    /// Number classes in COCO JSON as that data set's own files do: its 80 classes from 1 to 90
    coco_ids: bool = false, Validation;

    /// What to look at: a picture, video, folder, glob pattern, .txt list of them, camera (0, /dev/video0), rtsp or http address, or a YAML list of these
    source: Vec<String> = Vec::new(), Prediction, default "none";
    /// Write labelled pictures and videos
    save: Option<bool> = None, Prediction, default "true; false for cameras and streams";
    /// Look at every so many frames of a video
    vid_stride: usize = 1, Prediction, range Range::between(1.0, 100_000.0);
    /// Cut larger pictures into tiles of this side in pixels, for small objects
    tile: Option<usize> = None, Prediction, range Range::between(64.0, 65_536.0);
    /// Share of a tile that its neighbour has too
    tile_overlap: f32 = 0.2, Prediction, range Range::between(0.0, 0.9);
    /// Write each picture's detections as a label file
    save_txt: bool = false, Prediction;
    /// Write the confidence as a sixth column of those files
    save_conf: bool = false, Prediction;
    /// Write each detection's cut-out
    save_crop: bool = false, Prediction;

    /// Kind of file
    format: ExportFormat = ExportFormat::Onnx, Export;
    /// Formats that `benchmark` compares: all, or some of pt, safetensors, onnx and the others that `format` takes, joined by commas; -half, -int8 or -nms may follow
    formats: Vec<String> = Vec::new(), Export, default "all";
    /// The file to write
    file: Option<PathBuf> = None, Export, default "beside the weights, with the format's ending";
    /// Version of ONNX's operators
    opset: usize = 17, Export, range Range::between(13.0, 21.0);
    /// Let the file take any batch and any size in multiples of 32
    dynamic: bool = false, Export;
    /// Compute convolutions in 8 bits, calibrated on the validation pictures of data (the share fraction of them)
    int8: bool = false, Export;
    /// A Python with the runtime of the file's format, to verify the file in
    python: Option<PathBuf> = None, Export, default "python3 where it has the runtime";
    /// Suppress overlapping boxes inside the file, by conf (0.25), iou, max_det and agnostic_nms
    nms: bool = false, Export;
    /// Write the head's logits as they are, level by level, without decoding
    raw: bool = false, Export;

    /// Folder of all runs
    project: PathBuf = PathBuf::from("runs"), Output;
    /// Folder of this run inside it; a name that exists gets a number
    name: Option<String> = None, Output, aliases ["run_name"], default "train, val or predict";
    /// Write into a run folder that exists
    exist_ok: bool = false, Output;
    /// Draw curves and sample pictures
    plots: bool = true, Output;
    /// Say more on the terminal
    verbose: bool = true, Output;

    with {
        /// How training pictures are varied.
        pub augmentation: Augmentation,
        /// What each part of the loss weighs.
        pub gains: Gains,
        /// Names for the tracking server.
        pub mlflow: Mlflow,
        /// Names of the settings that the user gave, see [`Settings::is_given`].
        pub(crate) given: std::collections::BTreeSet<&'static str>,
    }
}

settings! {
    /// How training pictures are varied: gains of change, or chances of it.
    pub struct Augmentation in |settings| settings.augmentation;

    /// Most change of hue, as a share of the circle
    hsv_h: f32 = 0.015, Augmentation, range SHARE;
    /// Most change of saturation, as a share
    hsv_s: f32 = 0.7, Augmentation, range SHARE;
    /// Most change of brightness, as a share
    hsv_v: f32 = 0.4, Augmentation, range SHARE;
    /// Most rotation either way, in degrees
    degrees: f32 = 0.0, Augmentation, range Range::between(0.0, 180.0);
    /// Most shift, as a share of the side
    translate: f32 = 0.1, Augmentation, range SHARE;
    /// Most change of size, as a share
    scale: f32 = 0.5, Augmentation, range SHARE;
    /// Most shear either way, in degrees
    shear: f32 = 0.0, Augmentation, range Range::between(0.0, 89.0);
    /// Most perspective distortion
    perspective: f32 = 0.0, Augmentation, range Range::between(0.0, 0.001);
    /// Chance of an upside-down picture
    flipud: f32 = 0.0, Augmentation, range SHARE;
    /// Chance of a mirrored picture
    fliplr: f32 = 0.5, Augmentation, range SHARE;
    /// Chance of a mosaic of four pictures
    mosaic: f32 = 1.0, Augmentation, range SHARE;
    /// Chance of a blend with a second picture
    mixup: f32 = 0.0, Augmentation, range SHARE;
    /// Chance of a patch from a second picture
    cutmix: f32 = 0.0, Augmentation, range SHARE;
}

settings! {
    /// What each part of the loss weighs.
    pub struct Gains in |settings| settings.gains;

    /// Weight of the boxes' overlap
    bbox: f32 = 7.5, Loss, key "box", range COUNT;
    /// Weight of the classes
    cls: f32 = 0.5, Loss, range COUNT;
    /// Weight of the distribution of box sides
    dfl: f32 = 1.5, Loss, range COUNT;
}

settings! {
    /// Names for the tracking server.
    pub struct Mlflow in |settings| settings.mlflow;

    /// Address of the tracking server; user and password belong into the environment
    tracking_uri: Option<String> = None, Mlflow, key "mlflow.tracking_uri", default "MLFLOW_TRACKING_URI";
    /// Experiment that the run belongs to
    experiment_name: Option<String> = None, Mlflow, key "mlflow.experiment_name", default "MLFLOW_EXPERIMENT_NAME, or the project's folder name";
    /// Name of the run on the server
    run_name: Option<String> = None, Mlflow, key "mlflow.run_name", default "MLFLOW_RUN, or the run's folder name";
    /// Description of the run
    note: Option<String> = None, Mlflow, key "mlflow.note";
    /// Run that this one is a part of, as in a sweep: its id
    parent_run_id: Option<String> = None, Mlflow, key "mlflow.parent_run_id";
    /// The same by its name: one of that name is found or made in the experiment, so that a loop over settings needs no id
    parent_run: Option<String> = None, Mlflow, key "mlflow.parent_run";
    /// Registered model that gets the best weights as a new version; its alias champion goes to the highest mAP50-95
    register: Option<String> = None, Mlflow, key "mlflow.register";
    /// Log the best weights as ONNX too, beside the checkpoint, so that mlflow.onnx loads the model
    onnx: bool = true, Mlflow, key "mlflow.onnx";
    /// Track use of CPU, memory, disk, network and GPU every 10 seconds
    system_metrics: bool = true, Mlflow, key "mlflow.system_metrics";
    /// Tags of the run
    tags: BTreeMap<String, String> = BTreeMap::new(), Mlflow, key "mlflow.tags";
}

/// Asked for once: the answer takes several files of the system, and every listing of the settings wants it hundreds of times.
fn cores() -> usize {
    static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

fn default_workers() -> usize {
    cores().saturating_sub(1).clamp(1, 8)
}
