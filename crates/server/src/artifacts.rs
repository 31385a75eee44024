//! Where artifacts are kept: a folder, or an S3 bucket.
//!
//! An upload is first written whole to a staged file and only then given its name, so nobody ever sees half of one.

pub mod folder;
pub mod path;
pub mod s3;

use std::io::Read;
use std::ops::Range;

use serde_json::{Value, json};

pub use path::ArtifactPath;

use crate::error::ApiError;

/// A file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, without what leads there.
    pub name: String,
    /// Bytes; none for a folder.
    pub size: Option<u64>,
}

impl Entry {
    /// As it stands in an answer; `below` is the path that leads there.
    pub fn to_json(&self, below: &str) -> Value {
        let path = if below.is_empty() { self.name.clone() } else { format!("{below}/{}", self.name) };
        match self.size {
            Some(size) => json!({"path": path, "is_dir": false, "file_size": size}),
            None => json!({"path": path, "is_dir": true}),
        }
    }
}

/// Which bytes of a file are wanted, before its length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// From a place to another, which belongs to them, or to the end.
    From(u64, Option<u64>),
    /// The last so many.
    Last(u64),
}

impl Wanted {
    /// Reads the header `Range`; what is not understood, or asks for several ranges, means all (RFC 9110, 14.2).
    pub fn parse(header: Option<&str>) -> Wanted {
        let parsed = || {
            let (first, last) = header?.trim().strip_prefix("bytes=")?.split_once('-')?;
            match (first.is_empty(), last.is_empty()) {
                (true, _) => Some(Wanted::Last(last.parse().ok()?)),
                (false, true) => Some(Wanted::From(first.parse().ok()?, None)),
                (false, false) => {
                    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
                    (first <= last).then_some(Wanted::From(first, Some(last)))
                }
            }
        };
        parsed().unwrap_or(Wanted::All)
    }

    /// The bytes of a file of so many that are wanted; none where there are no such bytes.
    pub fn of(self, length: u64) -> Option<Range<u64>> {
        match self {
            Wanted::All => Some(0..length),
            Wanted::From(first, last) => {
                (first < length).then(|| first..last.map_or(length, |last| last.saturating_add(1).min(length)))
            }
            Wanted::Last(count) => (count > 0 && length > 0).then(|| length.saturating_sub(count)..length),
        }
    }
}

/// A file that is being read.
pub struct Download {
    /// Bytes of the whole file.
    pub length: u64,
    /// The bytes that `content` gives.
    pub range: Range<u64>,
    /// What tells this content from another.
    pub mark: Option<String>,
    /// The bytes.
    pub content: Box<dyn Read + Send>,
}

/// Where a part of a large upload is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartAddress {
    /// To the store itself.
    Store(String),
    /// To this server.
    Server,
}

/// A part of a large upload that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// The store's mark for it.
    pub mark: String,
}

/// A place for artifacts. Every call may block.
pub trait Artifacts: Send + Sync {
    /// A new file to write an upload to, of which nobody sees anything before [`Artifacts::put`].
    fn stage(&self) -> Result<tempfile::NamedTempFile, ApiError>;

    /// Gives a staged file its name, in place of what had it.
    fn put(&self, path: &ArtifactPath, staged: tempfile::NamedTempFile) -> Result<(), ApiError>;

    /// Reads a file.
    ///
    /// Errors: there is none of that name, or the bytes wanted are not in it.
    fn get(&self, path: &ArtifactPath, wanted: Wanted) -> Result<Download, ApiError>;

    /// What a folder holds, by name; nothing for one that is not there.
    fn list(&self, path: &ArtifactPath) -> Result<Vec<Entry>, ApiError>;

    /// Deletes a file, or a folder with all it holds.
    fn delete(&self, path: &ArtifactPath) -> Result<(), ApiError>;

    /// Begins an upload in parts: its id, and where each part goes.
    fn begin_parts(&self, path: &ArtifactPath, count: u64) -> Result<(String, Vec<PartAddress>), ApiError>;

    /// Takes a part that was sent to this server; its mark.
    fn put_part(&self, id: &str, number: u64, staged: tempfile::NamedTempFile) -> Result<String, ApiError>;

    /// Joins the parts.
    fn complete_parts(&self, path: &ArtifactPath, id: &str, parts: &[Part]) -> Result<(), ApiError>;

    /// Throws the parts away.
    fn abort_parts(&self, path: &ArtifactPath, id: &str) -> Result<(), ApiError>;

    /// Where it is, for a person; without a secret.
    fn shown(&self) -> String;
}

/// There is no such file.
pub(crate) fn missing(path: &ArtifactPath) -> ApiError {
    ApiError::missing(format!("no artifact `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        for (header, range) in [
            (None, Some(0..10)),
            (Some("bytes=2-4"), Some(2..5)),
            (Some("bytes=7-"), Some(7..10)),
            (Some("bytes=7-99"), Some(7..10)),
            (Some("bytes=-3"), Some(7..10)),
            (Some("bytes=-30"), Some(0..10)),
            (Some("bytes=10-"), None),
            (Some("bytes=4-2"), Some(0..10)),
            (Some("bytes=1-2,5-6"), Some(0..10)),
            (Some("lines=1-2"), Some(0..10)),
            (Some("bytes=-0"), None),
        ] {
            assert_eq!(Wanted::parse(header).of(10), range, "{header:?}");
        }
    }
}
