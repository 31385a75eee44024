//! A program that serves on a port.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest time that a server may take to answer. Machines that run tests may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// A port for a server that is started later, perhaps again and again: one that the system gives to nobody unasked (Linux does from 32768
/// on), and that no other test of this process was given.
pub fn free_port() -> u16 {
    const PORTS: Range<u32> = 15_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that follow each other begin far apart.
    let first = std::process::id().wrapping_mul(7919);
    let mut ports = PORTS.map(|_| {
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        u16::try_from(PORTS.start + place).expect("a port")
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(is_free).expect("a free port")
}

/// Repeats a question until the answer is right or the patience is over.
pub fn until<T, E>(ask: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(_) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(200)),
            answer => return answer,
        }
    }
}

/// A program with all its children, killed when it is dropped. What it prints is in `server.log` in its folder.
pub struct Server {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
    port: u16,
    ready: Option<&'static str>,
    child: Option<Child>,
}

impl Server {
    /// Starts a program in a folder and waits until it answers `GET <ready>` on its port with success; with none it is not waited for.
    pub fn new(
        command: &[String],
        environment: &[(&str, &str)],
        folder: &Path,
        port: u16,
        ready: Option<&'static str>,
    ) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut server =
            Server { command: command.to_vec(), environment, folder: folder.to_owned(), port, ready, child: None };
        server.start();
        server
    }

    /// Runs a module of a Python that serves on `port`, without waiting for it.
    pub fn module(python: &Path, arguments: &[&str], environment: &[(&str, &str)], folder: &Path, port: u16) -> Self {
        let python = python.display().to_string();
        let command: Vec<String> =
            [python.as_str(), "-m"].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        Server::new(&command, environment, folder, port, None)
    }

    /// Starts it, the first time or again after [`Server::kill`], on the same port.
    pub fn start(&mut self) {
        use std::os::unix::process::CommandExt;
        let log = File::options().create(true).append(true).open(self.folder.join("server.log")).expect("a log file");
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} cannot be started: {error}", self.command));
        self.child = Some(child);
        let Some(path) = self.ready else { return };
        if until(|| self.answers(path)).is_err() {
            panic!("{:?} is not ready: {}", self.command, self.log());
        }
    }

    fn answers(&self, path: &str) -> Result<(), ()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(drop)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(drop)?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).map_err(drop)?;
        if answer.starts_with("HTTP/1.1 2") { Ok(()) } else { Err(()) }
    }

    /// Kills it and its children, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The whole group of this child, and nothing else.
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status();
            let _ = child.wait();
        }
    }

    /// Its address.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once_and_lie_below_those_of_the_system() {
        let mut ports: Vec<u16> = (0..200).map(|_| free_port()).collect();
        assert!(ports.iter().all(|port| (15_000..32_000).contains(port)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
        // One that somebody listens on is passed over.
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!((0..200).all(|_| free_port() != port));
    }
}
