//! Servers for the tests: MLflow and S3 from the Python that YOLO11_PYTHON names.
#![allow(dead_code)]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The Python with mlflow, boto3 and moto; tests say visibly that they are skipped without it.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("YOLO11_PYTHON").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: YOLO11_PYTHON is not set (a Python with mlflow, boto3, psycopg2-binary and moto[server])");
    }
    found
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program with all its children, killed when dropped.
pub struct Server {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
    pub port: u16,
    path: &'static str,
    child: Option<Child>,
}

impl Server {
    pub fn new(command: &[String], environment: &[(&str, &str)], folder: &Path, port: u16, path: &'static str) -> Self {
        let own = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut server =
            Server { command: command.to_vec(), environment: own, folder: folder.to_owned(), port, path, child: None };
        server.start();
        server
    }

    pub fn start(&mut self) {
        use std::os::unix::process::CommandExt;
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("server.log")).unwrap();
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(180);
        while !self.is_ready() {
            let log = || std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{:?} is not ready: {}", self.command, log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        // A server with TLS: that it listens must do.
        if self.path.is_empty() {
            return true;
        }
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let request = format!("GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", self.path);
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 2")
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The whole group of this child, and nothing else.
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status();
            let _ = child.wait();
        }
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A real MLflow server. `destination`: where it keeps artifacts; `arguments`: more of its command line.
pub fn mlflow(python: &Path, folder: &Path, backend: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
    let port = free_port();
    let mut command: Vec<String> = [
        &python.display().to_string(),
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        backend,
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--workers",
        "2",
    ]
    .map(str::to_owned)
    .to_vec();
    command.extend(arguments.iter().map(|argument| argument.to_string()));
    let mut all = vec![("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")];
    all.extend_from_slice(environment);
    Server::new(&command, &all, folder, port, "/health")
}

pub const S3_KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "test-key"),
    ("AWS_SECRET_ACCESS_KEY", "test-secret-value"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
];

/// An S3 server with the bucket `artifacts`.
pub fn s3(python: &Path, folder: &Path) -> Server {
    let port = free_port();
    let command = [&python.display().to_string(), "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()];
    let server = Server::new(&command.map(str::to_owned), &[], folder, port, "/moto-api/");
    run_python(
        python,
        "import boto3,sys\nboto3.client('s3',endpoint_url=sys.argv[1]).create_bucket(Bucket='artifacts')\nprint('null')",
        &[&server.uri()],
        &S3_KEYS,
    );
    server
}

/// Runs a script that prints one JSON value.
pub fn run_python(python: &Path, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let output = Command::new(python)
        .args(["-W", "ignore", "-c", script])
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text} {errors}"))
}
