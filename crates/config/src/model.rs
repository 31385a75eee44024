//! What `model=` may name: a YOLO11 by its scale, or a weights file.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Folders that are searched for weights given by a bare file name, in this order.
const WEIGHTS_FOLDERS: [&str; 2] = ["", "models"];

/// The five sizes of a YOLO11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelScale {
    /// n
    Nano,
    /// s
    Small,
    /// m
    Medium,
    /// l
    Large,
    /// x
    ExtraLarge,
}

impl ModelScale {
    /// Every scale, from small to large.
    pub const ALL: [ModelScale; 5] =
        [ModelScale::Nano, ModelScale::Small, ModelScale::Medium, ModelScale::Large, ModelScale::ExtraLarge];

    /// The letter at the end of the model's name.
    pub fn letter(self) -> char {
        match self {
            ModelScale::Nano => 'n',
            ModelScale::Small => 's',
            ModelScale::Medium => 'm',
            ModelScale::Large => 'l',
            ModelScale::ExtraLarge => 'x',
        }
    }
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSource {
    /// `yolo11n`, `yolov11n` or `yolo11n.yaml`: that network from a random start.
    Scale(ModelScale),
    /// A `.pt` or `.safetensors` file with weights, or an `.onnx` file to use as it is.
    Weights(PathBuf),
}

impl ModelSource {
    /// Reads a model's name or path, upper and lower case alike; nothing for other text. Whether a file exists is asked by [`ModelSource::locate`].
    pub fn parse(text: &str) -> Option<ModelSource> {
        let lower = text.to_ascii_lowercase();
        if is_weights(&lower) || lower.ends_with(".onnx") {
            return Some(ModelSource::Weights(PathBuf::from(text)));
        }
        scale(lower.strip_suffix(".yaml").unwrap_or(&lower)).map(ModelSource::Scale)
    }

    /// The weights file's path as it can be opened; nothing for a random start.
    /// A relative path is looked for in the working folder, then in `models/`.
    ///
    /// # Errors
    /// [`Error::NoWeights`] where no such file exists: nothing is ever downloaded.
    pub fn locate(&self) -> Result<Option<PathBuf>, Error> {
        match self {
            ModelSource::Scale(_) => Ok(None),
            ModelSource::Weights(path) => locate_weights(path).map(Some),
        }
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelSource::Scale(scale) => write!(f, "yolo11{}", scale.letter()),
            ModelSource::Weights(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whether a file name is one that weights are read from.
pub(crate) fn is_weights(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".pt", ".pth", ".safetensors"].iter().any(|ending| name.ends_with(ending))
}

/// The path of a weights file that exists, searched for as [`ModelSource::locate`] says.
pub(crate) fn locate_weights(path: &Path) -> Result<PathBuf, Error> {
    let candidates: Vec<PathBuf> = WEIGHTS_FOLDERS.iter().map(|folder| Path::new(folder).join(path)).collect();
    if let Some(found) = candidates.iter().find(|candidate| candidate.is_file()) {
        return Ok(found.clone());
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_ascii_lowercase();
    let hint = match scale(&stem) {
        Some(scale) => {
            let letter = scale.letter();
            format!("weights are not downloaded; put the file there, or give model=yolo11{letter} for a random start")
        }
        None => "weights are not downloaded; give the path of a .pt or .safetensors file".to_owned(),
    };
    let folder = path.parent().unwrap_or(path);
    let looked = match path.is_absolute() {
        true => vec![folder.display().to_string()],
        false => WEIGHTS_FOLDERS.map(|start| folder_name(&Path::new(start).join(folder))).to_vec(),
    };
    Err(Error::NoWeights { path: path.to_owned(), looked, hint })
}

fn folder_name(folder: &Path) -> String {
    match folder.display().to_string().trim_end_matches('/') {
        "" => ".".to_owned(),
        name => format!("{name}/"),
    }
}

fn scale(name: &str) -> Option<ModelScale> {
    let letter = name.strip_prefix("yolo11").or_else(|| name.strip_prefix("yolov11"))?;
    ModelScale::ALL.into_iter().find(|scale| letter.len() == 1 && letter.starts_with(scale.letter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_field_are_understood() {
        for name in ["yolo11n", "yolov11n", "yolo11n.yaml", "YOLO11n", "YOLOv11N"] {
            assert_eq!(ModelSource::parse(name), Some(ModelSource::Scale(ModelScale::Nano)), "{name}");
        }
        assert_eq!(ModelSource::parse("yolo11x"), Some(ModelSource::Scale(ModelScale::ExtraLarge)));
        assert_eq!(ModelSource::parse("runs/a/best.PT"), Some(ModelSource::Weights("runs/a/best.PT".into())));
        assert_eq!(ModelSource::parse("best.onnx"), Some(ModelSource::Weights("best.onnx".into())));
        assert_eq!(ModelSource::parse("a.safetensors"), Some(ModelSource::Weights("a.safetensors".into())));
        for name in ["yolo11", "yolo12n", "yolo11nn", "yolov8n", "", "best.engine"] {
            assert_eq!(ModelSource::parse(name), None, "{name}");
        }
    }

    #[test]
    fn missing_weights_are_named_with_where_they_were_looked_for() {
        let error = ModelSource::parse("yolo11n.pt").unwrap().locate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no weights file `yolo11n.pt`; looked in ., models/\n\
             hint: weights are not downloaded; put the file there, or give model=yolo11n for a random start"
        );
    }
}
