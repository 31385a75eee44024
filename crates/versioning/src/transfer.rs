//! Push and fetch: objects between the cache and a remote, many at a time. What has arrived is never sent again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::intake::{Source, md5_of_files};
use crate::remote::{Remote, damaged, is_content};
use crate::watch::Step;
use crate::{Error, Repository, Result, Watch};

/// Objects, and bytes, that are fetched before they are checked and synced together.
const BATCH: usize = 2048;
const BATCH_BYTES: u64 = 1 << 30;

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
pub(crate) type Object = (String, bool);

/// An object that was to be fetched: the file it is in, and its size.
type Received<'a> = (&'a Object, Result<(PathBuf, u64)>);

pub(crate) fn key(object: &Object) -> String {
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
        let mut size = Some(0);
        for item in self.targets(targets)? {
            let Some(id) = item.output.md5.filter(|_| item.output.is_cached) else { continue };
            size = size.zip(item.output.size).map(|(size, more)| size + more);
            let chosen = if id.ends_with(".dir") { &mut lists } else { &mut files };
            chosen.insert((id, item.output.is_legacy));
        }
        let lists: Vec<Object> = lists.into_iter().collect();
        let mut done = Transferred { remote: name, ..Transferred::default() };
        self.receive(&lists, remote, None, &mut done, watch)?;
        for list in &lists {
            let directory = self.cache.directory(&list.0, list.1)?.ok_or_else(|| self.not_in_cache(list))?;
            files.extend(directory.entries.into_iter().map(|entry| (entry.md5, list.1)));
        }
        let files: Vec<Object> = files.into_iter().collect();
        self.receive(&files, remote, size, &mut done, watch)?;
        Ok(done)
    }

    /// Checks objects, many at a time, and sends them: what is damaged is not handed on.
    fn send(&self, objects: &[Object], remote: &dyn Remote, watch: &Watch) -> Result<()> {
        let size = |object: &Object| fs::metadata(self.cache.path(&object.0, object.1)).map_or(0, |found| found.len());
        let step = watch.transfer("pushing", objects.len(), Some(objects.par_iter().map(size).sum()));
        let checking = watch.step("checking", objects.len());
        let pool = parallel(remote.width())?;
        for batch in objects.chunks(BATCH) {
            let paths: Vec<PathBuf> = batch.iter().map(|object| self.cache.path(&object.0, object.1)).collect();
            let size =
                |path: &PathBuf| fs::metadata(path).ok().filter(|found| found.is_file()).map(|found| found.len());
            let sizes: Vec<Option<u64>> = paths.par_iter().map(size).collect();
            if let Some(missing) = sizes.iter().position(Option::is_none) {
                return Err(self.not_in_cache(&batch[missing]));
            }
            let sources: Vec<Source> =
                paths.iter().zip(&sizes).map(|(path, size)| Source { path, size: size.unwrap_or_default() }).collect();
            let found = md5_of_files(&sources, &checking)?;
            for ((object, md5), path) in batch.iter().zip(found).zip(&paths) {
                if !is_content(&key(object), &md5) {
                    return Err(damaged(path));
                }
            }
            pool.install(|| {
                batch.par_iter().zip(&paths).try_for_each(|(object, path)| {
                    step.check()?;
                    remote.put(&key(object), path, &step)?;
                    step.advance();
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// Fetches what of the objects the cache does not have. `size`: of all of them, where known.
    pub(crate) fn receive(
        &self,
        objects: &[Object],
        remote: &dyn Remote,
        size: Option<u64>,
        done: &mut Transferred,
        watch: &Watch,
    ) -> Result<()> {
        let had: Result<Vec<bool>> =
            objects.par_iter().map(|object| self.cache.has(&object.0, object.1, watch)).collect();
        let missing: Vec<&Object> =
            objects.iter().zip(had?).filter(|(_, had)| !had).map(|(object, _)| object).collect();
        done.present += objects.len() - missing.len();
        let size = size.filter(|_| missing.len() == objects.len());
        let step = watch.transfer("fetching", missing.len(), size);
        let pool = parallel(remote.width())?;
        let next = AtomicUsize::new(0);
        // A batch ends after so many objects or bytes; what has arrived by then is checked, synced and kept while the next one arrives.
        let receive_batch = || {
            let (count, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
            let worker = |_| {
                let mut received = Vec::new();
                while count.fetch_add(1, Ordering::Relaxed) < BATCH && bytes.load(Ordering::Relaxed) < BATCH_BYTES {
                    let Some(object) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let one = self.receive_one(object, remote, &step);
                    if let Ok((_, size)) = &one {
                        bytes.fetch_add(*size, Ordering::Relaxed);
                    }
                    let is_over = one.is_err();
                    received.push((*object, one));
                    if is_over {
                        // The others need not begin anew.
                        next.fetch_max(missing.len(), Ordering::Relaxed);
                        break;
                    }
                    step.advance();
                }
                received
            };
            pool.install(|| (0..remote.width()).into_par_iter().flat_map_iter(worker).collect())
        };
        std::thread::scope(|scope| {
            let mut failure = None;
            let mut keeping = None;
            loop {
                let is_over = next.load(Ordering::Relaxed) >= missing.len();
                let received: Option<Vec<Received>> = (!is_over).then(&receive_batch);
                let kept = keeping.take().map(|keeping: std::thread::ScopedJoinHandle<Result<usize>>| keeping.join());
                match kept {
                    Some(Ok(Ok(count))) => done.moved += count,
                    Some(Ok(Err(error))) => {
                        failure.get_or_insert(error);
                        next.fetch_max(missing.len(), Ordering::Relaxed);
                    }
                    Some(Err(panic)) => std::panic::resume_unwind(panic),
                    None => {}
                }
                match received {
                    Some(received) => keeping = Some(scope.spawn(move || self.keep(received, remote))),
                    None => return failure.map_or(Ok(()), Err),
                }
            }
        })
    }

    fn receive_one(&self, object: &Object, remote: &dyn Remote, step: &Step) -> Result<(PathBuf, u64)> {
        step.check()?;
        let temporary = self.cache.temporary()?;
        let key = key(object);
        match remote.get(&key, &temporary, step) {
            Ok(size) => Ok((temporary, size)),
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                step.check()?;
                if remote.size(&key)?.is_none() {
                    let message = "the remote does not have it".to_owned();
                    let hint = "`yolo11 data push` or `dvc push` it from where the data is".to_owned();
                    return Err(Error::Remote { url: remote.url(&key), message, hint });
                }
                Err(error)
            }
        }
    }

    /// Gives what arrived whole its place, whatever became of the rest.
    fn keep(&self, received: Vec<Received>, remote: &dyn Remote) -> Result<usize> {
        let mut kept = 0;
        let mut failure = None;
        let mut arrived = Vec::new();
        for (object, result) in received {
            match result {
                Ok((path, size)) => arrived.push((object, path, size)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        if arrived.is_empty() {
            return failure.map_or(Ok(0), Err);
        }
        let sources: Vec<Source> = arrived.iter().map(|(_, path, size)| Source { path, size: *size }).collect();
        // Checked even where the rest is to stop: it would have to be fetched again.
        let never = Watch::none();
        let found = md5_of_files(&sources, &never.step("checking", sources.len()))?;
        self.cache.sync()?;
        for ((object, path, _), md5) in arrived.iter().zip(&found) {
            let expected = object.0.trim_end_matches(".dir");
            let is_right = md5 == expected || object.1 && crate::hash::legacy_md5_of_file(path)? == expected;
            if !is_right {
                let message = format!("the content has md5 {md5}, not that of its name");
                let hint =
                    "the object is damaged there: delete it, then push it again from where the data is".to_owned();
                failure.get_or_insert(Error::Remote { url: remote.url(&key(object)), message, hint });
                let _ = fs::remove_file(path);
                continue;
            }
            if object.1 {
                self.place_legacy(object, path)?
            } else {
                self.cache.place(&object.0, path)?
            }
            kept += 1;
        }
        failure.map_or(Ok(kept), Err)
    }

    fn place_legacy(&self, object: &Object, temporary: &std::path::Path) -> Result<()> {
        let path = self.cache.path(&object.0, true);
        crate::write::make_folder(path.parent().unwrap_or(&path))?;
        fs::rename(temporary, &path).map_err(Error::io("write", &path))?;
        crate::link::set_mode(&path, 0o444).map_err(Error::io("make read-only", &path))
    }

    /// Which of the objects the remote does not have, or has with another size than the cache: cut short, it is as good as none.
    fn absent(&self, objects: &[Object], remote: &dyn Remote, watch: &Watch) -> Result<Vec<Object>> {
        let step = watch.step("asking the remote", objects.len());
        let pool = parallel(remote.width())?;
        let has: Result<Vec<bool>> = pool.install(|| {
            let all = remote.sizes(objects.len(), watch)?;
            let one = |object: &Object| {
                step.check()?;
                let key = key(object);
                let there = match &all {
                    Some(all) if !object.1 => all.get(&key).copied(),
                    _ => remote.size(&key)?,
                };
                let here = fs::metadata(self.cache.path(&object.0, object.1)).ok().map(|found| found.len());
                step.advance();
                Ok(there.is_some() && (here.is_none() || here == there))
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

pub(crate) fn parallel(width: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(width).build();
    pool.map_err(|error| Error::refused(format!("no threads: {error}"), "raise the limit of processes (ulimit -u)"))
}
