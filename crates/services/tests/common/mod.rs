//! Real servers on loopback: PostgreSQL of the system, and moto and MLflow of the interpreter that `YOLO11_PYTHON` names.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The interpreter with mlflow and moto, or nothing after having said so.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("YOLO11_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: YOLO11_PYTHON is not set");
    }
    python
}

/// A server that goes when the test ends.
pub struct Server(Child);

impl Server {
    pub fn start(command: &mut Command) -> Server {
        Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn module(python: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut command = Command::new(python);
        Server::start(command.arg("-m").args(arguments).envs(variables.iter().copied()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // MLflow has workers that end with it only when it is asked to end.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                _ => return,
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Repeats a question until the answer is right or a minute is over.
pub fn until<T, E>(ask: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(_) if started.elapsed() < Duration::from_secs(90) => std::thread::sleep(Duration::from_millis(200)),
            answer => return answer,
        }
    }
}

/// A database cluster of its own in a folder, with user `mlflow`.
pub struct Postgres {
    binaries: PathBuf,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Postgres {
    /// Starts one that takes logins by `method` (`scram-sha-256`, `md5`, `password`, `trust`), or nothing after having said why not.
    pub fn start(method: &str, password: &str) -> Option<Postgres> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let Some(binaries) =
            versions.map(|version| version.path().join("bin")).find(|path| path.join("initdb").exists())
        else {
            eprintln!("skipped: no PostgreSQL below /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), format!("{password}\n")).unwrap();
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()));
        }
        let postgres = Postgres { binaries, folder, port: free_port() };
        let (data, folder) = (postgres.data(), postgres.folder.path().display().to_string());
        let file = format!("--pwfile={folder}/password");
        // How passwords are kept follows from the kind of login.
        postgres.run("initdb", &["-D", &data, "-U", "mlflow", &file, "-A", method, "--no-sync"]);
        let options = format!("-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", postgres.port);
        postgres.run("pg_ctl", &["-D", &data, "-o", &options, "-l", &format!("{folder}/log"), "-w", "start"]);
        Some(postgres)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        run(command.args(arguments));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(command: &mut Command) {
    // Into files and not into pipes: the server that pg_ctl leaves behind would hold a pipe open.
    let status = command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}
