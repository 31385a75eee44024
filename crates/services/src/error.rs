//! What can go wrong with services, and what mends it.

use std::io;
use std::path::PathBuf;

use crate::probe::Fault;

/// Why a stack could not be started, stopped or read. `Display` is one line, and where something would mend it a second that begins
/// with `hint: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither docker nor podman can run a compose file here.
    #[error(
        "no container engine: {}\nhint: install Docker (https://docs.docker.com/engine/install) or Podman with podman-compose, and start it; or do without: `yolo11 services start` needs no container",
        tried.join("; ")
    )]
    EngineMissing {
        /// What each of the engines answered.
        tried: Vec<String>,
    },
    /// Another program listens where a service should.
    #[error(
        "port {port} for {service} is taken by {holder}\nhint: stop that program, or set {variable} in .env to a free port"
    )]
    PortTaken {
        /// The service.
        service: &'static str,
        /// The port on 127.0.0.1.
        port: u16,
        /// Who holds it, as far as that can be seen.
        holder: String,
        /// The variable that sets the port.
        variable: &'static str,
    },
    /// An image is neither on this machine nor to be had; what the engine said is on stderr already.
    #[error(
        "image {image} for {service} cannot be pulled\nhint: correct {variable} in .env, or look whether its registry can be reached and asks for a login"
    )]
    Image {
        /// The service.
        service: &'static str,
        /// The image.
        image: String,
        /// The variable that names it.
        variable: &'static str,
    },
    /// The engine refused a command; what it said is on stderr already.
    #[error("`{command}` failed{}\nhint: what it said stands above; `yolo11 services doctor` looks for the common causes", code.map(|code| format!(" with exit code {code}")).unwrap_or_default())]
    Command {
        /// The command, without values of variables.
        command: String,
        /// Its exit code, where it has one.
        code: Option<i32>,
    },
    /// A command cannot be run at all, or does not end.
    #[error("cannot run `{command}`: {source}")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A service ended instead of becoming ready.
    #[error(
        "{service} is {state} instead of ready\nhint: its last lines stand above; `yolo11 services doctor` looks for the common causes"
    )]
    Ended {
        /// The service.
        service: &'static str,
        /// What the engine says of its container.
        state: String,
    },
    /// A service answers with a fault that waiting does not mend.
    #[error("{service}: {fault}\nhint: {}", fault.fix())]
    Faulty {
        /// The service.
        service: &'static str,
        /// The fault.
        fault: Fault,
    },
    /// A service was not ready in time.
    #[error(
        "{service} was not ready after {seconds} s: {fault}\nhint: its last lines stand above; --timeout SECONDS waits longer"
    )]
    Deadline {
        /// The service.
        service: &'static str,
        /// The time it had.
        seconds: u64,
        /// What it answered last.
        fault: Fault,
    },
    /// Asked to stop, by Ctrl-C or a signal.
    #[error("interrupted; what was started has been stopped")]
    Interrupted,
    /// A variable's value cannot be used.
    #[error("{name}={value}: {expected}\nhint: change it in .env or in the environment")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value; `***` for secrets.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// No such service in the stack.
    #[error("no service `{given}`\nhint: there are {}", known.join(", "))]
    NoService {
        /// What was asked for.
        given: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// The stack was never started here.
    #[error("`{}` does not exist: the compose stack was never started here\nhint: `yolo11 services start --stack compose` lays it down", path.display())]
    NotLaidDown {
        /// The compose file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("`{}`: {source}\nhint: run it in a folder that you may write to", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("no random numbers for a password: {0}\nhint: set POSTGRES_PASSWORD and AWS_SECRET_ACCESS_KEY in .env")]
    Random(#[from] getrandom::Error),
}

impl Error {
    /// The exit code of a command that ends with this: 130 interrupted, 3 for values of the user, 2 for a wrong name, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Interrupted => 130,
            Error::Variable { .. } => 3,
            Error::NoService { .. } => 2,
            _ => 1,
        }
    }
}
