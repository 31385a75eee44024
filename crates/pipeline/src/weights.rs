//! The model that a command works with: read from a file, or started at random.

use std::path::{Path, PathBuf};

use yolo11_checkpoint::Checkpoint;
use yolo11_config::{BackendName, ModelScale, ModelSource, Settings};
use yolo11_inference::{Backend, BackendKind, ModelInfo, OpenOptions};
use yolo11_network::{Model, Network, Scale};

use crate::{Error, compute};

/// A model from a file, to look at pictures with.
pub struct Loaded {
    /// The weights.
    pub model: Model,
    /// Names of the classes.
    pub names: Vec<String>,
    /// The file.
    pub path: PathBuf,
    /// Side of the input it was trained with, where the file says.
    image_size: Option<usize>,
}

impl Loaded {
    /// The settings with the image size that the weights were trained with, unless the user gave one.
    pub fn suit(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        if let Some(size) = self.image_size.filter(|_| !settings.is_given("imgsz")) {
            settings.imgsz = size;
        }
        settings
    }
}

/// The file that `model=` names.
///
/// # Errors
/// There is no such file, or `model` names a network without weights.
fn file(settings: &Settings) -> Result<PathBuf, Error> {
    settings.model.locate()?.ok_or_else(|| Error::Setup {
        message: format!("model={} has no weights yet", settings.model),
        hint: "give model=PATH with a .pt or .safetensors file, such as model=runs/train/weights/best.pt".into(),
    })
}

/// Opens the file that `model=` names, whatever its format, with what the settings say shall run it. `batch` is how many pictures
/// are run together most of the time.
///
/// # Errors
/// There is no such file, it is damaged, or what shall run it is not installed or does not run such files.
pub fn open(settings: &Settings, batch: usize) -> Result<Box<dyn Backend>, Error> {
    Ok(yolo11_inference::open(&file(settings)?, &open_options(settings, batch))?)
}

/// How the settings want a model to be opened.
pub fn open_options(settings: &Settings, batch: usize) -> OpenOptions {
    let backend = match settings.backend {
        BackendName::Auto => BackendKind::Auto,
        BackendName::Native => BackendKind::Native,
        BackendName::OnnxRuntime => BackendKind::OnnxRuntime,
        BackendName::Rust => BackendKind::Rust,
    };
    let given = settings.providers.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
    let mut providers: Vec<String> = given.filter(|name| !name.is_empty()).collect();
    if providers.is_empty() && compute::uses_cuda(settings) {
        providers.push("cuda".to_owned());
    }
    OpenOptions { backend, threads: settings.threads, batch, library: settings.onnxruntime.clone(), providers }
}

/// The settings with the image size that a model was trained or exported with, unless the user gave one.
///
/// # Errors
/// The user gave another size than the only one the model takes.
pub fn suit(settings: &Settings, model: &ModelInfo) -> Result<Settings, Error> {
    let mut settings = settings.clone();
    let side = |size: [usize; 2]| size[0].max(size[1]).next_multiple_of(model.stride);
    match (model.image_size, model.fixed_size) {
        (_, Some(fixed)) if settings.is_given("imgsz") && side(fixed) != settings.imgsz => {
            return Err(Error::Setup {
                message: format!("{} takes {}×{} pixels only", model.path.display(), fixed[0], fixed[1]),
                hint: "leave imgsz out, or export with dynamic=true".into(),
            });
        }
        (Some(size), _) if !settings.is_given("imgsz") => settings.imgsz = side(size),
        _ => {}
    }
    Ok(settings)
}

/// Reads the weights that `model=` names.
///
/// # Errors
/// There is no such file, it cannot be read, it is an export, or `model` names a network without weights.
pub fn load(settings: &Settings) -> Result<Loaded, Error> {
    let path = file(settings)?;
    let checkpoint = read(&path)?;
    Ok(Loaded { image_size: checkpoint.image_size(), model: checkpoint.model, names: checkpoint.names, path })
}

/// Reads a checkpoint; an export is one no longer.
fn read(path: &Path) -> Result<Checkpoint, Error> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
        return Err(Error::Setup {
            message: format!("{} is an export: only `val`, `predict` and `benchmark` use it", path.display()),
            hint: "name the .pt or .safetensors file that it was written from".into(),
        });
    }
    Ok(yolo11_checkpoint::load(path)?)
}

/// The model that a training starts from, and a sentence on where its values come from.
pub fn start(settings: &Settings, classes: usize) -> Result<(Model, String), Error> {
    let weights = settings.start_weights()?.map(|path| Ok::<_, Error>((read(&path)?, path))).transpose()?;
    let scale = match (&settings.model, &weights) {
        (ModelSource::Scale(scale), _) => network_scale(*scale),
        (ModelSource::Weights(_), Some((checkpoint, path))) if is_source(settings, path)? => {
            checkpoint.model.network().scale
        }
        (ModelSource::Weights(_), _) => load(settings)?.model.network().scale,
    };
    let network = Network::yolo11(scale, classes);
    let mut model = Model::initialise(&network, settings.seed);
    let note = match &weights {
        None => format!("{} from a random start, seed {}", scale.model_name(), settings.seed),
        Some((checkpoint, path)) => take_over(checkpoint, path, &mut model)?,
    };
    Ok((model, note))
}

fn is_source(settings: &Settings, path: &Path) -> Result<bool, Error> {
    Ok(settings.model.locate()?.as_deref() == Some(path))
}

fn take_over(checkpoint: &Checkpoint, path: &Path, model: &mut Model) -> Result<String, Error> {
    let transfer = yolo11_checkpoint::transfer(checkpoint, model);
    if transfer.taken == 0 {
        return Err(Error::Setup {
            message: format!("{}: none of its tensors fits {}", path.display(), model.network().scale.model_name()),
            hint: format!("it holds a {}; name that model", checkpoint.model.network().scale.model_name()),
        });
    }
    Ok(format!("{} from {}: {transfer}", model.network().scale.model_name(), path.display()))
}

/// The network's scale for that of the settings.
pub fn network_scale(scale: ModelScale) -> Scale {
    match scale {
        ModelScale::Nano => Scale::Nano,
        ModelScale::Small => Scale::Small,
        ModelScale::Medium => Scale::Medium,
        ModelScale::Large => Scale::Large,
        ModelScale::ExtraLarge => Scale::ExtraLarge,
    }
}

/// A network in a sentence: layers, tensors, parameters, GFLOPs.
pub fn describe(network: &Network, size: usize) -> String {
    format!(
        "{}, {} classes, {} layers, {} parameters, {:.2} GFLOPs at {size} px",
        network.scale.model_name(),
        network.classes,
        network.layers(),
        grouped(network.parameters()),
        network.gflops([size, size])
    )
}

/// `2,624,080`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_described_with_its_figures() {
        let text = describe(&Network::yolo11(Scale::Nano, 80), 640);
        assert_eq!(text, "yolo11n, 80 classes, 24 layers, 2,624,080 parameters, 6.67 GFLOPs at 640 px");
        assert_eq!(["7", "1,000", "12,345,678"], [7, 1000, 12_345_678].map(grouped).each_ref().map(String::as_str));
    }

    #[test]
    fn weights_of_another_number_of_classes_are_taken_as_far_as_they_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coco.safetensors");
        let source = Model::initialise(&Network::yolo11(Scale::Nano, 80), 5);
        let names = (0..80).map(|class| format!("c{class}")).collect();
        yolo11_checkpoint::save_safetensors(&path, &Checkpoint::new(source.clone(), names)).unwrap();
        let mut settings = Settings::default();
        settings.model = ModelSource::Weights(path.clone());
        let (model, note) = start(&settings, 3).unwrap();
        assert_eq!(note, format!("yolo11n from {}: 448 of 499 tensors", path.display()));
        let first = model.network().tensor_index("model.0.conv.weight").unwrap();
        assert_eq!(model.tensor(first), source.tensor(first));
        assert_eq!(model.network().classes, 3);

        settings.model = ModelSource::Scale(ModelScale::Nano);
        assert_eq!(start(&settings, 3).unwrap().1, "yolo11n from a random start, seed 0");
        let text = load(&settings).err().unwrap().to_string();
        assert!(text.starts_with("model=yolo11n has no weights yet\nhint: give model=PATH"), "{text}");
    }
}
