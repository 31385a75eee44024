//! One HTTP connection pool with the spec's TLS, time limits and authentication; answers as bytes or errors.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

use crate::secret::Redactor;
use crate::{Environment, Error};

/// Longest answer that is taken in as text.
const LONGEST_TEXT: u64 = 256 << 20;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Which service is spoken to: they differ in who they are authenticated by and whose certificates are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The tracking server.
    Tracking,
    /// An S3 store; its requests are signed by the caller.
    Store,
}

/// Sends requests.
#[derive(Clone)]
pub struct Http {
    agent: Agent,
    authorization: Option<String>,
    redactor: Redactor,
    timeout: Duration,
}

/// What a request carries.
pub enum Content<'a> {
    /// Nothing.
    None,
    /// JSON.
    Json(&'a Value),
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes of a file from its current position.
    File(&'a File, u64),
}

impl Http {
    /// For a service, as the environment says.
    ///
    /// # Errors
    /// A certificate file that cannot be read.
    pub fn new(environment: &Environment, service: Service) -> Result<Self, Error> {
        let tracking = service == Service::Tracking;
        let timeout = environment.timeout();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(concat!("yolo11/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls(environment, service)?)
            .timeout_connect(Some(CONNECT.min(timeout)))
            // Not over the whole call: large files take their time, a silent server does not.
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(Some(timeout.max(Duration::from_secs(600))))
            .timeout_per_write(Some(timeout))
            .max_idle_connections_per_host(16)
            .build();
        Ok(Http {
            agent: config.new_agent(),
            authorization: if tracking { authorization(environment) } else { None },
            redactor: Redactor::of(environment),
            timeout,
        })
    }

    /// The same without our name and password: for addresses that are signed.
    pub fn without_authorization(&self) -> Self {
        Http { authorization: None, ..self.clone() }
    }

    /// Sends a request and takes its answer in.
    ///
    /// # Errors
    /// [`Error::Unreachable`] without a complete answer, [`Error::Status`] for 400 and above.
    pub fn send(&self, method: &str, url: &str, content: Content, headers: &[(&str, &str)]) -> Result<Answer, Error> {
        let response = self.open(method, url, content, headers)?;
        let etag = header(&response, "etag");
        let bytes = response.into_body().with_config().limit(LONGEST_TEXT).read_to_vec();
        let bytes = bytes.map_err(|error| self.broke_off(url, &error))?;
        Ok(Answer { bytes, etag, url: shown(url) })
    }

    /// Gets what an address holds, of any length, and writes it on.
    ///
    /// # Errors
    /// As [`Http::send`]; `target` names the file that cannot be written.
    pub fn download(&self, url: &str, to: &mut dyn std::io::Write, target: &Path) -> Result<(), Error> {
        let mut reader =
            self.open("GET", url, Content::None, &[])?.into_body().into_with_config().limit(u64::MAX).reader();
        let mut block = vec![0; 1 << 16];
        loop {
            let count = std::io::Read::read(&mut reader, &mut block);
            let count = count.map_err(|error| self.broke_off(url, &ureq::Error::Io(error)))?;
            if count == 0 {
                return Ok(());
            }
            to.write_all(&block[..count]).map_err(|source| Error::write(target, source))?;
        }
    }

    fn unreachable(&self, url: &str, reason: &str) -> Error {
        Error::Unreachable { url: shown(url), reason: self.redactor.redact(reason) }
    }

    fn broke_off(&self, url: &str, error: &ureq::Error) -> Error {
        self.unreachable(url, &format!("the answer broke off: {}", reason(error, self.timeout)))
    }

    /// Sends a request; its answer is still to be read.
    fn open(
        &self,
        method: &str,
        url: &str,
        content: Content,
        headers: &[(&str, &str)],
    ) -> Result<Response<Body>, Error> {
        let shown = shown(url);
        let mut request = Request::builder().method(method).uri(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bad = |error: ureq::http::Error| Error::Address {
            uri: shown.clone(),
            problem: format!("not an address that can be called ({error})"),
            hint: "correct MLFLOW_TRACKING_URI or MLFLOW_S3_ENDPOINT_URL",
        };
        let response = match content {
            Content::None => self.agent.run(request.body(()).map_err(bad)?),
            Content::Json(value) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(value.to_string()).map_err(bad)?)
            }
            Content::Bytes(bytes) => self.agent.run(request.body(bytes).map_err(bad)?),
            Content::File(file, length) => {
                let mut reader = std::io::Read::take(file, length);
                let request = request.header("content-length", length);
                self.agent.run(request.body(SendBody::from_reader(&mut reader)).map_err(bad)?)
            }
        };
        let response = response.map_err(|error| self.unreachable(url, &reason(&error, self.timeout)))?;
        let retry_after = header(&response, "retry-after").and_then(|text| text.trim().parse::<f64>().ok());
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let bytes = response.into_body().with_config().limit(LONGEST_TEXT).read_to_vec();
        let bytes = bytes.map_err(|error| self.broke_off(url, &error))?;
        let (code, message) = complaint(&bytes);
        let retry_after = retry_after.filter(|seconds| *seconds >= 0.0 && seconds.is_finite());
        Err(Error::Status {
            url: shown,
            status,
            code,
            message: self.redactor.redact(&message),
            retry_after: retry_after.map(|seconds| Duration::from_secs_f64(seconds.min(86_400.0))),
        })
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// Its body.
    pub bytes: Vec<u8>,
    /// The store's mark for the content.
    pub etag: Option<String>,
    url: String,
}

impl Answer {
    /// The body as JSON. An empty one counts as `{}`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where it is none: whoever answered is not the server, or only half of it.
    pub fn json(&self) -> Result<Value, Error> {
        if self.bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(Default::default()));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| Error::Unreachable {
            url: self.url.clone(),
            reason: format!("the answer is no JSON ({error})"),
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// An address as it may be shown: the query holds signatures.
fn shown(url: &str) -> String {
    let (url, _) = crate::secret::split_credentials(url);
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// What an error's body says: MLflow's JSON, S3's XML, or the first line of anything else.
fn complaint(bytes: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(65_536)]);
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = if part("message").is_empty() { part("detail") } else { part("message") };
        return (part("error_code"), one_line(&message));
    }
    let element = |name: &str| {
        let (_, after) = text.split_once(&format!("<{name}>"))?;
        Some(after.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    if let Some(code) = element("Code") {
        return (code, one_line(&element("Message").unwrap_or_default()));
    }
    let title = element("title");
    (String::new(), one_line(title.as_deref().unwrap_or(text.trim())))
}

fn one_line(text: &str) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let mut text = text.join(" ");
    if text.chars().count() > 300 {
        text = text.chars().take(300).collect::<String>() + "…";
    }
    if text.is_empty() { "the server gives no reason".to_owned() } else { text }
}

fn reason(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection in time".to_owned(),
        ureq::Error::Timeout(_) => format!("nothing came within {} s", timeout.as_secs_f64()),
        ureq::Error::HostNotFound => "the host's name cannot be resolved".to_owned(),
        ureq::Error::Io(error) => one_line(&error.to_string()),
        other => one_line(&other.to_string()),
    }
}

/// Basic authentication wins over a token, as with MLflow's own client.
fn authorization(environment: &Environment) -> Option<String> {
    let uri = environment.get("MLFLOW_TRACKING_URI").unwrap_or_default();
    let in_uri = crate::secret::split_credentials(uri).1;
    let user = environment.get("MLFLOW_TRACKING_USERNAME").map(str::to_owned);
    let password = environment.get("MLFLOW_TRACKING_PASSWORD").unwrap_or_default().to_owned();
    let pair = user.map(|user| (user, password)).or(in_uri);
    if let Some((user, password)) = pair {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        return Some(format!("Basic {text}"));
    }
    environment.get("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}"))
}

fn tls(environment: &Environment, service: Service) -> Result<TlsConfig, Error> {
    let (insecure, authority) = match service {
        Service::Tracking => ("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
        Service::Store => ("MLFLOW_S3_IGNORE_TLS", "AWS_CA_BUNDLE"),
    };
    let mut config = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .disable_verification(environment.is_on(insecure))
        .root_certs(RootCerts::PlatformVerifier);
    if let Some(path) = environment.get(authority) {
        let certificates: Vec<_> = certificates(Path::new(path))?.0;
        config = config.root_certs(RootCerts::new_with_certs(&certificates));
    }
    if let Some(path) = environment.get("MLFLOW_TRACKING_CLIENT_CERT_PATH").filter(|_| service == Service::Tracking) {
        let (chain, key) = certificates(Path::new(path))?;
        let Some(key) = key else {
            return Err(bad_pem(path.as_ref(), "it holds no private key"));
        };
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(config.build())
}

fn certificates(path: &Path) -> Result<(Vec<Certificate<'static>>, Option<PrivateKey<'static>>), Error> {
    let pem = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let (mut chain, mut key) = (Vec::new(), None);
    for item in parse_pem(&pem) {
        match item.map_err(|error| bad_pem(path, &error.to_string()))? {
            PemItem::Certificate(certificate) => chain.push(certificate),
            PemItem::PrivateKey(found) => key = Some(found),
            _ => {}
        }
    }
    if chain.is_empty() {
        return Err(bad_pem(path, "it holds no certificate"));
    }
    Ok((chain, key))
}

fn bad_pem(path: &Path, problem: &str) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        problem: format!("not a PEM file of certificates: {problem}"),
        hint: "it begins with -----BEGIN CERTIFICATE-----; a client's file holds its private key as well",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found_in_every_form() {
        let json = br#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 'x'\nnot found"}"#;
        assert_eq!(complaint(json), ("RESOURCE_DOES_NOT_EXIST".to_owned(), "Run 'x' not found".to_owned()));
        let xml = b"<?xml?><Error><Code>NoSuchBucket</Code><Message>no bucket</Message></Error>";
        assert_eq!(complaint(xml), ("NoSuchBucket".to_owned(), "no bucket".to_owned()));
        let html = b"<html><head><title>502 Bad Gateway</title></head>";
        assert_eq!(complaint(html), (String::new(), "502 Bad Gateway".to_owned()));
        assert_eq!(complaint(b""), (String::new(), "the server gives no reason".to_owned()));
        assert_eq!(shown("http://a:b@h/x?X-Amz-Signature=1"), "http://h/x");
    }

    #[test]
    fn basic_wins_over_bearer() {
        let of = |pairs: &[(&str, &str)]| authorization(&Environment::from_pairs(pairs.iter().copied()));
        assert_eq!(of(&[("MLFLOW_TRACKING_TOKEN", "t")]).as_deref(), Some("Bearer t"));
        let both =
            [("MLFLOW_TRACKING_TOKEN", "t"), ("MLFLOW_TRACKING_USERNAME", "ann"), ("MLFLOW_TRACKING_PASSWORD", "p")];
        assert_eq!(of(&both).as_deref(), Some("Basic YW5uOnA="));
        assert_eq!(of(&[("MLFLOW_TRACKING_URI", "http://ann:p@h")]).as_deref(), Some("Basic YW5uOnA="));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_certificate_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "no certificate").unwrap();
        let environment = Environment::from_pairs([("MLFLOW_TRACKING_SERVER_CERT_PATH", path.display().to_string())]);
        let text = Http::new(&environment, Service::Tracking).err().unwrap().to_string();
        assert!(
            text.starts_with(&format!("{}: not a PEM file of certificates: it holds no", path.display())),
            "{text}"
        );
    }
}
