//! Checkpoints, run by this program's own engine.

use yolo11_checkpoint::Checkpoint;
use yolo11_detection::Heads;
use yolo11_engine::InferenceSession;
use yolo11_network::{Model, STRIDES};

use crate::{Backend, Error, ModelInfo, Predictions};

/// Sessions that are kept; rectangular batches come sorted by shape, so that few are in use at a time.
const MOST_SESSIONS: usize = 4;
/// Bytes of planned memory above which older sessions are let go.
const MOST_MEMORY: usize = 512 << 20;

/// A model and planned sessions for the input sizes that come along.
pub struct Native {
    model: Model,
    info: ModelInfo,
    name: String,
    batch: usize,
    /// By input size, the one used last at the end.
    planned: Vec<([usize; 2], InferenceSession)>,
}

impl Native {
    /// For batches of up to `batch` pictures; larger ones make the sessions grow.
    pub fn new(model: Model, info: ModelInfo, batch: usize) -> Self {
        let name = format!("native ({})", yolo11_engine::instructions());
        Native { model, info, name, batch: batch.max(1), planned: Vec::new() }
    }

    /// Opens a checkpoint that was read from `path`.
    pub fn of_checkpoint(checkpoint: Checkpoint, path: &std::path::Path, batch: usize) -> Self {
        let image_size = checkpoint.image_size().map(|size| [size; 2]);
        let info = ModelInfo { image_size, ..ModelInfo::native(path.to_owned(), checkpoint.names) };
        Native::new(checkpoint.model, info, batch)
    }

    /// Takes over new weights of the same network.
    pub fn update(&mut self, model: &Model) {
        self.model.clone_from(model);
        self.planned.iter_mut().for_each(|(_, session)| session.update(model));
    }

    /// The model.
    pub fn weights(&self) -> &Model {
        &self.model
    }

    /// Bytes of the planned memory.
    fn planned_bytes(&self) -> usize {
        self.planned.iter().map(|(_, session)| session.memory_bytes()).sum()
    }

    /// The session for `[height, width]`, planned where it is not there yet.
    fn session(&mut self, size: [usize; 2]) -> Result<&mut InferenceSession, Error> {
        let found = match self.planned.iter().position(|(planned, _)| *planned == size) {
            Some(position) => self.planned.remove(position),
            None => {
                while self.planned.len() >= MOST_SESSIONS
                    || (!self.planned.is_empty() && self.planned_bytes() > MOST_MEMORY)
                {
                    self.planned.remove(0);
                }
                (size, InferenceSession::plan(&self.model, self.batch, size)?)
            }
        };
        self.planned.push(found);
        let last = self.planned.len() - 1;
        Ok(&mut self.planned[last].1)
    }
}

impl ModelInfo {
    /// Of a network that the engine runs: every size and batch.
    pub fn native(path: std::path::PathBuf, names: Vec<String>) -> Self {
        let stride = STRIDES[STRIDES.len() - 1];
        ModelInfo { path, names, stride, image_size: None, fixed_size: None, fixed_batch: None }
    }
}

impl Backend for Native {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn memory_bytes(&self) -> Option<usize> {
        Some(self.planned_bytes())
    }

    fn run(&mut self, pictures: &[u8], size: [usize; 2]) -> Result<Predictions<'_>, Error> {
        let count = pictures.len() / (size[0] * size[1] * 3).max(1);
        if count > self.batch {
            self.batch = count;
            self.planned.clear();
        }
        let classes = self.model.network().classes;
        let heads = self.session(size)?.forward(pictures)?;
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size };
        Ok(Predictions::Logits(heads))
    }
}
