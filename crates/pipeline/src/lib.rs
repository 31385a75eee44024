//! Train, validate, predict and benchmark: puts the rooms together.
//!
//! Read [`train`](mod@train) first: it follows one training from its settings to its last checkpoint. It announces [`Event`]s and knows none of
//! the [`observers`].

pub mod compute;
pub mod draw;
mod error;
pub mod event;
mod file;
pub mod observers;
pub mod run_folder;
pub mod schedule;
pub mod sources;
pub mod state;
pub mod weights;

pub use error::Error;
pub use event::{Announcer, Event, Observer};
