//! From image and label files to training batches.
//!
//! The journey of a picture, one module a stop:
//! 1. [`DatasetDescription`] reads `dataset.yaml`: class names, and where the pictures of each split lie.
//! 2. [`DatasetDescription::scan`] looks at every picture and its label file and gives a [`Split`], with a [`Finding`]
//!    for each thing left out.
//! 3. [`decode`](decode::decode) turns a file into RGB pixels.
//! 4. [`Letterbox`] says where a picture lies in the network's input.
//! 5. [`Augmentation`] varies pictures and moves their boxes along.
//! 6. [`Loader`] does all that ahead of the training, on its own threads, and hands out a [`Batch`] at a time.
//!
//! Beside that journey: [`DatasetDescription::examine`] looks a whole set over and gives a [`Finding`] for each [`Check`]
//! that does not hold; [`Annotations`] is a set in memory that [`formats`] read and write, and that can be divided, joined,
//! filtered and corrected.
//!
//! [`demo`] draws a small set to try everything with.

pub mod annotations;
mod augment;
mod canvas;
mod check;
pub mod decode;
pub mod demo;
mod description;
pub mod doctor;
mod epoch;
mod error;
mod exif;
mod fingerprint;
pub mod formats;
mod header;
mod hsv;
mod labels;
mod letterbox;
mod loader;
mod look;
mod random;
mod resample;
mod scan;
mod statistics;
mod store;
mod warp;
mod write;

pub use annotations::Annotations;
pub use augment::Augmentation;
pub use check::{Check, Severity};
pub use decode::Picture;
pub use description::{DatasetDescription, SplitName};
pub use doctor::{Examination, ExamineOptions};
pub use epoch::EpochIter;
pub use error::{Error, Finding};
pub use labels::{Label, label_path};
pub use letterbox::{FILL, Letterbox, letterbox};
pub use loader::{Batch, Cache, Loader, LoaderSettings, Sample, Share};
pub use scan::{ImageEntry, ScanOptions, Split};
pub use statistics::{Shapes, Spread, Statistics};
