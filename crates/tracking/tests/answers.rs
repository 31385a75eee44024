//! Half-answers: what a tracker makes of a server that is busy, broken, slow, or refuses.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use yolo11_tracking::record::{Metric, Record, RunStart};
use yolo11_tracking::{Environment, Error, Keep, Tracker, TrackerOptions, sync};

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// An error before anything is done.
    Status(u16, &'static str, &'static str),
    /// The work is done, but the answer breaks off in its middle.
    DoneButCutOff,
    /// The connection is reset before anything is done.
    Reset,
    /// The answer takes so long.
    Slow(Duration),
}

#[derive(Default)]
struct Book {
    faults: Vec<(&'static str, Fault)>,
    calls: Vec<(String, Instant)>,
    runs: Vec<Value>,
    metrics: BTreeMap<String, Value>,
    params: BTreeMap<String, String>,
    artifacts: BTreeMap<String, Vec<u8>>,
    statuses: Vec<String>,
}

/// A small server that does what MLflow does with the calls of these tests, and fails as it is told.
struct Misbehaving {
    book: Arc<Mutex<Book>>,
    port: u16,
}

impl Misbehaving {
    fn start(faults: &[(&'static str, Fault)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let book = Arc::new(Mutex::new(Book { faults: faults.to_vec(), ..Book::default() }));
        let shared = book.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = shared.clone();
                std::thread::spawn(move || while serve(&stream, &book).is_some() {});
            }
        });
        Misbehaving { book, port }
    }

    fn environment(&self) -> Environment {
        Environment::from_pairs([
            ("MLFLOW_TRACKING_URI", format!("http://127.0.0.1:{}", self.port)),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.1".to_owned()),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0".to_owned()),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3".to_owned()),
            ("MLFLOW_TRACKING_TOKEN", "very-secret-token".to_owned()),
        ])
    }

    fn calls(&self, part: &str) -> Vec<Instant> {
        let book = self.book.lock().unwrap();
        book.calls.iter().filter(|(path, _)| path.contains(part)).map(|(_, time)| *time).collect()
    }
}

fn serve(stream: &TcpStream, book: &Mutex<Book>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let fault = {
        let mut book = book.lock().unwrap();
        book.calls.push((path.clone(), Instant::now()));
        let found = book.faults.iter().position(|(part, _)| path.contains(part));
        found.map(|index| book.faults.remove(index).1)
    };
    let mut stream = stream;
    let mut send = |status: u16, headers: &str, body: &str, cut: usize| {
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{}",
            body.len(),
            &body[..body.len() - cut]
        );
        stream.write_all(text.as_bytes()).ok()
    };
    match fault {
        Some(Fault::Reset) => None,
        Some(Fault::Status(status, headers, body)) => send(status, headers, body, 0),
        Some(Fault::DoneButCutOff) => {
            let answer = work(&path, &body, &mut book.lock().unwrap()).to_string() + "      ";
            send(200, "", &answer, 8);
            None
        }
        fault => {
            if let Some(Fault::Slow(time)) = fault {
                std::thread::sleep(time);
            }
            let answer = work(&path, &body, &mut book.lock().unwrap());
            let missing = answer.get("error_code").is_some();
            send(if missing { 404 } else { 200 }, "", &answer.to_string(), 0)
        }
    }
}

fn work(path: &str, body: &[u8], book: &mut Book) -> Value {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let run = |number: usize| {
        json!({"info": {"run_id": format!("run{number}"), "experiment_id": "1",
        "artifact_uri": "mlflow-artifacts:/1/run/artifacts", "lifecycle_stage": "active"}, "data": {}})
    };
    if path.contains("get-by-name") {
        json!({"experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}})
    } else if path.contains("runs/create") {
        book.runs.push(value);
        json!({"run": run(book.runs.len())})
    } else if path.contains("runs/search") {
        let found: Vec<Value> = (0..book.runs.len())
            .filter(|index| {
                let tags = book.runs[*index]["tags"].as_array().unwrap().clone();
                tags.iter().any(|tag| value["filter"].as_str().unwrap().contains(tag["value"].as_str().unwrap()))
            })
            .map(|index| run(index + 1))
            .collect();
        json!({"runs": found})
    } else if path.contains("runs/get") {
        json!({"run": run(1)})
    } else if path.contains("log-batch") {
        for metric in value["metrics"].as_array().unwrap() {
            let key = format!("{}/{}/{}", metric["key"], metric["step"], metric["timestamp"]);
            book.metrics.insert(key, metric["value"].clone());
        }
        for param in value["params"].as_array().unwrap() {
            book.params.insert(param["key"].as_str().unwrap().into(), param["value"].as_str().unwrap().into());
        }
        json!({})
    } else if let Some((_, name)) = path.split_once("/mlflow-artifacts/artifacts/") {
        book.artifacts.insert(name.to_owned(), body.to_vec());
        json!({})
    } else if path.contains("runs/update") {
        book.statuses.push(value["status"].as_str().unwrap().to_owned());
        json!({})
    } else {
        json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": path})
    }
}

fn start(environment: &Environment) -> RunStart {
    RunStart {
        key: yolo11_tracking::unique_key(),
        tracking_uri: environment.get("MLFLOW_TRACKING_URI").map(str::to_owned),
        experiment_name: "e".into(),
        run_name: "first".into(),
        user: "ann".into(),
        start_time: 1,
        ..RunStart::default()
    }
}

fn open(folder: &Path, environment: &Environment) -> Tracker {
    let options = TrackerOptions { environment: environment.clone(), uri: None, system_metrics: false, resume: false };
    Tracker::open(folder, start(environment), &options).unwrap()
}

/// Waits until a tracker has heard from its server what is wrong.
fn wait_for_a_failure(tracker: &Tracker) {
    let begun = Instant::now();
    while tracker.last_error().is_none() && begun.elapsed() < Duration::from_secs(240) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the thread of a tracker that was dropped.
fn wait_until_free(run_folder: &Path) {
    while sync::status(run_folder).unwrap().is_busy {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A short run against a server with these faults: what it told, and how long it took to take everything in.
fn run(server: &Misbehaving, environment: &Environment) -> (Vec<String>, u64, Duration) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let tracker = open(folder.path(), environment);
    let begun = Instant::now();
    tracker.params([("epochs".to_owned(), "3".to_owned()), ("api_token".to_owned(), "hush".to_owned())]);
    for step in 0..500 {
        tracker.values(step, &[("train/box_loss", 0.5), ("metrics/mAP50(B)", f64::NAN)]);
    }
    tracker.artifact(&folder.path().join("a.txt"), "a.txt", Keep::AsItIs);
    tracker.finish("FINISHED");
    let took = begun.elapsed();
    let left = tracker.wait(Duration::from_secs(240), || false);
    let notes = tracker.notes();
    let book = server.book.lock().unwrap();
    if left == 0 {
        assert_eq!(book.runs.len(), 1);
        assert_eq!((book.metrics.len(), book.params["epochs"].as_str()), (1000, "3"));
        assert_eq!(book.params["api_token"], "***");
        assert_eq!(book.artifacts.values().collect::<Vec<_>>(), [b"text"]);
        // The second time where the first answer was lost.
        assert!(book.statuses.iter().all(|status| status == "FINISHED"), "{:?}", book.statuses);
    }
    (notes, left, took)
}

#[test]
fn everything_arrives_once_whatever_the_server_does() {
    for fault in [
        Fault::Status(500, "", r#"{"error_code": "INTERNAL_ERROR", "message": "deadlock"}"#),
        Fault::Status(503, "", "<html><title>503 Service Unavailable</title></html>"),
        Fault::Reset,
        Fault::DoneButCutOff,
    ] {
        let places = ["get-by-name", "runs/create", "log-batch", "mlflow-artifacts", "runs/update"];
        let server = Misbehaving::start(&places.map(|place| (place, fault)));
        let (notes, left, _) = run(&server, &server.environment());
        assert_eq!(left, 0, "{fault:?} {notes:?}");
        // Once when it begins, once when it is over, for each outage.
        assert!(notes.len() <= 10, "{notes:?}");
        assert!(!notes.join(" ").contains("secret"), "{notes:?}");
    }
}

#[test]
fn a_training_does_not_wait_for_a_server_that_needs_ten_seconds_a_call() {
    let slow = Duration::from_secs(10);
    let places = ["get-by-name", "runs/create", "log-batch", "mlflow-artifacts", "runs/update"];
    let server = Misbehaving::start(&places.map(|place| (place, Fault::Slow(slow))));
    let (notes, left, took) = run(&server, &server.environment());
    assert_eq!((left, notes), (0, vec![]));
    // A thousand points, params and a file were taken in before the first of its calls was over.
    assert!(took < slow, "the training waited {took:?}");
}

#[test]
fn retry_after_is_honoured() {
    let busy =
        Fault::Status(429, "retry-after: 2\r\n", r#"{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}"#);
    let server = Misbehaving::start(&[("log-batch", busy)]);
    let (notes, left, _) = run(&server, &server.environment());
    assert_eq!(left, 0, "{notes:?}");
    let calls = server.calls("log-batch");
    assert!(calls[1] - calls[0] >= Duration::from_secs(2), "{:?}", calls[1] - calls[0]);
    assert!(notes[0].contains("429 REQUEST_LIMIT_EXCEEDED: slow down\ntraining goes on"), "{notes:?}");
}

#[test]
fn wrong_credentials_and_an_expired_token_say_what_to_do_and_lose_nothing() {
    for (body, wanted) in [
        ("You are not authenticated", "401: You are not authenticated; correct MLFLOW_TRACKING_USERNAME"),
        ("Token very-secret-token has expired", "401: Token *** has expired; the token has expired"),
    ] {
        let server = Misbehaving::start(&[("", Fault::Status(401, "", body)); 400]);
        let folder = tempfile::tempdir().unwrap();
        let tracker = open(folder.path(), &server.environment());
        tracker.values(1, &[("a", 1.0)]);
        tracker.finish("FINISHED");
        wait_for_a_failure(&tracker);
        assert_eq!(tracker.wait(Duration::from_secs(1), || false), 3);
        let notes = tracker.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains(wanted), "{notes:?}");
        drop(tracker);
        wait_until_free(folder.path());
        let error = sync::sync(folder.path(), &server.environment(), None, |_| {}, || false).unwrap_err();
        assert!(matches!(error, Error::Status { status: 401, .. }), "{error}");
        server.book.lock().unwrap().faults.clear();
        let status = sync::sync(folder.path(), &server.environment(), None, |_| {}, || false).unwrap();
        assert_eq!((status.left.records, status.status.as_deref()), (0, Some("FINISHED")));
        assert_eq!(server.book.lock().unwrap().metrics.len(), 1);
    }
}

/// A backlog goes in several batches at once; those that came through are not sent again because others did not.
#[test]
fn of_a_backlog_only_what_failed_is_sent_again() {
    let busy = Fault::Status(503, "", "busy");
    let server = Misbehaving::start(&[("log-batch", Fault::DoneButCutOff), ("log-batch", busy), ("log-batch", busy)]);
    let (folder, environment) = (tempfile::tempdir().unwrap(), server.environment());
    let mut writer = yolo11_tracking::queue::Writer::open(&folder.path().join("tracking")).unwrap();
    writer.append(&Record::Start(start(&environment))).unwrap();
    let keys = ["a", "b", "c", "d", "e"];
    for step in 0..2500 {
        let metric = |key: &&str| Metric { key: (*key).into(), value: 0.5, timestamp: step, step };
        writer.append(&Record::Metrics { metrics: keys.iter().map(metric).collect() }).unwrap();
    }
    let status = sync::sync(folder.path(), &environment, None, |_| {}, || false).unwrap();
    assert_eq!((status.left.records, status.shipped.metrics), (0, 12_500));
    let book = server.book.lock().unwrap();
    assert_eq!(book.metrics.len(), 12_500);
    // 13 batches, and each that failed once more.
    assert_eq!(book.calls.iter().filter(|(path, _)| path.contains("log-batch")).count(), 13 + 3);
}

#[test]
fn a_full_store_is_told_and_waited_for() {
    let full = Fault::Status(507, "", "<Error><Code>XMinioStorageFull</Code><Message>no room</Message></Error>");
    let server = Misbehaving::start(&[("mlflow-artifacts", full)]);
    let (notes, left, _) = run(&server, &server.environment());
    assert_eq!(left, 0);
    assert!(notes[0].contains("507 XMinioStorageFull: no room; free some space on the server"), "{notes:?}");
}

#[test]
fn what_the_server_refuses_does_not_hold_up_the_rest() {
    let refused = Fault::Status(400, "", r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no such name"}"#);
    // The whole batch, then halves of it down to one entry.
    let server = Misbehaving::start(&[("log-batch", refused); 4]);
    let folder = tempfile::tempdir().unwrap();
    let tracker = open(folder.path(), &server.environment());
    tracker.values(0, &["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, 1.0)));
    tracker.finish("FINISHED");
    assert_eq!(tracker.wait(Duration::from_secs(240), || false), 0);
    assert_eq!(server.book.lock().unwrap().metrics.len(), 7);
    let notes = tracker.notes();
    assert!(notes[0].contains("not taken: ") && notes[0].contains("no such name"), "{notes:?}");
    let refused = std::fs::read_to_string(folder.path().join("tracking/refused.jsonl")).unwrap();
    assert_eq!(refused.lines().count(), 1);
}

#[test]
fn a_sync_gives_up_after_as_many_tries_as_the_environment_says() {
    let environment = Environment::from_pairs([
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.1"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let tracker = open(folder.path(), &environment);
    let busy = sync::sync(folder.path(), &environment, None, |_| {}, || false).unwrap_err();
    assert!(busy.to_string().contains("another process ships this run"), "{busy}");
    tracker.finish("KILLED");
    // Several tries, told once.
    wait_for_a_failure(&tracker);
    assert_eq!(tracker.wait(Duration::from_secs(3), || false), 2);
    let notes = tracker.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("Connection refused") && notes[0].contains("start the server"), "{notes:?}");
    drop(tracker);
    wait_until_free(folder.path());
    let mut told = Vec::new();
    let error = sync::sync(folder.path(), &environment, None, |text| told.push(text.to_owned()), || false).unwrap_err();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(error.to_string().contains("no answer"), "{error}");
    assert_eq!(sync::status(folder.path()).unwrap().left.records, 2);
}

#[test]
fn a_crash_between_answer_and_position_repeats_the_batch_only() {
    let server = Misbehaving::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let environment = server.environment();
    let mut writer = yolo11_tracking::queue::Writer::open(&folder.path().join("tracking")).unwrap();
    writer.append(&Record::Start(start(&environment))).unwrap();
    writer.append(&Record::Params { params: vec![("a".into(), "1".into())] }).unwrap();
    let position = folder.path().join("tracking/position.json");
    let mut shipper = yolo11_tracking::Shipper::open(folder.path(), &environment, None).unwrap();
    shipper.step().unwrap();
    let before = std::fs::read(&position).unwrap();
    shipper.step().unwrap();
    // The batch arrived, what was written of it did not.
    std::fs::write(&position, before).unwrap();
    let status = sync::sync(folder.path(), &environment, None, |_| {}, || false).unwrap();
    assert_eq!((status.left.records, status.run_id.as_deref()), (0, Some("run1")));
    let book = server.book.lock().unwrap();
    assert_eq!((book.runs.len(), book.params.len()), (1, 1));
}
