//! The artifacts of a run or model: into a folder, out of it, and whether both are the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{Moved, read_json, write_json};
use crate::artifacts::{ArtifactStore, Source, walk};
use crate::record::Digest;
use crate::{Error, digest_of};

/// Files on their way at the same time.
const AT_ONCE: usize = 6;

const LIST: &str = "files.json";

/// Copies all files of a store below `place/artifacts`; those that are there with the size that is listed stay.
pub(super) fn export(store: &dyn ArtifactStore, place: &Path, moved: &mut Moved) -> Result<(), Error> {
    let stored = walk(store, "")?;
    let known = list(place).unwrap_or_default();
    let digests = Mutex::new(BTreeMap::new());
    in_parallel(&stored, |(path, size)| {
        let target = target(place, path)?;
        let is_there = known.get(path).filter(|digest| digest.size == *size);
        let is_there = is_there.filter(|_| std::fs::metadata(&target).is_ok_and(|found| found.len() == *size));
        let digest = match is_there {
            Some(digest) => digest.clone(),
            None => {
                std::fs::create_dir_all(target.parent().unwrap_or(place))
                    .map_err(|source| Error::write(&target, source))?;
                store.fetch(path, &target)?;
                digest_of(&target)?
            }
        };
        digests.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(path.clone(), digest);
        Ok(())
    })?;
    let digests = digests.into_inner().unwrap_or_default();
    moved.files += digests.len() as u64;
    moved.bytes += digests.values().map(|digest: &Digest| digest.size).sum::<u64>();
    write_json(&place.join(LIST), &json!(digests))
}

/// A file's place in the export; a name that leads out of it is not one.
fn target(place: &Path, path: &str) -> Result<std::path::PathBuf, Error> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.split('/').all(is_plain) && !path.contains('\\') {
        true => Ok(path.split('/').fold(place.join("artifacts"), |target, part| target.join(part))),
        false => Err(Error::Damaged {
            path: place.join("artifacts").join(path.replace('/', "_")),
            problem: format!("the server lists an artifact `{path}`, which is no plain path"),
            hint: "rename it on the server",
        }),
    }
}

/// The files of an export by their paths.
pub(super) fn list(place: &Path) -> Result<BTreeMap<String, Digest>, Error> {
    let path = place.join(LIST);
    let value = read_json(&path)?;
    serde_json::from_value(value).map_err(|error| Error::Damaged {
        path,
        problem: format!("not a list of files: {error}"),
        hint: "export again into the same folder",
    })
}

/// Brings all files of an export to a store and reads them back; those that the store has with that size are only read back.
pub(super) fn import(
    store: &dyn ArtifactStore,
    place: &Path,
    url: &str,
    verify: bool,
    moved: &mut Moved,
) -> Result<(), Error> {
    let files: Vec<(String, Digest)> = list(place)?.into_iter().collect();
    let there: BTreeMap<String, u64> = walk(store, "")?.into_iter().collect();
    in_parallel(&files, |(path, digest)| {
        let source = target(place, path)?;
        if digest_of(&source)? != *digest {
            return Err(Error::Damaged {
                path: source,
                problem: "is not what was exported".to_owned(),
                hint: "export again into the same folder",
            });
        }
        let differs = |problem: &str| Error::Differs {
            url: url.to_owned(),
            what: format!("artifact {path}"),
            problem: problem.to_owned(),
        };
        let is_there = there.get(path) == Some(&digest.size);
        if is_there && (!verify || reads_back(store, path, place, digest)?) {
            return Ok(());
        }
        store.put(path, Source::File(&source))?;
        if verify && !reads_back(store, path, place, digest)? {
            return Err(differs("it reads back with other bytes"));
        }
        Ok(())
    })?;
    moved.files += files.len() as u64;
    moved.bytes += files.iter().map(|(_, digest)| digest.size).sum::<u64>();
    Ok(())
}

fn reads_back(store: &dyn ArtifactStore, path: &str, place: &Path, digest: &Digest) -> Result<bool, Error> {
    let copy = place.join(format!(".{}.check", crate::unique_key()));
    let read = store.fetch(path, &copy).and_then(|()| digest_of(&copy));
    let _ = std::fs::remove_file(&copy);
    Ok(read? == *digest)
}

/// Does something with every item, several at once; the first error ends it.
pub(super) fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    failed.into_inner().unwrap_or_default().map_or(Ok(()), Err)
}
