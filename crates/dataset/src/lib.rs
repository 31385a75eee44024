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
//! [`demo`] draws a small set to try everything with.

mod augment;
mod canvas;
pub mod decode;
pub mod demo;
mod description;
mod epoch;
mod error;
mod header;
mod hsv;
mod labels;
mod letterbox;
mod loader;
mod random;
mod resample;
mod scan;
mod store;
mod warp;

pub use augment::Augmentation;
pub use decode::Picture;
pub use description::{DatasetDescription, SplitName};
pub use epoch::EpochIter;
pub use error::{Error, Finding};
pub use labels::{Label, label_path};
pub use letterbox::{FILL, Letterbox, letterbox};
pub use loader::{Batch, Cache, Loader, LoaderSettings, Sample};
pub use scan::{ImageEntry, ScanOptions, Split, Statistics};
