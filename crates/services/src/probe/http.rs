//! One HTTP request, and what its failure means.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

use super::{Fault, LIMIT};

/// The most of an answer that is read, in bytes.
const MOST: u64 = 64 * 1024;
/// Clocks that differ by more than this, in seconds, are a fault: half of what S3 forgives.
const MOST_SKEW: i64 = 450;

/// How to trust a server that speaks TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file of certificates (PEM) to trust instead of the system's.
    pub authority: Option<String>,
    /// Trust anything.
    pub insecure: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The body's beginning, as text.
    pub body: String,
    /// The server's clock less ours, in seconds, where the answer says it.
    pub skew: Option<i64>,
}

impl Answer {
    /// The clocks' difference, where it is a fault.
    pub fn clock_fault(&self, url: &url::Url) -> Option<Fault> {
        let seconds = self.skew.filter(|seconds| seconds.abs() > MOST_SKEW)?;
        Some(Fault::ClockSkew { address: address(url), seconds: Some(seconds) })
    }

    /// The status and the beginning of the first line, for a fault that has no name.
    pub fn summary(&self) -> String {
        let line: String = self.body.lines().next().unwrap_or_default().trim().chars().take(160).collect();
        if line.is_empty() { format!("status {}", self.status) } else { format!("status {}: {line}", self.status) }
    }
}

/// Sends requests with one idea of trust.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

impl Client {
    /// A client that trusts as told. Errors: the file of certificates cannot be read.
    pub fn new(trust: &Trust) -> Result<Client, Fault> {
        let roots = match &trust.authority {
            Some(path) => RootCerts::new_with_certs(&certificates(path)?),
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(roots)
            .disable_verification(trust.insecure)
            .build();
        // A proxy is for the world outside; these services are near.
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("yolo11/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client { agent: config.into() })
    }

    /// Sends a request without a body. Errors: no answer came, by what prevented it.
    pub fn send(&self, method: &str, url: &url::Url, headers: &[(&str, &str)]) -> Result<Answer, Fault> {
        self.send_body(method, url, headers, "")
    }

    /// Sends a request. Errors: no answer came, by what prevented it.
    pub fn send_body(
        &self,
        method: &str,
        url: &url::Url,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Fault> {
        let uri: Uri =
            url.as_str().parse().map_err(|_| Fault::Other(format!("{} is no address for HTTP", address(url))))?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let told = |error: ureq::Error| fault(&error, url);
        let answer = if body.is_empty() && method != "PUT" && method != "POST" {
            let request = request.body(()).map_err(|error| told(error.into()))?;
            self.agent.run(request).map_err(told)?
        } else {
            let request = request.body(body.to_owned()).map_err(|error| told(error.into()))?;
            self.agent.run(request).map_err(told)?
        };
        read(answer, url)
    }
}

fn read(answer: ureq::http::Response<Body>, url: &url::Url) -> Result<Answer, Fault> {
    let status = answer.status().as_u16();
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let skew = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(seconds_from_now);
    let mut body = Vec::new();
    let read = answer.into_body().into_reader().take(MOST).read_to_end(&mut body);
    read.map_err(|error| Fault::Other(format!("{} broke off its answer: {error}", address(url))))?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), skew })
}

/// A time less now, in seconds.
fn seconds_from_now(time: SystemTime) -> i64 {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::now()) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// Host and port: all of an address that may be shown, as user, password and signature may stand in the rest.
pub fn address(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn fault(error: &ureq::Error, url: &url::Url) -> Fault {
    let address = address(url);
    match error {
        ureq::Error::HostNotFound => Fault::NoHost { host: url.host_str().unwrap_or("?").to_owned() },
        ureq::Error::ConnectionFailed => Fault::Refused { address },
        ureq::Error::Timeout(_) => Fault::Timeout { address },
        ureq::Error::Io(error) => io_fault(error, address),
        ureq::Error::Rustls(error) => Fault::Tls { detail: format!("{address}: {error}") },
        ureq::Error::Tls(detail) => Fault::Tls { detail: format!("{address}: {detail}") },
        ureq::Error::Pem(error) => Fault::Tls { detail: error.to_string() },
        ureq::Error::Protocol(error) => Fault::Other(format!("{address} does not speak HTTP: {error}")),
        _ => Fault::Other(format!("{address} gave no answer that can be read")),
    }
}

/// What an input or output error on the way to a server means.
pub(super) fn io_fault(error: &io::Error, address: String) -> Fault {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        let words = match error {
            rustls::Error::InvalidMessage(_) => {
                "the server does not speak TLS here; is it http:// instead of https://?"
            }
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
                "the certificate is of an authority that this machine does not know"
            }
            _ => return Fault::Tls { detail: format!("{address}: {error}") },
        };
        return Fault::Tls { detail: format!("{address}: {words}") };
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Refused { address },
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Fault::Timeout { address },
        _ => Fault::Other(format!("{address}: {error}")),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate<'static>>, Fault> {
    let unreadable = |why: String| Fault::Tls { detail: format!("certificates in `{path}`: {why}") };
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unreadable(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(unreadable("there are none".to_owned())) } else { Ok(found) }
}
