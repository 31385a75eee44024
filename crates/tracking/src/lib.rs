//! A run's params, metrics and artifacts to MLflow, through a durable outbox.
//!
//! A training holds a [`Tracker`] and tells it what happens; each call appends a [`record`] to the [`queue`] in the run's folder and
//! returns at once. A thread of its own carries the queue to the server with a [`Shipper`], over the calls of a [`client`] and into the
//! store where the run's [`artifacts`] live. What is left when the training ends is shipped by [`sync()`](sync::sync), from any machine that has the
//! run's folder.
//!
//! [`transfer`] moves what is on a server to another one, and [`gc`] clears away what was deleted there.
//!
//! Neither a slow server nor a missing one is felt by the training, and nothing but a full disk loses a record.

pub mod artifacts;
mod batch;
pub mod client;
pub mod dataset;
pub mod environment;
mod error;
pub mod gc;
pub mod git;
pub mod http;
mod images;
pub mod model;
pub mod queue;
pub mod record;
pub mod secret;
mod shipper;
pub mod state;
pub mod sync;
mod system;
mod tracker;
pub mod transfer;
mod upload;

pub use environment::{Environment, RetryPolicy};
pub use error::Error;
pub use images::stem as image_stem;
pub use shipper::{RUN_KEY_TAG, Shipper, Step};
pub use tracker::{Keep, Tracker, TrackerOptions, now, unique_key};
pub use upload::digest_of;
