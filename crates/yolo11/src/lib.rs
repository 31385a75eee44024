#![doc = include_str!("../../../docs/library.md")]

mod builder;
mod detector;
mod error;
mod image;

pub use builder::{Backend, DetectorBuilder};
pub use detector::{BoundingBox, Detection, Detector};
pub use error::Error;
pub use image::Image;
