//! Several files to a store at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::artifacts::{ArtifactStore, Source};
use crate::record::{Artifact, Digest};

/// Most files of one round.
pub const GROUP: usize = 64;

/// Files on their way at the same time.
const AT_ONCE: usize = 6;

/// Uploads files and gives for each what it held, nothing where the store has just that already, or the error. After the first error
/// that concerns the way there, no further file is begun.
pub fn upload(
    artifacts: &[Artifact],
    run_folder: &Path,
    store: &dyn ArtifactStore,
    uploaded: &BTreeMap<String, Digest>,
) -> Vec<Result<Option<Digest>, Error>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Result<Option<Digest>, Error>>> =
        Mutex::new(artifacts.iter().map(|artifact| Err(not_begun(&artifact.path))).collect());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(artifact) = artifacts.get(index) else { return };
            let result = upload_one(artifact, run_folder, store, uploaded.get(&artifact.path));
            let goes_on = result.as_ref().err().is_none_or(|error| !error.is_passing());
            if let Ok(mut results) = results.lock() {
                results[index] = result;
            }
            if !goes_on {
                next.store(artifacts.len(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(artifacts.len()) {
            scope.spawn(work);
        }
        work();
    });
    results.into_inner().unwrap_or_default()
}

fn not_begun(path: &str) -> Error {
    Error::Unreachable { url: path.to_owned(), reason: "the upload before it failed".to_owned() }
}

fn upload_one(
    artifact: &Artifact,
    run_folder: &Path,
    store: &dyn ArtifactStore,
    uploaded: Option<&Digest>,
) -> Result<Option<Digest>, Error> {
    let file = run_folder.join(&artifact.file);
    let digest = digest_of(&file)?;
    if uploaded == Some(&digest) {
        return Ok(None);
    }
    store.put(&artifact.path, Source::File(&file))?;
    Ok(Some(digest))
}

/// Size and SHA-256 of a file.
///
/// # Errors
/// A file that cannot be read.
pub fn digest_of(path: &Path) -> Result<Digest, Error> {
    let failed = |source| Error::read(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hash, mut size, mut block) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut block).map_err(failed)?;
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        size += count as u64;
    }
    Ok(Digest { size, sha256: hexadecimal(&hash.finalize()) })
}

/// Bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
