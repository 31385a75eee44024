//! The server dies three times during a training, the last time for longer than the training: afterwards it holds what an undisturbed
//! training gives, point for point.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use yolo11_test_servers::{mlflow, python};

use super::{check_records, is_reproducible, points_of, read_back, rows, text, training, wait_for};

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for something that the server has to do for a training: it is held most of the time, so that it is not over before a busy
/// machine gets there.
fn wait_for_server(child: &Child, condition: impl Fn() -> bool) {
    wait_for(|| {
        signal(child, "-CONT");
        std::thread::sleep(Duration::from_millis(20));
        signal(child, "-STOP");
        std::thread::sleep(Duration::from_millis(200));
        condition()
    });
    signal(child, "-CONT");
}

fn position(run_folder: &Path) -> Vec<u8> {
    std::fs::read(run_folder.join("tracking/position.json")).unwrap_or_default()
}

#[test]
fn three_outages_leave_no_trace() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let backend = format!("sqlite:///{}/mlflow.db", home.display());
    let destination = home.join("artifacts");
    let mut server = mlflow(&python, home, &backend, &["--artifacts-destination", destination.to_str().unwrap()], &[]);
    let uri = server.uri();
    let environment = [
        ("MLFLOW_TRACKING_URI", uri.as_str()),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.5"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
    ];
    let start = |name: &str| {
        let folder = home.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let arguments = ["epochs=12", "plots=false", "tracking_wait=1", &format!("mlflow.experiment_name={name}")];
        let mut command = training(&folder, "run", &arguments, &environment);
        (command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap(), folder.join("runs/run"))
    };
    let sync = |run_folder: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_yolo11"))
            .args(["tracking", "sync", "--json"])
            .arg(run_folder)
            .envs(environment)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&found[0]["left"]["records"], &found[0]["shipped"]["refused"]), (&0.into(), &0.into()), "{found}");
    };

    let (child, undisturbed) = start("undisturbed");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    sync(&undisturbed);

    let (child, disturbed) = start("disturbed");
    wait_for_server(&child, || !position(&disturbed).is_empty());
    for outage in 1..=3 {
        server.kill();
        let before = rows(&disturbed);
        // The training goes on without it.
        wait_for(|| rows(&disturbed) >= before + 2);
        if outage < 3 {
            // It is held while the server comes back, so that all three outages fall into it on any machine.
            signal(&child, "-STOP");
            server.start();
            let shipped = position(&disturbed);
            wait_for_server(&child, || position(&disturbed) != shipped);
        }
    }
    let output = child.wait_with_output().unwrap();
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    // Once for each outage, and what is left at the end with what to do about it.
    assert!((1..=3).contains(&told.matches("training goes on; everything is kept").count()), "{told}");
    assert!(told.contains("records are not sent yet") && told.contains("hint: when the server answers, run"), "{told}");
    server.start();
    sync(&disturbed);

    let read = |name: &str| read_back(&python, &uri, name, &[])["run"].clone();
    let (whole, run) = (read("undisturbed"), read("disturbed"));
    assert_eq!((&run["status"], &run["params"]), (&"FINISHED".into(), &expected_params(&whole)));
    check_records(&whole, &undisturbed);
    check_records(&run, &disturbed);
    let values = |run: &Value| -> BTreeMap<String, Vec<(i64, u64)>> {
        let points = points_of(run).into_iter().filter(|(key, _)| is_reproducible(key));
        points
            .map(|(key, points)| (key, points.into_iter().map(|(step, _, value)| (step, value.to_bits())).collect()))
            .collect()
    };
    assert_eq!(values(&run), values(&whole));
    for (key, points) in points_of(&run) {
        let within = points
            .iter()
            .all(|(_, time, _)| (run["start"].as_i64() <= Some(*time)) && (Some(*time) <= run["end"].as_i64()));
        assert!(within, "{key}: {points:?} not between {} and {}", run["start"], run["end"]);
    }
    let names = |run: &Value| run["files"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&run), names(&whole));
    let inputs =
        |run: &Value| run["inputs"].as_array().unwrap().iter().map(|input| input[2].clone()).collect::<Vec<_>>();
    assert_eq!((inputs(&run), run["models"].as_array().unwrap().len()), (inputs(&whole), 1));
}

/// The same settings, but for the experiment's name.
fn expected_params(whole: &Value) -> Value {
    let mut params = whole["params"].clone();
    params["mlflow.experiment_name"] = "disturbed".into();
    params
}
