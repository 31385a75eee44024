//! The stack `embedded`: the tracking server in this program, as a process of its own in the background.
//!
//! It is this same program, run as `yolo11 server`. Its data, its log and its pid file are in the folder `tracking` of the project. The
//! server holds a lock on the pid file as long as it lives, so a number that the system has given to another program since is never taken
//! for it.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use crate::doctor::{self, Finding};
use crate::probe::Fault;
use crate::probe::http::Trust;
use crate::probe::mlflow::{self, Login, Server};
use crate::secret::{Secret, redacted};
use crate::settings::Lookup;
use crate::{Error, Event, Service, Stack, StackName, StartOptions, State, Volumes, env_file, ports};

/// The only service of this stack.
const SERVICE: &str = "mlflow";

/// The project's folder for it.
const FOLDER: &str = "tracking";

/// Between two looks at a server that starts or stops.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a server may take to finish what is under way before it is ended.
const FAREWELL: Duration = Duration::from_secs(15);

/// Lines of the log that a failed start shows.
const LAST_LINES: usize = 20;

/// The tracking server in this program.
pub struct Embedded {
    root: PathBuf,
    lookup: Box<Lookup<'static>>,
}

/// A server that runs.
struct Running {
    process: u32,
    url: String,
}

impl Embedded {
    /// That of a project's folder; `lookup` gives environment variables.
    pub fn new(root: impl Into<PathBuf>, lookup: Box<Lookup<'static>>) -> Embedded {
        Embedded { root: root.into(), lookup }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    fn log(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder().join("server.pid")
    }

    fn port(&self) -> Result<u16, Error> {
        let text = (self.lookup)("MLFLOW_PORT").unwrap_or_else(|| "5000".to_owned());
        let expected = "expected a port from 1 to 65535";
        let port = text.trim().parse().ok().filter(|port| *port != 0);
        port.ok_or(Error::Variable { name: "MLFLOW_PORT", value: text, expected })
    }

    /// The server that runs, if one does: the pid file is locked by nobody else.
    fn running(&self) -> Option<Running> {
        let path = self.pid_file();
        let file = File::open(&path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) | Err(TryLockError::Error(_)) => return None,
        }
        let text = fs::read_to_string(&path).ok()?;
        let mut lines = text.lines();
        let process = lines.next()?.trim().parse().ok()?;
        Some(Running { process, url: lines.next().unwrap_or_default().trim().to_owned() })
    }

    fn login(&self) -> Login {
        match (self.lookup)("YOLO11_SERVER_TOKEN") {
            Some(token) if !token.is_empty() => Login::Token(Secret::new(token)),
            _ => Login::Anonymous,
        }
    }

    fn ask(&self, url: &str) -> Result<(), Fault> {
        let url = Url::parse(url).map_err(|error| Fault::Other(format!("`{url}`: {error}")))?;
        mlflow::ready(&Server { url, login: self.login(), trust: Trust::default() })
    }

    fn service(&self, state: State, url: &str) -> Vec<Service> {
        vec![Service { name: SERVICE, state, url: url.to_owned() }]
    }

    fn file_error(&self, path: &Path, source: io::Error) -> Error {
        Error::File { path: path.to_owned(), source }
    }

    fn spawn(&self, port: u16) -> Result<Child, Error> {
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(|error| self.file_error(&folder, error))?;
        let path = self.log();
        let log =
            File::options().create(true).append(true).open(&path).map_err(|error| self.file_error(&path, error))?;
        let errors = log.try_clone().map_err(|error| self.file_error(&path, error))?;
        let failed = |source| Error::Run { command: "yolo11 server".to_owned(), source };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["server", "--host", "127.0.0.1", "--port", &port.to_string(), "--pid-file"]);
        command.arg(Path::new(FOLDER).join("server.pid"));
        command.current_dir(&self.root).stdin(Stdio::null()).stdout(log).stderr(errors).env("NO_COLOR", "1");
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // Ctrl-C in this terminal is not meant for it.
            command.process_group(0);
        }
        command.spawn().map_err(failed)
    }

    /// Waits until the server answers. Errors: it ended, or its time is over.
    fn wait(
        &self,
        child: &mut Child,
        url: &str,
        deadline: Duration,
        announce: &mut dyn FnMut(Event),
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            if stop.load(Ordering::SeqCst) {
                return Err(Error::Interrupted);
            }
            if let Ok(Some(status)) = child.try_wait() {
                announce(Event::LastLines { service: SERVICE, lines: self.last_lines() });
                let state = status.code().map_or("ended".to_owned(), |code| format!("ended with exit code {code}"));
                return Err(Error::Ended { service: SERVICE, state });
            }
            // Whoever answers must be the server that was started and not another one.
            let answer = match self.running() {
                Some(_) => self.ask(url),
                None => Err(Fault::Other("it has not begun to listen".to_owned())),
            };
            match answer {
                Ok(()) => {
                    announce(Event::Ready { service: SERVICE, elapsed: since.elapsed().as_secs() });
                    return Ok(());
                }
                Err(fault) if since.elapsed() >= deadline => {
                    announce(Event::LastLines { service: SERVICE, lines: self.last_lines() });
                    return Err(Error::Deadline { service: SERVICE, seconds: deadline.as_secs(), fault });
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn last_lines(&self) -> Vec<String> {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = redacted(&String::from_utf8_lossy(&text), &self.secrets());
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
    }

    fn secrets(&self) -> Vec<Secret> {
        let names = ["YOLO11_SERVER_TOKEN", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "MLFLOW_TRACKING_PASSWORD"];
        names.into_iter().filter_map(|name| (self.lookup)(name)).map(Secret::new).collect()
    }

    /// What the next `yolo11 train` needs to know: where runs are tracked.
    fn tell_environment(&self, url: &str, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        const NAME: &str = "MLFLOW_TRACKING_URI";
        match (self.lookup)(NAME) {
            Some(given) if given.trim_end_matches('/') == url => {}
            Some(_) => {
                announce(Event::Note(format!("{NAME} leads elsewhere: runs are tracked there and not at {url}")))
            }
            None => {
                let path = self.root.join(".env");
                if env_file::add(&path, "# Added by `yolo11 services start`; yours to change.", &[(NAME, url)])? {
                    announce(Event::Added { path, names: vec![NAME] });
                }
            }
        }
        Ok(())
    }
}

impl Stack for Embedded {
    fn name(&self) -> StackName {
        StackName::Embedded
    }

    fn start(
        &self,
        options: &StartOptions,
        announce: &mut dyn FnMut(Event),
        stop: &AtomicBool,
    ) -> Result<Vec<Service>, Error> {
        if let Some(running) = self.running() {
            announce(Event::Note(format!("the tracking server runs already (process {})", running.process)));
            self.ask(&running.url).map_err(|fault| Error::Faulty { service: SERVICE, fault })?;
            self.tell_environment(&running.url, announce)?;
            return Ok(self.service(State::Ready, &running.url));
        }
        let port = self.port()?;
        if !ports::is_free(port) {
            let holder = ports::holder(port);
            return Err(Error::PortTaken { service: SERVICE, port, holder, variable: "MLFLOW_PORT" });
        }
        let url = format!("http://127.0.0.1:{port}");
        announce(Event::Starting(vec![SERVICE]));
        let mut child = self.spawn(port)?;
        if let Err(error) = self.wait(&mut child, &url, options.deadline, announce, stop) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        self.tell_environment(&url, announce)?;
        announce(Event::Note(format!("its data and its log are in {FOLDER}/; its pages at {url}")));
        Ok(self.service(State::Ready, &url))
    }

    fn stop(&self, volumes: Volumes, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        match self.running() {
            None => announce(Event::Note("the tracking server does not run".to_owned())),
            Some(running) => {
                announce(Event::Stopping(vec![SERVICE]));
                self.end(&running, announce)?;
            }
        }
        let folder = self.folder();
        if volumes == Volumes::Delete && folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| self.file_error(&folder, error))?;
            announce(Event::Note(format!("deleted {FOLDER}/")));
        }
        Ok(())
    }

    fn status(&self) -> Result<Vec<Service>, Error> {
        let url = format!("http://127.0.0.1:{}", self.port()?);
        Ok(match self.running() {
            None => self.service(State::Stopped("not started".to_owned()), &url),
            Some(running) => match self.ask(&running.url) {
                Ok(()) => self.service(State::Ready, &running.url),
                Err(fault) => self.service(State::NotReady(fault.to_string()), &running.url),
            },
        })
    }

    fn logs(&self, service: Option<&str>, follow: bool, out: &mut dyn Write) -> Result<(), Error> {
        if let Some(given) = service.filter(|given| *given != SERVICE) {
            return Err(Error::NoService { given: given.to_owned(), known: vec![SERVICE] });
        }
        let path = self.log();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.file_error(&path, error)),
        };
        let failed = |source| Error::Run { command: "logs".to_owned(), source };
        let secrets = self.secrets();
        let mut log = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            // A line may arrive in pieces.
            let read = log.read_until(b'\n', &mut line).map_err(failed)?;
            if line.ends_with(b"\n") || (read == 0 && !line.is_empty() && !follow) {
                out.write_all(redacted(&String::from_utf8_lossy(&line), &secrets).as_bytes()).map_err(failed)?;
                out.flush().map_err(failed)?;
                line.clear();
            } else if read == 0 {
                if !follow || self.running().is_none() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn diagnose(&self) -> Vec<Finding> {
        match self.status() {
            Err(error) => vec![Finding::error("embedded server", &error)],
            Ok(services) => services.iter().map(|service| doctor::service("embedded server", service)).collect(),
        }
    }
}

impl Embedded {
    /// Asks the server to end and waits; one that does not listen is ended.
    fn end(&self, running: &Running, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        signal(running.process, false)?;
        let asked = Instant::now();
        let mut forced = false;
        while self.running().is_some_and(|now| now.process == running.process) {
            if asked.elapsed() >= FAREWELL && !forced {
                announce(Event::Note("it does not end by itself; ending it (its database stays whole)".to_owned()));
                signal(running.process, true)?;
                forced = true;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Asks a process to end, or ends it.
fn signal(process: u32, force: bool) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Run { command: format!("end process {process}"), source };
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(io::Error::other("not a process's number")))?;
        kill_process(pid, if force { Signal::KILL } else { Signal::TERM }).map_err(|error| failed(error.into()))
    }
    #[cfg(not(unix))]
    {
        let mut command = Command::new("taskkill");
        command.args(["/PID", &process.to_string()]).args(force.then_some("/F"));
        command.status().map(drop).map_err(failed)
    }
}
