//! A remote in an S3 bucket, at Amazon or any other endpoint, addressed in path style.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use crate::intake::new_read_only;
use crate::remote::Remote;
use crate::watch::Step;
use crate::{Error, Result, Watch};

/// How long a signature holds.
const SIGNED: Duration = Duration::from_secs(3600);
/// How often a request is tried where the fault may pass.
const ATTEMPTS: u32 = 4;
/// Objects moved at a time: most of a small object's time is waiting.
const WIDTH: usize = 32;
/// Larger objects go in parts of this size, or so large that [`MOST_PARTS`] do; one request may send 5 GiB at most.
const PART: u64 = 64 << 20;
/// S3 takes 10,000.
const MOST_PARTS: u64 = 9_000;
/// Parts of one object that are sent at a time.
const PARTS_WIDTH: usize = 4;

/// A bucket, a prefix in it, and who asks.
pub(crate) struct S3 {
    agent: Agent,
    bucket: Bucket,
    prefix: String,
    credentials: Option<Credentials>,
    /// Where keys would be set.
    keys: String,
}

/// Why a request failed, and whether it may succeed later.
struct Fault {
    message: String,
    passes: bool,
}

impl S3 {
    /// Opens `bucket/prefix` with DVC's settings of that remote; keys not given there come from the environment or `~/.aws/credentials`.
    pub fn open(name: &str, place: &str, setting: &dyn Fn(&str) -> Option<String>) -> Result<S3> {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let region = setting("region").or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = setting("endpointurl").or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let wrong =
            |why: String| Error::refused(format!("remote `{name}`: {why}"), "`yolo11 data remote modify` changes it");
        let url = endpoint.parse().map_err(|error| wrong(format!("endpointurl `{endpoint}`: {error}")))?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), region);
        let bucket = bucket.map_err(|error| wrong(format!("s3://{place}: {error}")))?;
        let is_off = |key: &str| setting(key).is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let agent = agent(is_off("ssl_verify"));
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        // An address without a remote takes its keys from the environment alone.
        let keys = match name.starts_with("s3://") {
            true => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, hold them".to_owned(),
            false => format!("`yolo11 data remote modify --local {name} secret_access_key …` sets them"),
        };
        Ok(S3 { agent, bucket, prefix, credentials: credentials(setting), keys })
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Tries until it works, the fault will not pass, or it has been tried often enough.
    fn attempt<T>(
        &self,
        key: &str,
        watch: Option<&Watch>,
        work: impl Fn() -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let mut attempt = 1;
        loop {
            if let Some(watch) = watch {
                watch.check()?;
            }
            match work() {
                Ok(value) => return Ok(value),
                Err(fault) if fault.passes && attempt < ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(200 << attempt));
                    attempt += 1;
                }
                Err(fault) => {
                    let hint = match &self.credentials {
                        _ if fault.passes => {
                            "check the endpoint and the network, then run the same command again; what is done is kept"
                                .to_owned()
                        }
                        Some(_) => format!("check the bucket's name and the credentials; {}", self.keys),
                        None => format!("no credentials are set; {}", self.keys),
                    };
                    return Err(Error::Remote { url: self.url(key), message: fault.message, hint });
                }
            }
        }
    }
}

/// An object as a listing has it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Below the prefix.
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
}

impl S3 {
    /// Size and etag of an object; nothing where there is none.
    pub fn head(&self, key: &str) -> Result<Option<Listed>> {
        let name = self.name(key);
        self.attempt(key, None, || {
            let url = self.bucket.head_object(self.credentials.as_ref(), &name).sign(SIGNED);
            let response = self.agent.head(url.as_str()).call().map_err(Fault::from)?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            match response.status().as_u16() {
                200..300 => {
                    let size = header("content-length").and_then(|size| size.parse().ok()).unwrap_or_default();
                    let etag = header("etag").unwrap_or_default().trim_matches('"').to_owned();
                    Ok(Some(Listed { key: key.to_owned(), size, etag }))
                }
                404 => Ok(None),
                status => Err(Fault::of(status, "")),
            }
        })
    }

    /// The objects whose keys begin so, in their order; `most` of them or, with 0, all.
    pub fn list(&self, start: &str, most: usize, watch: &Watch) -> Result<Vec<Listed>> {
        let prefix = self.name(start);
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.attempt(start, Some(watch), || {
                let mut action = self.bucket.list_objects_v2(self.credentials.as_ref());
                action.with_prefix(prefix.as_str());
                if let Some(token) = &token {
                    action.with_continuation_token(token.as_str());
                }
                if most > 0 {
                    action.with_max_keys(most.min(1000));
                }
                let url = action.sign(SIGNED);
                let mut response = self.agent.get(url.as_str()).call().map_err(Fault::from)?;
                let status = response.status().as_u16();
                let text = response.body_mut().read_to_string().map_err(Fault::from)?;
                if !(200..300).contains(&status) {
                    return Err(Fault::of(status, &text));
                }
                ListObjectsV2::parse_response(&text)
                    .map_err(|error| Fault { message: format!("the listing cannot be read: {error}"), passes: false })
            })?;
            for object in page.contents {
                let Some(key) = object.key.strip_prefix(&self.prefix) else { continue };
                let etag = object.etag.unwrap_or_default().trim_matches('"').to_owned();
                found.push(Listed { key: key.to_owned(), size: object.size.unwrap_or_default(), etag });
            }
            token = page.next_continuation_token.filter(|_| most == 0);
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    fn send(&self, key: &str, url: &str, file: &Path, range: Range<u64>, step: &Step) -> Result<String> {
        self.attempt(key, Some(step.watch()), || {
            let local = |error: std::io::Error| Fault { message: error.to_string(), passes: false };
            let mut source = File::open(file).map_err(local)?;
            source.seek(SeekFrom::Start(range.start)).map_err(local)?;
            let length = range.end - range.start;
            let mut body = Counted { source: source.take(length), step, count: 0 };
            let request = self.agent.put(url).header("content-length", length.to_string());
            let sent = request.send(SendBody::from_reader(&mut body)).map_err(Fault::from).and_then(|mut response| {
                let text = response.body_mut().read_to_string().unwrap_or_default();
                let status = response.status().as_u16();
                if (200..300).contains(&status) { Ok(response) } else { Err(Fault::of(status, &text)) }
            });
            let response = sent.inspect_err(|_| step.lost(body.count))?;
            let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
            Ok(etag.unwrap_or_default().to_owned())
        })
    }

    fn post(&self, key: &str, url: &str, body: &str, watch: &Watch) -> Result<String> {
        self.attempt(key, Some(watch), || {
            let mut response = self.agent.post(url).send(body).map_err(Fault::from)?;
            let status = response.status().as_u16();
            let text = response.body_mut().read_to_string().map_err(Fault::from)?;
            // The end of an upload may fail after its status has been sent.
            if (200..300).contains(&status) && !text.contains("<Error>") {
                Ok(text)
            } else {
                Err(Fault::of(status, &text))
            }
        })
    }

    /// Parts first, then the word that they are one object: until then there is none.
    fn send_in_parts(&self, key: &str, file: &Path, length: u64, step: &Step) -> Result<()> {
        let watch = step.watch();
        let name = self.name(key);
        let credentials = self.credentials.as_ref();
        let url = self.bucket.create_multipart_upload(credentials, &name).sign(SIGNED);
        let answer = self.post(key, url.as_str(), "", watch)?;
        let upload = CreateMultipartUpload::parse_response(&answer).map_err(|error| Error::Remote {
            url: self.url(key),
            message: format!("the server's answer cannot be read: {error}"),
            hint: "check that endpointurl is that of an S3 server".to_owned(),
        })?;
        let upload = upload.upload_id();
        let parts = parts(length);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut sent = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = parts.get(index) else { return Ok(sent) };
                let number = u16::try_from(index + 1).unwrap_or(u16::MAX);
                let url = self.bucket.upload_part(credentials, &name, number, upload).sign(SIGNED);
                sent.push((index, self.send(key, url.as_str(), file, range.clone(), step)?));
            }
        };
        let sent: Result<Vec<Vec<(usize, String)>>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARTS_WIDTH.min(parts.len())).map(|_| scope.spawn(work)).collect();
            let stopped = |_| Err(Error::Stopped);
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(stopped)).collect()
        });
        let finished = sent.and_then(|sent| {
            let mut sent: Vec<(usize, String)> = sent.into_iter().flatten().collect();
            sent.sort();
            let etags: Vec<&str> = sent.iter().map(|(_, etag)| etag.as_str()).collect();
            let action = self.bucket.complete_multipart_upload(credentials, &name, upload, etags.into_iter());
            let url = action.sign(SIGNED);
            self.post(key, url.as_str(), &action.body(), watch).map(|_| ())
        });
        if finished.is_err() {
            // Parts that belong to nothing cost money; that they cannot be removed is told by nobody better than the first fault.
            let url = self.bucket.abort_multipart_upload(credentials, &name, upload).sign(SIGNED);
            let _ = self.agent.delete(url.as_str()).call();
        }
        finished
    }
}

impl Remote for S3 {
    fn url(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.name(key))
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.head(key)?.map(|object| object.size))
    }

    fn sizes(&self, count: usize, watch: &Watch) -> Result<Option<HashMap<String, u64>>> {
        // The share of one of 256 like folders says how many objects there are, and so whether lists or questions are fewer.
        const FEW: usize = 256;
        if count < FEW {
            return Ok(None);
        }
        let sample = self.list("files/md5/00/", 1000, watch)?.len();
        if sample * 256 / 1000 + FEW > count {
            return Ok(None);
        }
        let lists: Result<Vec<Vec<Listed>>> = match sample {
            // Few or none: a page or two hold them all.
            0 => self.list("files/md5/", 0, watch).map(|all| vec![all]),
            _ => (0..256).into_par_iter().map(|head| self.list(&format!("files/md5/{head:02x}/"), 0, watch)).collect(),
        };
        Ok(Some(lists?.into_iter().flatten().map(|object| (object.key, object.size)).collect()))
    }

    fn put(&self, key: &str, file: &Path, step: &Step) -> Result<()> {
        let length = file.metadata().map_err(Error::io("read", file))?.len();
        if length > PART {
            return self.send_in_parts(key, file, length, step);
        }
        let url = self.bucket.put_object(self.credentials.as_ref(), &self.name(key)).sign(SIGNED);
        self.send(key, url.as_str(), file, 0..length, step).map(|_| ())
    }

    fn get(&self, key: &str, file: &Path, step: &Step) -> Result<u64> {
        let name = self.name(key);
        self.attempt(key, Some(step.watch()), || {
            let url = self.bucket.get_object(self.credentials.as_ref(), &name).sign(SIGNED);
            download(&self.agent, url.as_str(), file, step).map(|(size, _)| size)
        })
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// What a web address holds, into a new file. Returns its size, and the etag as the server writes it.
pub(crate) fn download_once(url: &str, file: &Path, watch: &Watch) -> Result<(u64, Option<String>)> {
    let agent = agent(false);
    let mut attempt = 1;
    let step = watch.transfer("fetching", 1, None);
    loop {
        match download(&agent, url, file, &step) {
            Ok(found) => return Ok(found),
            Err(fault) if fault.passes && attempt < ATTEMPTS => {
                watch.check()?;
                std::thread::sleep(Duration::from_millis(200 << attempt));
                attempt += 1;
            }
            Err(fault) => {
                watch.check()?;
                let hint = "check the address and the network, then run it again".to_owned();
                return Err(Error::Remote { url: url.to_owned(), message: fault.message, hint });
            }
        }
    }
}

/// What an address holds, into a new file. Returns how many bytes arrived, no fewer than the server said there are, and the etag.
fn download(agent: &Agent, url: &str, file: &Path, step: &Step) -> std::result::Result<(u64, Option<String>), Fault> {
    let mut response = agent.get(url).call().map_err(Fault::from)?;
    let status = response.status().as_u16();
    if !(200..300).contains(&status) {
        let text = response.body_mut().read_to_string().unwrap_or_default();
        return Err(Fault::of(status, &text));
    }
    let said = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let local = |error: String| Fault { message: error, passes: false };
    let mut target = new_read_only(file).map_err(|error| local(error.to_string()))?;
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; (256 * 1024).min(said.map_or(usize::MAX, |said| said as usize + 1))];
    let (mut arrived, mut held) = (0, 0);
    let mut receive = || loop {
        step.check().map_err(|error| local(error.to_string()))?;
        let count =
            body.read(&mut buffer[held..]).map_err(|error| Fault { message: error.to_string(), passes: true })?;
        arrived += count as u64;
        held += count;
        step.moved(count as u64);
        // Pieces come as the network cuts them; files are better written in larger ones.
        if count == 0 || held == buffer.len() {
            target.write_all(&buffer[..held]).map_err(|error| local(error.to_string()))?;
            held = 0;
        }
        if count == 0 {
            return Ok(());
        }
    };
    let received = receive().and_then(|()| match said.filter(|&said| said != arrived) {
        Some(said) => Err(Fault { message: format!("{arrived} of {said} bytes arrived"), passes: true }),
        None => Ok((arrived, etag)),
    });
    received.inspect_err(|_| {
        step.lost(arrived);
        // The next attempt begins anew.
        let _ = std::fs::remove_file(file);
    })
}

/// Bytes on their way out, counted.
struct Counted<'a> {
    source: std::io::Take<File>,
    step: &'a Step<'a>,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        self.step.moved(count as u64);
        Ok(count)
    }
}

/// How a large object is cut: parts of [`PART`], or so much larger that no more than [`MOST_PARTS`] are needed.
fn parts(length: u64) -> Vec<Range<u64>> {
    let size = PART.max(length.div_ceil(MOST_PARTS));
    (0..length.div_ceil(size)).map(|index| index * size..((index + 1) * size).min(length)).collect()
}

impl From<ureq::Error> for Fault {
    fn from(error: ureq::Error) -> Fault {
        Fault { message: error.to_string(), passes: true }
    }
}

impl Fault {
    /// What a server's refusal says: the status, and the code in its XML.
    fn of(status: u16, text: &str) -> Fault {
        let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next());
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        Fault { message: format!("the server answers {status}{code}"), passes: status >= 500 || status == 429 }
    }
}

/// Connections that are kept open, with the system's certificates.
pub(crate) fn agent(trusts_all: bool) -> Agent {
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::PlatformVerifier)
        .disable_verification(trusts_all)
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections_per_host(WIDTH)
        .max_idle_connections(WIDTH)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(120)))
        .tls_config(tls)
        .build();
    config.into()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// From the remote's settings, else the environment, else the profile in the credentials file; none for public buckets.
fn credentials(setting: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    let make = |key: String, secret: String, token: Option<String>| match token {
        Some(token) => Credentials::new_with_token(key, secret, token),
        None => Credentials::new(key, secret),
    };
    if let (Some(key), Some(secret)) = (setting("access_key_id"), setting("secret_access_key")) {
        return Some(make(key, secret, setting("session_token")));
    }
    let profile = setting("profile");
    if profile.is_none()
        && let (Some(key), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
    {
        return Some(make(key, secret, variable("AWS_SESSION_TOKEN")));
    }
    let profile = profile.or_else(|| variable("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    let path = setting("credentialpath").map(Into::into);
    let path = path.or_else(|| std::env::home_dir().map(|home| home.join(".aws").join("credentials")))?;
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().map(str::trim).skip_while(|line| *line != format!("[{profile}]")).skip(1);
    let lines: Vec<_> =
        lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('=')).collect();
    let value = |key: &str| lines.iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
    Some(make(value("aws_access_key_id")?, value("aws_secret_access_key")?, value("aws_session_token")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What S3 takes: parts from 5 MiB (but the last) to 5 GiB, 10,000 of them.
    #[test]
    fn objects_up_to_the_largest_are_cut_as_s3_takes_them() {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        for (length, count, size) in [
            (PART + 1, 2, PART),
            (5 * GIB + 1, 81, PART),
            (MOST_PARTS * PART, 9000, PART),
            (MOST_PARTS * PART + 1, 9000, PART + 1),
            (5 * 1024 * GIB, 9000, 610_839_794),
        ] {
            let parts = parts(length);
            assert_eq!((parts.len(), parts[0].end), (count, size), "{length}");
            assert!((5 * MIB..=5 * GIB).contains(&parts[0].end), "{length}");
            let mut end = 0;
            for part in &parts {
                assert_eq!(part.start, end, "{length}");
                assert!(part.end > part.start && part.end - part.start <= size, "{length}");
                end = part.end;
            }
            assert_eq!(end, length);
        }
    }
}
