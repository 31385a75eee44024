//! The stack `embedded`: the tracking server in this program.
//!
//! This version has no such server yet, so there is nothing to start: runs are kept whole in their own folders. When it comes it starts
//! here as a process of its own, with a pid file and a log below the project, and is asked for readiness like any MLflow server.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use crate::doctor::Finding;
use crate::{Error, Event, Service, Stack, StackName, StartOptions, Volumes};

/// What a start says while there is no server to start.
const NOTHING_TO_START: &str = "nothing to start: this version has no tracking server of its own yet\n\
     Tracking works without one. Each run keeps everything to be tracked in its own folder, in an outbox.\n\
     To send it on when there is an MLflow server, now or later:\n  \
     MLFLOW_TRACKING_URI=http://HOST:5000 yolo11 tracking sync\n\
     To run such a server here, in containers:\n  \
     yolo11 services start --stack compose";

/// The tracking server in this program.
#[derive(Debug, Default)]
pub struct Embedded;

impl Stack for Embedded {
    fn name(&self) -> StackName {
        StackName::Embedded
    }

    fn start(&self, _: &StartOptions, announce: &mut dyn FnMut(Event), _: &AtomicBool) -> Result<Vec<Service>, Error> {
        announce(Event::Note(NOTHING_TO_START.to_owned()));
        Ok(Vec::new())
    }

    fn stop(&self, _: Volumes, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
        announce(Event::Note("nothing to stop: the embedded stack has no service yet".to_owned()));
        Ok(())
    }

    fn status(&self) -> Result<Vec<Service>, Error> {
        Ok(Vec::new())
    }

    fn logs(&self, service: Option<&str>, _: bool, _: &mut dyn Write) -> Result<(), Error> {
        match service {
            Some(given) => Err(Error::NoService { given: given.to_owned(), known: vec!["none in the embedded stack"] }),
            None => Ok(()),
        }
    }

    fn diagnose(&self) -> Vec<Finding> {
        Vec::new()
    }
}
