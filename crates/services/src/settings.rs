//! The variables of the compose stack: names, defaults and what they add up to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use url::Url;

use crate::Error;
use crate::probe::http::Trust;
use crate::probe::mlflow::{Login, Server};
use crate::probe::postgres::Database;
use crate::probe::s3::Store;
use crate::secret::Secret;

/// Gives the value of an environment variable, if it is set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A variable that `.env` holds for the compose stack.
pub(crate) struct Variable {
    pub name: &'static str,
    pub default: Default,
}

/// Where a variable's value comes from when nobody gave one.
pub(crate) enum Default {
    Text(&'static str),
    /// Made anew for each project.
    Random,
    /// Named after the project's folder.
    Project,
    /// `http://127.0.0.1:` and the value of another variable.
    Address(&'static str),
}

const fn text(name: &'static str, default: &'static str) -> Variable {
    Variable { name, default: Default::Text(default) }
}

/// All of them, in the order of the file. A default stands before those that refer to it.
pub(crate) const VARIABLES: &[Variable] = &[
    text("YOLO11_STACK", "compose"),
    Variable { name: "COMPOSE_PROJECT_NAME", default: Default::Project },
    text("POSTGRES_IMAGE", "postgres:18.6"),
    text("POSTGRES_PORT", "5432"),
    text("POSTGRES_USER", "mlflow"),
    Variable { name: "POSTGRES_PASSWORD", default: Default::Random },
    text("POSTGRES_DB", "mlflow"),
    text("S3_IMAGE", "chrislusf/seaweedfs:4.47"),
    text("S3_PORT", "9000"),
    text("AWS_ACCESS_KEY_ID", "yolo11"),
    Variable { name: "AWS_SECRET_ACCESS_KEY", default: Default::Random },
    text("AWS_DEFAULT_REGION", "us-east-1"),
    text("MLFLOW_IMAGE", "ghcr.io/mlflow/mlflow:v3.18.0-full"),
    text("MLFLOW_PORT", "5000"),
    Variable { name: "MLFLOW_TRACKING_URI", default: Default::Address("MLFLOW_PORT") },
    text("MLFLOW_EXPERIMENT_NAME", "yolov11-training"),
    Variable { name: "MLFLOW_S3_ENDPOINT_URL", default: Default::Address("S3_PORT") },
    text("MLFLOW_S3_BUCKET_NAME", "mlflow"),
];

/// A value that stands for a secret nobody gave, where a command needs one to be there but does not use it.
const UNSET: &str = "unset";

/// What the compose stack of a project consists of.
#[derive(Debug, Clone)]
pub struct ComposeSettings {
    /// Name of the compose project: containers, network and volumes are named after it.
    pub project: String,
    /// The database, by its address on this machine.
    pub database: Database,
    /// The S3 store, by its address on this machine.
    pub store: Store,
    /// The tracking server, by its address on this machine.
    pub server: Server,
    /// Ports on 127.0.0.1: PostgreSQL, S3, MLflow.
    pub ports: [u16; 3],
    variables: Vec<(&'static str, String)>,
}

impl ComposeSettings {
    /// From variables, with defaults for those that are not set. `root` is the project's folder. Errors: a value that cannot be used.
    pub fn new(root: &Path, lookup: &Lookup<'_>) -> Result<ComposeSettings, Error> {
        let mut variables: Vec<(&'static str, String)> = Vec::new();
        for variable in VARIABLES {
            let value = match lookup(variable.name) {
                Some(value) if value.trim().is_empty() => return Err(empty(variable.name)),
                Some(value) => value,
                None => default(&variable.default, root, &variables),
            };
            variables.push((variable.name, value));
        }
        let get = |name: &'static str| value(&variables, name).to_owned();
        let port = |name: &'static str| port(name, value(&variables, name));
        let ports = [port("POSTGRES_PORT")?, port("S3_PORT")?, port("MLFLOW_PORT")?];
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = |name: &'static str, port: u16| {
            Url::parse(&format!("http://{}", local(port))).map_err(|_| Error::Variable {
                name,
                value: port.to_string(),
                expected: "expected a port",
            })
        };
        let bucket = get("MLFLOW_S3_BUCKET_NAME");
        check_bucket(&bucket)?;
        let project = get("COMPOSE_PROJECT_NAME");
        check_project(&project)?;
        Ok(ComposeSettings {
            project,
            database: Database {
                address: local(ports[0]),
                user: get("POSTGRES_USER"),
                password: Secret::new(get("POSTGRES_PASSWORD")),
                name: get("POSTGRES_DB"),
            },
            store: Store {
                endpoint: url("S3_PORT", ports[1])?,
                region: get("AWS_DEFAULT_REGION"),
                key: get("AWS_ACCESS_KEY_ID"),
                secret: Secret::new(get("AWS_SECRET_ACCESS_KEY")),
                bucket,
                trust: Trust::default(),
            },
            server: Server { url: url("MLFLOW_PORT", ports[2])?, login: Login::Anonymous, trust: Trust::default() },
            ports,
            variables,
        })
    }

    /// Every variable with its value, for the engine's environment.
    pub fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }

    /// The value of a variable of the stack.
    pub(crate) fn value(&self, name: &str) -> &str {
        value(&self.variables, name)
    }

    /// Every secret of the stack.
    pub fn secrets(&self) -> Vec<Secret> {
        [&self.database.password, &self.store.secret].into_iter().filter(|one| one.reveal() != UNSET).cloned().collect()
    }

    /// What the variables' user should know: that `MLFLOW_TRACKING_URI` leads elsewhere than to this stack.
    pub fn remark(&self) -> Option<String> {
        let given = Url::parse(value(&self.variables, "MLFLOW_TRACKING_URI")).ok();
        let here = given.as_ref().is_some_and(|url| {
            matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) && url.port() == Some(self.ports[2])
        });
        (!here).then(|| {
            let where_to = given.as_ref().map_or_else(|| "elsewhere".to_owned(), crate::probe::http::address);
            format!(
                "MLFLOW_TRACKING_URI leads to {where_to}, not to this stack (127.0.0.1:{}): runs are tracked there",
                self.ports[2]
            )
        })
    }
}

/// The value to write for a variable that nobody gave. Errors: no random numbers.
pub(crate) fn fresh(
    variable: &Variable,
    root: &Path,
    before: &[(&'static str, String)],
) -> Result<String, getrandom::Error> {
    match variable.default {
        Default::Random => Secret::random().map(|secret| secret.reveal().to_owned()),
        // Two projects may have folders of one name.
        Default::Project => {
            let tail: String = Secret::random()?.reveal().chars().take(4).collect();
            Ok(format!("{}-{}", default(&variable.default, root, before), tail.to_ascii_lowercase()))
        }
        Default::Text(_) | Default::Address(_) => Ok(default(&variable.default, root, before)),
    }
}

fn default(default: &Default, root: &Path, before: &[(&'static str, String)]) -> String {
    match default {
        Default::Text(text) => (*text).to_owned(),
        Default::Random => UNSET.to_owned(),
        Default::Project => project_name(root),
        Default::Address(port) => format!("http://127.0.0.1:{}", value(before, port)),
    }
}

fn value<'a>(variables: &'a [(&'static str, String)], name: &str) -> &'a str {
    variables.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// `yolo11-` and the folder's name, in the letters that a compose project's name may have.
fn project_name(root: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let folder = root.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name: String = folder.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    format!("yolo11-{}", name.trim_matches('-')).trim_end_matches('-').to_owned()
}

fn port(name: &'static str, text: &str) -> Result<u16, Error> {
    let wrong = || Error::Variable { name, value: text.to_owned(), expected: "expected a port from 1 to 65535" };
    text.trim().parse().ok().filter(|port| *port != 0).ok_or_else(wrong)
}

/// Amazon S3 user guide, «Bucket naming rules».
fn check_bucket(name: &str) -> Result<(), Error> {
    let fits = (3..=63).contains(&name.len())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-".contains(letter))
        && name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.ends_with(|letter: char| letter.is_ascii_alphanumeric());
    let expected = "expected 3 to 63 small letters, digits, dots and hyphens";
    let wrong = || Error::Variable { name: "MLFLOW_S3_BUCKET_NAME", value: name.to_owned(), expected };
    fits.then_some(()).ok_or_else(wrong)
}

/// Compose specification, «Version and name».
fn check_project(name: &str) -> Result<(), Error> {
    let fits = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter));
    let expected = "expected small letters, digits, hyphens and underscores";
    let wrong = || Error::Variable { name: "COMPOSE_PROJECT_NAME", value: name.to_owned(), expected };
    fits.then_some(()).ok_or_else(wrong)
}

fn empty(name: &'static str) -> Error {
    Error::Variable { name, value: String::new(), expected: "has no value; give one, or take the line away" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &'static [(&str, &str)]) -> Result<ComposeSettings, String> {
        let lookup =
            move |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ComposeSettings::new(Path::new("/srv/My Project"), &lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_follow_one_another() {
        let found = settings(&[("MLFLOW_PORT", "5050")]).unwrap();
        assert_eq!(found.project, "yolo11-my-project");
        assert_eq!(found.ports, [5432, 9000, 5050]);
        assert_eq!(found.server.url.as_str(), "http://127.0.0.1:5050/");
        assert!(found.variables().contains(&("MLFLOW_TRACKING_URI", "http://127.0.0.1:5050".to_owned())));
        assert_eq!((found.secrets(), found.remark()), (vec![], None));
        let elsewhere = settings(&[("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")]).unwrap();
        let remark = "MLFLOW_TRACKING_URI leads to mlflow.example:443, not to this stack (127.0.0.1:5000): runs are tracked there";
        assert_eq!(elsewhere.remark().as_deref(), Some(remark));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        let hint = "\nhint: change it in .env or in the environment";
        for (given, message) in [
            (&[("S3_PORT", "90000")][..], "S3_PORT=90000: expected a port from 1 to 65535"),
            (&[("POSTGRES_PASSWORD", " ")], "POSTGRES_PASSWORD=: has no value; give one, or take the line away"),
            (
                &[("MLFLOW_S3_BUCKET_NAME", "My_Bucket")],
                "MLFLOW_S3_BUCKET_NAME=My_Bucket: expected 3 to 63 small letters, digits, dots and hyphens",
            ),
            (
                &[("COMPOSE_PROJECT_NAME", "A b")],
                "COMPOSE_PROJECT_NAME=A b: expected small letters, digits, hyphens and underscores",
            ),
        ] {
            assert_eq!(settings(given).unwrap_err(), format!("{message}{hint}"));
        }
    }
}
