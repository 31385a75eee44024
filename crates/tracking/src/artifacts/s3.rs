//! Artifacts straight in an S3 store of any make: path style, signed by version 4, large files in parts. No call of one maker's own.

use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::{ArtifactStore, Source, Stored, open_file};
use crate::http::{Content, Http, Service};
use crate::{Environment, Error};

/// Bytes above which a file goes in parts.
const MULTIPART: u64 = 64 << 20;

/// Bytes of a part; the least that stores take is 5 MiB.
const PART: u64 = 16 << 20;

/// How long a signature holds.
const VALID: Duration = Duration::from_secs(3600);

/// A prefix in a bucket.
pub struct S3Store {
    http: Http,
    bucket: Bucket,
    credentials: Option<Credentials>,
    prefix: String,
    multipart: u64,
}

impl S3Store {
    /// The store of an `s3://bucket/prefix` address; endpoint, region and keys from the environment.
    ///
    /// # Errors
    /// An address without a bucket, or an endpoint that is none.
    pub fn new(uri: &str, environment: &Environment) -> Result<Self, Error> {
        let rest = uri.strip_prefix("s3://").unwrap_or(uri);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let region = environment.first(&["AWS_DEFAULT_REGION", "AWS_REGION"]).unwrap_or("us-east-1").to_owned();
        let own = environment.first(&["MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let endpoint = own.map_or_else(|| format!("https://s3.{region}.amazonaws.com"), str::to_owned);
        let bad = |problem: String| Error::Address {
            uri: crate::secret::mask_addresses(&endpoint),
            problem,
            hint: "MLFLOW_S3_ENDPOINT_URL names the store, for example http://127.0.0.1:9000",
        };
        let url = endpoint.parse().map_err(|error| bad(format!("not an address ({error})")))?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), region)
            .map_err(|error| bad(format!("cannot be used with {uri} ({error})")))?;
        let key = environment.get("AWS_ACCESS_KEY_ID").zip(environment.get("AWS_SECRET_ACCESS_KEY"));
        let credentials = key.map(|(key, secret)| match environment.get("AWS_SESSION_TOKEN") {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        });
        Ok(S3Store {
            http: Http::new(environment, Service::Store)?,
            bucket,
            credentials,
            prefix: prefix.trim_matches('/').to_owned(),
            multipart: MULTIPART,
        })
    }

    /// Sends files above so many bytes in parts.
    pub fn with_multipart_above(mut self, bytes: u64) -> Self {
        self.multipart = bytes;
        self
    }

    fn key(&self, path: &str) -> String {
        let parts = [self.prefix.as_str(), path.trim_matches('/')];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    fn put_in_parts(&self, key: &str, file: &Path, length: u64) -> Result<(), Error> {
        let credentials = self.credentials.as_ref();
        let create = self.bucket.create_multipart_upload(credentials, key);
        let answer = self.http.send("POST", create.sign(VALID).as_str(), Content::Bytes(&[]), &[])?;
        let upload = CreateMultipartUpload::parse_response(&answer.text()).map_err(|error| self.garbled(&error))?;
        let sent = (|| {
            let part = PART.max(length.div_ceil(10_000));
            let mut etags = Vec::new();
            for number in 0..length.div_ceil(part) {
                let (mut source, _) = open_file(file)?;
                source.seek(SeekFrom::Start(number * part)).map_err(|error| Error::read(file, error))?;
                let action = self.bucket.upload_part(credentials, key, number as u16 + 1, upload.upload_id());
                let content = Content::File(&source, part.min(length - number * part));
                let answer = self.http.send("PUT", action.sign(VALID).as_str(), content, &[])?;
                etags.push(answer.etag.ok_or_else(|| self.garbled(&"a part without an etag"))?);
            }
            let etags = etags.iter().map(String::as_str);
            let action = self.bucket.complete_multipart_upload(credentials, key, upload.upload_id(), etags);
            let url = action.sign(VALID);
            let answer = self.http.send("POST", url.as_str(), Content::Bytes(action.body().as_bytes()), &[])?;
            // A store may begin to answer well and fail while it joins the parts.
            if answer.text().contains("<Error>") { Err(self.garbled(&"the parts could not be joined")) } else { Ok(()) }
        })();
        if sent.is_err() {
            let action = self.bucket.abort_multipart_upload(credentials, key, upload.upload_id());
            let _ = self.http.send("DELETE", action.sign(VALID).as_str(), Content::None, &[]);
        }
        sent
    }

    fn garbled(&self, problem: &dyn std::fmt::Display) -> Error {
        Error::Unreachable {
            url: format!("s3://{}", self.bucket.name()),
            reason: format!("not S3's answer: {problem}"),
        }
    }
}

impl ArtifactStore for S3Store {
    fn put(&self, path: &str, source: Source) -> Result<(), Error> {
        let key = self.key(path);
        let url = || self.bucket.put_object(self.credentials.as_ref(), &key).sign(VALID);
        match source {
            Source::Bytes(bytes) => self.http.send("PUT", url().as_str(), Content::Bytes(bytes), &[]).map(drop),
            Source::File(file) => {
                let (opened, length) = open_file(file)?;
                if length > self.multipart {
                    return self.put_in_parts(&key, file, length);
                }
                self.http.send("PUT", url().as_str(), Content::File(&opened, length), &[]).map(drop)
            }
        }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let key = self.key(path);
        let url = self.bucket.get_object(self.credentials.as_ref(), &key).sign(VALID);
        Ok(self.http.send("GET", url.as_str(), Content::None, &[])?.bytes)
    }

    fn fetch(&self, path: &str, to: &Path) -> Result<(), Error> {
        let key = self.key(path);
        let url = self.bucket.get_object(self.credentials.as_ref(), &key).sign(VALID);
        let mut file = std::fs::File::create(to).map_err(|source| Error::write(to, source))?;
        self.http.download(url.as_str(), &mut file, to)
    }

    fn delete(&self, path: &str) -> Result<(), Error> {
        let below = super::walk(self, path)?;
        for path in below.iter().map(|(path, _)| path.as_str()).chain([path]) {
            let key = self.key(path);
            let url = self.bucket.delete_object(self.credentials.as_ref(), &key).sign(VALID);
            match self.http.send("DELETE", url.as_str(), Content::None, &[]) {
                Err(error) if !error.is_missing() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<Stored>, Error> {
        let key = self.key(folder);
        let prefix = if key.is_empty() { key } else { format!("{key}/") };
        let root = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let (mut found, mut token) = (Vec::new(), None::<String>);
        let below = |key: &str| key.get(root..).unwrap_or_default().trim_end_matches('/').to_owned();
        loop {
            let mut action = self.bucket.list_objects_v2(self.credentials.as_ref());
            action.with_prefix(prefix.as_str());
            action.with_delimiter("/");
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let answer = self.http.send("GET", action.sign(VALID).as_str(), Content::None, &[])?;
            let page = ListObjectsV2::parse_response(&answer.text()).map_err(|error| self.garbled(&error))?;
            found.extend(page.contents.iter().map(|file| Stored { path: below(&file.key), size: file.size }));
            found.extend(page.common_prefixes.iter().map(|place| Stored { path: below(&place.prefix), size: None }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        // Some stores keep an empty object for a folder itself.
        found.retain(|stored| !stored.path.is_empty() && stored.path != folder);
        found.sort();
        Ok(found)
    }
}
