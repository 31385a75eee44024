//! Starts, watches and stops what a pipeline needs beside it.
//!
//! A [`Stack`] is a set of services that start together. [`Embedded`] is the tracking server in this program; [`Compose`] is PostgreSQL,
//! an S3 store and MLflow in containers. Read [`compose::start`](compose) for the steps of a start: engine, ports, containers, readiness
//! asked by our own [`probe`]s, bucket. [`doctor`] names the common faults and what mends each.
//!
//! No secret is ever part of an error, an event or a line of a log: see [`secret`].

pub mod compose;
pub mod doctor;
mod embedded;
pub mod env_file;
mod error;
mod event;
pub mod ports;
pub mod probe;
pub mod secret;
mod settings;
mod stack;

pub use compose::Compose;
pub use embedded::Embedded;
pub use error::Error;
pub use event::Event;
pub use settings::ComposeSettings;
pub use stack::{Service, Stack, StackName, StartOptions, State, Volumes};
