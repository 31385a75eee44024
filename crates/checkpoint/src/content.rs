//! What a checkpoint file says, whichever format says it.

use crate::error::Problem;
use crate::source::Source;
use crate::tensor::StoredTensor;
use crate::{Checkpoint, Value, model};

/// A checkpoint's tensors, still in the file, and its other entries.
#[derive(Default)]
pub(crate) struct Content {
    pub tensors: Vec<StoredTensor>,
    pub names: Option<Vec<String>>,
    pub epoch: Option<usize>,
    pub train_args: Vec<(String, Value)>,
    pub metrics: Vec<(String, f64)>,
    pub best_fitness: Option<f64>,
    pub date: Option<String>,
    pub version: Option<String>,
    /// What the file calls its model.
    pub kind: Option<Kind>,
}

/// What a file calls its model: the class, such as `SegmentationModel`, and its description, such as `yolo11n-seg.yaml`.
pub(crate) struct Kind {
    pub class: String,
    pub description: Option<String>,
}

impl Kind {
    /// Why the model is none that is read here: for another task, of another family, or else what does not fit.
    fn refuse(&self, problem: &str, hint: &'static str) -> Problem {
        let description = self.description.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let holds = format!("it holds a {}{description}", self.class);
        let task = match self.class.as_str() {
            "SegmentationModel" => Some("segmentation"),
            "PoseModel" => Some("poses"),
            "ClassificationModel" => Some("classification"),
            "OBBModel" => Some("oriented boxes"),
            _ => None,
        };
        let is_other_family = self.description.as_ref().is_some_and(|name| !name.starts_with("yolo11"));
        let (problem, hint) = match task {
            Some(task) => (format!("{holds}, a model for {task}, where a YOLO11 detector is wanted"), DETECTION_ONLY),
            // The list of tensors would be long and say no more.
            None if is_other_family => (format!("{holds}, a model of another family than YOLO11"), YOLO11_ONLY),
            None => (format!("{holds}: {problem}"), hint),
        };
        Problem::Architecture { problem, hint }
    }
}

const DETECTION_ONLY: &str =
    "this program finds objects and their boxes; name the weights of a YOLO11 detector, such as yolo11n.pt";
const YOLO11_ONLY: &str = "name the weights of a YOLO11 detector (n, s, m, l or x); other families have other networks";

impl Content {
    /// Fits the tensors of the file into a network.
    pub fn into_checkpoint(self, source: &Source) -> Result<Checkpoint, Problem> {
        let model = model::assemble(&self.tensors, source).map_err(|problem| match (problem, &self.kind) {
            (Problem::Architecture { problem, hint }, Some(kind)) => kind.refuse(&problem, hint),
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
