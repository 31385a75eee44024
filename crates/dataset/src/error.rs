//! What can go wrong, and what was left out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Check;

/// Something about the data that a person should know, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// The picture, label file, file list or description it is about.
    pub file: PathBuf,
    /// Line in that file, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// The picture that shows it; `file` itself where that is the picture.
    pub picture: Option<PathBuf>,
    /// A second file it is about: the twin of a picture.
    pub other: Option<PathBuf>,
    /// Boxes it is about: centre x, centre y, width, height as shares of `picture`; they may reach outside.
    pub boxes: Vec<[f32; 4]>,
}

impl Finding {
    /// A finding about a whole file.
    pub fn new(check: Check, file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Finding { check, file, line: None, message, picture: None, other: None, boxes: Vec::new() }
    }

    /// The same with a line.
    pub fn at(self, line: impl Into<Option<usize>>) -> Self {
        Finding { line: line.into(), ..self }
    }

    /// The same with the picture that shows it and the boxes it is about.
    pub(crate) fn shown_on(self, picture: &Path, boxes: Vec<[f32; 4]>) -> Self {
        Finding { picture: Some(picture.to_path_buf()), boxes, ..self }
    }

    /// The same with a second file.
    pub(crate) fn beside(self, other: &Path) -> Self {
        Finding { other: Some(other.to_path_buf()), ..self }
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        place(&self.file, &self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place(), self.message)?;
        self.check.consequence().map_or(Ok(()), |consequence| write!(formatter, "; {consequence}"))
    }
}

/// Why a data set cannot be used. The text is one line that says what and where, then a line `hint: ` where something
/// can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `dataset.yaml` or what it points to is not as it should be.
    #[error("{}: {message}\nhint: {hint}", place(file, line))]
    Description {
        /// The `dataset.yaml`.
        file: PathBuf,
        /// Line in it, from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// An annotation file of another format is not as it should be.
    #[error("{}: {message}\nhint: {hint}", place(file, line))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line in it, from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}\nhint: check the path; relative ones start at the folder the program runs in", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A picture that cannot be decoded.
    #[error("{}: {message}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Faulty label rows, with `strict_labels`.
    #[error("{} faulty label {}: {}\nhint: mend the rows, or set strict_labels=false to leave them out", count, if *count == 1 { "row" } else { "rows" }, list(first))]
    Labels {
        /// How many rows are faulty.
        count: usize,
        /// The first few.
        first: Vec<Finding>,
    },
    /// Every picture of a split is unreadable, or no picture is left.
    #[error("no picture of the {split} split can be read: {first}")]
    NothingReadable {
        /// The split's name.
        split: String,
        /// The first picture and what is wrong with it.
        first: Box<Finding>,
    },
    /// A setting that makes no sense.
    #[error("{message}\nhint: {hint}")]
    Settings {
        /// What is wrong.
        message: String,
        /// What would mend it.
        hint: String,
    },
    /// A loader thread ended before its work was done; a bug of this program.
    #[error("a loader thread stopped unexpectedly\nhint: please report this; workers=0 loads without threads")]
    Worker,
}

fn place(file: &Path, line: &Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}
