//! Data that stands elsewhere: in another repository at a revision, in an S3 bucket, at a web address.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rayon::prelude::*;

use crate::hash::md5_of;
use crate::ignored::Patterns;
use crate::intake::{Source, md5_of_files, waiting};
use crate::remote::{Folder, Remote};
use crate::repository::clean;
use crate::s3::{Listed, S3};
use crate::transfer::Transferred;
use crate::{Error, Repository, Result, Watch, write};

/// Where data stands, if not in a local folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `REPOSITORY@REVISION:PATH`: a path in a git repository, which may be DVC's.
    Repository {
        /// What `git clone` takes.
        url: String,
        /// A branch, tag or commit.
        revision: String,
        /// Below the repository's root.
        path: String,
    },
    /// `s3://bucket/key`.
    S3 {
        /// `bucket/key`.
        place: String,
    },
}

impl Address {
    /// Reads an address; nothing where it is a local path.
    pub fn parse(text: &str) -> Option<Address> {
        if let Some(place) = text.strip_prefix("s3://") {
            return Some(Address::S3 { place: place.trim_end_matches('/').to_owned() });
        }
        let (left, path) = text.rsplit_once(':')?;
        let (url, revision) = left.rsplit_once('@')?;
        let is_whole = !url.is_empty() && !revision.is_empty() && !path.is_empty() && !revision.contains(['/', ':']);
        // A revision may hold slashes only where the address before it is one for sure.
        let is_whole = is_whole || !revision.is_empty() && !path.is_empty() && url.contains("://");
        (is_whole && !Path::new(text).exists()).then(|| Address::Repository {
            url: url.to_owned(),
            revision: revision.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Data that has been fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where it is now.
    pub path: PathBuf,
    /// The commit it is from.
    pub revision: Option<String>,
    /// The content's id where DVC tracks it, else of what has been fetched.
    pub digest: Option<String>,
    /// Files that were fetched or written for it; none where all was there.
    pub fetched: usize,
}

/// Fetches what a data set's description stands for into a cache folder, unless it is there: the description, and the folder it lies in.
pub fn fetch_once(address: &Address, cache: &Path, watch: &Watch) -> Result<Fetched> {
    match address {
        Address::S3 { place } => fetch_bucket(place, cache, watch),
        Address::Repository { url, revision, path } => {
            let clone = Clone::of(url, Some(revision), cache)?;
            // A description belongs to its folder.
            let is_description = path.ends_with(".yaml") || path.ends_with(".yml");
            let folder =
                Path::new(path).parent().map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
            let wanted = if is_description { folder.as_str() } else { path.as_str() };
            let target = cache.join("data").join(format!("{}-{}", clone.commit, &md5_of(url.as_bytes())[..8]));
            let place = target.join(wanted);
            let done = target.join(format!(".complete-{}", md5_of(wanted.as_bytes())));
            let missing = |there: &Path| {
                let message = format!("{} has no `{path}` at commit {}", hidden(url), &clone.commit[..10]);
                (!there.exists()).then(|| Error::refused(message, "check the path and the revision"))
            };
            let path = target.join(path);
            if let Some(digest) = write::read_if_any(&done)? {
                let digest = Some(digest).filter(|digest| !digest.is_empty());
                missing(&path).map_or(Ok(()), Err)?;
                return Ok(Fetched { path, revision: Some(clone.commit), digest, fetched: 0 });
            }
            let (fetched, digest) = clone.copy(wanted, &place, &cache.join("objects"), watch)?;
            write::write(&done, digest.clone().unwrap_or_default().as_bytes())?;
            missing(&path).map_or(Ok(()), Err)?;
            Ok(Fetched { path, revision: Some(clone.commit), digest, fetched })
        }
    }
}

/// Puts a path of another repository, at a revision or as its main branch has it, here.
pub fn get(url: &str, path: &str, revision: Option<&str>, target: &Path, watch: &Watch) -> Result<Fetched> {
    if fs::symlink_metadata(target).is_ok() {
        let message = format!("`{}` is there already", target.display());
        return Err(Error::refused(message, "remove it, or name another place with --out"));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    write::make_folder(folder)?;
    let desk = folder.join(format!(".yolo11-get-{}", std::process::id()));
    let done = (|| {
        let clone = Clone::of(url, revision, &desk)?;
        let whole = desk.join("whole");
        let (fetched, digest) = clone.copy(path, &whole, &desk.join("objects"), watch)?;
        fs::rename(&whole, target).map_err(Error::io("write", target))?;
        Ok(Fetched { path: target.to_owned(), revision: Some(clone.commit), digest, fetched })
    })();
    let _ = fs::remove_dir_all(&desk);
    done
}

/// A repository of git, cloned, at a revision.
struct Clone {
    folder: PathBuf,
    commit: String,
    /// The repository itself, where it is on this machine.
    original: Option<PathBuf>,
}

impl Clone {
    fn of(url: &str, revision: Option<&str>, cache: &Path) -> Result<Clone> {
        // git runs in that folder, and is told of places in it.
        let cache = &std::path::absolute(cache).map_err(Error::io("open", cache))?;
        let local = Path::new(url.strip_prefix("file://").unwrap_or(url));
        let original = local.is_dir().then(|| local.canonicalize()).transpose().map_err(Error::io("open", local))?;
        let address = original.as_ref().map_or_else(|| url.to_owned(), |path| path.to_string_lossy().into_owned());
        let folder = cache.join("repositories").join(md5_of(address.as_bytes()));
        if !folder.join(".git").exists() {
            write::make_folder(&cache.join("repositories"))?;
            let temporary = folder.with_extension(std::process::id().to_string());
            let words = ["clone", "--quiet", "--no-checkout", "--", &address];
            let cloned = git(&words, Some(&temporary), cache, url);
            if cloned.is_err() {
                let _ = fs::remove_dir_all(&temporary);
            }
            cloned?;
            fs::rename(&temporary, &folder).map_err(Error::io("write", &folder))?;
        }
        let find =
            |name: &str| git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")], None, &folder, url);
        let wanted = revision.unwrap_or("HEAD");
        let is_commit = wanted.len() == 40 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A commit never changes; a branch or tag does, and is asked for anew.
        if !(is_commit && find(wanted).is_ok()) {
            let words =
                ["fetch", "--quiet", "--tags", "--force", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*"];
            let fetched = git(&words, None, &folder, url);
            if fetched.is_err() && find(wanted).is_err() && find(&format!("origin/{wanted}")).is_err() {
                fetched?;
            }
        }
        let names = match revision {
            Some(revision) => vec![format!("origin/{revision}"), revision.to_owned()],
            None => vec!["origin/HEAD".to_owned(), "HEAD".to_owned()],
        };
        let found = names.iter().filter(|name| !name.starts_with('-')).find_map(|name| find(name).ok());
        let Some(commit) = found else {
            let message = format!("{url} has no revision `{wanted}`");
            return Err(Error::refused(message, "name a branch, tag or commit that it has"));
        };
        let commit = commit.trim().to_owned();
        git(&["checkout", "--quiet", "--force", "--detach", &commit], None, &folder, url)?;
        Ok(Clone { folder, commit, original })
    }

    /// Copies a path: what git has, and what DVC tracks at it, below it or above it. Returns the files, and the id of what is tracked.
    fn copy(&self, path: &str, target: &Path, objects: &Path, watch: &Watch) -> Result<(usize, Option<String>)> {
        let wanted = clean(&self.folder.join(path));
        if !wanted.starts_with(&self.folder) {
            return Err(Error::refused(format!("`{path}` leads out of the repository"), "name a path inside it"));
        }
        let mut files: BTreeMap<PathBuf, From> = BTreeMap::new();
        let mut digests = Vec::new();
        let roots = [&wanted, &self.folder];
        let root = roots.into_iter().flat_map(|place| place.ancestors()).find(|place| place.join(".dvc").is_dir());
        let root = root.filter(|root| root.starts_with(&self.folder));
        if fs::symlink_metadata(&wanted).is_ok_and(|metadata| metadata.is_file()) || self.leads_to_a_file(&wanted) {
            files.insert(wanted.clone(), From::Git);
        } else if fs::symlink_metadata(&wanted).is_ok_and(|metadata| metadata.is_dir()) {
            let patterns = Patterns::dvc(root.unwrap_or(&self.folder), wanted.parent().unwrap_or(&wanted))?;
            self.plain_files(&wanted, &patterns, &mut files)?;
        }
        let repository = match root {
            Some(root) => Some(Repository::open_with_cache(root, objects, self.original_of(root).as_deref())?),
            None => None,
        };
        if let Some(repository) = &repository {
            for item in repository.tracked()? {
                let Some(id) = item.output.md5.clone() else { continue };
                let covers = wanted.starts_with(&item.path) || item.path.starts_with(&wanted);
                if !covers {
                    continue;
                }
                let place = |path: PathBuf| (path == wanted || path.starts_with(&wanted)).then_some(path);
                if item.output.is_directory() {
                    self.fetch(repository, &[(id.clone(), item.output.is_legacy)], watch)?;
                    let directory = repository.cache.directory(&id, item.output.is_legacy)?.unwrap_or_default();
                    for entry in directory.entries {
                        let Some(path) = place(item.path.join(&entry.path)) else { continue };
                        files.insert(path, From::Object { id: entry.md5, is_legacy: item.output.is_legacy });
                    }
                } else if let Some(path) = place(item.path.clone()) {
                    files.insert(path, From::Object { id: id.clone(), is_legacy: item.output.is_legacy });
                }
                digests.push(id);
            }
        }
        if files.is_empty() {
            let message = format!("`{path}` is neither in git nor tracked by DVC at {}", &self.commit[..10]);
            return Err(Error::refused(message, "check the path and the revision"));
        }
        if let Some(repository) = &repository {
            let mut needed: Vec<(String, bool)> = files
                .values()
                .filter_map(|from| {
                    if let From::Object { id, is_legacy } = from { Some((id.clone(), *is_legacy)) } else { None }
                })
                .collect();
            needed.sort();
            needed.dedup();
            self.fetch(repository, &needed, watch)?;
        }
        let step = watch.step("copying", files.len());
        let put = |(path, from): (&PathBuf, &From)| {
            step.check()?;
            let relative = path.strip_prefix(&wanted).unwrap_or(Path::new(""));
            let place = if relative.as_os_str().is_empty() { target.to_owned() } else { target.join(relative) };
            write::make_folder(place.parent().unwrap_or(Path::new(".")))?;
            // What was left of a fetch that was stopped is written anew.
            let _ = fs::remove_file(&place);
            let source = match (from, &repository) {
                (From::Object { id, is_legacy }, Some(repository)) => repository.cache.path(id, *is_legacy),
                _ => path.clone(),
            };
            crate::link::copy(&source, &place, 0o666).map_err(Error::io("write", &place))?;
            step.advance();
            Ok(())
        };
        waiting(|| files.par_iter().try_for_each(put))?;
        let digest = match digests.len() {
            0 | 1 => digests.pop(),
            _ => Some(md5_of(digests.join("\n").as_bytes())),
        };
        Ok((files.len(), digest))
    }

    /// What git has in a folder, as `dvc get` takes it: without what DVC keeps its records in, and without what `.dvcignore` names.
    fn plain_files(&self, folder: &Path, patterns: &Patterns, files: &mut BTreeMap<PathBuf, From>) -> Result<()> {
        let patterns = patterns.enter(folder)?;
        for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
            let path = entry.map_err(Error::io("list", folder))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(Error::io("read", &path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_record = matches!(&*name, ".git" | ".dvc" | ".dvcignore" | "dvc.yaml")
                || metadata.is_file() && name.ends_with(".dvc");
            if is_record || patterns.ignore(&path, metadata.is_dir()) {
                continue;
            }
            if metadata.is_dir() {
                self.plain_files(&path, &patterns, files)?;
            } else if metadata.is_file() || self.leads_to_a_file(&path) {
                files.insert(path, From::Git);
            }
        }
        Ok(())
    }

    /// Whether a link leads to a file that git has; it could lead anywhere.
    fn leads_to_a_file(&self, link: &Path) -> bool {
        let (Ok(target), Ok(folder)) = (link.canonicalize(), self.folder.canonicalize()) else { return false };
        let below = target.strip_prefix(folder).ok();
        target.is_file() && below.is_some_and(|below| !below.iter().any(|part| part == ".git" || part == ".dvc"))
    }

    /// The same place in the repository on this machine.
    fn original_of(&self, root: &Path) -> Option<PathBuf> {
        let original = self.original.as_ref()?.join(root.strip_prefix(&self.folder).ok()?);
        original.join(".dvc").is_dir().then_some(original)
    }

    /// From the cache of the repository on this machine, else from its remote.
    fn fetch(&self, repository: &Repository, objects: &[(String, bool)], watch: &Watch) -> Result<()> {
        let mut done = Transferred::default();
        if let Some(original) = self.original_of(repository.root()) {
            let config = crate::Config::load(&original.join(".dvc"))?;
            let root = match config.get_with_file("cache", "dir") {
                Some((folder, base)) => base.join(folder),
                None => original.join(".dvc").join("cache"),
            };
            let near = Folder { root };
            let there: Vec<(String, bool)> = objects
                .iter()
                .filter(|object| near.size(&crate::transfer::key(object)).is_ok_and(|size| size.is_some()))
                .cloned()
                .collect();
            // What is damaged there may be whole on the remote.
            let _ = repository.receive(&there, &near, None, &mut done, watch);
            watch.check()?;
        }
        let has: Result<Vec<bool>> =
            objects.par_iter().map(|object| repository.cache.has(&object.0, object.1, watch)).collect();
        let missing: Vec<(String, bool)> =
            objects.iter().zip(has?).filter(|(_, has)| !has).map(|(object, _)| object.clone()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (_, remote) = repository.remote(None)?;
        repository.receive(&missing, remote.as_ref(), None, &mut done, watch)
    }
}

/// Where a file's bytes are.
enum From {
    Git,
    Object { id: String, is_legacy: bool },
}

fn git(words: &[&str], last: Option<&Path>, folder: &Path, url: &str) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(words).args(last).stdin(Stdio::null()).env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::refused("the program `git` is needed", "install git"),
        _ => Error::io("run git in", folder)(error),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = format!("git: {}", said.lines().next_back().unwrap_or("no answer"));
    Err(Error::Remote { url: hidden(url), message, hint: "check the address and your right to read it".to_owned() })
}

/// Without user and password.
fn hidden(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => url.to_owned(),
    }
}

/// The folder of a description in a bucket, kept beside a list of what was fetched; only what has changed is fetched again.
fn fetch_bucket(place: &str, cache: &Path, watch: &Watch) -> Result<Fetched> {
    let (folder, name) = place.rsplit_once('/').unwrap_or((place, ""));
    let target = cache.join("s3").join(&md5_of(folder.as_bytes())[..16]);
    let store = S3::open(&format!("s3://{folder}"), folder, &|_| None)?;
    let list = target.join(".complete");
    let known = write::read_if_any(&list)?;
    let found = match (store.list("", 0, watch), &known) {
        (Ok(found), _) => found,
        // Without a connection, what was fetched is still what it was.
        (Err(_), Some(known)) => {
            let digest = Some(md5_of(known.as_bytes()));
            return Ok(Fetched { path: target.join(name), revision: None, digest, fetched: 0 });
        }
        (Err(error), None) => return Err(error),
    };
    let objects: Vec<&Listed> =
        found.iter().filter(|object| !object.key.is_empty() && !object.key.ends_with('/')).collect();
    if !objects.iter().any(|object| object.key == name) {
        let hint =
            "check the bucket and the key, and that AWS_ENDPOINT_URL and the credentials are those of the server";
        return Err(Error::Remote {
            url: format!("s3://{place}"),
            message: "there is no such object".into(),
            hint: hint.into(),
        });
    }
    let line = |object: &Listed| format!("{}\t{}\t{}\n", object.etag, object.size, object.key);
    let now: String = objects.iter().map(|object| line(object)).collect();
    let before: std::collections::HashSet<&str> = known.as_deref().unwrap_or_default().split_inclusive('\n').collect();
    let missing: Vec<&Listed> = objects
        .into_iter()
        .filter(|object| {
            let there = fs::metadata(target.join(&object.key)).is_ok_and(|found| found.len() == object.size);
            !(there && before.contains(line(object).as_str()))
        })
        .collect();
    let fetched = missing.len();
    fetch_objects(&store, &missing, &target, watch)?;
    write::write(&list, now.as_bytes())?;
    Ok(Fetched { path: target.join(name), revision: None, digest: Some(md5_of(now.as_bytes())), fetched })
}

/// Objects of a bucket into a folder, checked against size and, where it is an md5, etag.
pub(crate) fn fetch_objects(store: &S3, objects: &[&Listed], target: &Path, watch: &Watch) -> Result<()> {
    let size = objects.iter().map(|object| object.size).sum();
    let step = watch.transfer("fetching", objects.len(), Some(size));
    let one = |object: &&Listed| {
        step.check()?;
        let is_inside = object.key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_inside {
            let message = "the key leads out of the folder".to_owned();
            return Err(Error::Remote { url: store.url(&object.key), message, hint: "rename the object there".into() });
        }
        let path = target.join(&object.key);
        let folder = path.parent().unwrap_or(target);
        write::make_folder(folder)?;
        let temporary = folder.join(format!(".{}.tmp", md5_of(object.key.as_bytes())));
        let size = store.get(&object.key, &temporary, &step)?;
        let source = Source { path: &temporary, size };
        let quiet = Watch::none();
        let md5 = md5_of_files(&[source], &quiet.step("checking", 1))?.pop().unwrap_or_default();
        let has_md5 = object.etag.len() == 32 && object.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if size != object.size || has_md5 && md5 != object.etag {
            let _ = fs::remove_file(&temporary);
            let message = format!("{size} bytes of md5 {md5} arrived, not the {} of the listing", object.size);
            let hint = "run it again; if it stays, the object is damaged there".to_owned();
            return Err(Error::Remote { url: store.url(&object.key), message, hint });
        }
        crate::link::set_mode(&temporary, 0o644).map_err(Error::io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(Error::io("write", &path))?;
        step.advance();
        Ok(())
    };
    crate::transfer::parallel(store.width())?.install(|| objects.par_iter().try_for_each(one))
}
