//! What every stack can do, and how its services are named and described.

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};

use crate::doctor::Finding;
use crate::{Error, Event};

/// A set of services that start and stop together.
///
/// A stack of processes (the embedded server) starts its program with a pid file and a log file below the project, is ready when its
/// [`crate::probe::mlflow`] says so, and is stopped by its pid; a stack of containers leaves that book-keeping to the engine. Either way
/// `start` returns only when every service answers, or leaves nothing running that it started.
pub trait Stack {
    /// The name by which `--stack` asks for it.
    fn name(&self) -> StackName;

    /// Starts what does not run yet and returns when every service is ready. Errors: the first service that failed, after its last lines
    /// were announced and what this call started was stopped; [`Error::Interrupted`] when `stop` became true.
    fn start(
        &self,
        options: &StartOptions,
        announce: &mut dyn FnMut(Event),
        stop: &AtomicBool,
    ) -> Result<Vec<Service>, Error>;

    /// Stops every service; with [`Volumes::Delete`] its data goes too.
    fn stop(&self, volumes: Volumes, announce: &mut dyn FnMut(Event)) -> Result<(), Error>;

    /// The state of each service.
    fn status(&self) -> Result<Vec<Service>, Error>;

    /// Writes the log of one service, or of all, without secrets; with `follow` until the services end or the program is interrupted.
    fn logs(&self, service: Option<&str>, follow: bool, out: &mut dyn Write) -> Result<(), Error>;

    /// Looks at the stack's own parts for the common faults.
    fn diagnose(&self) -> Vec<Finding>;
}

/// The stacks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackName {
    /// The tracking server in this program.
    Embedded,
    /// PostgreSQL, an S3 store and MLflow in containers.
    Compose,
}

impl StackName {
    /// The name's text.
    pub fn as_str(self) -> &'static str {
        match self {
            StackName::Embedded => "embedded",
            StackName::Compose => "compose",
        }
    }

    /// The stack of a name, if there is one.
    pub fn parse(text: &str) -> Option<StackName> {
        [StackName::Embedded, StackName::Compose].into_iter().find(|name| name.as_str() == text)
    }
}

/// How to start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// How long each service may take from its start until it is ready; pulling an image does not count.
    pub deadline: Duration,
}

impl Default for StartOptions {
    fn default() -> StartOptions {
        StartOptions { deadline: Duration::from_secs(180) }
    }
}

/// What happens to the data when a stack is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// It stays for the next start.
    Keep,
    /// It is deleted for good.
    Delete,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It answers as it should.
    Ready,
    /// It runs but does not answer as it should; why not.
    NotReady(String),
    /// It does not run; what the engine says of it.
    Stopped(String),
}

/// A service and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// Where it is reached from this machine.
    pub url: String,
}

impl Service {
    /// The state in a word: `ready`, `not ready` or `stopped`.
    pub fn state_word(&self) -> &'static str {
        match self.state {
            State::Ready => "ready",
            State::NotReady(_) => "not ready",
            State::Stopped(_) => "stopped",
        }
    }

    /// What there is to say beyond the word; empty where nothing is.
    pub fn detail(&self) -> &str {
        match &self.state {
            State::Ready => "",
            State::NotReady(detail) | State::Stopped(detail) => detail,
        }
    }

    /// For `status --json`.
    pub fn to_json(&self) -> Value {
        json!({"name": self.name, "state": self.state_word(), "detail": self.detail(), "url": self.url})
    }
}
