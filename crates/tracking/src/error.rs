//! Why something could not be tracked, and whether trying again may help.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why something could not be tracked. One line says what and where; a second one, `hint: …`, what would mend it. Passwords, tokens
/// and keys never stand in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was no complete answer: refused, reset, cut off, or too late.
    #[error("{url}: no answer: {reason}{}", unreachable_hint(reason))]
    Unreachable {
        /// Where the call went, without credentials and query.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{url}: {status}{}{message}{}", code_text(code), status_hint(*status, code, message))]
    Status {
        /// Where the call went, without credentials and query.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's own word for it, such as `RESOURCE_DOES_NOT_EXIST`; empty where it gave none.
        code: String,
        /// What the server says.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The address of a server or store cannot be used.
    #[error("{uri}: {problem}\nhint: {hint}")]
    Address {
        /// The address, without credentials.
        uri: String,
        /// What is wrong.
        problem: String,
        /// What would mend it.
        hint: &'static str,
    },
    /// The run that the outbox belongs to cannot be written to on this server.
    #[error("{url}: run {run_id} {problem}\nhint: {hint}")]
    Run {
        /// The server.
        url: String,
        /// The run.
        run_id: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What would mend it.
        hint: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {what}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `cannot be read` or `cannot be written`.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process ships this outbox.
    #[error("{}: another process ships this run\nhint: a training that is under way ships by itself; wait for its end", folder.display())]
    Busy {
        /// The run's folder.
        folder: PathBuf,
    },
    /// A folder has no outbox.
    #[error("{}: nothing was tracked here\nhint: name a run's folder, such as runs/train", folder.display())]
    NoOutbox {
        /// The run's folder.
        folder: PathBuf,
    },
    /// No server is known.
    #[error(
        "{}: no tracking server is known\nhint: set MLFLOW_TRACKING_URI, for example http://127.0.0.1:5000, and run it again", folder.display()
    )]
    NoServer {
        /// The run's folder.
        folder: PathBuf,
    },
    /// What was moved to another server is not there as it was.
    #[error(
        "{url}: {what} differs from the export: {problem}\nhint: import again; what is right already is passed over"
    )]
    Differs {
        /// The server.
        url: String,
        /// The experiment, run, model or file.
        what: String,
        /// How.
        problem: String,
    },
    /// A command was stopped between two calls.
    #[error("stopped\nhint: the same command goes on where it was")]
    Stopped,
    /// A file of the outbox or of an export makes no sense.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would mend it.
        hint: &'static str,
    },
}

/// What S3 stores answer with 400 although the same request may succeed.
const PASSING_CODES: [&str; 3] = ["RequestTimeout", "IncompleteBody", "BadDigest"];

/// What S3 stores answer with 400 where it is the key that is no longer good, not the content.
const KEY_CODES: [&str; 3] = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

impl Error {
    /// Whether the same call may succeed later without anything being changed.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Status { status, code, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502..=504 | 507) || PASSING_CODES.contains(&code.as_str())
            }
            _ => false,
        }
    }

    /// Whether the server refuses this content and would refuse it again.
    pub fn is_refusal(&self) -> bool {
        let Error::Status { status: 400 | 409 | 413 | 422, code, .. } = self else { return false };
        ![&PASSING_CODES[..], &KEY_CODES].concat().contains(&code.as_str())
    }

    /// Whether the server says that something does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Status { status: 404, .. })
    }

    /// Whether the server says that something exists already.
    pub fn is_existing(&self) -> bool {
        matches!(self, Error::Status { code, .. } if code == "RESOURCE_ALREADY_EXISTS")
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The first line, without what would mend it.
    pub fn headline(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }

    pub(crate) fn read(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::File { path: path.into(), what: "cannot be read", source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::File { path: path.into(), what: "cannot be written", source }
    }
}

fn code_text(code: &str) -> String {
    if code.is_empty() { ": ".to_owned() } else { format!(" {code}: ") }
}

fn unreachable_hint(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("certificate") || reason.contains("unknownissuer") {
        "\nhint: name the server's authority with MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem"
    } else if reason.contains("refused") {
        "\nhint: start the server, or correct MLFLOW_TRACKING_URI"
    } else if reason.contains("resolve") || reason.contains("host") {
        "\nhint: correct the host's name in MLFLOW_TRACKING_URI or MLFLOW_S3_ENDPOINT_URL"
    } else if reason.contains("broken pipe") || reason.contains("reset") {
        // A store that cannot keep an upload may close before its answer can be read.
        "\nhint: the other side broke off; look whether its disk is full or whether it was restarted, its log tells more"
    } else {
        ""
    }
}

fn status_hint(status: u16, code: &str, message: &str) -> &'static str {
    let lower = message.to_ascii_lowercase();
    match (status, code) {
        (_, "RequestTimeTooSkewed") => "\nhint: set this machine's clock, or the store's",
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            "\nhint: get new AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
        }
        // S3's codes are written like this, MLflow's like THIS_ONE.
        (401 | 403, code) if code.contains(|mark: char| mark.is_ascii_lowercase()) => {
            "\nhint: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for this store"
        }
        (_, "NoSuchBucket") => "\nhint: make the bucket, or correct the server's artifact destination",
        (403, _) if lower.contains("host") => "\nhint: start the server with --allowed-hosts naming this host",
        (401 | 403, _) if lower.contains("expired") => {
            "\nhint: the token has expired; set a new MLFLOW_TRACKING_TOKEN, then `yolo11 tracking sync`"
        }
        (401 | 403, _) => {
            "\nhint: correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, then `yolo11 tracking sync`"
        }
        (507, _) => "\nhint: free some space on the server",
        _ if lower.contains("no space left") => "\nhint: free some space on the server",
        // All that most stores say of it.
        (500, "InternalError") => "\nhint: look whether the store's disk is full; its log tells more",
        (404, "") => "\nhint: MLFLOW_TRACKING_URI may name something else than an MLflow server",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: &str, message: &str) -> Error {
        Error::Status {
            url: "http://h/x".into(),
            status,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    #[test]
    fn messages_say_what_would_mend_it() {
        for (error, wanted) in [
            (status(401, "", "Unauthorized"), "http://h/x: 401: Unauthorized\nhint: correct MLFLOW_TRACKING_USERNAME"),
            (status(401, "", "token expired"), "http://h/x: 401: token expired\nhint: the token has expired"),
            (status(403, "ExpiredToken", "x"), "http://h/x: 403 ExpiredToken: x\nhint: get new AWS_ACCESS_KEY_ID"),
            (status(404, "NoSuchBucket", "b"), "http://h/x: 404 NoSuchBucket: b\nhint: make the bucket"),
            (
                status(403, "", "Invalid Host header"),
                "http://h/x: 403: Invalid Host header\nhint: start the server with",
            ),
            (status(507, "", "full"), "http://h/x: 507: full\nhint: free some space on the server"),
        ] {
            assert!(error.to_string().starts_with(wanted), "{error}");
        }
        let refused = Error::Unreachable { url: "http://h".into(), reason: "Connection refused".into() };
        assert_eq!(refused.headline(), "http://h: no answer: Connection refused");
        let broken = Error::Unreachable { url: "http://h".into(), reason: "Broken pipe (os error 32)".into() };
        assert!(broken.is_passing() && broken.to_string().contains("\nhint: the other side broke off; look whether"));
        assert!(refused.is_passing() && status(429, "", "").is_passing() && status(507, "", "").is_passing());
        assert!(!status(401, "", "").is_passing() && !status(400, "", "").is_passing());
        // Only the key is stale: what was to be stored waits for a new one.
        let expired = status(400, "ExpiredToken", "");
        assert!(!expired.is_refusal() && !expired.is_passing());
        let cut_short = status(400, "IncompleteBody", "");
        assert!(!cut_short.is_refusal() && cut_short.is_passing());
        assert!(status(400, "", "").is_refusal() && !status(404, "", "").is_refusal());
    }
}
