use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be read or written. Displays what is wrong and where; where something can be done, a second line
/// starts with `hint: `.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{}: {action}: {source}{}", path.display(), io_hint(source, action))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, such as `cannot write`.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is of another kind than the ones read here.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: String,
        /// What would mend it.
        hint: String,
    },
    /// The file is of the right kind but cut short or inconsistent.
    #[error("{}: {entry}: {problem}\nhint: the file is damaged or incomplete; copy or download it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part of it, such as `data/17` or `data.pkl`.
        entry: String,
        /// What is wrong with that part.
        problem: String,
    },
    /// The pickle names something that no detector's weights need, such as a function to run.
    #[error(
        "{}: the file names code to run (`{global}`); it was refused and nothing was executed\nhint: use weights from a source you trust, best as safetensors or a plain state dict",
        path.display()
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// Module and name, such as `os.system`.
        global: String,
    },
    /// The tensors are not those of a YOLO11 detector.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// Which tensors do not fit and what was expected.
        problem: String,
        /// What would mend it.
        hint: String,
    },
    /// What was to be written cannot stand in the file format.
    #[error("{}: {problem}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Which part and why.
        problem: String,
    },
}

impl Error {
    /// Whether the file that was named is at fault, and not the place where one was to be written.
    pub fn is_input(&self) -> bool {
        match self {
            Error::Io { action, .. } => *action == CANNOT_READ,
            Error::Unwritable { .. } => false,
            _ => true,
        }
    }
}

fn io_hint(source: &io::Error, action: &str) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room on the disk; an earlier file of that name is unchanged"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if action.contains("write") => {
            "\nhint: choose a folder you may write to"
        }
        io::ErrorKind::NotFound if action.contains("read") => "\nhint: check the path",
        _ => "",
    }
}

/// What an [`Error::Io`] calls reading.
const CANNOT_READ: &str = "cannot read";

/// An error that does not know its file yet: the readers see bytes only.
#[derive(Debug)]
pub(crate) enum Problem {
    Read(io::Error),
    Format { problem: String, hint: &'static str },
    Damaged { entry: String, problem: String },
    Refused { global: String },
    Architecture { problem: String, hint: &'static str },
}

impl Problem {
    pub fn damaged(entry: impl Into<String>, problem: impl Into<String>) -> Problem {
        Problem::Damaged { entry: entry.into(), problem: problem.into() }
    }

    pub fn at(self, path: &Path) -> Error {
        let path = path.to_path_buf();
        match self {
            Problem::Read(source) => Error::Io { path, action: CANNOT_READ, source },
            Problem::Format { problem, hint } => Error::Format { path, problem, hint: hint.into() },
            Problem::Damaged { entry, problem } => Error::Damaged { path, entry, problem },
            Problem::Refused { global } => Error::Refused { path, global },
            Problem::Architecture { problem, hint } => Error::Architecture { path, problem, hint: hint.into() },
        }
    }
}

/// Text from a file, made fit for a message: at most 80 characters, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}
