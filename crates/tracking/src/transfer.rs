//! Experiments, runs with their histories, artifacts and the registry from one MLflow server to another, by way of a folder.
//!
//! [`export`](export::export) writes what a server holds; [`import`](import::import) brings it to another one. Both are resumable: what
//! is there already and right is passed over. Nothing of the target's own is changed.
//!
//! The folder:
//! ```text
//! export.json                                     format and the server it comes from
//! experiments/ID/experiment.json                  as the server gives it
//! experiments/ID/runs/RUN/run.json                as the server gives it: info, params, tags, inputs, outputs
//! experiments/ID/runs/RUN/metrics.jsonl           every point of every metric, one a line
//! experiments/ID/runs/RUN/artifacts/…             its files
//! experiments/ID/runs/RUN/files.json              their sizes and SHA-256
//! experiments/ID/models/MODEL/…                   a logged model: model.json, artifacts/…, files.json
//! registry/NAME/model.json, versions.json         a registered model
//! mapping-SERVER.json                             written by an import: old ids and new ones
//! ```
//! A server gives its own ids to what it is told to make. Where it takes the old one (this program's server does), it is kept; where not,
//! the new thing carries tags that name the old one: see [`ORIGIN_TAG`].

pub mod export;
mod files;
pub mod import;
mod registry;
mod run;

use std::path::Path;

use serde_json::Value;

use crate::Error;

/// Tag of what was imported: the id that it had on the server where it was made.
pub const ORIGIN_TAG: &str = "yolo11.import.id";

/// Tag of what was imported: the address of the server it was exported from.
pub const SOURCE_TAG: &str = "yolo11.import.source";

/// Tag of what was imported whole: a digest of the export. Where it is there and the same, nothing is done again.
pub const DIGEST_TAG: &str = "yolo11.import.digest";

/// Tag of a model or version whose time of creation the target does not take: milliseconds since 1970.
pub const CREATED_TAG: &str = "yolo11.import.created";

/// What an export or import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Experiments.
    pub experiments: u64,
    /// Runs.
    pub runs: u64,
    /// Of these, runs that were there already, whole.
    pub runs_there: u64,
    /// Points of metrics.
    pub points: u64,
    /// Files of runs and logged models.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Logged models.
    pub models: u64,
    /// Registered models.
    pub registered: u64,
    /// Their versions.
    pub versions: u64,
}

/// Who hears what is done, and may stop it between two calls.
pub struct Talk<'a> {
    /// Hears a line for each experiment and registered model.
    pub tell: &'a dyn Fn(&str),
    /// Ends it.
    pub stop: &'a dyn Fn() -> bool,
}

impl Talk<'_> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if (self.stop)() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// Writes a file of the export whole or not at all, with the folders above it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::write(path, source);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(failed)
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    write(path, format!("{value:#}\n").as_bytes())
}

/// A file of the export.
fn read_json(path: &Path) -> Result<Value, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        problem: format!("not a file of an export: {error}"),
        hint: "export again into the same folder",
    })
}

/// Folders in a folder, by name; none where it is missing.
fn folders(place: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::read(place, source))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::read(place, source))?;
        if entry.path().is_dir() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// A tag's value.
fn tag<'a>(tags: &'a [(String, String)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A number or text as the interface gives ids and versions.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
