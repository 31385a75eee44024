//! Is a service really ready: a query, a bucket call, an API call, made by this program.

pub mod http;
pub mod mlflow;
pub mod postgres;
pub mod s3;

use std::time::Duration;

/// How long one probe may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What a service answers when it does not answer as it should. No text in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing listens there.
    #[error("connection refused by {address}")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The name of the host means nothing here.
    #[error("no host `{host}`")]
    NoHost {
        /// The name.
        host: String,
    },
    /// No answer in time.
    #[error("no answer from {address} in {} s", LIMIT.as_secs())]
    Timeout {
        /// Host and port.
        address: String,
    },
    /// User, password, key or token are not accepted.
    #[error("wrong credentials: {detail}")]
    WrongKey {
        /// What was refused.
        detail: String,
    },
    /// The S3 store has no such bucket.
    #[error("no bucket `{bucket}`")]
    BucketMissing {
        /// Its name.
        bucket: String,
    },
    /// The tracking database has no tables, or those of another version.
    #[error("database not migrated: {detail}")]
    NotMigrated {
        /// What says so.
        detail: String,
    },
    /// MLflow does not answer under this host name.
    #[error("host `{host}` is not allowed by the MLflow server")]
    HostNotAllowed {
        /// The name that it was called by.
        host: String,
    },
    /// The clocks of the server and this machine differ.
    #[error("clock skew: the clock of {address} is {}", skew(*seconds))]
    ClockSkew {
        /// Host and port.
        address: String,
        /// The server's clock less ours, in seconds; nothing where the server only says that they differ.
        seconds: Option<i64>,
    },
    /// The two ends do not agree on an encrypted connection.
    #[error("TLS: {detail}")]
    Tls {
        /// What does not fit.
        detail: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// What mends it, in a sentence.
    pub fn fix(&self) -> String {
        match self {
            Fault::Refused { .. } => "start the service (`yolo11 services start`), or correct the address in .env".to_owned(),
            Fault::NoHost { .. } => {
                "correct the host name in .env; names of containers such as `mlflow` are known only inside their network, from here it is 127.0.0.1".to_owned()
            }
            Fault::Timeout { .. } => {
                "see whether the service is overloaded (`yolo11 services logs`) or a firewall lies between".to_owned()
            }
            Fault::WrongKey { .. } => {
                "give the pair that the service was set up with; a volume keeps the password of its first start, `yolo11 services stop --volumes` deletes it with its data".to_owned()
            }
            Fault::BucketMissing { bucket } => {
                format!("`yolo11 services start --stack compose` creates it; on another store create `{bucket}` or correct MLFLOW_S3_BUCKET_NAME")
            }
            Fault::NotMigrated { .. } => {
                "back the database up, then: docker compose --env-file .env -f services/compose.yaml run --rm mlflow sh -c 'mlflow db upgrade \"$MLFLOW_BACKEND_STORE_URI\"'".to_owned()
            }
            Fault::HostNotAllowed { host } => {
                format!("start the server with --allowed-hosts naming `{host}` (here: MLFLOW_ALLOWED_HOSTS=localhost:*,127.0.0.1:*,{host} in .env), or call it by a name it allows")
            }
            Fault::ClockSkew { .. } => {
                "set both clocks by network time (`timedatectl set-ntp true`); a virtual machine that slept may need a restart".to_owned()
            }
            Fault::Tls { .. } => {
                "see that the address begins with http:// or https:// as the server does; for a certificate of your own set MLFLOW_TRACKING_SERVER_CERT_PATH to its authority (S3: AWS_CA_BUNDLE), or for a trial MLFLOW_TRACKING_INSECURE_TLS=true (S3: MLFLOW_S3_IGNORE_TLS=true)".to_owned()
            }
            Fault::Other(_) => "read the service's log: `yolo11 services logs`".to_owned(),
        }
    }

    /// Whether waiting longer cannot help.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Fault::WrongKey { .. } | Fault::HostNotAllowed { .. } | Fault::NotMigrated { .. } | Fault::ClockSkew { .. }
        )
    }
}

fn skew(seconds: Option<i64>) -> String {
    match seconds {
        Some(seconds) if seconds > 0 => format!("{seconds} s ahead of this machine's"),
        Some(seconds) => format!("{} s behind this machine's", -seconds),
        None => "too far from this machine's".to_owned(),
    }
}
