//! The server is killed under load, again and again: what was acknowledged is there, and nothing is there by halves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::web::{ask, call, get, serve};

/// How often it is killed.
const KILLS: u64 = 50;

/// Bytes of an artifact here: more than fit in one piece on the way.
const ARTIFACT: usize = 300_000;

/// What one client has been told is kept.
#[derive(Default)]
struct Acknowledged {
    /// Steps of the metric.
    steps: Vec<i64>,
    params: Vec<String>,
    /// Numbers of artifacts.
    artifacts: Vec<u64>,
    /// Numbers that were sent and not answered: they may be there whole or not at all.
    open: Vec<u64>,
}

fn content(number: u64) -> Vec<u8> {
    (0..ARTIFACT).map(|place| (place as u64).wrapping_mul(number * 2 + 1).wrapping_add(number) as u8).collect()
}

/// Logs and uploads until it is told to stop or the server is gone.
fn client(port: u16, run: &str, client: u64, round: u64, stop: &AtomicBool) -> Acknowledged {
    let mut kept = Acknowledged::default();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let first = (round * 1000 + number) as i64 * 10;
        let metrics: Vec<_> = (first..first + 10)
            .map(|step| json!({"key": "loss", "value": step, "timestamp": 1_700_000_000_000_i64, "step": step}))
            .collect();
        let param = format!("p{round}_{number}");
        let batch = json!({"run_id": run, "metrics": metrics, "params": [{"key": param, "value": "x"}]});
        match call(port, "runs/log-batch", &batch) {
            Some(answer) if answer.status == 200 => {
                kept.steps.extend(first..first + 10);
                kept.params.push(param);
            }
            Some(answer) => panic!("{answer:?}"),
            None => break,
        }
        if client.is_multiple_of(2) {
            let id = round * 1000 + number;
            let path = format!("/api/2.0/mlflow-artifacts/artifacts/crash/{run}/{id}.bin");
            match ask(port, "PUT", &path, &[], &content(id)) {
                Some(answer) if answer.status == 200 => kept.artifacts.push(id),
                Some(answer) => panic!("{answer:?}"),
                None => {
                    kept.open.push(id);
                    break;
                }
            }
        }
    }
    kept
}

#[test]
fn what_was_acknowledged_survives_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = serve(folder.path(), &[], &[]);
    let port = server.port();
    let runs: Vec<String> = (0..4)
        .map(|_| {
            let made = call(port, "runs/create", &json!({"experiment_id": "0"})).unwrap().json();
            made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut kept: BTreeMap<&str, Acknowledged> =
        runs.iter().map(|run| (run.as_str(), Acknowledged::default())).collect();
    for round in 0..KILLS {
        let stop = AtomicBool::new(false);
        let found: Vec<(&str, Acknowledged)> = thread::scope(|scope| {
            let clients: Vec<_> = runs
                .iter()
                .zip(0..)
                .map(|(run, number)| {
                    let stop = &stop;
                    scope.spawn(move || (run.as_str(), client(port, run, number, round, stop)))
                })
                .collect();
            // At another moment each time, in the midst of it.
            thread::sleep(Duration::from_millis(20 + round * 37 % 120));
            server.kill();
            stop.store(true, Ordering::SeqCst);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        for (run, found) in found {
            let all = kept.get_mut(run).unwrap();
            all.steps.extend(found.steps);
            all.params.extend(found.params);
            all.artifacts.extend(found.artifacts);
            all.open.extend(found.open);
        }
        server.start();
    }
    let mut acknowledged = 0;
    for (run, kept) in &kept {
        let history = get(port, &format!("metrics/get-history?run_id={run}&metric_key=loss")).unwrap().json();
        let there: std::collections::HashSet<i64> =
            history["metrics"].as_array().unwrap().iter().map(|metric| metric["step"].as_i64().unwrap()).collect();
        assert!(kept.steps.iter().all(|step| there.contains(step)), "a step of {run} is lost");
        // A batch is there whole or not at all.
        assert!(there.iter().all(|step| (step / 10 * 10..step / 10 * 10 + 10).all(|other| there.contains(&other))));
        let found = get(port, &format!("runs/get?run_id={run}")).unwrap().json();
        let params: std::collections::HashSet<&str> = found["run"]["data"]["params"]
            .as_array()
            .unwrap()
            .iter()
            .map(|param| param["key"].as_str().unwrap())
            .collect();
        assert!(kept.params.iter().all(|param| params.contains(param.as_str())), "a param of {run} is lost");
        let listed = ask(port, "GET", &format!("/api/2.0/mlflow-artifacts/artifacts?path=crash/{run}"), &[], b"")
            .unwrap()
            .json();
        let listed: Vec<(String, u64)> = listed["files"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|file| (file["path"].as_str().unwrap().to_owned(), file["file_size"].as_u64().unwrap()))
            .collect();
        assert!(listed.iter().all(|(_, size)| *size == ARTIFACT as u64), "half an artifact is visible: {listed:?}");
        for id in &kept.artifacts {
            assert!(listed.iter().any(|(name, _)| *name == format!("{id}.bin")), "artifact {id} of {run} is lost");
        }
        let known = |name: &str| kept.artifacts.iter().chain(&kept.open).any(|id| name == format!("{id}.bin"));
        assert!(listed.iter().all(|(name, _)| known(name)));
        // Each tenth is read; all were counted by their size.
        for id in kept.artifacts.iter().step_by(10) {
            let answer =
                ask(port, "GET", &format!("/api/2.0/mlflow-artifacts/artifacts/crash/{run}/{id}.bin"), &[], b"")
                    .unwrap();
            assert!(answer.body == content(*id), "artifact {id} of {run} is damaged");
        }
        acknowledged += kept.steps.len() + kept.artifacts.len();
    }
    assert!(acknowledged > 500, "only {acknowledged} writes were acknowledged: the drill proves nothing");
}
