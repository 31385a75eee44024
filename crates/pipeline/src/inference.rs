//! Planned sessions of one model for the input sizes that come along.

use yolo11_engine::InferenceSession;
use yolo11_network::Model;

use crate::Error;

/// Sessions that are kept; rectangular batches come sorted by shape, so that few are in use at a time.
const MOST_SESSIONS: usize = 4;
/// Bytes of planned memory above which older sessions are let go.
const MOST_MEMORY: usize = 512 << 20;

/// Sessions by input size, the one used last at the end.
pub struct Sessions {
    batch: usize,
    planned: Vec<([usize; 2], InferenceSession)>,
}

impl Sessions {
    /// For batches of up to `batch` pictures.
    pub fn new(batch: usize) -> Self {
        Sessions { batch, planned: Vec::new() }
    }

    /// Takes over new weights of the same network.
    pub fn update(&mut self, model: &Model) {
        self.planned.iter_mut().for_each(|(_, session)| session.update(model));
    }

    /// The session for `[height, width]`, planned where it is not there yet.
    pub fn of_size(&mut self, model: &Model, size: [usize; 2]) -> Result<&mut InferenceSession, Error> {
        let found = match self.planned.iter().position(|(planned, _)| *planned == size) {
            Some(position) => self.planned.remove(position),
            None => {
                self.make_room();
                (size, InferenceSession::plan(model, self.batch, size)?)
            }
        };
        self.planned.push(found);
        let last = self.planned.len() - 1;
        Ok(&mut self.planned[last].1)
    }

    fn make_room(&mut self) {
        let memory = |planned: &[([usize; 2], InferenceSession)]| -> usize {
            planned.iter().map(|(_, session)| session.memory_bytes()).sum()
        };
        while self.planned.len() >= MOST_SESSIONS || (!self.planned.is_empty() && memory(&self.planned) > MOST_MEMORY) {
            self.planned.remove(0);
        }
    }
}
