//! The common faults, each with what mends it.

use std::path::Path;

use url::Url;

use crate::compose::{ContainerEngine, SERVICES};
use crate::probe::http::{Trust, address};
use crate::probe::mlflow::{Login, Server};
use crate::probe::s3::Store;
use crate::probe::{Fault, mlflow, postgres, s3};
use crate::secret::Secret;
use crate::settings::Lookup;
use crate::{ComposeSettings, Error, Service, State};

pub use yolo11_machine::{Finding, Verdict};

fn of(subject: &str, answer: Result<String, Fault>) -> Finding {
    answer.map_or_else(
        |fault| Finding::faulty(subject, fault.to_string(), fault.fix()),
        |detail| Finding::well(subject, detail),
    )
}

/// From how a service is; one that was not started is no fault.
pub(crate) fn service(subject: &str, service: &Service) -> Finding {
    match &service.state {
        State::Ready => Finding::well(subject, format!("{} answers", service.url)),
        State::Stopped(detail) => Finding::absent(subject, detail),
        State::NotReady(fault) => Finding::faulty(subject, fault, "read its log: `yolo11 services logs`"),
    }
}

/// The program that runs compose files. Without one there is no fault: only `--stack compose` needs it.
pub fn container_engine() -> Finding {
    const SUBJECT: &str = "containers";
    let found = match ContainerEngine::find() {
        Ok(engine) => Finding::well(SUBJECT, format!("{} answers", engine.name())).with("engine", engine.name()),
        Err(Error::EngineMissing { tried }) => {
            let fix =
                "install Docker or Podman with compose; without, `services start` uses the server in this program";
            Finding::missing(SUBJECT, tried.join("; "), fix)
        }
        Err(error) => Finding::error(SUBJECT, &error),
    };
    found.serving("`yolo11 services --stack compose`")
}

/// Looks at what the variables of the environment lead to: the tracking server and the artifact store, wherever they are.
pub fn environment(lookup: &Lookup<'_>) -> Vec<Finding> {
    vec![tracking_server(lookup), artifact_store(lookup)]
}

fn given(lookup: &Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).filter(|value| !value.trim().is_empty())
}

fn is_true(lookup: &Lookup<'_>, name: &str) -> bool {
    given(lookup, name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes"))
}

fn parse(name: &str, text: &str) -> Result<Url, Fault> {
    let expected = |why: String| Fault::Other(format!("{name} {why}; expected something like http://127.0.0.1:5000"));
    let url = Url::parse(text).map_err(|error| expected(format!("is no address ({error})")))?;
    match matches!(url.scheme(), "http" | "https") && url.has_host() {
        true => Ok(url),
        false => Err(expected("does not begin with http:// or https://".to_owned())),
    }
}

fn tracking_server(lookup: &Lookup<'_>) -> Finding {
    const SUBJECT: &str = "tracking server";
    let Some(text) = given(lookup, "MLFLOW_TRACKING_URI") else {
        let words = "MLFLOW_TRACKING_URI is not set: runs keep what is to be tracked in their outboxes";
        return Finding::absent(SUBJECT, words);
    };
    let looked = parse("MLFLOW_TRACKING_URI", &text).and_then(|mut url| {
        let secret = |name: &str| given(lookup, name).map(Secret::new);
        let in_address = (!url.username().is_empty())
            .then(|| (url.username().to_owned(), Secret::new(url.password().unwrap_or_default())));
        let by_name = given(lookup, "MLFLOW_TRACKING_USERNAME").zip(secret("MLFLOW_TRACKING_PASSWORD"));
        let login = match (by_name.or(in_address), secret("MLFLOW_TRACKING_TOKEN")) {
            (Some((user, password)), _) => Login::Basic(user, password),
            (None, Some(token)) => Login::Token(token),
            (None, None) => Login::Anonymous,
        };
        // From here on they travel in a header, not in the address.
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        debug_assert!(cleared, "an address with a host takes a user");
        let trust = Trust {
            authority: given(lookup, "MLFLOW_TRACKING_SERVER_CERT_PATH"),
            insecure: is_true(lookup, "MLFLOW_TRACKING_INSECURE_TLS"),
        };
        let server = Server { url, login, trust };
        mlflow::ready(&server).map(|()| format!("{} answers", address(&server.url)))
    });
    of(SUBJECT, looked)
}

fn artifact_store(lookup: &Lookup<'_>) -> Finding {
    const SUBJECT: &str = "artifact store";
    let Some(text) = given(lookup, "MLFLOW_S3_ENDPOINT_URL") else {
        return Finding::absent(SUBJECT, "MLFLOW_S3_ENDPOINT_URL is not set");
    };
    let looked = parse("MLFLOW_S3_ENDPOINT_URL", &text).and_then(|endpoint| {
        let missing = |name: &str| Fault::WrongKey { detail: format!("{name} is not set") };
        let needed = |name: &str| given(lookup, name).ok_or_else(|| missing(name));
        let store = Store {
            endpoint,
            region: given(lookup, "AWS_DEFAULT_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
            key: needed("AWS_ACCESS_KEY_ID")?,
            secret: Secret::new(needed("AWS_SECRET_ACCESS_KEY")?),
            bucket: given(lookup, "MLFLOW_S3_BUCKET_NAME").unwrap_or_else(|| "mlflow".to_owned()),
            trust: Trust {
                authority: given(lookup, "AWS_CA_BUNDLE"),
                insecure: is_true(lookup, "MLFLOW_S3_IGNORE_TLS"),
            },
        };
        s3::ready(&store).map(|()| format!("bucket {} at {} answers", store.bucket, address(&store.endpoint)))
    });
    of(SUBJECT, looked)
}

/// Looks at the containers of the compose stack, its database and what its tracking server logged last.
pub(crate) fn containers(engine: &ContainerEngine, settings: &ComposeSettings, root: &Path) -> Vec<Finding> {
    let containers = match engine.containers(settings) {
        Ok(containers) => containers,
        Err(error) => return vec![Finding::error("containers", &error)],
    };
    let down: Vec<_> = SERVICES
        .iter()
        .filter_map(|name| match containers.iter().find(|container| container.service == *name) {
            None => Some(format!("{name} has no container")),
            Some(container) if !container.is_up() => Some(format!("{name}: {}", container.status)),
            Some(_) => None,
        })
        .collect();
    let found = if down.is_empty() {
        Finding::well("containers", format!("{} run under {}", SERVICES.join(", "), engine.name()))
    } else {
        let fix = "`yolo11 services start --stack compose`; `yolo11 services logs` says why one ended";
        Finding::faulty("containers", down.join("; "), fix)
    };
    let database = match logged_out_of_date(engine, settings, root) {
        Some(detail) => Err(Fault::NotMigrated { detail }),
        None => postgres::tables_version(&settings.database).map(|version| format!("tables of version {version}")),
    };
    vec![found, of("database", database)]
}

/// The tracking server refuses to start on tables of another version and says so in its log only.
pub(crate) fn logged_out_of_date(engine: &ContainerEngine, settings: &ComposeSettings, root: &Path) -> Option<String> {
    let lines = engine.last_lines(root, settings, "mlflow");
    lines.into_iter().rev().find(|line| line.contains("out-of-date database schema")).map(|line| {
        let start = line.find("Detected").unwrap_or(0);
        line[start..].chars().take(200).collect()
    })
}
