//! Times 100,000 metric points and 500 artifacts to a tracking server: `MLFLOW_TRACKING_URI=… cargo run --release -p yolo11-tracking
//! --example benchmark`. Prints the seconds that logging took of the caller's time, and until everything was on the server.

use std::time::{Duration, Instant};

use yolo11_tracking::record::{Metric, RunStart};
use yolo11_tracking::{Environment, Keep, Tracker, TrackerOptions, now, unique_key};

const STEPS: i64 = 20_000;
const KEYS: [&str; 5] = ["step/box_loss", "step/cls_loss", "step/dfl_loss", "step/lr", "step/gradient_norm"];
const FILES: usize = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let environment = Environment::of_process();
    let folder = std::env::temp_dir().join(format!("yolo11-tracking-benchmark-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
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
    let tracker = Tracker::open(&folder, start, &options)?;
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
    let left = tracker.wait(Duration::from_secs(3600), || false);
    println!(
        "caller: {:.2} us a step, {:.3} s in all",
        metrics_took.as_secs_f64() * 1e6 / STEPS as f64,
        took.as_secs_f64()
    );
    println!("shipped: {:.2} s, {left} left, notes {:?}", begun.elapsed().as_secs_f64(), tracker.notes());
    drop(tracker);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
