//! The pages of MLflow's wheel work against this server.

use std::path::{Path, PathBuf};

use yolo11_test_servers as servers;

use crate::web::serve;

/// The folder of MLflow's pages in the Python that has MLflow.
fn pages(python: &Path) -> PathBuf {
    let script = "import importlib.util, json, os\nfound = importlib.util.find_spec('mlflow').origin\nprint(json.dumps(os.path.dirname(found)))";
    let package = servers::run_python(python, script, &[], &[]);
    PathBuf::from(package.as_str().unwrap()).join("server/js/build")
}

#[test]
fn the_official_pages_work_in_a_browser() {
    let Some(python) = servers::python() else { return };
    let Some(browser) = std::env::var_os("YOLO11_PYTHON_BROWSER").map(PathBuf::from) else {
        eprintln!(
            "skipped: YOLO11_PYTHON_BROWSER is not set (the interpreter that `.ci/peers requirements-browser.txt` prints)"
        );
        return;
    };
    if !Path::new("/usr/bin/chromium").exists() {
        eprintln!("skipped: no /usr/bin/chromium");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(&python).display().to_string();
    let server = serve(folder.path(), &["--ui-dir", &pages], &[]);
    let seen = servers::run_python(&browser, include_str!("ui.py"), &[&server.uri()], &[]);
    for page in ["experiments", "runs", "run", "charts", "artifacts", "compare", "models", "model", "version"] {
        assert!(seen[page].is_array(), "{page}: {seen}");
    }
    assert_eq!(seen["drawn"], true);
    assert_eq!(seen["failed"], serde_json::json!([]));
}
