//! What can go wrong, where, and what would mend it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a step with versioned data could not be done. `Display` is one line, and where something would mend it a second that begins with `hint: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to read, write, link or list.
    #[error("cannot {action} `{}`: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not have the form it should have.
    #[error("`{}`{}: {message}\nhint: {hint}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its line, from 1, where known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What would mend it.
        hint: &'static str,
    },
    /// Nothing is broken, but the step would do harm or make no sense.
    #[error("{message}\nhint: {hint}")]
    Refused {
        /// What is in the way, and where.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// A remote did not do what it should.
    #[error("{url}: {message}\nhint: {hint}")]
    Remote {
        /// The object's address.
        url: String,
        /// What happened.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// The work was asked to stop and did, between two files.
    #[error("stopped on request; what is done is kept\nhint: run the same command again to go on")]
    Stopped,
}

impl Error {
    /// For `map_err`: what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Refused { message: message.into(), hint: hint.into() }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => "\nhint: free some space and run the same command again; what is done is kept",
        io::ErrorKind::PermissionDenied => "\nhint: give yourself the right to it, then run the same command again",
        _ => "",
    }
}
