//! What a checkpoint file says, whichever format says it.

use crate::error::Problem;
use crate::tensor::StoredTensor;
use crate::{Checkpoint, Value, model};

/// A checkpoint's tensors, still in the file's bytes, and its other entries.
#[derive(Default)]
pub(crate) struct Content<'a> {
    pub tensors: Vec<StoredTensor<'a>>,
    pub names: Option<Vec<String>>,
    pub epoch: Option<usize>,
    pub train_args: Vec<(String, Value)>,
    pub metrics: Vec<(String, f64)>,
    pub best_fitness: Option<f64>,
    pub date: Option<String>,
    pub version: Option<String>,
    /// What the file calls its model, such as `SegmentationModel (yolo11n-seg.yaml)`.
    pub kind: Option<String>,
}

impl Content<'_> {
    /// Fits the tensors into a network. `length` is the file's, a bound on what it can hold.
    pub fn into_checkpoint(self, length: usize) -> Result<Checkpoint, Problem> {
        let model = model::assemble(&self.tensors, length).map_err(|problem| match (problem, &self.kind) {
            (Problem::Architecture { problem, hint }, Some(kind)) => {
                Problem::Architecture { problem: format!("it holds a {kind}: {problem}"), hint }
            }
            (problem, _) => problem,
        })?;
        let classes = model.network().classes;
        let mut names = self.names.unwrap_or_default();
        names.truncate(classes);
        // Files without names, or with too few: the field's own placeholder.
        (names.len()..classes).for_each(|class| names.push(format!("class{class}")));
        Ok(Checkpoint {
            model,
            names,
            epoch: self.epoch,
            train_args: self.train_args,
            metrics: self.metrics,
            best_fitness: self.best_fitness,
            date: self.date,
            version: self.version,
        })
    }
}
