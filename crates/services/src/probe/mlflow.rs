//! An MLflow server: `/health`, then one call of its interface, which needs the database behind it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use super::Fault;
use super::http::{Answer, Client, Trust, address};
use crate::secret::Secret;

/// Where a tracking server is and as whom to ask it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its address, as in `MLFLOW_TRACKING_URI`.
    pub url: Url,
    /// How it is told who asks.
    pub login: Login,
    /// How to trust it.
    pub trust: Trust,
}

/// How a server is told who asks.
#[derive(Debug, Clone)]
pub enum Login {
    /// Not at all.
    Anonymous,
    /// By user and password.
    Basic(String, Secret),
    /// By a token.
    Token(Secret),
}

/// Whether the server and the database behind it answer. Errors: why not.
pub fn ready(server: &Server) -> Result<(), Fault> {
    let client = Client::new(&server.trust)?;
    let login = login_header(server);
    let headers: Vec<_> = login.iter().map(|value| ("authorization", value.as_str())).collect();
    let health = client.send("GET", &below(&server.url, "health"), &headers)?;
    if health.status != 200 {
        return Err(refusal(&health, server));
    }
    let mut url = below(&server.url, "api/2.0/mlflow/experiments/search");
    url.set_query(Some("max_results=1"));
    let answer = client.send("GET", &url, &headers)?;
    if answer.status != 200 {
        return Err(refusal(&answer, server));
    }
    match serde_json::from_str::<serde_json::Value>(&answer.body) {
        Ok(value) if value.is_object() => answer.clock_fault(&server.url).map_or(Ok(()), Err),
        _ => Err(Fault::Other(format!("{} answers, but not as an MLflow server does", address(&server.url)))),
    }
}

/// The value of the header `Authorization`.
fn login_header(server: &Server) -> Option<String> {
    let basic = |user: &str, password: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    match &server.login {
        Login::Anonymous => None,
        Login::Basic(user, password) => Some(basic(user, password.reveal())),
        Login::Token(token) => Some(format!("Bearer {}", token.reveal())),
    }
}

/// An address below the server's, which may have a path of its own.
fn below(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    url
}

fn refusal(answer: &Answer, server: &Server) -> Fault {
    let text = answer.body.to_ascii_lowercase();
    let not_migrated = ["out-of-date database schema", "alembic", "no such table", "undefinedtable", "does not exist"];
    match answer.status {
        401 => Fault::WrongKey { detail: "MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN".to_owned() },
        403 if text.contains("invalid host header") => Fault::HostNotAllowed { host: address(&server.url) },
        403 => Fault::WrongKey { detail: format!("{} forbids it", address(&server.url)) },
        500.. if not_migrated.iter().any(|words| text.contains(words)) => {
            Fault::NotMigrated { detail: format!("{} misses tables", address(&server.url)) }
        }
        _ => Fault::Other(answer.summary()),
    }
}
