//! What can go wrong.

use std::path::PathBuf;

/// Why a detector or a picture cannot be had. The text names the file, and where something would mend it a second line begins with
/// `hint: `.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A picture cannot be read or decoded.
    #[error("{}{reason}", path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display())))]
    Image {
        /// Its file, where it came from one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        reason: String,
    },
    /// A model's file cannot be read, is damaged, or is no detector.
    #[error("{0}")]
    Model(String),
    /// What the builder was told does not go together, or is not installed.
    #[error("{0}")]
    Options(String),
}

impl From<yolo11_inference::Error> for Error {
    fn from(error: yolo11_inference::Error) -> Self {
        match error {
            yolo11_inference::Error::Setup { .. } | yolo11_inference::Error::Input { .. } => {
                Error::Options(error.to_string())
            }
            _ => Error::Model(error.to_string()),
        }
    }
}
