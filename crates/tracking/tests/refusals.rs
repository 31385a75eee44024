//! Real servers that refuse: a full disk under the store, keys that are wrong, logins of MLflow's own authentication.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use yolo11_test_servers::{KEYS, S3Server, Server, free_port, mlflow_command, python, run_python};
use yolo11_tracking::artifacts::{ArtifactStore, S3Store, Source};
use yolo11_tracking::client::Client;
use yolo11_tracking::record::RunStart;
use yolo11_tracking::{Environment, Error, Keep, Tracker, TrackerOptions, sync};

fn s3_environment(uri: &str, more: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(KEYS.iter().copied().chain([("MLFLOW_S3_ENDPOINT_URL", uri)]).chain(more.iter().copied()))
}

/// A file system of two megabytes; none, after having said so, where it may not be mounted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(folder.to_owned()));
        }
        eprintln!("skipped: a small disk can be mounted by root only");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_the_store_is_told_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    let server = S3Server::start(&disk.0, 0).unwrap();
    let store = S3Store::new("s3://artifacts/run", &s3_environment(&server.uri(), &[])).unwrap();
    store.put("small.txt", Source::Bytes(b"fits")).unwrap();
    let filler = disk.0.join("filler");
    let _ = std::fs::write(&filler, vec![1; 4 << 20]);
    let big = folder.path().join("big");
    std::fs::write(&big, vec![7; 1 << 20]).unwrap();
    let error = store.put("big", Source::File(&big)).unwrap_err();
    // A training keeps it and tries again; nothing half is left behind.
    assert!(error.is_passing() && !error.is_refusal(), "{error}");
    // The store answers 500, or closes while the file is still being sent.
    let text = error.to_string();
    let told = [
        "hint: look whether the store's disk is full",
        "hint: the other side broke off; look whether its disk is full",
    ];
    assert!(told.iter().any(|hint| text.contains(hint)), "{text}");
    assert_eq!(store.list("").unwrap().iter().map(|stored| stored.path.as_str()).collect::<Vec<_>>(), ["small.txt"]);
    std::fs::remove_file(&filler).unwrap();
    store.put("big", Source::File(&big)).unwrap();
    assert!(store.get("big").unwrap() == vec![7; 1 << 20]);
}

#[test]
fn wrong_keys_are_told_by_what_the_store_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), 0).unwrap();
    for (name, code) in [("AWS_ACCESS_KEY_ID", "NotSignedUp"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")] {
        let environment = s3_environment(&server.uri(), &[(name, "hush-wrong-one")]);
        let store = S3Store::new("s3://artifacts/run", &environment).unwrap();
        let error = store.put("a", Source::Bytes(b"x")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("403 {code}: ")), "{text}");
        assert!(text.contains("hint: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for this store"), "{text}");
        assert!(!error.is_passing() && !error.is_refusal() && !text.contains("hush"), "{text}");
    }
}

/// Stores answer 400 to a session that is over, as to content that they do not take: what was to be stored must not be given up.
#[test]
fn an_expired_session_asks_for_new_keys() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
            let _ = write!(
                stream,
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            // A connection that is closed before all was read is reset, and the answer with it.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let store = S3Store::new("s3://artifacts/run", &s3_environment(&uri, &[("AWS_SESSION_TOKEN", "hush-session")]));
    let error = store.unwrap().put("a", Source::Bytes(b"x")).unwrap_err();
    assert!(!error.is_refusal() && !error.is_passing(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("400 ExpiredToken: The provided token has expired.\nhint: get new AWS_ACCESS_KEY_ID"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
}

/// Takes bearer tokens, in the words of servers that do: `good` for ever, `old` no more.
const BEARER: &str = r#"
from flask import Response, request
from werkzeug.datastructures import Authorization

def authenticate():
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer" and token == "hush-good":
        return Authorization("basic", data={"username": "admin", "password": ""})
    return Response("Token has expired" if token == "hush-old" else "You are not authenticated", 401)
"#;

/// MLflow with its own authentication, whose extra package the Python of `YOLO11_PYTHON_AUTH` has.
fn guarded(python: &Path, folder: &Path, authorization: &str) -> Option<Server> {
    let Some(extra) = std::env::var_os("YOLO11_PYTHON_AUTH") else {
        eprintln!(
            "skipped: YOLO11_PYTHON_AUTH is not set (the interpreter that `.ci/peers requirements-auth.txt` prints)"
        );
        return None;
    };
    let where_it_is = "import json, sysconfig\nprint(json.dumps(sysconfig.get_path('purelib')))";
    let packages = run_python(Path::new(&extra), where_it_is, &[], &[]);
    std::fs::write(folder.join("bearer.py"), BEARER).unwrap();
    let users = format!("sqlite:///{}/users.db", folder.display());
    let settings = format!(
        "[mlflow]\ndefault_permission = READ\ndatabase_uri = {users}\nadmin_username = admin\nauthorization_function = {authorization}\n"
    );
    let settings_file = folder.join("auth.ini").display().to_string();
    std::fs::write(&settings_file, settings).unwrap();
    let port = free_port();
    let backend = format!("sqlite:///{}/mlflow.db", folder.display());
    let destination = folder.join("artifacts").display().to_string();
    let arguments = ["--app-name", "basic-auth", "--workers", "1", "--artifacts-destination", &destination];
    let path = format!("{}:{}", folder.display(), packages.as_str().unwrap());
    let environment = [
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        ("MLFLOW_AUTH_CONFIG_PATH", settings_file.as_str()),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "hush-admin-password"),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY", "a key for the forms of its pages"),
        ("PYTHONPATH", path.as_str()),
    ];
    Some(Server::new(&mlflow_command(python, port, &backend, &arguments), &environment, folder, port, Some("/health")))
}

/// A run that a server refuses for its login is kept, told with what mends it, and arrives with the right one.
fn kept_until_the_login_is_right(server: &Server, wrong: &[(&str, &str)], right: &[(&str, &str)], said: &str) {
    let environment = |login: &[(&str, &str)]| {
        let mut environment = Environment::from_pairs(login.iter().copied());
        environment.set("MLFLOW_TRACKING_URI", server.uri());
        environment
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let start = RunStart {
        key: yolo11_tracking::unique_key(),
        tracking_uri: Some(server.uri()),
        experiment_name: "guarded".into(),
        run_name: "kept".into(),
        ..RunStart::default()
    };
    let options = TrackerOptions { environment: environment(wrong), uri: None, system_metrics: false, resume: false };
    let tracker = Tracker::open(folder.path(), start, &options).unwrap();
    tracker.values(1, &[("metrics/mAP50(B)", 0.5)]);
    tracker.artifact(&folder.path().join("a.txt"), "a.txt", Keep::AsItIs);
    tracker.finish("FINISHED");
    let mut notes = Vec::new();
    while notes.is_empty() {
        assert_eq!(tracker.wait(Duration::from_millis(100), || false), 4);
        notes.extend(tracker.notes());
    }
    assert!(notes[0].contains(said), "{notes:?}");
    assert!(!notes[0].contains("hush"), "{notes:?}");
    drop(tracker);
    while sync::status(folder.path()).unwrap().is_busy {
        std::thread::sleep(Duration::from_millis(20));
    }
    let error = sync::sync(folder.path(), &environment(wrong), None, |_| {}, || false).unwrap_err();
    assert!(matches!(error, Error::Status { status: 401, .. }), "{error}");
    let status = sync::sync(folder.path(), &environment(right), None, |_| {}, || false).unwrap();
    assert_eq!((status.left.records, status.shipped.refused, status.shipped.artifacts), (0, 0, 1));
    let client = Client::new(&server.uri(), &environment(right)).unwrap();
    let run_id = status.run_id.unwrap();
    assert_eq!(client.metric_history(&run_id, "metrics/mAP50B").unwrap().len(), 1);
    assert_eq!(client.get_run(&run_id).unwrap().unwrap().status, "FINISHED");
}

#[test]
fn mlflow_s_own_basic_authentication() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let function = "mlflow.server.auth:authenticate_request_basic_auth";
    let Some(server) = guarded(&python, folder.path(), function) else { return };
    let user = ("MLFLOW_TRACKING_USERNAME", "admin");
    let right = [user, ("MLFLOW_TRACKING_PASSWORD", "hush-admin-password")];
    let said = "; correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN";
    kept_until_the_login_is_right(&server, &[user, ("MLFLOW_TRACKING_PASSWORD", "hush-wrong")], &right, said);
    kept_until_the_login_is_right(&server, &[], &right, said);
    // User and password in the address do as well, and a token beside them does not count.
    let address = server.uri().replace("http://", "http://admin:hush-admin-password@");
    let environment = Environment::from_pairs([("MLFLOW_TRACKING_TOKEN", "hush-other")]);
    let client = Client::new(&address, &environment).unwrap();
    assert_eq!(client.experiment_by_name("guarded").unwrap().unwrap().name, "guarded");
}

#[test]
fn bearer_tokens_behind_mlflow_s_authentication() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = guarded(&python, folder.path(), "bearer:authenticate") else { return };
    let token = |token| [("MLFLOW_TRACKING_TOKEN", token)];
    let said = "401: Token has expired; the token has expired; set a new MLFLOW_TRACKING_TOKEN";
    kept_until_the_login_is_right(&server, &token("hush-old"), &token("hush-good"), said);
}
