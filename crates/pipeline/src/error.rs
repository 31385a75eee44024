//! What can end a command, with the exit code it ends with.

use std::io;
use std::path::PathBuf;

/// Why a command could not do its work. One line says what and where; a second one, `hint: …`, what would mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] yolo11_config::Error),
    /// Versioned data cannot be looked at or fetched.
    #[error(transparent)]
    Version(#[from] yolo11_versioning::Error),
    /// The data set cannot be used.
    #[error(transparent)]
    Dataset(#[from] yolo11_dataset::Error),
    /// A weights or state file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] yolo11_checkpoint::Error),
    /// The engine refuses its input.
    #[error(transparent)]
    Engine(#[from] yolo11_engine::Error),
    /// A model cannot be opened or run.
    #[error(transparent)]
    Inference(#[from] yolo11_inference::Error),
    /// Loss, suppression or metrics refuse their input.
    #[error(transparent)]
    Detection(#[from] yolo11_detection::Error),
    /// A network cannot be written for others as asked.
    #[error(transparent)]
    Export(#[from] yolo11_export::Error),
    /// A file or folder cannot be written.
    #[error("{}: cannot be written: {source}{}", path.display(), write_hint(source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An exported file does not give what our own engine gives, or cannot be run; it was not written.
    #[error("{}: not written: {reason}{}", path.display(), verification_hint(reason))]
    Verification {
        /// The name the file was to have.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Settings, data or weights do not go together.
    #[error("{message}\nhint: {hint}")]
    Setup {
        /// What is wrong and where.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// The loss or the gradient is no longer a number.
    #[error(
        "the {what} is not finite at epoch {epoch}, batch {batch}\nhint: lower lr0 or lengthen warmup_epochs; the weights of the last finished epoch are unchanged"
    )]
    NotFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch in the epoch, counted from 1.
        batch: usize,
    },
    /// Some pictures could not be read; the others were done.
    #[error("{count} of {total} pictures could not be read; the others are done")]
    Unreadable {
        /// How many could not be read.
        count: usize,
        /// Of how many.
        total: usize,
    },
    /// A video or stream cannot be read.
    #[error("{name}: cannot be read as a video: {reason}")]
    Video {
        /// Its name, without a password.
        name: String,
        /// What ffmpeg said.
        reason: String,
    },
    /// Another process of the same training ended or cannot be reached any more.
    #[error(
        "process {rank} of {size} ({address}): {problem}\nhint: its own messages tell more; go on from what process 0 has saved with resume=true"
    )]
    Peer {
        /// Its number.
        rank: usize,
        /// How many processes train together.
        size: usize,
        /// Where it is.
        address: String,
        /// What happened.
        problem: String,
    },
    /// The threads could not be started.
    #[error("{threads} threads could not be started: {reason}\nhint: set threads to a smaller number")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// The user stopped the run; everything was written.
    #[error("stopped{}", resume_hint(folder))]
    Interrupted {
        /// The run's folder, where it can be resumed.
        folder: Option<PathBuf>,
    },
}

impl Error {
    /// The process's exit code: 3 for data, files that were given, and settings, 130 for a stop by the user, 1 for the rest. (2, wrong usage, is the
    /// command line's own.)
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Dataset(_) | Error::Export(_) | Error::Setup { .. } => 3,
            Error::Checkpoint(error) if error.is_input() => 3,
            Error::Inference(error) if error.is_input() => 3,
            Error::Read { .. } | Error::Video { .. } => 3,
            Error::Version(yolo11_versioning::Error::Malformed { .. } | yolo11_versioning::Error::Refused { .. }) => 3,
            Error::Interrupted { .. } | Error::Version(yolo11_versioning::Error::Stopped) => 130,
            _ => 1,
        }
    }
}

fn write_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: free some space there, then go on with resume=true; files that were complete are unchanged"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: make the folder writable, or choose another with project=FOLDER"
        }
        io::ErrorKind::NotADirectory => "\nhint: a part of the path is a file; choose another with project=FOLDER",
        _ => "",
    }
}

fn verification_hint(reason: &str) -> &'static str {
    if reason.contains("differs") {
        "\nhint: export without half=true; what is near float16's limits changes with it"
    } else {
        ""
    }
}

fn resume_hint(folder: &Option<PathBuf>) -> String {
    folder.as_ref().map_or_else(String::new, |folder| {
        format!("; weights and state are saved\nhint: go on with resume={}", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_place_and_what_would_mend_it() {
        let full = Error::Write { path: "runs/a".into(), source: io::ErrorKind::StorageFull.into() };
        let text = full.to_string();
        assert!(text.starts_with("runs/a: cannot be written: "), "{text}");
        assert!(text.contains("\nhint: free some space there"), "{text}");
        assert_eq!(full.exit_code(), 1);
        let stopped = Error::Interrupted { folder: Some("runs/train".into()) };
        assert_eq!(stopped.to_string(), "stopped; weights and state are saved\nhint: go on with resume=runs/train");
        assert_eq!(stopped.exit_code(), 130);
        assert_eq!(Error::Setup { message: "a".into(), hint: "b".into() }.exit_code(), 3);
    }
}
