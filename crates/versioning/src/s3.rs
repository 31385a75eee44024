//! A remote in an S3 bucket, at Amazon or any other endpoint, addressed in path style.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::hash::md5_of_file;
use crate::remote::{Remote, damaged, is_content};
use crate::{Error, Result, Watch};

/// How long a signature holds.
const SIGNED: Duration = Duration::from_secs(3600);
/// How often a request is tried where the fault may pass.
const ATTEMPTS: u32 = 4;
/// Objects moved at a time: most of a small object's time is waiting.
const WIDTH: usize = 32;
/// The largest object that one request may send.
const LARGEST: u64 = 5 << 30;

/// A bucket, a prefix in it, and who asks.
pub(crate) struct S3 {
    agent: Agent,
    bucket: Bucket,
    prefix: String,
    credentials: Option<Credentials>,
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
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(is_off("ssl_verify"))
            .build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(WIDTH)
            .max_idle_connections(WIDTH)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            .tls_config(tls)
            .build();
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(S3 { agent: agent.into(), bucket, prefix, credentials: credentials(setting) })
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
                    let hint = if fault.passes {
                        "check the endpoint and the network, then run the same command again; what is done is kept"
                    } else {
                        "check the bucket's name and the credentials; `yolo11 data remote modify --local NAME secret_access_key …` sets them"
                    };
                    return Err(Error::Remote { url: self.url(key), message: fault.message, hint: hint.to_owned() });
                }
            }
        }
    }
}

impl Remote for S3 {
    fn url(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.name(key))
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn has(&self, key: &str) -> Result<bool> {
        let name = self.name(key);
        self.attempt(key, None, || {
            let url = self.bucket.head_object(self.credentials.as_ref(), &name).sign(SIGNED);
            let response = self.agent.head(url.as_str()).call().map_err(Fault::from)?;
            match response.status().as_u16() {
                200..300 => Ok(true),
                404 => Ok(false),
                status => Err(Fault::of(status, "")),
            }
        })
    }

    fn put(&self, key: &str, file: &Path, watch: &Watch) -> Result<()> {
        let name = self.name(key);
        let length = file.metadata().map_err(Error::io("read", file))?.len();
        if length > LARGEST {
            let message = format!("`{}` has {length} bytes; one request may send {LARGEST}", file.display());
            return Err(Error::refused(message, "push this one with `dvc push`, or split the file"));
        }
        // A damaged object must not be handed on.
        if !is_content(key, &md5_of_file(file, watch)?) {
            return Err(damaged(file));
        }
        self.attempt(key, Some(watch), || {
            let url = self.bucket.put_object(self.credentials.as_ref(), &name).sign(SIGNED);
            let body = File::open(file).map_err(|error| Fault { message: error.to_string(), passes: false })?;
            let request = self.agent.put(url.as_str()).header("content-length", length.to_string());
            let mut response = request.send(&body).map_err(Fault::from)?;
            let status = response.status().as_u16();
            let text = response.body_mut().read_to_string().unwrap_or_default();
            if (200..300).contains(&status) { Ok(()) } else { Err(Fault::of(status, &text)) }
        })
    }

    fn get(&self, key: &str, file: &Path, watch: &Watch) -> Result<String> {
        let name = self.name(key);
        self.attempt(key, Some(watch), || {
            let url = self.bucket.get_object(self.credentials.as_ref(), &name).sign(SIGNED);
            let mut response = self.agent.get(url.as_str()).call().map_err(Fault::from)?;
            let status = response.status().as_u16();
            if !(200..300).contains(&status) {
                let text = response.body_mut().read_to_string().unwrap_or_default();
                return Err(Fault::of(status, &text));
            }
            let local = |error: std::io::Error| Fault { message: error.to_string(), passes: false };
            let mut target = File::create(file).map_err(local)?;
            let mut body = response.body_mut().as_reader();
            let mut digest = Md5::new();
            let mut buffer = vec![0; 128 * 1024];
            loop {
                let stopped = |error: Error| Fault { message: error.to_string(), passes: false };
                watch.check().map_err(stopped)?;
                let count =
                    body.read(&mut buffer).map_err(|error| Fault { message: error.to_string(), passes: true })?;
                if count == 0 {
                    return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
                }
                digest.update(&buffer[..count]);
                target.write_all(&buffer[..count]).map_err(local)?;
            }
        })
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
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
