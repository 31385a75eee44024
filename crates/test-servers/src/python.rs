//! The Python with MLflow's own client and server.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The Python that `YOLO11_PYTHON` names, with mlflow, boto3, psycopg2-binary and moto; none, after having said so, where it is not set.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("YOLO11_PYTHON").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: YOLO11_PYTHON is not set (the interpreter that `.ci/peers requirements.txt` prints)");
    }
    found
}

/// Runs a script and gives the JSON value on the last line that it prints.
pub fn run_python(python: &Path, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let output = Command::new(python)
        .args(["-W", "ignore", "-c", script])
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text} {errors}"))
}
