//! Who may ask: names under which this server is asked, pages from which, and as whom.
//!
//! Three things are kept out. Another site's page that has its own name resolve to this machine (DNS rebinding): the header `Host` must
//! name this server. Another site's page that sends a form or a script's request (CSRF): a write whose `Origin` or `Sec-Fetch-Site` is
//! another's is refused. And, where the server listens for others than this machine, everybody who has no token or password.

use std::net::IpAddr;

use axum::http::Method;
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;

use super::{pages, session};
use crate::auth::Auth;
use crate::error::{ApiError, Code};

/// Addresses that answer without a login: they tell nothing, or are where one signs in.
const OPEN: [&str; 3] = ["/health", "/version", session::PATH];

/// What is checked of each request.
pub(crate) struct Security {
    /// More names of this server: `name`, `name:port` or `name:*`; `*` for any.
    pub hosts: Vec<String>,
    /// Who may ask; none for everybody.
    pub auth: Option<Auth>,
    /// Who has signed in from the pages.
    pub sessions: session::Sessions,
    /// Whether the server's own pages are served, which have a form for logins.
    pub own_pages: bool,
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
            Some(auth) if !self.is_open(parts) && self.sessions.user(parts).is_none() => {
                auth.check(parts.headers.get(header::AUTHORIZATION)).await
            }
            _ => Ok(()),
        }
    }

    /// What a login is not needed for: the pages themselves, which hold no run, and parts of a large upload: they are sent to an address
    /// that nobody can guess, and clients send no login with them.
    fn is_open(&self, parts: &Parts) -> bool {
        let path = parts.uri.path();
        OPEN.contains(&path)
            || (self.own_pages && matches!(parts.method, Method::GET | Method::HEAD) && pages::is_own(path))
            || (parts.method == Method::PUT && path.contains("/2.0/mlflow-artifacts/mpu/part/"))
    }

    /// Whether a browser that lacks a login is to ask for one in a window of its own. Not where the pages ask: they have a form.
    pub(crate) fn challenges(&self, parts: &Parts) -> bool {
        let wants_page = || {
            let accepted = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            accepted.is_some_and(|accepted| accepted.contains("text/html"))
        };
        !self.own_pages || parts.uri.path().starts_with("/api/") || wants_page()
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

/// The name under which this server is asked, with its port.
pub(crate) fn host(parts: &Parts) -> String {
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
        let known = |hosts: &[&str]| Security {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            auth: None,
            sessions: session::Sessions::default(),
            own_pages: true,
        };
        let security = known(&["mlflow.example", "team:5000"]);
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
        assert!(known(&["*"]).knows("anything"));
    }
}
