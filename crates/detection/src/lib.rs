//! Boxes, task-aligned assignment, loss and its gradient, decoding, suppression, COCO metrics.
//!
//! Slices in, slices out: this crate knows no network and no files. A training step goes [`Heads`] and [`Target`]s →
//! [`LossWorkspace::compute`] → loss and gradients; an image to look at goes [`Heads`] → [`detect`] → [`Detection`]s in
//! pixels of the input; an epoch's validation collects them in [`detection_metrics::DetectionMetrics`].

pub mod anchors;
mod arithmetic;
pub mod coco_metrics;
pub mod decode;
pub mod detection_metrics;
mod error;
pub mod geometry;
pub mod loss;
pub mod nms;

pub use coco_metrics::{CocoDetection, CocoEvaluator, CocoMetrics, CocoTruth};
pub use detection_metrics::{DetectionMetrics, DetectionSummary, TrueBox};
pub use error::Error;
pub use loss::{Gains, Loss, LossWorkspace};
pub use nms::{Detection, NmsSettings, detect};

/// One labelled object of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Position of its image in the batch.
    pub image: usize,
    /// Class, from 0.
    pub class: usize,
    /// Centre x, centre y, width, height, each a share of the network's input width or height.
    pub bbox: [f32; 4],
}

/// What the network's head gives for one batch, borrowed from the engine.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Distribution logits `[image, anchor, 64]`: 16 bins for each of left, top, right, bottom.
    pub boxes: &'a [f32],
    /// Class logits `[image, anchor, class]`.
    pub scores: &'a [f32],
    /// Images in the batch.
    pub images: usize,
    /// Number of classes.
    pub classes: usize,
    /// Network input `[height, width]` in pixels, multiples of 32; anchors are those of strides 8, 16, 32 in this order, each row by row.
    pub size: [usize; 2],
}
