//! What can be wrong with settings, each with its place and what would mend it.

use std::fmt;
use std::path::PathBuf;

use crate::node::Position;

/// Where a key or value was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// In a YAML file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Line and column in it.
        at: Position,
    },
    /// In an argument of the command line, held as typed.
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, at } => write!(f, "{}:{}:{}", path.display(), at.line, at.column),
            Origin::Argument(text) => write!(f, "argument `{text}`"),
        }
    }
}

/// Why settings cannot be used. `Display` gives one line with the place and, where something can be done, a second that begins with `hint: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file cannot be read.
    #[error("cannot read `{}`: {source}\nhint: give the path of a YAML file; `yolo11 init .` writes one into configs/", path.display())]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not YAML, or not a map of settings.
    #[error("{origin}: {message}")]
    Malformed {
        /// Where reading stopped.
        origin: Box<Origin>,
        /// What is wrong there.
        message: String,
    },
    /// No setting has this name.
    #[error("{origin}: unknown key `{key}`\nhint: {hint}")]
    UnknownKey {
        /// Where it stands.
        origin: Box<Origin>,
        /// The key, as given.
        key: String,
        /// The nearest name, or where the names are listed.
        hint: String,
    },
    /// The value has the wrong type or lies outside the range.
    #[error("{origin}: `{key}` must be {allowed}; got `{given}`{}", second_line(hint.as_deref()))]
    InvalidValue {
        /// Where the value stands.
        origin: Box<Origin>,
        /// The key, as given.
        key: String,
        /// The value, as given.
        given: String,
        /// What is allowed.
        allowed: String,
        /// What would mend it, where more can be said.
        hint: Option<String>,
    },
    /// One setting is given twice in one file, under two names or in two sections.
    #[error("{origin}: `{key}` was given already, as `{first_key}` on line {}\nhint: keep one of the two", first.line)]
    Duplicate {
        /// Where the second one stands.
        origin: Box<Origin>,
        /// The second one's key.
        key: String,
        /// The first one's key.
        first_key: String,
        /// Where the first one stands.
        first: Position,
    },
    /// A setting stands in a section that it does not belong to.
    #[error("{origin}: `{key}` does not belong in `{section}`\nhint: {hint}")]
    Misplaced {
        /// Where it stands.
        origin: Box<Origin>,
        /// The key, as given.
        key: String,
        /// The section it stands in.
        section: &'static str,
        /// Where it belongs.
        hint: String,
    },
    /// A setting of the reference trainer asks for what this program does not do.
    #[error("{origin}: `{key}={given}` is not supported\nhint: {hint}")]
    Unsupported {
        /// Where it stands.
        origin: Box<Origin>,
        /// The key, as given.
        key: String,
        /// The value, as given.
        given: String,
        /// What would be accepted.
        hint: String,
    },
    /// An argument is neither `key=value` nor a settings file.
    #[error("argument `{argument}` is neither key=value nor a YAML file\nhint: {hint}")]
    Argument {
        /// The argument, as typed.
        argument: String,
        /// The form that is expected.
        hint: String,
    },
    /// No data set is named.
    #[error(
        "no `data`: which pictures to use is not set\nhint: give data=path/to/dataset.yaml, or data=demo for a small set that is generated on the spot"
    )]
    NoData,
    /// No pictures are named.
    #[error(
        "no `source`: which pictures to look at is not set\nhint: give source=PICTURE, a folder, a pattern such as 'photos/*.jpg', or a .txt list"
    )]
    NoSource,
    /// A weights file is named that does not exist.
    #[error("no weights file `{}`; looked in {}\nhint: {hint}", path.display(), looked.join(", "))]
    NoWeights {
        /// The file, as it was named.
        path: PathBuf,
        /// The folders it was looked for in.
        looked: Vec<String>,
        /// What would mend it.
        hint: String,
    },
}

fn second_line(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"))
}
