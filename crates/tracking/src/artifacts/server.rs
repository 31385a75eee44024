//! Artifacts that the tracking server takes in and passes on to where it keeps them.

use serde_json::{Value, json};

use super::{ArtifactStore, Source, Stored, encoded_path, open_file};
use crate::Error;
use crate::client::{Client, encoded};
use crate::http::{Content, Http};

/// Bytes above which a file goes in parts, straight to where the server keeps it, if that can take parts.
const MULTIPART: u64 = 500 << 20;

/// Bytes of a part.
const PART: u64 = 10 << 20;

/// The server's own store.
pub struct ServerStore {
    http: Http,
    /// Up to `/api/2.0/mlflow-artifacts`.
    service: String,
    /// Of the run or model, percent-encoded, without a slash at its ends.
    root: String,
    multipart: u64,
}

impl ServerStore {
    /// The store of a `mlflow-artifacts:` address.
    ///
    /// # Errors
    /// An address that names another host: credentials are not sent there.
    pub fn new(uri: &str, client: &Client) -> Result<Self, Error> {
        let rest = uri.strip_prefix("mlflow-artifacts:").unwrap_or(uri);
        // `mlflow-artifacts://host/path` names the server once more.
        let path = match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        };
        Ok(ServerStore {
            http: client.http().clone(),
            service: format!("{}/api/2.0/mlflow-artifacts", client.base()),
            root: encoded_path(path.trim_matches('/')),
            multipart: MULTIPART,
        })
    }

    /// Sends files above so many bytes in parts.
    pub fn with_multipart_above(mut self, bytes: u64) -> Self {
        self.multipart = bytes;
        self
    }

    fn url(&self, path: &str) -> String {
        format!("{}/artifacts/{}/{}", self.service, self.root, encoded_path(path))
    }

    /// Whether the file went in parts; a server whose store takes none answers so, and the file goes whole.
    fn put_in_parts(&self, path: &str, file: &std::path::Path, length: u64) -> Result<bool, Error> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let place = format!("{}/{}", self.root, encoded_path(folder));
        let call = |what: &str, body: &Value| {
            let url = format!("{}/mpu/{what}/{}", self.service, place.trim_matches('/'));
            self.http.send("POST", &url, Content::Json(body), &[])?.json()
        };
        let part = PART.max(length.div_ceil(10_000));
        let count = length.div_ceil(part);
        let begun = match call("create", &json!({"path": name, "num_parts": count})) {
            Err(error) if !error.is_passing() || matches!(error, Error::Status { status: 500, .. }) => {
                return Ok(false);
            }
            begun => begun?,
        };
        let upload = begun["upload_id"].clone();
        let sent = (|| {
            let mut parts = Vec::new();
            // Without credentials of ours: the addresses are signed, and may be another host's.
            let http = self.http.without_authorization();
            for credential in begun["credentials"].as_array().into_iter().flatten() {
                let number = credential["part_number"].as_u64().unwrap_or(1);
                let (mut source, _) = open_file(file)?;
                let start = (number - 1) * part;
                std::io::Seek::seek(&mut source, std::io::SeekFrom::Start(start))
                    .map_err(|error| Error::read(file, error))?;
                let url = credential["url"].as_str().unwrap_or_default();
                let answer = http.send("PUT", url, Content::File(&source, part.min(length - start)), &[])?;
                parts.push(json!({"part_number": number, "etag": answer.etag.unwrap_or_default(), "url": url}));
            }
            call("complete", &json!({"path": name, "upload_id": upload, "parts": parts}))
        })();
        if let Err(error) = sent {
            // What is left behind costs room; the next try begins anew.
            let _ = call("abort", &json!({"path": name, "upload_id": upload}));
            return Err(error);
        }
        Ok(true)
    }
}

impl ArtifactStore for ServerStore {
    fn put(&self, path: &str, source: Source) -> Result<(), Error> {
        match source {
            Source::Bytes(bytes) => self.http.send("PUT", &self.url(path), Content::Bytes(bytes), &[]).map(drop),
            Source::File(file) => {
                let (opened, length) = open_file(file)?;
                if length > self.multipart && self.put_in_parts(path, file, length)? {
                    return Ok(());
                }
                self.http.send("PUT", &self.url(path), Content::File(&opened, length), &[]).map(drop)
            }
        }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        Ok(self.http.send("GET", &self.url(path), Content::None, &[])?.bytes)
    }

    fn fetch(&self, path: &str, to: &std::path::Path) -> Result<(), Error> {
        let mut file = std::fs::File::create(to).map_err(|source| Error::write(to, source))?;
        self.http.download(&self.url(path), &mut file, to)
    }

    fn delete(&self, path: &str) -> Result<(), Error> {
        match self.http.send("DELETE", &self.url(path), Content::None, &[]) {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Stored>, Error> {
        let full = format!("{}/{}", self.root, encoded_path(folder));
        let path = crate::secret::percent_decoded(full.trim_matches('/'));
        let url = format!("{}/artifacts?path={}", self.service, encoded(&path));
        let answer = match self.http.send("GET", &url, Content::None, &[]) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            answer => answer?.json()?,
        };
        let mut found: Vec<Stored> = answer["files"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|file| {
                let name = file["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                let is_folder = file["is_dir"].as_bool().unwrap_or_default();
                Stored { path, size: (!is_folder).then(|| file["file_size"].as_u64().unwrap_or_default()) }
            })
            .collect();
        found.sort();
        Ok(found)
    }
}
