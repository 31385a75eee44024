//! Where the commands call the pipeline and print what it brought.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use yolo11_config::Settings;

use crate::failure::Failure;

/// What `benchmark` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    TrainingStep,
    Inference,
    Loader,
}

pub(crate) fn train(_: &Settings, _: Arc<AtomicBool>, _: bool) -> Result<(), Failure> {
    Err(Failure::Missing("train"))
}
pub(crate) fn val(_: &Settings, _: Arc<AtomicBool>, _: bool) -> Result<(), Failure> {
    Err(Failure::Missing("val"))
}
pub(crate) fn predict(_: &Settings, _: Arc<AtomicBool>, _: bool) -> Result<(), Failure> {
    Err(Failure::Missing("predict"))
}
pub(crate) fn info(_: &Settings, _: bool) -> Result<(), Failure> {
    Err(Failure::Missing("info"))
}
pub(crate) fn benchmark(_: Measured, _: &Settings, _: Arc<AtomicBool>, _: bool) -> Result<(), Failure> {
    Err(Failure::Missing("benchmark"))
}
