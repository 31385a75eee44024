//! Push and fetch: objects between the cache and a remote, many at a time. What has arrived is never sent again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::remote::{Remote, is_content};
use crate::{Error, Repository, Result, Watch};

/// Objects that are fetched before they are synced together.
const BATCH: usize = 4096;

/// What a push or fetch did.
#[derive(Clone, Debug, Default)]
pub struct Transferred {
    /// The remote's name.
    pub remote: String,
    /// Objects that were moved.
    pub moved: usize,
    /// Objects that were there already.
    pub present: usize,
}

/// An object: its id and whether it is DVC 2's.
type Object = (String, bool);

fn key(object: &Object) -> String {
    let (head, tail) = object.0.split_at(2);
    if object.1 { format!("{head}/{tail}") } else { format!("files/md5/{head}/{tail}") }
}

impl Repository {
    /// Sends what targets record to a remote: a folder's files first, its list only when all of them have arrived.
    pub fn push(&self, targets: &[PathBuf], remote: Option<&str>, watch: &Watch) -> Result<Transferred> {
        let (name, remote) = self.remote(remote)?;
        let remote = remote.as_ref();
        let mut lists = BTreeSet::new();
        for item in self.targets(targets)? {
            if let (Some(id), true, true) = (&item.output.md5, item.output.is_pushed, item.output.is_cached) {
                lists.insert((id.clone(), item.output.is_legacy));
            }
        }
        let roots: Vec<Object> = lists.into_iter().collect();
        let missing_roots = self.absent(&roots, remote, watch)?;
        let mut done = Transferred { remote: name, moved: 0, present: roots.len() - missing_roots.len() };
        // A list on the remote says that its files are there too.
        let mut files = BTreeSet::new();
        for root in &missing_roots {
            if root.0.ends_with(".dir") {
                let directory = self.cache.directory(&root.0, root.1)?.ok_or_else(|| self.not_in_cache(root))?;
                files.extend(directory.entries.into_iter().map(|entry| (entry.md5, root.1)));
            } else {
                files.insert(root.clone());
            }
        }
        let files: Vec<Object> = files.into_iter().collect();
        let missing = self.absent(&files, remote, watch)?;
        done.present += files.len() - missing.len();
        self.send(&missing, remote, watch)?;
        remote.sync()?;
        let lists: Vec<Object> = missing_roots.into_iter().filter(|root| root.0.ends_with(".dir")).collect();
        self.send(&lists, remote, watch)?;
        remote.sync()?;
        done.moved = missing.len() + lists.len();
        Ok(done)
    }

    /// Fetches what targets record and the cache does not have. Every object is checked against its name before it gets its place.
    pub fn fetch(&self, targets: &[PathBuf], remote: Option<&str>, watch: &Watch) -> Result<Transferred> {
        let (name, remote) = self.remote(remote)?;
        let remote = remote.as_ref();
        let mut lists = BTreeSet::new();
        let mut files = BTreeSet::new();
        for item in self.targets(targets)? {
            let Some(id) = item.output.md5.filter(|_| item.output.is_cached) else { continue };
            let chosen = if id.ends_with(".dir") { &mut lists } else { &mut files };
            chosen.insert((id, item.output.is_legacy));
        }
        let lists: Vec<Object> = lists.into_iter().collect();
        let mut done = Transferred { remote: name, ..Transferred::default() };
        self.receive(&lists, remote, &mut done, watch)?;
        for list in &lists {
            let directory = self.cache.directory(&list.0, list.1)?.ok_or_else(|| self.not_in_cache(list))?;
            files.extend(directory.entries.into_iter().map(|entry| (entry.md5, list.1)));
        }
        let files: Vec<Object> = files.into_iter().collect();
        self.receive(&files, remote, &mut done, watch)?;
        Ok(done)
    }

    fn send(&self, objects: &[Object], remote: &dyn Remote, watch: &Watch) -> Result<()> {
        let step = watch.step("pushing", objects.len());
        parallel(remote.width())?.install(|| {
            objects.par_iter().try_for_each(|object| {
                step.check()?;
                let path = self.cache.path(&object.0, object.1);
                if !path.is_file() {
                    return Err(self.not_in_cache(object));
                }
                remote.put(&key(object), &path, watch)?;
                step.advance();
                Ok(())
            })
        })
    }

    fn receive(&self, objects: &[Object], remote: &dyn Remote, done: &mut Transferred, watch: &Watch) -> Result<()> {
        let had: Result<Vec<bool>> =
            objects.par_iter().map(|object| self.cache.has(&object.0, object.1, watch)).collect();
        let missing: Vec<&Object> =
            objects.iter().zip(had?).filter(|(_, had)| !had).map(|(object, _)| object).collect();
        done.present += objects.len() - missing.len();
        let step = watch.step("fetching", missing.len());
        let pool = parallel(remote.width())?;
        for batch in missing.chunks(BATCH) {
            let received: Vec<Result<PathBuf>> = pool.install(|| {
                let one = |object: &&Object| {
                    step.check()?;
                    let temporary = self.cache.temporary()?;
                    let md5 = self.get(object, remote, &temporary, watch);
                    if md5.is_err() {
                        let _ = fs::remove_file(&temporary);
                    }
                    step.advance();
                    md5.map(|()| temporary)
                };
                batch.par_iter().map(one).collect()
            });
            // What did arrive is kept, whatever became of the rest.
            if received.iter().any(Result::is_ok) {
                self.cache.sync()?;
            }
            let mut failure = None;
            for (object, received) in batch.iter().zip(received) {
                match received {
                    Ok(temporary) if object.1 => self.place_legacy(object, &temporary)?,
                    Ok(temporary) => self.cache.place(&object.0, &temporary)?,
                    Err(error) => {
                        failure.get_or_insert(error);
                        continue;
                    }
                }
                done.moved += 1;
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    fn get(&self, object: &Object, remote: &dyn Remote, temporary: &std::path::Path, watch: &Watch) -> Result<()> {
        let key = key(object);
        let md5 = match remote.get(&key, temporary, watch) {
            Ok(md5) => md5,
            Err(error) => {
                watch.check()?;
                if !remote.has(&key)? {
                    let message = "the remote does not have it".to_owned();
                    let hint = "`yolo11 data push` or `dvc push` it from where the data is".to_owned();
                    return Err(Error::Remote { url: remote.url(&key), message, hint });
                }
                return Err(error);
            }
        };
        let expected = object.0.trim_end_matches(".dir");
        let is_right = if object.1 {
            md5 == expected || crate::hash::legacy_md5_of_file(temporary)? == expected
        } else {
            is_content(&key, &md5)
        };
        if is_right {
            return Ok(());
        }
        let message = format!("the content has md5 {md5}, not that of its name");
        let hint = "the object is damaged there: delete it, then push it again from where the data is".to_owned();
        Err(Error::Remote { url: remote.url(&key), message, hint })
    }

    fn place_legacy(&self, object: &Object, temporary: &std::path::Path) -> Result<()> {
        let path = self.cache.path(&object.0, true);
        crate::write::make_folder(path.parent().unwrap_or(&path))?;
        fs::rename(temporary, &path).map_err(Error::io("write", &path))?;
        crate::link::set_mode(&path, 0o444).map_err(Error::io("make read-only", &path))
    }

    fn absent(&self, objects: &[Object], remote: &dyn Remote, watch: &Watch) -> Result<Vec<Object>> {
        let step = watch.step("asking the remote", objects.len());
        let has: Result<Vec<bool>> = parallel(remote.width())?.install(|| {
            let one = |object: &Object| {
                step.check()?;
                let has = remote.has(&key(object));
                step.advance();
                has
            };
            objects.par_iter().map(one).collect()
        });
        Ok(objects.iter().zip(has?).filter(|(_, has)| !has).map(|(object, _)| object.clone()).collect())
    }

    fn not_in_cache(&self, object: &Object) -> Error {
        let path = self.cache.path(&object.0, object.1);
        let message = format!("`{}` is not in the cache", path.display());
        Error::refused(message, "`yolo11 data add` the data again where it is whole, or fetch it from another remote")
    }
}

fn parallel(width: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(width).build();
    pool.map_err(|error| Error::refused(format!("no threads: {error}"), "raise the limit of processes (ulimit -u)"))
}
