//! Data taken in from an address, which the `.dvc` file remembers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::directory::{Directory, Entry};
use crate::elsewhere::fetch_objects;
use crate::hash::md5_of;
use crate::pointer::Pointer;
use crate::s3::{Listed, S3, download_once};
use crate::scalar::scalar;
use crate::{Added, Error, Repository, Result, Watch, write};

/// What was found at an address: the keys of the `.dvc` file's dependency that tell whether it changes.
struct Origin {
    /// `md5`, `etag` or `checksum`, and its value; a server may say nothing.
    mark: Option<(&'static str, String)>,
    size: u64,
    files: Option<usize>,
}

impl Repository {
    /// Copies what stands at an address (a path, `s3://` or `http(s)://`) here, tracks it, and records where it is from, as `dvc import-url` does.
    pub fn import_url(&self, url: &str, target: Option<&Path>, watch: &Watch) -> Result<Added> {
        let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let target = target.map_or_else(|| PathBuf::from(name), Path::to_owned);
        if fs::symlink_metadata(&target).is_ok() {
            let message = format!("`{}` is there already", target.display());
            return Err(Error::refused(message, "remove it, or name another place after the address"));
        }
        let path = self.absolute(&target)?;
        let folder = path.parent().unwrap_or(self.root());
        let whole = self.desk.join("import");
        let (origin, written) = match url.split_once("://") {
            None | Some(("file", _)) => {
                let local = Path::new(url.trim_start_matches("file://"));
                (self.copy_local(local, &whole, watch)?, relative(folder, local, url)?)
            }
            Some(("s3", place)) => (self.copy_bucket(place.trim_end_matches('/'), &whole, watch)?, url.to_owned()),
            Some(("http" | "https", _)) => {
                let (size, etag) = download_once(url, &whole, watch)?;
                crate::link::set_mode(&whole, 0o644).map_err(Error::io("write", &whole))?;
                (Origin { mark: etag.map(|etag| ("checksum", etag)), size, files: None }, url.to_owned())
            }
            Some((scheme, _)) => {
                let message = format!("`{scheme}://` is not supported");
                return Err(Error::refused(
                    message,
                    "paths, s3://, http:// and https:// are; for others use `dvc import-url`",
                ));
            }
        };
        fs::rename(&whole, &path).map_err(Error::io("write", &path))?;
        let added = self.add(std::slice::from_ref(&path), watch)?.pop();
        let Some(added) = added else { return Err(Error::refused("nothing was added", "check the address")) };
        let text = write::read_if_any(&added.pointer)?.unwrap_or_default();
        let mut pointer = Pointer::parse(&text, &added.pointer)?;
        let Some(output) = pointer.outputs.pop() else { return Ok(added) };
        let mut lines = Vec::new();
        let mut facts = serde_json::Map::from_iter([
            ("hash".to_owned(), "md5".into()),
            ("path".to_owned(), written.clone().into()),
        ]);
        if let Some((key, value)) = &origin.mark {
            lines.push(format!("{key}:{}", scalar(value, key.len() + 3)));
            facts.insert((*key).to_owned(), value.clone().into());
        }
        // A folder's list has its own size rules: those of its files.
        let size = if origin.files.is_some() { output.size.unwrap_or(origin.size) } else { origin.size };
        lines.push(format!("size: {size}"));
        lines.extend(origin.files.map(|files| format!("nfiles: {files}")));
        lines.push("hash: md5".to_owned());
        lines.push(format!("path:{}", scalar(&written, 7)));
        let made = serde_json::json!({ "hash": "md5", "md5": added.id, "path": output.path });
        let id = stage_md5(&serde_json::Value::Object(facts), &made);
        let head = format!("md5: {id}\nfrozen: true\ndeps:\n- {}\n", lines.join("\n  "));
        write::write(&added.pointer, format!("{head}{text}").as_bytes())?;
        Ok(added)
    }

    fn copy_local(&self, source: &Path, target: &Path, watch: &Watch) -> Result<Origin> {
        let content = self.content(self.find(source)?, false, watch)?;
        let Some(id) = content.id() else {
            return Err(Error::refused(format!("`{}` does not exist", source.display()), "check the path"));
        };
        let files = content.files();
        let is_folder = id.ends_with(".dir");
        for (file, _) in &files {
            watch.check()?;
            let place = if is_folder { target.join(&file.relative) } else { target.to_owned() };
            write::make_folder(place.parent().unwrap_or(target))?;
            let mode = if file.is_executable { 0o777 } else { 0o666 };
            crate::link::copy(&file.path, &place, mode).map_err(Error::io("copy", &file.path))?;
        }
        if is_folder {
            write::make_folder(target)?;
        }
        let size = files.iter().map(|(file, _)| file.stamp.size).sum();
        Ok(Origin { mark: Some(("md5", id)), size, files: is_folder.then_some(files.len()) })
    }

    fn copy_bucket(&self, place: &str, target: &Path, watch: &Watch) -> Result<Origin> {
        let (folder, name) = place.rsplit_once('/').unwrap_or((place, ""));
        let none = |_: &str| None;
        let above = S3::open(&format!("s3://{folder}"), folder, &none)?;
        if let Some(object) = above.head(name)?.filter(|_| !name.is_empty()) {
            let desk = self.desk.join("object");
            fetch_objects(&above, &[&object], &desk, watch)?;
            fs::rename(desk.join(name), target).map_err(Error::io("write", target))?;
            return Ok(Origin { mark: Some(("etag", object.etag)), size: object.size, files: None });
        }
        let store = S3::open(&format!("s3://{place}"), place, &none)?;
        let objects = store.list("", 0, watch)?;
        let objects: Vec<&Listed> =
            objects.iter().filter(|object| !object.key.is_empty() && !object.key.ends_with('/')).collect();
        if objects.is_empty() {
            let hint =
                "check the bucket and the key, and that AWS_ENDPOINT_URL and the credentials are those of the server";
            let message = "there is no such object".to_owned();
            return Err(Error::Remote { url: format!("s3://{place}"), message, hint: hint.to_owned() });
        }
        fetch_objects(&store, &objects, target, watch)?;
        // The list of a folder, with etags in place of md5s, is its mark.
        let entries = objects.iter().map(|object| Entry { path: object.key.clone(), md5: object.etag.clone() });
        let list = Directory::new(entries.collect()).render().replace("{\"md5\": \"", "{\"etag\": \"");
        let mark = Some(("md5", format!("{}.dir", md5_of(list.as_bytes()))));
        let size = objects.iter().map(|object| object.size).sum();
        Ok(Origin { mark, size, files: Some(objects.len()) })
    }
}

/// DVC's md5 of a stage: of the JSON, keys in order, of what it depends on and makes, sizes left out.
fn stage_md5(dependency: &serde_json::Value, output: &serde_json::Value) -> String {
    // Without the feature `preserve_order` the keys of a map are in order.
    let text = |value: &serde_json::Value| {
        let pairs =
            value.as_object().into_iter().flatten().map(|(key, value)| {
                format!("\"{key}\": {}", crate::directory::quoted(value.as_str().unwrap_or_default()))
            });
        let mut pairs: Vec<String> = pairs.collect();
        pairs.sort();
        format!("{{{}}}", pairs.join(", "))
    };
    md5_of(format!("{{\"deps\": [{}], \"outs\": [{}]}}", text(dependency), text(output)).as_bytes())
}

/// A path as the `.dvc` file keeps it: relative to its folder, unless it was given from the root.
fn relative(folder: &Path, path: &Path, given: &str) -> Result<String> {
    if Path::new(given).is_absolute() {
        return Ok(given.to_owned());
    }
    let path = path.canonicalize().map_err(Error::io("find", path))?;
    let shared = folder.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_owned(); folder.components().count() - shared];
    parts.extend(path.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned()));
    Ok(parts.join("/"))
}
