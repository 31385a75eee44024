//! Runs a network: plans its memory once for one input shape, then forward and backward without another allocation.
//!
//! [`TrainingSession`] runs the training form (batch statistics) forward and backward, [`InferenceSession`] the evaluation form
//! with batch norm folded into the convolutions. Both work on the threads of the rayon pool they are called in; results do not
//! depend on how many there are.

mod ema;
mod optimiser;

pub use ema::{Ema, EmaSettings};
pub use optimiser::{Optimiser, OptimiserKind, OptimiserSettings, Rates, RestoreError, StepReport};

use yolo11_network::{Model, Network};

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

    /// Gradient of the tensor at a position of [`Network::tensors`].
    pub fn tensor(&self, index: usize) -> &[f32] {
        &self.tensors[index]
    }

    /// The same, to change.
    pub fn tensor_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.tensors[index]
    }
}

/// The training form of a network for batches of up to `batch` images of one size.
pub struct TrainingSession;

impl TrainingSession {
    /// Plans all memory. `size` is `[height, width]`, multiples of 32.
    pub fn plan(network: &Network, batch: usize, size: [usize; 2]) -> Result<Self, Error> {
        let _ = (network, batch, size);
        unimplemented!()
    }

    /// Bytes of the planned memory.
    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Runs forward on `[image, height, width, 3]` RGB bytes (as many images as the slice holds, at most the planned batch) and
    /// moves the model's running statistics.
    pub fn forward(&mut self, model: &mut Model, images: &[u8]) -> Result<Heads<'_>, Error> {
        let _ = (model, images);
        unimplemented!()
    }

    /// Adds to `gradients` the gradient of what has the gradients `boxes` and `scores` at the head's outputs of the last forward.
    pub fn backward(
        &mut self,
        model: &Model,
        boxes: &[f32],
        scores: &[f32],
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        let _ = (model, boxes, scores, gradients);
        unimplemented!()
    }
}

/// The evaluation form of a model for batches of up to `batch` images of one size.
pub struct InferenceSession;

impl InferenceSession {
    /// Folds batch norm into the convolutions and plans all memory. `size` is `[height, width]`, multiples of 32.
    pub fn plan(model: &Model, batch: usize, size: [usize; 2]) -> Result<Self, Error> {
        let _ = (model, batch, size);
        unimplemented!()
    }

    /// Takes over new weights of the same network.
    pub fn update(&mut self, model: &Model) {
        let _ = model;
        unimplemented!()
    }

    /// Bytes of the planned memory.
    pub fn memory_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Runs on `[image, height, width, 3]` RGB bytes, at most the planned batch.
    pub fn forward(&mut self, images: &[u8]) -> Result<Heads<'_>, Error> {
        let _ = images;
        unimplemented!()
    }
}
