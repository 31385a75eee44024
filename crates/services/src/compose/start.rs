//! The steps of a start: engine, files, ports, containers, readiness, bucket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::{Compose, SERVICES, file, probe, services};
use crate::doctor;
use crate::probe::{Fault, s3};
use crate::{ComposeSettings, Error, Event, Service, StartOptions, ports};

/// Between two questions to a service.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at its container.
const LOOK: Duration = Duration::from_secs(2);
/// Between two lines that say how long it has been.
const TELL: u64 = 5;

/// Services that start together: what the tracking server needs, then itself. Waiting between them is ours, as not every engine
/// keeps the conditions of a compose file.
const ROUNDS: [&[&str]; 2] = [&["postgres", "s3"], &["mlflow"]];

/// Variables of the images, in the order of [`SERVICES`].
const IMAGES: [&str; 3] = ["POSTGRES_IMAGE", "S3_IMAGE", "MLFLOW_IMAGE"];

/// A container that the engine had to start again so many times is not given more time.
const MOST_RESTARTS: u32 = 2;

/// A start on its way.
struct Start<'a> {
    engine: Engine,
    settings: ComposeSettings,
    compose: &'a Compose,
    deadline: Duration,
    stop: &'a AtomicBool,
}

/// Starts the stack; see [`crate::Stack::start`].
pub(super) fn start(
    compose: &Compose,
    options: &StartOptions,
    announce: &mut dyn FnMut(Event),
    stop: &AtomicBool,
) -> Result<Vec<Service>, Error> {
    let engine = Engine::find()?;
    announce(Event::Note(format!("using {}", engine.name())));
    let settings = compose.completed_settings(announce)?;
    file::lay_down(&compose.root, announce)?;
    if let Some(remark) = settings.remark() {
        announce(Event::Note(remark));
    }
    let start = Start { engine, settings, compose, deadline: options.deadline, stop };
    let running = start.running()?;
    start.check_ports(&running)?;
    let mut started = Vec::new();
    match start.rounds(&running, &mut started, announce) {
        Ok(()) => Ok(services(&start.engine.containers(&start.settings)?, &start.settings)),
        Err(error) => {
            let error = start.explained(error);
            start.tell_last_lines(&error, &started, announce);
            if !started.is_empty() {
                start.engine.clean_up(&compose.root, &start.settings, &started, running.is_empty(), announce);
            }
            Err(error)
        }
    }
}

impl Start<'_> {
    /// Services whose containers run already.
    fn running(&self) -> Result<Vec<&'static str>, Error> {
        let containers = self.engine.containers(&self.settings)?;
        let runs = |name: &str| containers.iter().any(|container| container.service == name && container.is_up());
        Ok(SERVICES.into_iter().filter(|name| runs(name)).collect())
    }

    fn check_ports(&self, running: &[&str]) -> Result<(), Error> {
        let variables = ["POSTGRES_PORT", "S3_PORT", "MLFLOW_PORT"];
        for ((service, port), variable) in SERVICES.into_iter().zip(self.settings.ports).zip(variables) {
            if !running.contains(&service) && !ports::is_free(port) {
                return Err(Error::PortTaken { service, port, holder: ports::holder(port), variable });
            }
        }
        Ok(())
    }

    fn rounds(
        &self,
        running: &[&'static str],
        started: &mut Vec<&'static str>,
        announce: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        self.pull(running, announce)?;
        for round in ROUNDS {
            self.go_on()?;
            let new: Vec<_> = round.iter().copied().filter(|name| !running.contains(name)).collect();
            if !new.is_empty() {
                announce(Event::Starting(new.clone()));
                // Before the command: it may have started some when it fails.
                started.extend(&new);
                let mut arguments = vec!["up", "--detach"];
                arguments.extend(&new);
                self.engine.run(&self.compose.root, &self.settings, &arguments, self.stop)?;
            }
            let since = Instant::now();
            for service in round {
                self.wait(service, since, announce)?;
            }
            if round.contains(&"s3") {
                self.create_bucket(announce)?;
            }
        }
        Ok(())
    }

    /// Gets the images that are missing, before anything is started. What a changed compose file needs is left to the engine.
    fn pull(&self, running: &[&'static str], announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let is_ours = std::fs::read_to_string(file::path(&self.compose.root)).is_ok_and(|text| text == file::TEXT);
        for (service, variable) in SERVICES.into_iter().zip(IMAGES) {
            let image = self.settings.value(variable);
            if !is_ours || running.contains(&service) || self.engine.has_image(image) {
                continue;
            }
            self.go_on()?;
            announce(Event::Pulling { service, image: image.to_owned() });
            match self.engine.run(&self.compose.root, &self.settings, &["pull", service], self.stop) {
                Err(Error::Command { .. }) => return Err(Error::Image { service, image: image.to_owned(), variable }),
                pulled => pulled?,
            }
        }
        Ok(())
    }

    /// Asks until the service is ready. Errors: its container ended, waiting cannot help, or its time is over.
    fn wait(&self, service: &'static str, since: Instant, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let deadline = self.deadline.as_secs();
        announce(Event::Waiting { service, elapsed: 0, deadline, answer: String::new() });
        let (mut looked, mut told) = (Instant::now(), 0);
        loop {
            self.go_on()?;
            let answer = probe(service, &self.settings);
            let elapsed = since.elapsed().as_secs();
            let fault = match answer {
                Ok(()) => {
                    announce(Event::Ready { service, elapsed });
                    return Ok(());
                }
                Err(fault) => fault,
            };
            // A store may answer before it has read its keys.
            let may_change = service == "s3" && matches!(fault, Fault::WrongKey { .. });
            if fault.is_final() && !may_change {
                return Err(Error::Faulty { service, fault });
            }
            if since.elapsed() >= self.deadline {
                return Err(Error::Deadline { service, seconds: deadline, fault });
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_at_container(service)?;
            }
            if elapsed >= told + TELL {
                told = elapsed;
                announce(Event::Waiting { service, elapsed, deadline, answer: fault.to_string() });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Errors: the service's container has ended, so that waiting for it is in vain.
    fn look_at_container(&self, service: &'static str) -> Result<(), Error> {
        let containers = self.engine.containers(&self.settings)?;
        match containers.iter().find(|container| container.service == service) {
            Some(container) if container.is_up() => match self.engine.restarts(container) {
                // Between two of its lives it looks like any other.
                restarts if restarts >= MOST_RESTARTS => {
                    Err(Error::Ended { service, state: format!("in a loop of restarts ({restarts} so far)") })
                }
                _ => Ok(()),
            },
            Some(container) => Err(Error::Ended { service, state: container.status.clone() }),
            None => Err(Error::Ended { service, state: "gone".to_owned() }),
        }
    }

    fn create_bucket(&self, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let created =
            s3::create_bucket(&self.settings.store).map_err(|fault| Error::Faulty { service: "s3", fault })?;
        if created {
            announce(Event::Note(format!("created bucket {}", self.settings.store.bucket)));
        }
        Ok(())
    }

    /// An error whose cause the service tells in its log only. It has to be looked for here: afterwards the container is gone.
    fn explained(&self, error: Error) -> Error {
        let Error::Ended { service: service @ "mlflow", .. } = error else { return error };
        match doctor::logged_out_of_date(&self.engine, &self.settings, &self.compose.root) {
            Some(detail) => Error::Faulty { service, fault: Fault::NotMigrated { detail } },
            None => error,
        }
    }

    /// The last lines of the service that failed, or of those whose containers have ended.
    fn tell_last_lines(&self, error: &Error, started: &[&'static str], announce: &mut dyn FnMut(Event)) {
        let failed: Vec<&'static str> = match error {
            Error::Ended { service, .. } | Error::Faulty { service, .. } | Error::Deadline { service, .. } => {
                vec![service]
            }
            Error::Command { .. } => {
                let containers = self.engine.containers(&self.settings).unwrap_or_default();
                let ended = |name: &&str| containers.iter().any(|one| one.service == **name && !one.is_up());
                started.iter().copied().filter(|name| ended(name)).collect()
            }
            _ => Vec::new(),
        };
        for service in failed {
            let lines = self.engine.last_lines(&self.compose.root, &self.settings, service);
            announce(Event::LastLines { service, lines });
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::SeqCst) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
