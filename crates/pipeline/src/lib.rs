//! Train, validate, predict, export and benchmark: puts the rooms together.
//!
//! Read [`train`](mod@train) first: it follows one training from its settings to its last checkpoint. It announces [`Event`]s and knows none of
//! the [`observers`].

pub mod benchmark;
pub mod check;
pub mod compute;
pub mod data;
pub mod data_version;
pub mod doctor;
mod error;
pub mod event;
pub mod export;
mod file;
pub mod group;
pub mod info;
pub mod observers;
pub mod predict;
pub mod resume;
pub mod run_folder;
pub mod schedule;
pub mod sources;
pub mod state;
mod tiles;
pub mod train;
mod trainer;
pub mod val;
pub mod validation;
pub mod video;
pub mod view;
pub mod weights;

pub use error::Error;
pub use event::{Announcer, Event, Observer};
