//! Runs a model from any file it comes in.
//!
//! [`open`] gives a [`Backend`]: `.pt` and `.safetensors` files are run by this program's own engine, `.onnx` files by ONNX Runtime where
//! it is installed and by a reader in pure Rust elsewhere. Whoever uses a [`Backend`] knows no format: pictures go in, [`Predictions`]
//! come out, and [`Predictions::detect`] makes detections of them.

mod backend;
mod error;
mod native;
mod onnx;
mod onnxruntime;
mod open;
mod predictor;
mod python;
mod rust;
mod tiles;

pub use backend::{Backend, LastRun, ModelInfo, Predictions};
pub use error::Error;
pub use native::Native;
pub use open::{BackendKind, ENDINGS, OpenOptions, inspect, onnxruntime, onnxruntime_is_installed, open};
pub use predictor::{Found, Milliseconds, PredictOptions, Predictor};
pub use python::open_in_python;
pub use tiles::Tiling;
