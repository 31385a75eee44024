//! The probes against real servers: PostgreSQL, moto's S3 and MLflow.
#![cfg(unix)]

use std::net::{Ipv4Addr, SocketAddr};

use url::Url;
use yolo11_services::doctor::{self, Verdict};
use yolo11_services::probe::http::Trust;
use yolo11_services::probe::mlflow::Login;
use yolo11_services::probe::postgres::{Database, ready, tables_version};
use yolo11_services::probe::s3::{Store, create_bucket, store_ready};
use yolo11_services::probe::{Fault, mlflow, s3};
use yolo11_services::secret::Secret;
use yolo11_test_servers::{Postgres, Server, free_port, python, until};

const PASSWORD: &str = "p@ss/w:rd#1";

fn database(port: u16, password: &str) -> Database {
    Database {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        user: "mlflow".to_owned(),
        password: Secret::new(password),
        name: "postgres".to_owned(),
    }
}

fn url(port: u16) -> Url {
    Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
}

fn store(port: u16) -> Store {
    Store {
        endpoint: url(port),
        region: "us-east-1".to_owned(),
        key: "yolo11".to_owned(),
        secret: Secret::new("top secret key"),
        bucket: "runs".to_owned(),
        trust: Trust::default(),
    }
}

fn tracking_server(port: u16) -> mlflow::Server {
    mlflow::Server { url: url(port), login: Login::Anonymous, trust: Trust::default() }
}

#[test]
fn postgres_is_asked_with_every_kind_of_login() {
    for method in ["scram-sha-256", "md5", "password", "trust"] {
        let Some(server) = Postgres::start(method, PASSWORD) else { return };
        assert_eq!(ready(&database(server.port(), PASSWORD)), Ok(()), "{method}");
        let wrong = ready(&database(server.port(), "another"));
        match method {
            "trust" => assert_eq!(wrong, Ok(())),
            _ => assert_eq!(wrong, Err(Fault::WrongKey { detail: "PostgreSQL user `mlflow`".to_owned() }), "{method}"),
        }
        let nobody = Database { name: "nowhere".to_owned(), ..database(server.port(), PASSWORD) };
        assert_eq!(ready(&nobody), Err(Fault::Other("database \"nowhere\" does not exist".to_owned())));
        let missing = "relation \"alembic_version\" does not exist".to_owned();
        assert_eq!(tables_version(&database(server.port(), PASSWORD)), Err(Fault::NotMigrated { detail: missing }));
    }
}

#[test]
fn a_bucket_is_missed_created_and_found() {
    let Some(python) = python() else { return };
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    assert_eq!(store_ready(&store(port)), Err(Fault::Refused { address: format!("127.0.0.1:{port}") }));
    let _server =
        Server::module(&python, &["moto.server", "-H", "127.0.0.1", "-p", &port.to_string()], &[], folder.path(), port);
    until(|| store_ready(&store(port))).unwrap();
    // The first call makes the server load what it is made of, which may take longer than is waited for an answer.
    until(|| create_bucket(&Store { bucket: "first".to_owned(), ..store(port) })).unwrap();
    assert_eq!(s3::ready(&store(port)), Err(Fault::BucketMissing { bucket: "runs".to_owned() }));
    assert_eq!(create_bucket(&store(port)), Ok(true));
    assert_eq!(create_bucket(&store(port)), Ok(false));
    assert_eq!(s3::ready(&store(port)), Ok(()));
    let elsewhere = Store { region: "eu-central-1".to_owned(), bucket: "others".to_owned(), ..store(port) };
    assert_eq!(create_bucket(&elsewhere), Ok(true));

    let given = [
        ("MLFLOW_S3_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", "yolo11".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "top secret key".to_owned()),
        ("MLFLOW_S3_BUCKET_NAME", "absent".to_owned()),
    ];
    let lookup = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let findings = doctor::environment(&lookup);
    let Verdict::Faulty { fault, fix } = &findings[1].verdict else { panic!("{findings:?}") };
    assert_eq!(fault, "no bucket `absent`");
    assert!(fix.contains("MLFLOW_S3_BUCKET_NAME"), "{fix}");
}

#[test]
fn an_mlflow_server_on_postgres_is_asked_for_more_than_its_health() {
    let Some(python) = python() else { return };
    let Some(postgres) = Postgres::start("scram-sha-256", PASSWORD) else { return };
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let (own, behind) = (port.to_string(), format!("postgresql+psycopg2://127.0.0.1:{}", postgres.port()));
    // As in the compose file: no password in an address, hosts by name.
    let variables = [
        ("MLFLOW_BACKEND_STORE_URI", behind.as_str()),
        ("PGUSER", "mlflow"),
        ("PGPASSWORD", PASSWORD),
        ("PGDATABASE", "postgres"),
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
    ];
    let arguments = ["mlflow", "server", "--host", "127.0.0.1", "--port", &own, "--workers", "1"];
    let hosts = ["--artifacts-destination", "/tmp", "--allowed-hosts", "localhost:*,127.0.0.1:*,mlflow:*"];
    let server = Server::module(&python, &[&arguments[..], &hosts[..]].concat(), &variables, folder.path(), port);
    until(|| mlflow::ready(&tracking_server(port))).unwrap();
    let version = tables_version(&database(postgres.port(), PASSWORD)).unwrap();
    assert!(version.len() >= 8 && version.chars().all(|letter| letter.is_ascii_alphanumeric()), "{version}");

    // 127.0.0.2 is this machine too, but no name that the server allows.
    let other =
        mlflow::Server { url: Url::parse(&format!("http://127.0.0.2:{port}")).unwrap(), ..tracking_server(port) };
    let listens_there = mlflow::ready(&other);
    assert_eq!(listens_there, Err(Fault::Refused { address: format!("127.0.0.2:{port}") }));
    drop(server);
    // The first call after its death may still be reset.
    let refused = Fault::Refused { address: format!("127.0.0.1:{port}") };
    let gone = until(|| match mlflow::ready(&tracking_server(port)) {
        Err(fault) if fault == refused => Ok(()),
        other => Err(other),
    });
    assert_eq!(gone, Ok(()));
}

#[test]
fn a_host_that_is_not_allowed_is_told_from_a_wrong_key() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (port, tables) = (free_port(), format!("sqlite:///{}/tables.db", folder.path().display()));
    let own = port.to_string();
    let arguments = ["mlflow", "server", "--host", "127.0.0.1", "--port", &own, "--workers", "1"];
    let more = ["--backend-store-uri", &tables, "--allowed-hosts", "tracking.example:*"];
    let variables = [("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")];
    let _server = Server::module(&python, &[&arguments[..], &more[..]].concat(), &variables, folder.path(), port);
    let refused = until(|| match mlflow::ready(&tracking_server(port)) {
        Err(Fault::Refused { address }) => Err(address),
        other => Ok(other),
    });
    let fault = Fault::HostNotAllowed { host: format!("127.0.0.1:{port}") };
    assert_eq!(refused.unwrap(), Err(fault.clone()));
    assert!(fault.fix().contains("--allowed-hosts"));
}
