//! The types a setting can have: how each is read from a YAML value, shown, and called in messages.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use crate::model::{ModelSource, is_weights};
use crate::node::{Data, Node};

/// Why a value was refused, where more can be said than what is allowed.
#[derive(Debug, Default)]
pub struct Refusal {
    /// What would mend it.
    pub hint: Option<String>,
}

/// Which numbers are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least, itself allowed.
    pub least: f64,
    /// The greatest, itself allowed; infinite where there is no bound.
    pub most: f64,
    /// Only multiples of this, where it is above 1.
    pub multiple_of: usize,
}

impl Range {
    /// Any number.
    pub const ANY: Range = Range::at_least(f64::NEG_INFINITY);

    /// From `least` upwards.
    pub const fn at_least(least: f64) -> Range {
        Range { least, most: f64::INFINITY, multiple_of: 1 }
    }

    /// From `least` to `most`, both included.
    pub const fn between(least: f64, most: f64) -> Range {
        Range { least, most, multiple_of: 1 }
    }

    /// The same, multiples of `unit` only.
    pub const fn multiples_of(self, unit: usize) -> Range {
        Range { multiple_of: unit, ..self }
    }
}

impl std::fmt::Display for Range {
    /// `0 to 1`, `at least 1`, or nothing where any number is allowed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least.is_finite(), self.most.is_finite()) {
            (true, true) => write!(f, "{} to {}", self.least, self.most)?,
            (true, false) => write!(f, "at least {}", self.least)?,
            (false, true) => write!(f, "at most {}", self.most)?,
            (false, false) => {}
        }
        if self.multiple_of > 1 { write!(f, ", a multiple of {}", self.multiple_of) } else { Ok(()) }
    }
}

/// A type that a setting can have.
pub trait Kind: Sized {
    /// What it is called in messages, with its article: `a whole number`.
    const NAME: &'static str;
    /// The words it can be, for messages and completion; empty for open types.
    const CHOICES: &'static [&'static str] = &[];

    /// Takes a value; `range` bounds numbers.
    fn read(node: &Node, range: Range) -> Result<Self, Refusal>;

    /// The value as JSON, which is also flow YAML, in a form that [`Kind::read`] takes back.
    fn show(&self) -> Value;
}

fn refused<T>() -> Result<T, Refusal> {
    Err(Refusal::default())
}

fn refused_with<T>(hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { hint: Some(hint.into()) })
}

fn within<T>(value: T, figure: f64, range: Range) -> Result<T, Refusal> {
    // NaN and the infinities lie in no range.
    if !figure.is_finite() || !(range.least..=range.most).contains(&figure) {
        return refused();
    }
    let unit = range.multiple_of as f64;
    if range.multiple_of > 1 && figure % unit != 0.0 {
        return refused_with(format!("the next one is {}", (figure / unit).ceil() * unit));
    }
    Ok(value)
}

impl Kind for bool {
    const NAME: &'static str = "true or false";
    const CHOICES: &'static [&'static str] = &["true", "false"];

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        switch(node).ok_or_else(Refusal::default)
    }

    fn show(&self) -> Value {
        Value::Bool(*self)
    }
}

/// A switch as people write it in YAML, Python and shells.
fn switch(node: &Node) -> Option<bool> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

macro_rules! numbers {
    ($($type:ty, $name:literal;)*) => {$(
        impl Kind for $type {
            const NAME: &'static str = $name;

            fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
                let value: $type = node.text().and_then(|text| text.parse().ok()).ok_or_else(Refusal::default)?;
                within(value, decimal(value), range)
            }

            fn show(&self) -> Value {
                serde_json::from_str(&self.to_string()).unwrap_or(Value::Null)
            }
        }
    )*};
}

numbers! {
    usize, "a whole number";
    u64, "a whole number";
    i64, "a whole number";
    f32, "a number";
    f64, "a number";
}

/// The number as its shortest decimal says it, so that `0.9` in single precision is not above a bound of 0.9.
fn decimal(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}

impl Kind for String {
    const NAME: &'static str = "a text";

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        match node.text() {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => refused(),
        }
    }

    fn show(&self) -> Value {
        Value::String(self.clone())
    }
}

impl<T: Kind> Kind for Option<T> {
    const NAME: &'static str = T::NAME;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        T::read(node, range).map(Some)
    }

    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Kind::show)
    }
}

impl Kind for PathBuf {
    const NAME: &'static str = "a path";

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        String::read(node, range).map(PathBuf::from)
    }

    fn show(&self) -> Value {
        Value::String(self.display().to_string())
    }
}

/// `[0, 2]`, `0,2` or `0`.
impl Kind for Vec<usize> {
    const NAME: &'static str = "a list of whole numbers";

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        match &node.data {
            Data::List(items) => items.iter().map(|item| usize::read(item, range)).collect(),
            Data::Scalar { text, .. } => {
                text.split(',').map(|item| usize::read(&Node::scalar(item.trim()), range)).collect()
            }
            Data::Map(_) => refused(),
        }
    }

    fn show(&self) -> Value {
        self.iter().map(Kind::show).collect()
    }
}

/// `[a, b]` or one text, which may hold commas.
impl Kind for Vec<String> {
    const NAME: &'static str = "a text or a list of them";

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        match &node.data {
            Data::List(items) => items.iter().map(|item| String::read(item, range)).collect(),
            _ => String::read(node, range).map(|text| vec![text]),
        }
    }

    fn show(&self) -> Value {
        self.iter().map(Kind::show).collect()
    }
}

impl Kind for BTreeMap<String, String> {
    const NAME: &'static str = "a map of names to texts";

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        let Data::Map(entries) = &node.data else { return refused() };
        let texts = entries.iter().map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned())));
        texts.collect::<Option<_>>().ok_or_else(Refusal::default)
    }

    fn show(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
    }
}

macro_rules! choices {
    ($($(#[$note:meta])* $type:ident { $($(#[$variant_note:meta])* $variant:ident = $word:literal $(| $other:literal)*),* $(,)? })*) => {$(
        $(#[$note])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_note])* $variant),* }

        impl Kind for $type {
            const NAME: &'static str = "one of";
            const CHOICES: &'static [&'static str] = &[$($word),*];

            fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
                match node.text().unwrap_or_default().to_ascii_lowercase() {
                    $(text if [$word $(, $other)*].iter().any(|word| text == word.to_ascii_lowercase()) => Ok(Self::$variant),)*
                    _ => refused(),
                }
            }

            fn show(&self) -> Value {
                Value::String(self.name().to_owned())
            }
        }

        impl $type {
            /// The word for it in settings.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    )*};
}

choices! {
    /// Which optimiser trains.
    OptimizerName {
        /// SGD above 10,000 iterations, AdamW otherwise, with learning rate and momentum chosen.
        Auto = "auto",
        /// Stochastic gradient descent with Nesterov momentum.
        Sgd = "SGD",
        /// Adam.
        Adam = "Adam",
        /// Adam with decoupled weight decay.
        AdamW = "AdamW",
    }
    /// What runs a model in `val`, `predict` and `benchmark`.
    BackendName {
        /// Checkpoints by this program's engine; ONNX files by ONNX Runtime where it is installed, else by a reader in Rust.
        Auto = "auto",
        /// This program's engine.
        Native = "native",
        /// ONNX Runtime.
        OnnxRuntime = "onnxruntime" | "ort",
        /// A reader of ONNX files in pure Rust.
        Rust = "rust" | "rten",
    }
    /// Where decoded pictures are kept between epochs.
    Cache {
        /// Nowhere: every epoch decodes again.
        Off = "false" | "off" | "no" | "none" | "0",
        /// In memory, up to a bound.
        Ram = "ram" | "true" | "on" | "yes" | "1",
        /// As decoded files beside the pictures.
        Disk = "disk",
    }
    /// What kind of file `export` writes.
    ExportFormat {
        /// Open Neural Network Exchange.
        Onnx = "onnx",
        /// An archive for `torch.jit.load`.
        TorchScript = "torchscript",
        /// OpenVINO's intermediate representation.
        OpenVino = "openvino",
        /// NCNN's text and binary.
        Ncnn = "ncnn",
        /// TensorFlow Lite, now LiteRT.
        TensorFlowLite = "tflite" | "litert",
    }
    /// What `best.pt`, `last.pt` and the others hold.
    CheckpointFormat {
        /// The tree of modules, as Ultralytics opens it.
        Modules = "modules",
        /// The state dictionary, as PyTorch alone opens it with `weights_only=True`.
        StateDict = "state_dict",
    }
    /// A part of a data set.
    Split {
        /// The part that trains.
        Train = "train",
        /// The part that validates after each epoch.
        Val = "val" | "valid" | "validation",
        /// The part kept for the end.
        Test = "test",
    }
}

/// Pictures in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// As many as the memory takes.
    Automatic,
    /// This many.
    Images(usize),
}

impl Kind for Batch {
    const NAME: &'static str = "a whole number from 1 to 4096, or -1 for automatic";

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        match node.text() {
            Some("-1" | "auto") => Ok(Batch::Automatic),
            _ => usize::read(node, Range::between(1.0, 4096.0)).map(Batch::Images),
        }
    }

    fn show(&self) -> Value {
        match self {
            Batch::Automatic => Value::from(-1),
            Batch::Images(images) => Value::from(*images),
        }
    }
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first accelerator there is that this program can use, otherwise the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA devices of these numbers, from 0; at least one.
    Cuda(Vec<usize>),
}

impl Kind for Device {
    const NAME: &'static str = "auto, cpu, cuda, cuda:N or N (a CUDA device's number, or several as 0,1)";
    const CHOICES: &'static [&'static str] = &["auto", "cpu", "cuda", "cuda:0"];

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        let text = match &node.data {
            Data::List(items) => items.iter().map(|item| item.text().unwrap_or_default()).collect::<Vec<_>>().join(","),
            _ => node.text().unwrap_or_default().to_owned(),
        };
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" | "gpu" => Ok(Device::Cuda(vec![0])),
            "mps" => refused_with("Apple's GPU is not supported; device=cpu uses every core"),
            text => {
                let mut numbers = Vec::new();
                for number in text.split(',').map(str::trim) {
                    let number = number.strip_prefix("cuda:").unwrap_or(number);
                    let number = usize::read(&Node::scalar(number), range)?;
                    if numbers.contains(&number) {
                        return refused_with("name each device once");
                    }
                    numbers.push(number);
                }
                Ok(Device::Cuda(numbers))
            }
        }
    }

    fn show(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(numbers) => {
                write!(f, "cuda:{}", numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Which modules of the network keep their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// The first so many.
    First(usize),
    /// Those with these numbers.
    Modules(Vec<usize>),
}

impl Freeze {
    /// Numbers of the frozen modules, `model.N` of the tensor names.
    pub fn modules(&self) -> Vec<usize> {
        match self {
            Freeze::First(count) => (0..*count).collect(),
            Freeze::Modules(modules) => modules.clone(),
        }
    }
}

impl Kind for Freeze {
    const NAME: &'static str = "how many of the 24 modules from the first, or a list of their numbers (0 to 23)";

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        match node.text() {
            Some(text) if !text.contains(',') => usize::read(node, Range::between(0.0, 24.0)).map(Freeze::First),
            _ => Vec::<usize>::read(node, Range::between(0.0, 23.0)).map(Freeze::Modules),
        }
    }

    fn show(&self) -> Value {
        match self {
            Freeze::First(count) => count.show(),
            Freeze::Modules(modules) => modules.show(),
        }
    }
}

/// Whether and which earlier run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// None: a new run.
    No,
    /// The newest interrupted one in `project`, or that of `name`.
    Latest,
    /// That of this checkpoint or run folder.
    From(PathBuf),
}

impl Kind for Resume {
    const NAME: &'static str = "true, false, or the path of a run's folder or last.pt";
    const CHOICES: &'static [&'static str] = &["true", "false"];

    fn read(node: &Node, range: Range) -> Result<Self, Refusal> {
        match switch(node) {
            Some(true) => Ok(Resume::Latest),
            Some(false) => Ok(Resume::No),
            None => PathBuf::read(node, range).map(Resume::From),
        }
    }

    fn show(&self) -> Value {
        match self {
            Resume::No => Value::Bool(false),
            Resume::Latest => Value::Bool(true),
            Resume::From(path) => path.show(),
        }
    }
}

/// Whether training starts from weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pretrained {
    /// No: random start, even where `model` is a weights file, which then gives the network alone.
    No,
    /// From `model`'s weights where it is a file, else at random.
    FromModel,
    /// From this file, into the network that `model` names.
    Weights(PathBuf),
}

impl Kind for Pretrained {
    const NAME: &'static str = "true, false, or the path of a .pt or .safetensors file";
    const CHOICES: &'static [&'static str] = &["true", "false"];

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        match (switch(node), node.text()) {
            (Some(true), _) => Ok(Pretrained::FromModel),
            (Some(false), _) => Ok(Pretrained::No),
            (None, Some(text)) if is_weights(text) => Ok(Pretrained::Weights(text.into())),
            _ => refused(),
        }
    }

    fn show(&self) -> Value {
        match self {
            Pretrained::No => Value::Bool(false),
            Pretrained::FromModel => Value::Bool(true),
            Pretrained::Weights(path) => path.show(),
        }
    }
}

impl Kind for ModelSource {
    const NAME: &'static str =
        "yolo11n, yolo11s, yolo11m, yolo11l, yolo11x or the path of a .pt, .safetensors or .onnx file";
    const CHOICES: &'static [&'static str] = &["yolo11n", "yolo11s", "yolo11m", "yolo11l", "yolo11x"];

    fn read(node: &Node, _: Range) -> Result<Self, Refusal> {
        node.text().and_then(ModelSource::parse).ok_or_else(Refusal::default)
    }

    fn show(&self) -> Value {
        Value::String(self.to_string())
    }
}
