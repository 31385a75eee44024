//! Artifacts in an S3 bucket of any make: path style, signed by version 4. Clients talk to this server, which alone has the keys; parts of
//! large uploads go straight to the store, by addresses that are signed for one part each.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};
use url::Url;

use super::{ArtifactPath, Artifacts, Download, Entry, Part, PartAddress, Wanted, missing};
use crate::error::{ApiError, Code};

/// How long a signature holds: for this server's own requests and for parts that clients send.
const SIGNED: Duration = Duration::from_secs(3600);

/// Bytes above which an upload is sent in parts.
const IN_PARTS: u64 = 64 << 20;

/// Bytes of a part.
const PART: u64 = 32 << 20;

/// Bytes of an answer that is text.
const LONGEST_TEXT: u64 = 16 << 20;

/// A prefix in a bucket.
pub struct S3 {
    agent: Agent,
    bucket: Bucket,
    credentials: Option<Credentials>,
    prefix: String,
}

impl S3 {
    /// The store of an address `s3://bucket/prefix`. `variable` gives environment variables: `MLFLOW_S3_ENDPOINT_URL`,
    /// `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `MLFLOW_S3_IGNORE_TLS`.
    ///
    /// # Errors
    /// What is wrong with the address or a variable.
    pub fn new(uri: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<S3, String> {
        let rest = uri.strip_prefix("s3://").unwrap_or(uri);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("`{uri}` names no bucket: s3://BUCKET/PREFIX"));
        }
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let region = first(&["AWS_DEFAULT_REGION", "AWS_REGION"]).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = first(&["MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let url = endpoint.parse().map_err(|error| format!("MLFLOW_S3_ENDPOINT_URL: not an address ({error})"))?;
        let bucket =
            Bucket::new(url, UrlStyle::Path, bucket.to_owned(), region).map_err(|error| format!("{uri}: {error}"))?;
        let key = first(&["AWS_ACCESS_KEY_ID"]).zip(first(&["AWS_SECRET_ACCESS_KEY"]));
        let credentials = key.map(|(key, secret)| match first(&["AWS_SESSION_TOKEN"]) {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        });
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(first(&["MLFLOW_S3_IGNORE_TLS"]).is_some_and(|value| value == "true"))
            .build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(8)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .tls_config(tls)
            .build();
        Ok(S3 { agent: agent.into(), bucket, credentials, prefix: prefix.trim_matches('/').to_owned() })
    }

    fn key(&self, path: &ArtifactPath) -> String {
        let parts = [self.prefix.as_str(), path.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    fn lost(&self, problem: &dyn std::fmt::Display) -> ApiError {
        ApiError::unavailable(format!("the artifact store {} does not answer: {problem}", self.shown()))
    }

    /// Sends a request; an answer that is none of success becomes an error.
    fn send(
        &self,
        method: &str,
        url: &Url,
        range: Option<String>,
        body: SendBody<'_>,
        length: u64,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = ureq::http::Request::builder().method(method).uri(url.as_str());
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if matches!(method, "PUT" | "POST") {
            request = request.header("content-length", length);
        }
        let request = request.body(body).map_err(|error| self.lost(&error))?;
        let mut response = self.agent.run(request).map_err(|error| self.lost(&error))?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let text = response.body_mut().with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
        let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or_default();
        Err(match status {
            404 if code != "NoSuchBucket" => ApiError::missing("no such artifact"),
            416 => ApiError::new(Code::RangeNotSatisfiable, "the range asked for is not in the artifact"),
            _ => ApiError::unavailable(format!("the artifact store {} refuses: {status} {code}", self.shown())),
        })
    }

    fn text(&self, mut response: Response<Body>) -> Result<String, ApiError> {
        response.body_mut().with_config().limit(LONGEST_TEXT).read_to_string().map_err(|error| self.lost(&error))
    }

    fn put_in_parts(&self, key: &str, file: &mut File, length: u64) -> Result<(), ApiError> {
        let credentials = self.credentials.as_ref();
        let id = self.begin(key)?;
        let sent = (|| {
            let part = PART.max(length.div_ceil(10_000));
            let mut marks = Vec::new();
            for number in 0..length.div_ceil(part) {
                let size = part.min(length - number * part);
                let mut content = Read::take(&mut *file, size);
                let url = self.bucket.upload_part(credentials, key, number as u16 + 1, &id).sign(SIGNED);
                let answer = self.send("PUT", &url, None, SendBody::from_reader(&mut content), size)?;
                marks.push(mark_of(&answer).ok_or_else(|| self.lost(&"a part without an etag"))?);
            }
            self.join(key, &id, &marks)
        })();
        if sent.is_err() {
            let url = self.bucket.abort_multipart_upload(credentials, key, &id).sign(SIGNED);
            let _ = self.send("DELETE", &url, None, SendBody::none(), 0);
        }
        sent
    }

    fn begin(&self, key: &str) -> Result<String, ApiError> {
        let url = self.bucket.create_multipart_upload(self.credentials.as_ref(), key).sign(SIGNED);
        let answer = self.text(self.send("POST", &url, None, SendBody::none(), 0)?)?;
        let upload = CreateMultipartUpload::parse_response(&answer).map_err(|error| self.lost(&error))?;
        Ok(upload.upload_id().to_owned())
    }

    fn join(&self, key: &str, id: &str, marks: &[String]) -> Result<(), ApiError> {
        let marks = marks.iter().map(String::as_str);
        let action = self.bucket.complete_multipart_upload(self.credentials.as_ref(), key, id, marks);
        let url = action.sign(SIGNED);
        let body = action.body();
        let length = body.len() as u64;
        let answer = self.send("POST", &url, None, SendBody::from_reader(&mut body.as_bytes()), length)?;
        // A store may begin to answer well and fail while it joins the parts.
        match self.text(answer)?.contains("<Error>") {
            true => Err(ApiError::unavailable("the store could not join the parts")),
            false => Ok(()),
        }
    }

    /// What lies below a prefix: files with their sizes, folders without where `folders` is asked for, all files at any depth otherwise.
    fn below(&self, prefix: &str, folders: bool) -> Result<Vec<(String, Option<u64>)>, ApiError> {
        let (mut found, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut action = self.bucket.list_objects_v2(self.credentials.as_ref());
            action.with_prefix(prefix);
            if folders {
                action.with_delimiter("/");
            }
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let answer = self.text(self.send("GET", &action.sign(SIGNED), None, SendBody::none(), 0)?)?;
            let page = ListObjectsV2::parse_response(&answer).map_err(|error| self.lost(&error))?;
            found.extend(page.contents.iter().map(|file| (file.key.to_string(), Some(file.size.unwrap_or(0)))));
            found.extend(page.common_prefixes.iter().map(|folder| (folder.prefix.to_string(), None)));
            token = page.next_continuation_token.map(|token| token.to_string());
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

fn mark_of(response: &Response<Body>) -> Option<String> {
    Some(response.headers().get("etag")?.to_str().ok()?.to_owned())
}

impl Artifacts for S3 {
    fn stage(&self) -> Result<tempfile::NamedTempFile, ApiError> {
        tempfile::NamedTempFile::new()
            .map_err(|error| ApiError::unavailable(format!("no temporary file for the upload: {error}")))
    }

    fn put(&self, path: &ArtifactPath, staged: tempfile::NamedTempFile) -> Result<(), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("an artifact needs a name"));
        }
        let failed = |error: std::io::Error| ApiError::unavailable(format!("the upload cannot be read back: {error}"));
        let mut file = staged.reopen().map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let key = self.key(path);
        if length > IN_PARTS {
            return self.put_in_parts(&key, &mut file, length);
        }
        let url = self.bucket.put_object(self.credentials.as_ref(), &key).sign(SIGNED);
        self.send("PUT", &url, None, SendBody::from_reader(&mut file), length).map(drop)
    }

    fn get(&self, path: &ArtifactPath, wanted: Wanted) -> Result<Download, ApiError> {
        if path.is_root() {
            return Err(missing(path));
        }
        let range = match wanted {
            Wanted::All => None,
            Wanted::From(first, None) => Some(format!("bytes={first}-")),
            Wanted::From(first, Some(last)) => Some(format!("bytes={first}-{last}")),
            Wanted::Last(count) => Some(format!("bytes=-{count}")),
        };
        let url = self.bucket.get_object(self.credentials.as_ref(), &self.key(path)).sign(SIGNED);
        let response = self.send("GET", &url, range, SendBody::none(), 0).map_err(|error| match error.code {
            Code::ResourceDoesNotExist => missing(path),
            _ => error,
        })?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let size: Option<u64> = header("content-length").and_then(|text| text.parse().ok());
        // `bytes 2-4/10`
        let part = header("content-range").and_then(|text| {
            let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()? + 1, length.parse::<u64>().ok()?))
        });
        let mark = mark_of(&response).map(|mark| mark.trim_matches('"').to_owned());
        let (start, end, length) = match (part, size) {
            (Some(part), _) if response.status().as_u16() == 206 => part,
            (_, Some(size)) => (0, size, size),
            _ => return Err(self.lost(&"an artifact without a length")),
        };
        let mut content: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
        let mut range = start..end;
        if part.is_none() && wanted != Wanted::All {
            // The store gave all of it.
            range = wanted.of(length).ok_or_else(|| {
                ApiError::new(Code::RangeNotSatisfiable, "the range asked for is not in the artifact")
            })?;
            std::io::copy(&mut Read::take(&mut content, range.start), &mut std::io::sink())
                .map_err(|error| self.lost(&error))?;
            content = Box::new(content.take(range.end - range.start));
        }
        Ok(Download { length, range, mark, content })
    }

    fn list(&self, path: &ArtifactPath) -> Result<Vec<Entry>, ApiError> {
        let key = self.key(path);
        let prefix = if key.is_empty() { key } else { format!("{key}/") };
        let mut entries: Vec<Entry> = self
            .below(&prefix, true)?
            .into_iter()
            .map(|(key, size)| Entry {
                name: key.get(prefix.len()..).unwrap_or_default().trim_end_matches('/').to_owned(),
                size,
            })
            // Some stores keep an empty object for a folder itself.
            .filter(|entry| !entry.name.is_empty())
            .collect();
        entries.sort();
        Ok(entries)
    }

    fn delete(&self, path: &ArtifactPath) -> Result<(), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("the root of the artifacts cannot be deleted"));
        }
        let key = self.key(path);
        let mut keys: Vec<String> = self.below(&format!("{key}/"), false)?.into_iter().map(|(key, _)| key).collect();
        let itself = self.below(&key, false)?.into_iter().any(|(found, _)| found == key);
        if itself {
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(missing(path));
        }
        for key in keys {
            let url = self.bucket.delete_object(self.credentials.as_ref(), &key).sign(SIGNED);
            self.send("DELETE", &url, None, SendBody::none(), 0)?;
        }
        Ok(())
    }

    fn begin_parts(&self, path: &ArtifactPath, count: u64) -> Result<(String, Vec<PartAddress>), ApiError> {
        if path.is_root() {
            return Err(ApiError::invalid("an artifact needs a name"));
        }
        let key = self.key(path);
        let id = self.begin(&key)?;
        let address = |number: u64| {
            let url = self.bucket.upload_part(self.credentials.as_ref(), &key, number as u16, &id).sign(SIGNED);
            PartAddress::Store(url.to_string())
        };
        let addresses = (1..=count).map(address).collect();
        Ok((id, addresses))
    }

    fn put_part(&self, _: &str, _: u64, _: tempfile::NamedTempFile) -> Result<String, ApiError> {
        Err(ApiError::invalid("parts go to the store itself, to the addresses that were given"))
    }

    fn complete_parts(&self, path: &ArtifactPath, id: &str, parts: &[Part]) -> Result<(), ApiError> {
        if parts.iter().zip(1..).any(|(part, number)| part.number != number) {
            return Err(ApiError::invalid("the parts are not numbered from 1 without a gap"));
        }
        let marks: Vec<String> = parts.iter().map(|part| part.mark.clone()).collect();
        self.join(&self.key(path), id, &marks)
    }

    fn abort_parts(&self, path: &ArtifactPath, id: &str) -> Result<(), ApiError> {
        let url = self.bucket.abort_multipart_upload(self.credentials.as_ref(), &self.key(path), id).sign(SIGNED);
        self.send("DELETE", &url, None, SendBody::none(), 0).map(drop)
    }

    fn shown(&self) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.prefix).trim_end_matches('/').to_owned()
    }
}
