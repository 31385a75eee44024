//! Pictures of a run, drawn so that a person enjoys looking at them.
//!
//! Plain data in, pictures out: this crate knows no network, no files and no pipeline. Everything is drawn on an [`Image`], whose
//! bytes as PNG or JPEG are the same for the same input:
//! - [`curves`]: precision, recall and F1 of a validation; [`confusion`]: which class was taken for which;
//! - [`results`]: losses and metrics over the epochs; [`labels`]: what a data set's labels look like;
//! - [`mosaic`]: the pictures of a batch side by side; [`boxes`]: labelled boxes on a picture;
//! - [`page`]: what is wrong with a data set, as a page; [`evidence`]: a picture with the boxes in question.

pub mod benchmark;
pub mod boxes;
mod chart;
pub mod confusion;
pub mod curves;
mod error;
pub mod evidence;
pub mod image;
pub mod labels;
mod line;
pub mod mosaic;
pub mod page;
pub mod palette;
pub mod results;
pub mod text;

pub use boxes::{LabelledBox, draw_boxes};
pub use error::Error;
pub use image::Image;
pub use palette::class_colour;
