//! Who may ask: names under which this server is asked, pages from which, and as whom.
//!
//! Three things are kept out. Another site's page that has its own name resolve to this machine (DNS rebinding): the header `Host` must
//! name this server. Another site's page that sends a form or a script's request (CSRF): a write whose `Origin` or `Sec-Fetch-Site` is
//! another's is refused. And, where the server listens for others than this machine, everybody who has no token or password.

use std::net::IpAddr;

use axum::http::Method;
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;

use crate::auth::Auth;
use crate::error::{ApiError, Code};

/// Addresses that answer without a login: they tell nothing.
const OPEN: [&str; 2] = ["/health", "/version"];

/// What is checked of each request.
pub(crate) struct Security {
    /// More names of this server: `name`, `name:port` or `name:*`; `*` for any.
    pub hosts: Vec<String>,
    /// Who may ask; none for everybody.
    pub auth: Option<Auth>,
}

impl Security {
    pub(crate) async fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        let refused = |message: String| ApiError::new(Code::PermissionDenied, message);
        let host = host(parts);
        if !self.knows(&host) {
            return Err(refused(format!(
                "invalid Host header: this server is not known as `{host}`; --allowed-hosts adds names"
            )));
        }
        if !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
            let site = text(HeaderName::from_static("sec-fetch-site"));
            if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
                return Err(refused("a page of another site may not change anything here".to_owned()));
            }
            let foreign =
                |origin: &str| origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(&host));
            if text(header::ORIGIN).is_some_and(foreign) {
                return Err(refused("a page of another site may not change anything here".to_owned()));
            }
        }
        match &self.auth {
            Some(auth) if !is_open(parts) => auth.check(parts.headers.get(header::AUTHORIZATION)).await,
            _ => Ok(()),
        }
    }

    /// Whether `host`, with its port, is a name of this server. An address in numbers cannot be another site's name.
    fn knows(&self, host: &str) -> bool {
        let (name, port) = split(host);
        let name = name.to_ascii_lowercase();
        let by_number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let local = name == "localhost" || name.ends_with(".localhost");
        let listed = self.hosts.iter().any(|known| match known.as_str() {
            "*" => true,
            known => {
                let (known, known_port) = split(known);
                known.eq_ignore_ascii_case(&name) && (known_port.is_empty() || known_port == "*" || known_port == port)
            }
        });
        by_number || local || listed
    }

    /// This server's address as the client wrote it, without a path.
    pub(crate) fn own_address(&self, parts: &Parts) -> String {
        let forwarded = parts.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let scheme = if forwarded == Some("https") { "https" } else { "http" };
        format!("{scheme}://{}", host(parts))
    }
}

/// A part of a large upload is sent to an address that nobody can guess; clients send no login with it.
fn is_open(parts: &Parts) -> bool {
    let path = parts.uri.path();
    OPEN.contains(&path) || (parts.method == Method::PUT && path.contains("/2.0/mlflow-artifacts/mpu/part/"))
}

fn host(parts: &Parts) -> String {
    let named = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    named.or(parts.uri.authority().map(|authority| authority.as_str())).unwrap_or_default().to_owned()
}

fn split(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        // The colons of an address of version 6 belong to it.
        Some((name, port)) if !port.contains(']') && (!name.contains(':') || name.ends_with(']')) => (name, port),
        _ => (host, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_server() {
        let security = Security { hosts: vec!["mlflow.example".into(), "team:5000".into()], auth: None };
        for host in [
            "127.0.0.1:5000",
            "localhost:80",
            "localhost",
            "[::1]:5000",
            "10.0.0.7",
            "mlflow.example:1",
            "MLflow.example",
            "team:5000",
            "a.localhost:3",
        ] {
            assert!(security.knows(host), "{host}");
        }
        for host in ["evil.example:5000", "team:5001", "", "127.0.0.1.evil.example", "localhost.evil.example"] {
            assert!(!security.knows(host), "{host}");
        }
        assert!(Security { hosts: vec!["*".into()], auth: None }.knows("anything"));
    }
}
