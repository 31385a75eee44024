//! The system's PostgreSQL.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::program::free_port;

/// A database cluster of its own in a folder, with the user `mlflow` and the database `postgres`.
pub struct Postgres {
    binaries: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    password: String,
}

impl Postgres {
    /// Starts one that takes logins by `method` (`scram-sha-256`, `md5`, `password`, `trust`); none, after having said so, where
    /// PostgreSQL is missing.
    pub fn start(method: &str, password: &str) -> Option<Postgres> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let Some(binaries) =
            versions.map(|version| version.path().join("bin")).find(|path| path.join("initdb").exists())
        else {
            eprintln!("skipped: no PostgreSQL below /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("password"), format!("{password}\n")).expect("a file");
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()));
        }
        let postgres = Postgres { binaries, folder, port: free_port(), password: password.to_owned() };
        let (data, folder) = (postgres.data(), postgres.folder.path().display().to_string());
        let file = format!("--pwfile={folder}/password");
        // How passwords are kept follows from the kind of login.
        postgres.run("initdb", &["-D", &data, "-U", "mlflow", &file, "-A", method, "--no-sync"]);
        postgres.launch();
        Some(postgres)
    }

    /// Starts the server of the cluster, the first time or again after [`Postgres::stop`].
    pub fn launch(&self) {
        let folder = self.folder.path().display();
        let options = format!("-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", self.port);
        self.run("pg_ctl", &["-D", &self.data(), "-o", &options, "-l", &format!("{folder}/log"), "-w", "start"]);
    }

    /// Stops it without waiting for its clients; nothing happens where it does not run.
    pub fn stop(&self) {
        let _ = status(self.command("pg_ctl").args(["-D", &self.data(), "-m", "immediate", "stop"]));
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as SQLAlchemy takes it. The password must not need escaping.
    pub fn uri(&self) -> String {
        format!("postgresql+psycopg2://mlflow:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        run(self.command(program).args(arguments));
    }

    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn run(command: &mut Command) {
    assert!(status(command), "{command:?}");
}

/// Whether a program succeeds.
fn status(command: &mut Command) -> bool {
    // Into files and not into pipes: the server that pg_ctl leaves behind would hold a pipe open.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).status().expect("a program").success()
}
