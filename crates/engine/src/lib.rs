//! Runs a network: plans its memory once for one input shape, then forward and backward without another allocation.
//!
//! [`TrainingSession`] runs the training form (batch statistics) forward and backward, [`InferenceSession`] the evaluation form
//! with batch norm folded into the convolutions. Both work on the threads of the rayon pool they are called in; results do not
//! depend on how many there are.

use yolo11_network::Network;

mod arena;
mod cpu;
mod ema;
mod inference;
mod layout;
mod optimiser;
mod training;

pub use ema::{Ema, EmaSettings};
pub use inference::{ConvolutionRanges, InferenceSession};
pub use optimiser::{Optimiser, OptimiserKind, OptimiserSettings, Rates, StepReport};
pub use training::TrainingSession;

/// What the engine cannot do with what it was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input size is not a multiple of the coarsest stride.
    #[error("image size {height}×{width} is not a multiple of 32\nhint: use a size such as 320 or 640")]
    Size {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },
    /// A slice has another length than the plan.
    #[error("{what} holds {given} values where the plan has {wanted}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The planned length.
        wanted: usize,
    },
}

/// A batch of pictures, `[image, height, width, 3]` RGB.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// Bytes, as decoded: 255 becomes 1.
    Bytes(&'a [u8]),
    /// Values in 0 … 1.
    Values(&'a [f32]),
}

impl<'a> From<&'a [u8]> for Images<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Images::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Images<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Images::Bytes(bytes)
    }
}

impl Images<'_> {
    /// Number of images of `[height, width]` pixels, at most `batch`.
    fn count(&self, size: [usize; 2], batch: usize) -> Result<usize, Error> {
        let given = match self {
            Images::Bytes(bytes) => bytes.len(),
            Images::Values(values) => values.len(),
        };
        let image = size[0] * size[1] * 3;
        let count = given / image;
        if given == 0 || !given.is_multiple_of(image) || count > batch {
            return Err(Error::Length { what: "the batch of images", given, wanted: batch * image });
        }
        Ok(count)
    }
}

/// The head's outputs of one batch, borrowed from a session.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Distribution logits `[image, anchor, 64]`.
    pub boxes: &'a [f32],
    /// Class logits `[image, anchor, class]`.
    pub scores: &'a [f32],
    /// Images in the batch.
    pub images: usize,
}

/// One gradient for each tensor of a network, in the same order and shape; empty for tensors that are not trained.
#[derive(Clone, Debug)]
pub struct Gradients {
    tensors: Vec<Vec<f32>>,
}

impl Gradients {
    /// All zero.
    pub fn zeros(network: &Network) -> Self {
        let tensors = network.tensors().iter();
        Gradients {
            tensors: tensors
                .map(|spec| if spec.kind.is_parameter() { vec![0.0; spec.elements()] } else { Vec::new() })
                .collect(),
        }
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.tensors.iter_mut().for_each(|tensor| tensor.fill(0.0));
    }

    /// All values in one row, in the order of the tensors.
    pub fn to_row(&self, row: &mut Vec<f32>) {
        self.tensors.iter().for_each(|tensor| row.extend(tensor));
    }

    /// Adds values that stand in one row, as [`Gradients::to_row`] gives them.
    pub fn add_row(&mut self, row: &[f32]) {
        for (value, added) in self.tensors.iter_mut().flatten().zip(row) {
            *value += added;
        }
    }

    /// Gradient of the tensor at a position of [`Network::tensors`].
    pub fn tensor(&self, index: usize) -> &[f32] {
        &self.tensors[index]
    }

    /// The same, to change.
    pub fn tensor_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.tensors[index]
    }
}

/// Those who learn the other shares of a batch at the same time.
pub trait Peers {
    /// Adds up figures over all shares; afterwards everyone holds the same sums. Where that cannot be done they stay as they are, and whoever
    /// made the peers must not use what is computed from them.
    fn sum(&mut self, figures: &mut [f64]);
}

/// Checks an input size.
fn check_size([height, width]: [usize; 2]) -> Result<(), Error> {
    let fits = |size: usize| size > 0 && size.is_multiple_of(32);
    if fits(height) && fits(width) { Ok(()) } else { Err(Error::Size { height, width }) }
}

/// The instruction set the kernels use on this machine: `avx512`, `avx2` or `portable`.
pub fn instructions() -> &'static str {
    cpu::kernels::Kernels::get().name
}
