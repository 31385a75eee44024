//! Times 100,000 metric points and 500 artifacts to a real MLflow server on PostgreSQL, by this program and by the official client:
//! `YOLO11_PYTHON=$(.ci/peers requirements.txt) cargo run --release -p yolo11-tracking --example benchmark`. Where
//! `MLFLOW_TRACKING_URI` is set, that server is used. Prints the time of each, their ratio, and what logging takes of the caller's time.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use yolo11_test_servers::{Postgres, mlflow, python};
use yolo11_tracking::record::{Metric, RunStart};
use yolo11_tracking::{Environment, Keep, Tracker, TrackerOptions, now, unique_key};

const STEPS: i64 = 20_000;
const KEYS: [&str; 5] = ["step/box_loss", "step/cls_loss", "step/dfl_loss", "step/lr", "step/gradient_norm"];
const FILES: usize = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let Some(python) = python() else { return Ok(()) };
    let environment = Environment::of_process();
    if let Some(uri) = environment.get("MLFLOW_TRACKING_URI") {
        return compare(&python, folder.path(), uri);
    }
    let Some(postgres) = Postgres::start("scram-sha-256", "benchmark") else { return Ok(()) };
    let destination = folder.path().join("artifacts").display().to_string();
    let server = mlflow(&python, folder.path(), &postgres.uri(), &["--artifacts-destination", &destination], &[]);
    compare(&python, folder.path(), &server.uri())
}

fn compare(python: &Path, folder: &Path, uri: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Twice each, in turn: neither has the server to itself when it is warm.
    let (mut own, mut official) = (Vec::new(), Vec::new());
    for number in 0..2 {
        let place = folder.join(format!("run{number}"));
        std::fs::create_dir_all(&place)?;
        own.push(ship(&place, uri)?);
        let begun = Instant::now();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/benchmark.py");
        let output = Command::new(python).arg(script).env("MLFLOW_TRACKING_URI", uri).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let seconds =
            text.lines().find_map(|line| line.strip_prefix("shipped: ")?.split(' ').next()?.parse::<f64>().ok());
        print!("official client ({:.1} s with its start): {text}", begun.elapsed().as_secs_f64());
        official.push(seconds.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?);
    }
    let best = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    println!("yolo11 / official client: {:.3} (best of two each)", best(&own) / best(&official));
    Ok(())
}

/// A run of this program: seconds until everything is on the server.
fn ship(folder: &Path, uri: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let environment = Environment::from_pairs([("MLFLOW_TRACKING_URI", uri)]);
    let files: Vec<_> = (0..FILES).map(|number| folder.join(format!("picture{number}.bin"))).collect();
    for (number, file) in files.iter().enumerate() {
        std::fs::write(file, vec![number as u8; 100_000])?;
    }
    let start = RunStart {
        key: unique_key(),
        tracking_uri: environment.get("MLFLOW_TRACKING_URI").map(str::to_owned),
        experiment_name: "benchmark".into(),
        run_name: "yolo11".into(),
        user: "benchmark".into(),
        start_time: now(),
        ..RunStart::default()
    };
    let options = TrackerOptions { environment, uri: None, system_metrics: false, resume: false };
    let begun = Instant::now();
    let tracker = Tracker::open(folder, start, &options)?;
    let logging = Instant::now();
    for step in 0..STEPS {
        let timestamp = now();
        let metric = |key: &&str| Metric { key: (*key).into(), value: 1.0 / (step + 1) as f64, timestamp, step };
        tracker.metrics(&KEYS.iter().map(metric).collect::<Vec<_>>());
    }
    let metrics_took = logging.elapsed();
    for (number, file) in files.iter().enumerate() {
        tracker.artifact(file, &format!("pictures/{number}.bin"), Keep::AsItIs);
    }
    let took = logging.elapsed();
    tracker.finish("FINISHED");
    // The files' records and the end come after those of the metrics.
    while tracker.remaining() > FILES as u64 + 1 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let metrics_shipped = begun.elapsed().as_secs_f64();
    let left = tracker.wait(Duration::from_secs(3600), || false);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "yolo11: shipped {seconds:.2} s, of it metrics {metrics_shipped:.2} s, {left} left, notes {:?}; of the caller's time {:.2} us a step, {:.3} s with the files",
        tracker.notes(),
        metrics_took.as_secs_f64() * 1e6 / STEPS as f64,
        took.as_secs_f64()
    );
    Ok(seconds)
}
