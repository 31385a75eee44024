//! One suite on both databases: any sequence of calls gives the same answers on SQLite and on PostgreSQL, and two servers may start on
//! one database at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use yolo11_server::calls::{CALLS, Work};
use yolo11_server::database::{Connection, Location, migrations};
use yolo11_server::error::ApiError;
use yolo11_server::request::Request;
use yolo11_server::store::Store;
use yolo11_test_servers::Postgres;

/// A call as a client sends it.
#[derive(Debug, Clone)]
struct Sent {
    path: &'static str,
    body: Value,
}

/// What a call answers, in a transaction of its own, at a time that the test gives.
fn answer(db: &mut dyn Connection, sent: &Sent, now: i64) -> Result<Value, ApiError> {
    let call = CALLS.iter().find(|call| call.path == sent.path).unwrap_or_else(|| panic!("no call {}", sent.path));
    db.begin(true)?;
    let body = sent.body.to_string();
    let result = (|| {
        let given = |body: &str| Request::from_json(body.as_bytes());
        let mut store = Store { db, now };
        match call.work {
            Work::Log(check) => check(body.as_bytes())?.write(&mut store),
            Work::Read(work) | Work::Write(work) => work(&mut store, &given(&body)?),
            Work::ReadText(work) => {
                let text = work(&mut store, &given(&body)?)?;
                Ok(serde_json::from_slice(&text)
                    .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text))))
            }
        }
    })();
    match &result {
        Ok(_) => db.commit()?,
        Err(_) => db.rollback(),
    }
    result
}

fn run_id() -> impl Strategy<Value = String> {
    (0..4).prop_map(|number| format!("{number:032x}"))
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn experiment() -> impl Strategy<Value = String> {
    one_of(&["0", "1", "2", "3"])
}

fn key() -> impl Strategy<Value = String> {
    one_of(&["a", "b/c", "B", "ä", "z z"])
}

fn value() -> impl Strategy<Value = String> {
    one_of(&["", "0.001", "train", "Train", "überall", "10", "9", "%", "it's"])
}

fn pairs() -> impl Strategy<Value = Value> {
    prop::collection::vec((key(), value()).prop_map(|(key, value)| json!({"key": key, "value": value})), 0..4)
        .prop_map(Value::from)
}

fn metrics() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-4..4_i32).prop_map(|value| json!(value)),
        Just(json!("NaN")),
        Just(json!("Infinity")),
        Just(json!("-Infinity")),
        Just(json!(0.1)),
        Just(json!(1e-300)),
    ];
    let metric = (key(), number, 0..3_i64, -1..3_i64).prop_map(
        |(key, value, timestamp, step)| json!({"key": key, "value": value, "timestamp": timestamp, "step": step}),
    );
    prop::collection::vec(metric, 0..8).prop_map(Value::from)
}

fn filter() -> impl Strategy<Value = String> {
    one_of(&[
        "",
        "metrics.a > 0",
        "metrics.`b/c` <= 0.1 and params.a != 'train'",
        "metrics.B != 1",
        "params.a LIKE '%rain'",
        "params.B ILIKE 'T%'",
        "tags.a IS NULL",
        "tags.`ä` IS NOT NULL and tags.a = ''",
        "attributes.status = 'FINISHED'",
        "run_name in ('x', 'y')",
        "run_name not in ('x')",
        "start_time >= 5 and end_time < 9",
        "datasets.name = 'd' and datasets.context LIKE 't%'",
        "metrics.a >",
        "params.a > 'x'",
    ])
}

fn order() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(
        one_of(&[
            "metrics.a DESC",
            "metrics.`b/c`",
            "params.a",
            "tags.`ä` DESC",
            "end_time",
            "start_time DESC",
            "run_name",
            "status DESC",
        ]),
        0..3,
    )
}

fn model() -> impl Strategy<Value = String> {
    one_of(&["m", "n", "Ä"])
}

fn version() -> impl Strategy<Value = String> {
    one_of(&["1", "2", "3", "x"])
}

fn sent() -> impl Strategy<Value = Sent> {
    let view = || one_of(&["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]);
    let status = || one_of(&["RUNNING", "FINISHED", "KILLED", "ODD"]);
    let to = |path: &'static str| move |body: Value| Sent { path, body };
    prop_oneof![
        2 => (one_of(&["x", "y", "Y", " "]), pairs()).prop_map(|(name, tags)| json!({"name": name, "tags": tags})).prop_map(to("experiments/create")),
        1 => experiment().prop_map(|id| json!({"experiment_id": id})).prop_map(to("experiments/delete")),
        1 => experiment().prop_map(|id| json!({"experiment_id": id})).prop_map(to("experiments/restore")),
        1 => (experiment(), one_of(&["x", "z"])).prop_map(|(id, name)| json!({"experiment_id": id, "new_name": name})).prop_map(to("experiments/update")),
        1 => (view(), one_of(&["", "name LIKE '%x%'", "tags.a = 'train'", "creation_time > 1003"]), 1..3_i64)
            .prop_map(|(view, filter, most)| json!({"view_type": view, "filter": filter, "max_results": most})).prop_map(to("experiments/search")),
        4 => (experiment(), run_id(), one_of(&["x", "y", "Z"]), 0..9_i64, pairs())
            .prop_map(|(experiment, run, name, start, tags)| json!({"experiment_id": experiment, "run_id": run, "run_name": name, "start_time": start, "tags": tags}))
            .prop_map(to("runs/create")),
        2 => (run_id(), status(), 4..12_i64).prop_map(|(run, status, end)| json!({"run_id": run, "status": status, "end_time": end})).prop_map(to("runs/update")),
        1 => run_id().prop_map(|run| json!({"run_id": run})).prop_map(to("runs/delete")),
        1 => run_id().prop_map(|run| json!({"run_id": run})).prop_map(to("runs/restore")),
        1 => run_id().prop_map(|run| json!({"run_id": run})).prop_map(to("runs/purge")),
        1 => run_id().prop_map(|run| json!({"run_id": run})).prop_map(to("runs/get")),
        6 => (run_id(), metrics(), pairs(), pairs())
            .prop_map(|(run, metrics, params, tags)| json!({"run_id": run, "metrics": metrics, "params": params, "tags": tags})).prop_map(to("runs/log-batch")),
        1 => (run_id(), key()).prop_map(|(run, key)| json!({"run_id": run, "key": key})).prop_map(to("runs/delete-tag")),
        4 => (filter(), order(), view(), 1..4_i64)
            .prop_map(|(filter, order, view, most)| json!({"experiment_ids": ["0", "1", "2"], "filter": filter, "order_by": order, "run_view_type": view, "max_results": most}))
            .prop_map(to("runs/search")),
        2 => (run_id(), key(), 0..3_i64).prop_map(|(run, key, most)| json!({"run_id": run, "metric_key": key, "max_results": most})).prop_map(to("metrics/get-history")),
        1 => (run_id(), key(), 1..4_i64).prop_map(|(run, key, most)| json!({"run_ids": [run], "metric_key": key, "max_results": most})).prop_map(to("metrics/get-history-bulk-interval")),
        1 => (run_id(), one_of(&["d", "e"]), one_of(&["training", "eval"]))
            .prop_map(|(run, name, context)| json!({"run_id": run, "datasets": [{"dataset": {"name": name, "digest": "1", "source_type": "local", "source": "{}"}, "tags": [{"key": "mlflow.data.context", "value": context}]}]}))
            .prop_map(to("runs/log-inputs")),
        1 => Just(json!({"experiment_ids": ["0", "1"]})).prop_map(to("experiments/search-datasets")),
        2 => (model(), pairs()).prop_map(|(name, tags)| json!({"name": name, "tags": tags})).prop_map(to("registered-models/create")),
        1 => model().prop_map(|name| json!({"name": name})).prop_map(to("registered-models/delete")),
        1 => (model(), model()).prop_map(|(name, new)| json!({"name": name, "new_name": new})).prop_map(to("registered-models/rename")),
        1 => one_of(&["", "name ILIKE 'ä'", "tags.a != 'x'"]).prop_map(|filter| json!({"filter": filter, "max_results": 2})).prop_map(to("registered-models/search")),
        3 => (model(), run_id(), pairs()).prop_map(|(name, run, tags)| json!({"name": name, "run_id": run, "source": "mlflow-artifacts:/a", "tags": tags})).prop_map(to("model-versions/create")),
        1 => (model(), version()).prop_map(|(name, version)| json!({"name": name, "version": version})).prop_map(to("model-versions/delete")),
        1 => (model(), version(), one_of(&["Production", "Archived", "Odd"]))
            .prop_map(|(name, version, stage)| json!({"name": name, "version": version, "stage": stage, "archive_existing_versions": true})).prop_map(to("model-versions/transition-stage")),
        2 => (model(), version(), one_of(&["champion", "v1", "b"])).prop_map(|(name, version, alias)| json!({"name": name, "version": version, "alias": alias})).prop_map(to("registered-models/alias")),
        1 => one_of(&["", "name = 'm'", "version_number > 1", "tags.a LIKE '%a%'"]).prop_map(|filter| json!({"filter": filter, "order_by": ["name", "version_number DESC"]})).prop_map(to("model-versions/search")),
        1 => (experiment(), 0..3_i64, pairs())
            .prop_map(|(experiment, id, params)| json!({"experiment_id": experiment, "name": "l", "model_id": format!("m-{id:032x}"), "params": params})).prop_map(to("logged-models")),
        1 => Just(json!({"experiment_ids": ["0", "1", "2"], "filter": "params.a = 'train' and name = 'l'"})).prop_map(to("logged-models/search")),
    ]
}

/// What most calls need to be answered: an experiment, two runs and two models.
fn begun() -> Vec<Sent> {
    let run = |id: u8| json!({"experiment_id": "1", "run_id": format!("{id:032x}"), "run_name": "x", "start_time": id});
    vec![
        Sent { path: "experiments/create", body: json!({"name": "begun"}) },
        Sent { path: "runs/create", body: run(0) },
        Sent { path: "runs/create", body: run(1) },
        Sent { path: "registered-models/create", body: json!({"name": "m"}) },
        Sent { path: "registered-models/create", body: json!({"name": "Ä"}) },
    ]
}

fn fresh(location: &Location, runtime: &tokio::runtime::Runtime) -> Box<dyn Connection> {
    let mut db = migrations::open(location, runtime.handle()).unwrap();
    db.begin(true).unwrap();
    Store { db: &mut *db, now: 1000 }.begin().unwrap();
    db.commit().unwrap();
    db
}

/// Ids that the server chose by chance, in the order in which they appear.
fn chosen(value: &mut Value, known: &mut BTreeMap<String, usize>) {
    match value {
        Value::String(text) => {
            let by_chance = |word: &str| {
                word.len() == 32 && word.bytes().all(|digit| digit.is_ascii_hexdigit()) && !word.starts_with("0000")
            };
            for word in text.clone().split(['/', '-']).filter(|word| by_chance(word)) {
                let next = known.len();
                let number = known.entry(word.to_owned()).or_insert(next);
                *text = text.replace(word, &format!("chosen {number}"));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| chosen(value, known)),
        Value::Object(fields) => fields.values_mut().for_each(|value| chosen(value, known)),
        _ => {}
    }
}

#[test]
fn any_calls_give_the_same_answers_on_both_databases() {
    let Some(server) = Postgres::start("trust", "secret") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let there = Location::parse(&server.uri()).unwrap();
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let (cases, answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(sent(), 1..60), |calls| {
            let path = folder.path().join(format!("{}.db", count(&cases)));
            let mut here = fresh(&Location::Sqlite(path), &runtime);
            let mut postgres = fresh(&there, &runtime);
            let (mut known_here, mut known_there) = (BTreeMap::new(), BTreeMap::new());
            for (sent, now) in begun().iter().chain(&calls).zip(1001..) {
                let mut one = answer(&mut *here, sent, now);
                let mut other = answer(&mut *postgres, sent, now);
                one.iter_mut().for_each(|value| chosen(value, &mut known_here));
                other.iter_mut().for_each(|value| chosen(value, &mut known_there));
                match &one {
                    Ok(_) => count(&answered),
                    Err(_) => count(&refused),
                };
                prop_assert_eq!(&one, &other, "{:?}", sent);
            }
            postgres.script("DROP SCHEMA yolo11 CASCADE").unwrap();
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // The calls are such that both kinds of answer are compared.
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(answered > 500 && refused > 200, "{answered} answered, {refused} refused");
}

#[test]
fn servers_that_start_at_once_make_the_tables_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Postgres::start("trust", "secret");
    let mut locations = vec![Location::Sqlite(folder.path().join("runs.db"))];
    locations.extend(server.as_ref().map(|server| Location::parse(&server.uri()).unwrap()));
    for location in locations {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| fresh(&location, &runtime));
            }
        });
        let mut db = fresh(&location, &runtime);
        let count = |db: &mut dyn Connection, sql: &str| db.first(sql, &[], |row| row.int(0)).unwrap();
        // Each step stands there once.
        assert_eq!(count(&mut *db, "SELECT count(*) - max(version) FROM schema_version"), Some(0));
        assert_eq!(count(&mut *db, "SELECT count(*) FROM experiments"), Some(1));
    }
}

#[test]
fn databases_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlflow.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let location = Location::Sqlite(path.clone());
    let mut db = location.connect(runtime.handle()).unwrap();
    db.script("CREATE TABLE alembic_version (version_num TEXT)").unwrap();
    let error = migrations::open(&location, runtime.handle()).err().unwrap();
    assert!(
        error.message.starts_with(&format!("{} holds the tables of MLflow's own server", path.display())),
        "{error}"
    );
    assert_eq!(
        db.first("SELECT count(*) FROM sqlite_master WHERE type = 'table'", &[], |row| row.int(0)).unwrap(),
        Some(1)
    );
    let newer = Location::Sqlite(folder.path().join("newer.db"));
    let mut db = fresh(&newer, &runtime);
    db.script("INSERT INTO schema_version (version) VALUES (99)").unwrap();
    let error = migrations::open(&newer, runtime.handle()).err().unwrap();
    assert!(
        error.message.ends_with("was made by a newer version of this program (tables 99, known 2); use that version"),
        "{error}"
    );
    for (uri, message) in [
        ("mysql://x/y", "`mysql:` is neither sqlite nor postgresql"),
        ("sqlite://x", "a SQLite address is sqlite:///relative or sqlite:////absolute"),
        ("postgresql:///x", "no host in the address: postgresql://user:password@host:port/database"),
    ] {
        assert_eq!(Location::parse(uri).err().as_deref(), Some(message));
    }
    let shown = Location::parse("postgresql+psycopg2://ann:secret@db:5433/runs").unwrap().shown();
    assert_eq!(shown, "postgresql://db:5433/runs");
}
