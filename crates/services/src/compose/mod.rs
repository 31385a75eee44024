//! The stack `compose`: PostgreSQL, an S3 store and MLflow in containers, run by Docker or Podman.

mod engine;
pub mod file;
mod start;

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::thread;

use crate::doctor::{self, Finding};
use crate::probe::{Fault, mlflow, postgres, s3};
use crate::secret::redacted;
use crate::settings::Lookup;
use crate::{ComposeSettings, Error, Event, Service, Stack, StackName, StartOptions, State, Volumes, env_file};
use engine::{Container, Engine};

/// The services of the compose file, in the order in which they start.
pub const SERVICES: [&str; 3] = ["postgres", "s3", "mlflow"];

/// PostgreSQL, an S3 store and MLflow in containers.
pub struct Compose {
    root: PathBuf,
    lookup: Box<Lookup<'static>>,
}

impl fmt::Debug for Compose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Compose").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Compose {
    /// The stack of the project in folder `root`, with variables by `lookup` (the environment, into which `.env` was read).
    pub fn new(root: impl Into<PathBuf>, lookup: Box<Lookup<'static>>) -> Compose {
        Compose { root: root.into(), lookup }
    }

    fn settings(&self) -> Result<ComposeSettings, Error> {
        ComposeSettings::new(&self.root, &*self.lookup)
    }

    /// The settings after everything that is missing was written into `.env`.
    fn completed_settings(&self, announce: &mut dyn FnMut(Event)) -> Result<ComposeSettings, Error> {
        // What cannot be used is refused before anything is written.
        self.settings()?;
        let added = env_file::complete(&self.root.join(".env"), &self.root, &*self.lookup)?;
        if !added.is_empty() {
            let names = added.iter().map(|(name, _)| *name).collect();
            announce(Event::Added { path: ".env".into(), names });
        }
        let lookup = |name: &str| {
            (self.lookup)(name)
                .or_else(|| added.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
        };
        ComposeSettings::new(&self.root, &lookup)
    }

    /// Engine and settings of a stack that was started here before.
    fn laid_down(&self) -> Result<(Engine, ComposeSettings), Error> {
        let path = file::path(&self.root);
        match path.is_file() {
            false => Err(Error::NotLaidDown { path: file::PLACE.into() }),
            true => Ok((Engine::find()?, self.settings()?)),
        }
    }
}

/// Asks a service for what it is there for. The store is ready with or without its bucket: that is a step of the start.
fn probe(service: &str, settings: &ComposeSettings) -> Result<(), Fault> {
    match service {
        "postgres" => postgres::ready(&settings.database),
        "s3" => s3::store_ready(&settings.store),
        _ => mlflow::ready(&settings.server),
    }
}

fn url(service: &str, settings: &ComposeSettings) -> String {
    let [postgres, s3, mlflow] = settings.ports;
    match service {
        "postgres" => format!("postgresql://127.0.0.1:{postgres}/{}", settings.database.name),
        "s3" => format!("http://127.0.0.1:{s3}/{}", settings.store.bucket),
        _ => format!("http://127.0.0.1:{mlflow}"),
    }
}

fn services(containers: &[Container], settings: &ComposeSettings) -> Vec<Service> {
    let state = |name: &str| match containers.iter().find(|container| container.service == name) {
        None => State::Stopped("no container".to_owned()),
        Some(container) if !container.is_up() => State::Stopped(container.status.clone()),
        Some(_) => {
            let answer = if name == "s3" { s3::ready(&settings.store) } else { probe(name, settings) };
            answer.map_or_else(|fault| State::NotReady(fault.to_string()), |()| State::Ready)
        }
    };
    SERVICES.iter().map(|name| Service { name, state: state(name), url: url(name, settings) }).collect()
}

impl Stack for Compose {
    fn name(&self) -> StackName {
        StackName::Compose
    }

    fn start(
        &self,
        options: &StartOptions,
        announce: &mut dyn FnMut(Event),
        stop: &AtomicBool,
    ) -> Result<Vec<Service>, Error> {
        start::start(self, options, announce, stop)
    }

    fn stop(&self, volumes: Volumes, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let (engine, settings) = self.laid_down()?;
        announce(Event::Stopping(SERVICES.to_vec()));
        let arguments: &[&str] = match volumes {
            Volumes::Keep => &["down"],
            Volumes::Delete => &["down", "--volumes"],
        };
        engine.run(&self.root, &settings, arguments, &AtomicBool::new(false))
    }

    fn status(&self) -> Result<Vec<Service>, Error> {
        let (engine, settings) = self.laid_down()?;
        Ok(services(&engine.containers(&settings)?, &settings))
    }

    fn logs(&self, service: Option<&str>, follow: bool, out: &mut dyn Write) -> Result<(), Error> {
        if let Some(given) = service.filter(|given| !SERVICES.contains(given)) {
            return Err(Error::NoService { given: given.to_owned(), known: SERVICES.to_vec() });
        }
        let (engine, settings) = self.laid_down()?;
        let mut arguments = if follow { vec!["--follow"] } else { vec![] };
        arguments.extend(service);
        let mut child = engine.logs(&self.root, &settings, &arguments)?;
        let command = format!("{} logs {}", engine.name(), arguments.join(" ")).trim_end().to_owned();
        let secrets = settings.secrets();
        let (talk, known) = (child.stderr.take(), secrets.clone());
        let talk = thread::spawn(move || talk.map(|pipe| copy(pipe, &known, &mut std::io::stderr())));
        let copied = child.stdout.take().map_or(Ok(()), |pipe| copy(pipe, &secrets, out));
        if copied.is_err() {
            // Nobody reads any more, as in `… | head`.
            let _ = child.kill();
        }
        let _ = talk.join();
        let status = child.wait();
        let failed = |source| Error::Run { command: command.clone(), source };
        copied.map_err(failed)?;
        let status = status.map_err(failed)?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Command { command, code: status.code() }),
        }
    }

    fn diagnose(&self) -> Vec<Finding> {
        match self.laid_down() {
            Err(error) => vec![Finding::error("containers", &error)],
            Ok((engine, settings)) => doctor::containers(&engine, &settings, &self.root),
        }
    }
}

/// Copies lines, each without secrets and at once.
fn copy(pipe: impl Read, secrets: &[crate::secret::Secret], out: &mut dyn Write) -> std::io::Result<()> {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line)? > 0 {
        out.write_all(redacted(engine::plain(&String::from_utf8_lossy(&line)), secrets).as_bytes())?;
        out.flush()?;
        line.clear();
    }
    Ok(())
}

pub(crate) use engine::Engine as ContainerEngine;
