//! ONNX files, run by a reader in pure Rust (the crate `rten`): nothing to install.

mod stages;

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Once};

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use rten_tensor::{AsView, Layout};

use crate::Error;
use crate::onnx::file::Refused;
use crate::onnx::{Output, Runtime};
use stages::{Limits, Stage, Suppression, stages};

/// Whether a checked file can be cut at its suppressions.
pub(crate) fn can_be_cut(file: &[u8], outputs: &[String]) -> Result<(), Refused> {
    stages(file, outputs).map(drop)
}

/// What the threads that run a graph are called by that crate.
const THREAD: &str = "rten-";

/// A graph, or the pieces of one, and the threads that run it.
pub(crate) struct Rust {
    pieces: Vec<Piece>,
    input: String,
    outputs: Vec<String>,
    options: RunOptions,
}

/// A piece of a graph, and the suppression after it.
struct Piece {
    model: Model,
    inputs: Vec<(String, NodeId)>,
    outputs: Vec<(String, NodeId)>,
    suppression: Option<Suppression>,
}

impl Rust {
    /// Opens a file of which input and outputs were read, and that was found whole.
    pub(crate) fn open(path: &Path, input: &str, outputs: &[String], threads: usize) -> Result<Self, Error> {
        let failed = |reason| Error::Run { path: path.to_owned(), backend: Rust::NAME, reason };
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        let content = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let cut = stages(&content, outputs).map_err(|Refused(reason)| failed(reason))?;
        drop(content);
        let loading = || -> Result<Vec<Piece>, String> {
            if cut.is_empty() {
                let model = ModelOptions::with_all_ops().load_file(path).map_err(|error| error.to_string())?;
                return Ok(vec![Piece::new(model, vec![input.to_owned()], outputs.to_vec(), None)?]);
            }
            let piece = |Stage { file, inputs, outputs, suppression }| {
                let model = ModelOptions::with_all_ops().load(file).map_err(|error| error.to_string())?;
                Piece::new(model, inputs, outputs, suppression)
            };
            cut.into_iter().map(piece).collect()
        };
        // Constants are computed while a graph is loaded: on the threads of which a panic is not printed.
        let pieces = contained(|| pool.run(AssertUnwindSafe(loading))).map_err(failed)?;
        let options = RunOptions::default().with_thread_pool(Some(pool));
        Ok(Rust { pieces, input: input.to_owned(), outputs: outputs.to_vec(), options })
    }
}

impl Piece {
    fn new(
        model: Model,
        inputs: Vec<String>,
        outputs: Vec<String>,
        suppression: Option<Suppression>,
    ) -> Result<Piece, String> {
        let named = |names: Vec<String>| -> Result<Vec<_>, String> {
            let node = |name: String| match model.node_id(&name) {
                Ok(node) => Ok((name, node)),
                Err(error) => Err(error.to_string()),
            };
            names.into_iter().map(node).collect()
        };
        let (inputs, outputs) = (named(inputs)?, named(outputs)?);
        Ok(Piece { model, inputs, outputs, suppression })
    }
}

impl Runtime for Rust {
    const NAME: &'static str = "rten";

    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, String> {
        contained(|| {
            let pictures = ValueView::from_shape(shape, input).map_err(|error| error.to_string())?;
            let mut known: HashMap<&str, Value> = HashMap::new();
            for piece in &self.pieces {
                let given = |(name, node): &(String, NodeId)| match known.get(name.as_str()) {
                    Some(value) => Ok((*node, ValueOrView::from(value.as_view()))),
                    None if *name == self.input => Ok((*node, ValueOrView::from(pictures.clone()))),
                    None => Err(format!("nothing makes its value `{name}`")),
                };
                let inputs = piece.inputs.iter().map(given).collect::<Result<Vec<_>, String>>()?;
                let nodes: Vec<NodeId> = piece.outputs.iter().map(|(_, node)| *node).collect();
                let made = piece.model.run(inputs, &nodes, Some(self.options.clone()));
                let made = made.map_err(|error| error.to_string())?;
                known.extend(piece.outputs.iter().map(|(name, _)| name.as_str()).zip(made));
                if let Some(suppression) = &piece.suppression {
                    let rows = suppressed(suppression, &known)?;
                    known.insert(&suppression.output, rows);
                }
            }
            let result =
                |name: &String| known.remove(name.as_str()).ok_or_else(|| format!("nothing makes its output `{name}`"));
            self.outputs.iter().map(result).map(|value| values(value?)).collect()
        })
    }
}

/// The rows of a suppression, from the values its inputs name.
fn suppressed(suppression: &Suppression, known: &HashMap<&str, Value>) -> Result<Value, String> {
    let value = |place: usize| suppression.inputs.get(place).and_then(|name| known.get(name.as_str()));
    let tensor = |place: usize, what: &str| match value(place) {
        Some(Value::FloatTensor(tensor)) => Ok((tensor.shape().to_vec(), tensor.to_vec())),
        _ => Err(format!("the {what} of its NonMaxSuppression are missing")),
    };
    let ((shape, boxes), (scores_shape, scores)) = (tensor(0, "boxes")?, tensor(1, "scores")?);
    let (&[images, count, 4], &[of_images, classes, of_boxes]) = (&shape[..], &scores_shape[..]) else {
        return Err(format!("its NonMaxSuppression takes boxes {shape:?} and scores {scores_shape:?}"));
    };
    if images != of_images || count != of_boxes {
        return Err(format!("its NonMaxSuppression takes boxes {shape:?} and scores {scores_shape:?}"));
    }
    let number = |place: usize| match value(place) {
        Some(Value::FloatTensor(tensor)) => tensor.to_vec().first().copied(),
        Some(Value::Int32Tensor(tensor)) => tensor.to_vec().first().map(|number| *number as f32),
        _ => None,
    };
    let limits = Limits {
        most: number(2).unwrap_or(0.0).max(0.0) as usize,
        iou: number(3).unwrap_or(0.0),
        score: number(4).unwrap_or(f32::NEG_INFINITY),
    };
    let rows = stages::suppress(&boxes, &scores, [images, classes, count], limits, suppression.centres);
    let shape = [rows.len(), 3];
    Value::from_shape(shape, rows.into_iter().flatten().collect::<Vec<i32>>()).map_err(|error| error.to_string())
}

fn values(value: Value) -> Result<Output, String> {
    match value {
        Value::FloatTensor(tensor) => Ok((tensor.shape().to_vec(), tensor.into_data())),
        other => Err(format!("an output is {:?}, not of floats", other.dtype())),
    }
}

thread_local! {
    /// Whether this thread is inside [`contained`].
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs foreign code that may panic on a damaged file: the panic becomes an error, and nothing of it is printed. The crate checks what
/// it reads, but not every operator checks every attribute; a panic leaves nothing behind but the value that is thrown away with it.
fn contained<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static QUIETER: Once = Once::new();
    QUIETER.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let theirs = std::thread::current().name().is_some_and(|name| name.starts_with(THREAD));
            if !theirs && !CONTAINED.get() {
                loud(panic);
            }
        }));
    });
    let before = CONTAINED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CONTAINED.set(before);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("it cannot run this graph ({})", text.unwrap_or("no reason given")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let result = contained(|| -> Result<(), String> { panic!("index {} of 2", 3) });
        assert_eq!(result, Err("it cannot run this graph (index 3 of 2)".to_owned()));
        assert!(!CONTAINED.get());
        assert_eq!(contained(|| Ok(7)), Ok(7));
    }
}
