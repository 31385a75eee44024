//! Where a run's artifacts live: behind the tracking server, in an S3 store, or in a folder. One trait, one file each.

mod folder;
mod s3;
mod server;

use std::fs::File;
use std::path::Path;

pub use folder::FolderStore;
pub use s3::S3Store;
pub use server::ServerStore;

use crate::client::Client;
use crate::{Environment, Error};

/// What is stored.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file's content.
    File(&'a Path),
    /// These bytes.
    Bytes(&'a [u8]),
}

/// A stored file or a folder of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its path below the store's root.
    pub path: String,
    /// Its bytes; none for a folder.
    pub size: Option<u64>,
}

/// A place for the files of one run or model. Paths are relative to it, with `/`.
pub trait ArtifactStore: Send + Sync {
    /// Stores a file whole or not at all; one that is there is replaced.
    ///
    /// # Errors
    /// Those of the way there, and a source that cannot be read.
    fn put(&self, path: &str, source: Source) -> Result<(), Error>;

    /// A stored file's content.
    ///
    /// # Errors
    /// Those of the way there; [`Error::is_missing`] or an error of the system where there is none.
    fn get(&self, path: &str) -> Result<Vec<u8>, Error>;

    /// Writes a stored file's content, of any length, into a file.
    ///
    /// # Errors
    /// As [`ArtifactStore::get`], and a file that cannot be written.
    fn fetch(&self, path: &str, to: &Path) -> Result<(), Error>;

    /// Deletes a stored file, or a folder with all in it. One that is not there is no error.
    ///
    /// # Errors
    /// Those of the way there.
    fn delete(&self, path: &str) -> Result<(), Error>;

    /// Files and folders directly in a folder, in order of their paths; `""` is the root. A folder that does not exist is empty.
    ///
    /// # Errors
    /// Those of the way there.
    fn list(&self, folder: &str) -> Result<Vec<Stored>, Error>;
}

/// Every file below a folder of a store, with its size, in order of their paths.
///
/// # Errors
/// Those of the way there.
pub fn walk(store: &dyn ArtifactStore, folder: &str) -> Result<Vec<(String, u64)>, Error> {
    let (mut found, mut places) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(place) = places.pop() {
        for stored in store.list(&place)? {
            match stored.size {
                Some(size) => found.push((stored.path, size)),
                None => places.push(stored.path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The store of an artifact address, as the tracking server gives it for a run or a model.
///
/// # Errors
/// A kind of address that is not known, or a store without credentials.
pub fn open(uri: &str, client: &Client, environment: &Environment) -> Result<Box<dyn ArtifactStore>, Error> {
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| scheme.len() > 1);
    Ok(match scheme {
        Some("mlflow-artifacts") => Box::new(ServerStore::new(uri, client)?),
        Some("s3") => Box::new(S3Store::new(uri, environment)?),
        Some("file") => Box::new(FolderStore::new(folder::path_of(uri))),
        None => Box::new(FolderStore::new(uri)),
        Some(_) => {
            return Err(Error::Address {
                uri: crate::secret::mask_addresses(uri),
                problem: "this kind of artifact store is not supported".to_owned(),
                hint: "let the server pass artifacts on (mlflow server --artifacts-destination …), or use s3:// or a folder",
            });
        }
    })
}

/// An opened source: what it reads from, and its length in bytes.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), Error> {
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    let length = file.metadata().map_err(|source| Error::read(path, source))?.len();
    Ok((file, length))
}

/// The path's parts percent-encoded.
pub(crate) fn encoded_path(path: &str) -> String {
    path.split('/').map(crate::client::encoded).collect::<Vec<_>>().join("/")
}
