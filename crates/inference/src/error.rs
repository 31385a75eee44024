//! Why a model cannot be opened or run.

use std::path::PathBuf;

/// Why a model cannot be opened or run. Where something would mend it a second line begins with `hint: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] yolo11_checkpoint::Error),
    /// The engine refuses its input.
    #[error(transparent)]
    Engine(#[from] yolo11_engine::Error),
    /// An ONNX file is damaged, or no detector of this kind.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model does not take these pictures.
    #[error("{}: {reason}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What it takes.
        reason: String,
    },
    /// What was asked for is not there, or does not go with the file.
    #[error("{message}\nhint: {hint}")]
    Setup {
        /// What is wrong.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// The runtime failed on the file.
    #[error("{}: {backend} failed: {reason}", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// Which runtime.
        backend: &'static str,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// Whether what was given is at fault, a setting or a file, and not what was to run it.
    pub fn is_input(&self) -> bool {
        match self {
            Error::Checkpoint(error) => error.is_input(),
            Error::Read { .. } | Error::Malformed { .. } | Error::Input { .. } | Error::Setup { .. } => true,
            Error::Engine(_) | Error::Run { .. } => false,
        }
    }
}
