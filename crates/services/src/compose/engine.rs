//! The container engine: which there is, and one command of it.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::file;
use crate::settings::ComposeSettings;
use crate::{Error, Event};

/// How often a running command is looked at.
const STEP: Duration = Duration::from_millis(25);
/// How long a command that only asks may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a command may take to end after Ctrl-C, which the terminal sends to it as well.
const GOODBYE: Duration = Duration::from_secs(2);

/// A program that runs compose files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Engine {
    program: &'static str,
}

/// A container of the project, as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub service: String,
    /// In a word, such as `running` or `exited`.
    pub state: String,
    /// In words, such as `Exited (1) 3 seconds ago`.
    pub status: String,
    id: String,
}

impl Container {
    pub fn is_up(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "exited" | "dead" | "created" | "removing" | "stopped" | "configured" | "restarting"
        )
    }
}

impl Engine {
    /// Docker if it works here, else Podman. Errors: what each of them said.
    pub fn find() -> Result<Engine, Error> {
        let mut tried = Vec::new();
        for program in ["docker", "podman"] {
            match Engine::try_one(program) {
                Ok(()) => return Ok(Engine { program }),
                Err(why) => tried.push(why),
            }
        }
        Err(Error::EngineMissing { tried })
    }

    fn try_one(program: &str) -> Result<(), String> {
        let compose = capture(Command::new(program).args(["compose", "version"]));
        match compose {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("`{program}` is not installed"));
            }
            Err(error) => return Err(format!("`{program}` cannot be run: {error}")),
            Ok(output) if !output.status.success() => return Err(format!("`{program}` has no `compose`")),
            Ok(_) => {}
        }
        // The client may be there without the engine that it speaks to.
        match capture(Command::new(program).args(["ps", "--quiet"])) {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = output.stderr.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
                Err(format!("`{program}` is installed but its engine does not answer ({})", said.trim()))
            }
            Err(error) => Err(format!("`{program} ps` cannot be run: {error}")),
        }
    }

    /// The command's name, for messages.
    pub fn name(&self) -> String {
        format!("{} compose", self.program)
    }

    /// A compose command on a project's file, with the values of its variables.
    fn compose(&self, root: &Path, settings: &ComposeSettings, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        // By a path below the project's folder, so that it does not matter what that folder is called.
        command.current_dir(root).args(["compose", "-f", file::PLACE, "-p", &settings.project]).args(arguments);
        command.envs(settings.variables().iter().map(|(name, value)| (*name, value.as_str())));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a compose command to its end; what it says goes to stderr. Errors: it failed, or `stop` became true.
    pub fn run(
        &self,
        root: &Path,
        settings: &ComposeSettings,
        arguments: &[&str],
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let words = format!("{} {}", self.name(), arguments.join(" "));
        let mut command = self.compose(root, settings, arguments);
        command.stdout(io::stderr()).stderr(Stdio::inherit());
        let failed = |source| Error::Run { command: words.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let status = wait(&mut child, stop).map_err(failed)?;
        if !status.success() {
            // The terminal tells both of us at once; give our own handler the time to hear it.
            thread::sleep(STEP * 4);
        }
        if stop.load(Ordering::SeqCst) {
            return Err(Error::Interrupted);
        }
        match status.success() {
            true => Ok(()),
            false => Err(Error::Command { command: words, code: status.code() }),
        }
    }

    /// Starts `compose logs` with its output in a pipe.
    pub fn logs(&self, root: &Path, settings: &ComposeSettings, arguments: &[&str]) -> Result<Child, Error> {
        let mut words = vec!["logs"];
        words.extend(arguments);
        let mut command = self.compose(root, settings, &words);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|source| Error::Run { command: format!("{} logs", self.name()), source })
    }

    /// Whether an image is on this machine.
    pub fn has_image(&self, image: &str) -> bool {
        let output = capture(Command::new(self.program).args(["image", "inspect", "--format", "{{.Id}}", image]));
        output.is_ok_and(|output| output.status.success())
    }

    /// How often the engine has started a container again because it had ended; 0 where it cannot say.
    pub fn restarts(&self, container: &Container) -> u32 {
        let mut command = Command::new(self.program);
        let output = capture(command.args(["inspect", "--format", "{{.RestartCount}}", &container.id]));
        output.ok().and_then(|output| output.stdout.trim().parse().ok()).unwrap_or_default()
    }

    /// The last lines that a service logged; none where they cannot be had.
    pub fn last_lines(&self, root: &Path, settings: &ComposeSettings, service: &str) -> Vec<String> {
        let mut command = self.compose(root, settings, &["logs", "--tail", "20", service]);
        let Ok(output) = capture(&mut command) else { return Vec::new() };
        let secrets = settings.secrets();
        let lines = output.stdout.lines().chain(output.stderr.lines());
        lines.map(|line| crate::secret::redacted(plain(line), &secrets)).collect()
    }

    /// The project's containers.
    pub fn containers(&self, settings: &ComposeSettings) -> Result<Vec<Container>, Error> {
        let filter = format!("label=com.docker.compose.project={}", settings.project);
        let format = "{{.Label \"com.docker.compose.service\"}}\t{{.State}}\t{{.Status}}\t{{.ID}}";
        let mut command = Command::new(self.program);
        command.args(["ps", "--all", "--filter", &filter, "--format", format]);
        let words = || format!("{} ps --all", self.program);
        let output = capture(&mut command).map_err(|source| Error::Run { command: words(), source })?;
        if !output.status.success() {
            return Err(Error::Command { command: words(), code: output.status.code() });
        }
        let rows = output.stdout.lines().filter_map(|line| {
            let mut columns = line.split('\t').map(|column| column.trim().to_owned());
            let (service, state, status) = (columns.next()?, columns.next()?, columns.next()?);
            Some(Container { service, state, status, id: columns.next()? })
        });
        Ok(rows.collect())
    }

    /// Stops what was started; that it cannot be is told, as the error that led here matters more.
    pub fn clean_up(
        &self,
        root: &Path,
        settings: &ComposeSettings,
        started: &[&'static str],
        all: bool,
        announce: &mut dyn FnMut(Event),
    ) {
        announce(Event::Stopping(started.to_vec()));
        let mut arguments = vec![if all { "down" } else { "stop" }];
        if !all {
            arguments.extend(started);
        }
        if let Err(error) = self.run(root, settings, &arguments, &AtomicBool::new(false)) {
            let words = error.to_string();
            let line = words.lines().next().unwrap_or_default();
            announce(Event::Note(format!("{line}; stop them with `yolo11 services stop`")));
        }
    }
}

/// A line of `compose logs` without the order to clear the terminal's line, which newer versions put before each, into a pipe as well.
pub(crate) fn plain(line: &str) -> &str {
    line.strip_prefix("\u{1b}[2K").unwrap_or(line)
}

/// What a command said.
struct Output {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs a command that only asks. Errors: it cannot be run, or does not answer in time.
fn capture(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let started = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if started.elapsed() > ANSWER => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", ANSWER.as_secs())));
            }
            None => thread::sleep(STEP),
        }
    };
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Reads a pipe to its end beside the work, so that neither of two pipes fills up.
fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is still worth having.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a command; once `stop` is true it has a moment to end by itself.
fn wait(child: &mut Child, stop: &AtomicBool) -> io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.load(Ordering::SeqCst) && asked.get_or_insert_with(Instant::now).elapsed() > GOODBYE {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(STEP);
    }
}
