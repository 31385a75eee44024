//! The pages of `yolo11 server`, clicked through in headless Chromium. Needs a Python with Playwright, named by `YOLO11_PYTHON_BROWSER`,
//! and Chromium, where `YOLO11_CHROMIUM` or the system has it.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CHROMIUM: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// The server, killed when the test is over.
struct Server {
    child: Child,
    uri: String,
}

impl Server {
    /// Starts the real server on a free port, and reads from what it says where it listens.
    fn start(folder: &Path, arguments: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_yolo11"))
            .args(["server", "--port", "0"])
            .args(arguments)
            .current_dir(folder)
            .env_remove("YOLO11_SERVER_TOKEN")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let uri = lines.find_map(|line| {
            let (_, rest) = line.split_once("http://")?;
            Some(format!("http://{}", rest.split([',', ' ', '/']).next().unwrap_or_default()))
        });
        // What it says later is not waited for, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, uri: uri.expect("the server says where it listens") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("YOLO11_CHROMIUM").map(PathBuf::from);
    named.or_else(|| CHROMIUM.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// Runs a script on a server that was started with `arguments`; what it printed. None where something it needs is missing.
fn clicked(script: &str, folder: &Path, arguments: &[&str]) -> Option<String> {
    let Some(python) = std::env::var_os("YOLO11_PYTHON_BROWSER") else {
        eprintln!(
            "skipped: YOLO11_PYTHON_BROWSER names no Python with Playwright (.ci/peers requirements-browser.txt prints one)"
        );
        return None;
    };
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no Chromium (.ci/servers installs it, or YOLO11_CHROMIUM names one)");
        return None;
    };
    let server = Server::start(folder, arguments);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages").join(script);
    let mut command = Command::new(python);
    command.arg(script).arg(&server.uri).arg(chromium);
    // Pictures of every page, for whoever wants to look at them.
    if let Some(pictures) = std::env::var_os("YOLO11_PAGES_PICTURES") {
        std::fs::create_dir_all(&pictures).unwrap();
        command.arg(pictures);
    }
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    Some(out.into_owned())
}

#[test]
fn every_flow_of_the_pages_works_in_chromium() {
    let folder = tempfile::tempdir().unwrap();
    let Some(out) = clicked("flows.py", folder.path(), &[]) else { return };
    assert!(out.ends_with("every flow passed\n"), "{out}");
    assert_eq!(out.matches("\nok  ").count() + 1, 32, "{out}");
}

#[test]
fn signing_in_and_out_works_in_chromium() {
    let folder = tempfile::tempdir().unwrap();
    let mut hashing = Command::new(env!("CARGO_BIN_EXE_yolo11"))
        .args(["server", "--hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hashing.stdin.take().unwrap().write_all(b"correct horse").unwrap();
    let hash = String::from_utf8(hashing.wait_with_output().unwrap().stdout).unwrap();
    std::fs::write(folder.path().join("users"), format!("ann:{hash}")).unwrap();
    let Some(out) = clicked("signin_flows.py", folder.path(), &["--auth-file", "users"]) else { return };
    assert!(out.ends_with("signed in and out\n"), "{out}");
}
