//! The training loss of the head and its gradient, written out by hand.
//!
//! Three parts, each divided by the sum of the soft targets (at least 1): complete IoU of the assigned boxes, binary cross
//! entropy of all class logits, and distribution focal loss (Li et al., 2020) of the assigned boxes' sides. The assignment
//! is task-aligned (TOOD, Feng et al., 2021) and counts as a constant for the gradient.

mod assignment;
mod foreground;

use rayon::prelude::*;

use crate::anchors::{BOX_LOGITS, Level};
use crate::arithmetic::{all_finite, background_loss, background_loss_with_gradient};
use crate::{Error, Heads, Target};
use assignment::ImageAssignment;
use foreground::{ForegroundLoss, Gradients, foreground_loss};

/// Class logits that one unit of parallel work takes. Sums are formed per unit and added in order, so that the result
/// does not depend on the number of threads.
const CHUNK: usize = 1 << 15;

/// Weights of the three parts of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gains {
    /// Weight of the boxes' complete IoU.
    pub box_loss: f32,
    /// Weight of the class cross entropy.
    pub class_loss: f32,
    /// Weight of the distribution focal loss.
    pub dfl_loss: f32,
}

impl Default for Gains {
    fn default() -> Self {
        Self { box_loss: 7.5, class_loss: 0.5, dfl_loss: 1.5 }
    }
}

/// The loss of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Box, class and distribution loss with their gains, a mean over the batch's targets: what a results table shows.
    pub items: [f32; 3],
    /// Sum of the items times the images of the batch: what the gradients are the gradient of.
    pub total: f32,
    /// Anchors that were given a target, over the whole batch.
    pub foreground: usize,
}

impl Loss {
    /// Whether the total is a number; it is not where the head's outputs are not.
    pub fn is_finite(&self) -> bool {
        self.total.is_finite()
    }
}

/// Computes losses and holds the buffers for it, so that a step allocates nothing once the shapes have been seen.
#[derive(Default)]
pub struct LossWorkspace {
    images: Vec<ImageAssignment>,
    partial: Vec<f64>,
    foreground: Vec<ForegroundLoss>,
    box_gradient: Vec<f32>,
    score_gradient: Vec<f32>,
}

impl LossWorkspace {
    /// An empty workspace; its buffers grow with the first batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loss of a batch and, into this workspace, the gradients of its total by the head's outputs.
    ///
    /// A head that holds an infinite or undefined value anywhere gives a loss that is not finite; its gradients mean nothing.
    pub fn compute(&mut self, heads: &Heads, targets: &[Target], gains: &Gains) -> Result<Loss, Error> {
        self.run(heads, targets, gains, true, heads.images, |sum| sum)
    }

    /// The same for a share of a batch of `images` pictures in all. `whole` makes of the sum of this share's soft targets that of the
    /// whole batch. Loss and gradients are this share's part: over all shares they are to be added up.
    pub fn compute_share(
        &mut self,
        heads: &Heads,
        targets: &[Target],
        gains: &Gains,
        images: usize,
        whole: impl FnOnce(f64) -> f64,
    ) -> Result<Loss, Error> {
        self.run(heads, targets, gains, true, images, whole)
    }

    /// Loss of a batch without gradients, for validation; those of the last [`LossWorkspace::compute`] stay.
    pub fn evaluate(&mut self, heads: &Heads, targets: &[Target], gains: &Gains) -> Result<Loss, Error> {
        self.run(heads, targets, gains, false, heads.images, |sum| sum)
    }

    /// Gradients of the last computed total: by the boxes `[image, anchor, 64]` and the scores `[image, anchor, class]`.
    pub fn gradients(&self) -> (&[f32], &[f32]) {
        (&self.box_gradient, &self.score_gradient)
    }

    fn run(
        &mut self,
        heads: &Heads,
        targets: &[Target],
        gains: &Gains,
        gradients: bool,
        batch: usize,
        whole: impl FnOnce(f64) -> f64,
    ) -> Result<Loss, Error> {
        heads.check()?;
        check_targets(heads, targets)?;
        let anchors = heads.anchors();
        let levels = Level::all(heads.size);
        self.images.resize_with(heads.images, ImageAssignment::default);
        self.images.par_iter_mut().enumerate().for_each(|(image, assignment)| {
            let boxes = &heads.boxes[image * anchors * BOX_LOGITS..][..anchors * BOX_LOGITS];
            let scores = &heads.scores[image * anchors * heads.classes..][..anchors * heads.classes];
            let own = targets.iter().filter(|target| target.image == image);
            assignment.assign(boxes, scores, heads.classes, heads.size, &levels, own);
        });
        let soft_targets: f64 = self.images.iter().map(ImageAssignment::soft_target_sum).sum();
        let normaliser = whole(soft_targets).max(1.0);
        // What each part is multiplied by in the total.
        let batch = batch as f64;
        let scale = [gains.box_loss, gains.class_loss, gains.dfl_loss].map(|gain| f64::from(gain) / normaliser);
        let by_total = scale.map(|scale| (scale * batch) as f32);

        // All classes of all anchors as if nothing were there; the foreground then corrects its few entries.
        let mut class_sum = self.background(heads, by_total[1], gradients);
        let finite = self.check_boxes(heads, gradients);

        self.foreground.resize_with(heads.images, ForegroundLoss::default);
        let images = self.images.par_iter().zip(&mut self.foreground).enumerate();
        if gradients {
            images
                .zip(self.box_gradient.par_chunks_mut(anchors * BOX_LOGITS))
                .zip(self.score_gradient.par_chunks_mut(anchors * heads.classes))
                .for_each(|(((image, (assignment, sums)), boxes), scores)| {
                    let gradients = Gradients { boxes, scores, scale: by_total };
                    *sums = foreground_loss(heads, image, &levels, assignment, Some(gradients));
                });
        } else {
            images.for_each(|(image, (assignment, sums))| {
                *sums = foreground_loss(heads, image, &levels, assignment, None);
            });
        }
        let mut sums = [0f64; 2];
        for part in &self.foreground {
            class_sum -= part.class;
            sums[0] += part.boxes;
            sums[1] += part.dfl;
        }
        if !finite {
            sums = [f64::NAN; 2];
        }
        let items = [sums[0] * scale[0], class_sum * scale[1], sums[1] * scale[2]];
        Ok(Loss {
            items: items.map(|item| item as f32),
            total: (items.iter().sum::<f64>() * batch) as f32,
            foreground: self.images.iter().map(|image| image.foreground.len()).sum(),
        })
    }

    /// Cross entropy of all class logits against 0; its gradient fills the score gradient.
    fn background(&mut self, heads: &Heads, scale: f32, gradients: bool) -> f64 {
        self.partial.resize(heads.scores.len().div_ceil(CHUNK), 0.0);
        let chunks = heads.scores.par_chunks(CHUNK).zip(&mut self.partial);
        if gradients {
            self.score_gradient.resize(heads.scores.len(), 0.0);
            chunks.zip(self.score_gradient.par_chunks_mut(CHUNK)).for_each(|((logits, sum), gradient)| {
                *sum = background_loss_with_gradient(logits, gradient, scale);
            });
        } else {
            chunks.for_each(|(logits, sum)| *sum = background_loss(logits));
        }
        self.partial.iter().sum()
    }

    /// Whether all box logits are finite; clears the box gradient.
    fn check_boxes(&mut self, heads: &Heads, gradients: bool) -> bool {
        // The reduction is an `and`: the same in any order.
        if gradients {
            self.box_gradient.resize(heads.boxes.len(), 0.0);
            let cleared = heads.boxes.par_chunks(CHUNK).zip(self.box_gradient.par_chunks_mut(CHUNK));
            cleared
                .map(|(logits, gradient)| {
                    gradient.fill(0.0);
                    all_finite(logits)
                })
                .reduce(|| true, |a, b| a & b)
        } else {
            heads.boxes.par_chunks(CHUNK).map(all_finite).reduce(|| true, |a, b| a & b)
        }
    }
}

fn check_targets(heads: &Heads, targets: &[Target]) -> Result<(), Error> {
    for (index, target) in targets.iter().enumerate() {
        if target.image >= heads.images {
            return Err(Error::TargetImage { index, image: target.image, images: heads.images });
        }
        if target.class >= heads.classes {
            return Err(Error::TargetClass { index, class: target.class, classes: heads.classes });
        }
        if !all_finite(&target.bbox) {
            return Err(Error::TargetBox { index, bbox: target.bbox });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
