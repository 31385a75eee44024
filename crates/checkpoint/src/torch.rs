//! Reads what `torch.save` wrote: an Ultralytics checkpoint with a whole pickled module, or a plain state dict.

use crate::Value;
use crate::archive::Archive;
use crate::content::{Content, Kind};
use crate::error::{Problem, shown};
use crate::pickle::{self, Node, NodeId, Tree};
use crate::source::Source;
use crate::tensor::StoredTensor;

/// Modules inside modules: YOLO11 has nine.
const DEEPEST: usize = 32;
/// The longest name of a tensor that is followed; the network's longest has 40 characters.
const LONGEST_NAME: usize = 256;
/// Settings inside settings.
const DEEPEST_SETTING: usize = 8;
/// The least a pickle's tree may take, however small the file.
const LEAST_BUDGET: usize = 1 << 16;

/// Reads a zip archive written by PyTorch 1.6 or newer.
pub(crate) fn read(source: &Source) -> Result<Content, Problem> {
    let directory = Archive::directory(source)?;
    let archive = Archive::open(source, &directory)?;
    if archive.has("constants.pkl") {
        return Err(Problem::Format {
            problem: "a TorchScript export, which holds a program and not a checkpoint".into(),
            hint: "name the checkpoint (.pt) that it was exported from",
        });
    }
    if archive.has("byteorder") && archive.read("byteorder")? != b"little" {
        return Err(Problem::Format {
            problem: "its numbers are in big-endian order".into(),
            hint: "save it again on a little-endian machine, which almost every machine is",
        });
    }
    let pickled = archive.read("data.pkl")?;
    let tree = pickle::read(&pickled, budget(source.length()))?;
    Reader { archive, tree }.content()
}

/// Whether a bare pickle (no archive around it) names code to run; anything else about it is of no interest.
pub(crate) fn refuse_bare_pickle(bytes: &[u8]) -> Result<(), Problem> {
    match pickle::read(bytes, budget(bytes.len() as u64)) {
        Err(refused @ Problem::Refused { .. }) => Err(refused),
        _ => Ok(()),
    }
}

fn budget(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).saturating_mul(2).max(LEAST_BUDGET)
}

struct Reader<'a> {
    archive: Archive<'a>,
    tree: Tree<'a>,
}

impl Reader<'_> {
    fn content(mut self) -> Result<Content, Problem> {
        let root = self.tree.root;
        // Validation and best weights use the average (EMA) where there is one.
        let weights = ["ema", "model", "state_dict", "model_state_dict"]
            .iter()
            .find_map(|key| self.tree.present(root, key).filter(|&id| self.is_module(id) || self.is_state_dict(id)))
            .unwrap_or(root);
        let tensors = if self.is_module(weights) {
            self.module_tensors(weights)?
        } else if self.is_state_dict(weights) {
            self.dict_tensors(weights)?
        } else {
            return Err(Problem::Format {
                problem: "holds neither a model nor a state dict".into(),
                hint: "save it as `torch.save({\"model\": model.state_dict(), \"names\": names}, path)`",
            });
        };
        let tree = &self.tree;
        let names = tree.field(weights, "names").or_else(|| tree.field(root, "names"));
        let number = |key| tree.field(root, key).and_then(|id| self.number(id));
        let text = |key| tree.field(root, key).and_then(|id| tree.text(id)).map(str::to_string);
        let arguments = tree.present(root, "train_args").or_else(|| tree.present(weights, "args"));
        let metrics = tree.present(root, "train_metrics").or_else(|| tree.present(root, "metrics"));
        let mut visits = 10_000;
        Ok(Content {
            names: names.and_then(|id| self.names(id)),
            // A finished training writes −1.
            epoch: tree.field(root, "epoch").and_then(|id| match tree.get(id) {
                Node::Int(epoch) => usize::try_from(*epoch).ok(),
                _ => None,
            }),
            train_args: match arguments.map(|id| self.setting(id, 0, &mut visits)) {
                Some(Value::Map(entries)) => entries,
                _ => Vec::new(),
            },
            metrics: self.metrics(metrics),
            best_fitness: number("best_fitness"),
            date: text("date"),
            version: text("version"),
            kind: self.kind(weights),
            tensors,
        })
    }

    /// The class of a pickled model and the name of its architecture, fit for a message.
    fn kind(&self, model: NodeId) -> Option<Kind> {
        let tree = &self.tree;
        let Node::Instance(instance) = tree.get(model) else { return None };
        let (_, class) = tree.global(instance.class)?;
        let architecture = tree.field(model, "yaml").and_then(|yaml| tree.field(yaml, "yaml_file"));
        let description = architecture.and_then(|name| tree.text(name)).map(shown);
        Some(Kind { class: shown(class), description })
    }

    fn is_module(&self, id: NodeId) -> bool {
        matches!(self.tree.get(id), Node::Instance(_)) && self.tree.field(id, "_modules").is_some()
    }

    fn is_state_dict(&self, id: NodeId) -> bool {
        let is_tensor = |&(_, value): &(NodeId, NodeId)| matches!(self.tree.get(value), Node::Tensor(_));
        self.tree.entries(id).iter().any(is_tensor)
    }

    fn dict_tensors(&mut self, dict: NodeId) -> Result<Vec<StoredTensor>, Problem> {
        let mut found = Vec::new();
        for index in 0..self.tree.entries(dict).len() {
            let (key, value) = self.tree.entries(dict)[index];
            if let Some(name) = self.tree.text(key) {
                found.extend(self.tensor(name.to_string(), value)?);
            }
        }
        Ok(found)
    }

    /// Walks a pickled module as PyTorch's `state_dict()` would: parameters, then buffers that persist, then modules.
    fn module_tensors(&mut self, module: NodeId) -> Result<Vec<StoredTensor>, Problem> {
        let mut found = Vec::new();
        let mut waiting = vec![(module, String::new(), 0)];
        while let Some((module, prefix, depth)) = waiting.pop() {
            if depth > DEEPEST {
                return Err(Problem::damaged(
                    "data.pkl",
                    format!("modules lie more than {DEEPEST} deep in each other"),
                ));
            }
            for list in ["_parameters", "_buffers"] {
                let Some(list) = self.tree.field(module, list) else { continue };
                for index in 0..self.tree.entries(list).len() {
                    let (key, value) = self.tree.entries(list)[index];
                    if !self.is_transient(module, key) {
                        let name = self.join(&prefix, key)?;
                        found.extend(self.tensor(name, value)?);
                    }
                }
            }
            let Some(children) = self.tree.field(module, "_modules") else { continue };
            // Backwards, since the last to wait is the first to be taken.
            for index in (0..self.tree.entries(children).len()).rev() {
                let (key, child) = self.tree.entries(children)[index];
                if self.is_module(child) {
                    waiting.push((child, self.join(&prefix, key)?, depth + 1));
                }
            }
        }
        Ok(found)
    }

    fn is_transient(&self, module: NodeId, name: NodeId) -> bool {
        let set = self.tree.field(module, "_non_persistent_buffers_set").and_then(|set| self.tree.sequence(set));
        set.is_some_and(|set| set.iter().any(|&transient| self.tree.text(transient) == self.tree.text(name)))
    }

    /// `prefix.key`, charged for: modules that contain each other could otherwise name tensors without end.
    fn join(&mut self, prefix: &str, key: NodeId) -> Result<String, Problem> {
        let key = self.tree.text(key).ok_or_else(|| Problem::damaged("data.pkl", "a module's name is no text"))?;
        if prefix.len() + key.len() > LONGEST_NAME {
            return Err(Problem::damaged("data.pkl", format!("the name of a tensor is too long: {}", shown(key))));
        }
        let joined = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
        self.tree.charge(joined.len() + 64)?;
        Ok(joined)
    }

    /// A tensor with the place of its numbers; none where the value is no tensor, as an absent bias is `None`.
    fn tensor(&mut self, name: String, value: NodeId) -> Result<Option<StoredTensor>, Problem> {
        let Node::Tensor(view) = self.tree.get(value) else { return Ok(None) };
        let view = view.clone();
        let Node::Storage { key, .. } = *self.tree.get(view.storage) else { return Ok(None) };
        self.tree.charge(2 * size_of::<StoredTensor>() + 2 * name.len())?;
        let entry = format!("data/{}", shown(key));
        let storage = self.archive.find(&entry)?;
        let tensor = StoredTensor {
            name,
            element: view.element,
            shape: view.shape,
            strides: view.strides,
            storage,
            offset: view.offset,
        };
        tensor
            .check()
            .map_err(|problem| Problem::damaged(entry, format!("tensor `{}`: {problem}", shown(&tensor.name))))?;
        Ok(Some(tensor))
    }

    /// Class names from a dictionary by class number or from a list.
    fn names(&self, id: NodeId) -> Option<Vec<String>> {
        if let Some(list) = self.tree.sequence(id) {
            return list.iter().map(|&name| self.tree.text(name).map(str::to_string)).collect();
        }
        let mut numbered = Vec::new();
        for &(key, name) in self.tree.entries(id) {
            let Node::Int(class) = *self.tree.get(key) else { return None };
            numbered.push((class, self.tree.text(name)?));
        }
        numbered.sort();
        let in_order = numbered.iter().enumerate().all(|(position, (class, _))| *class == position as i64);
        (in_order && !numbered.is_empty()).then(|| numbered.into_iter().map(|(_, name)| name.to_string()).collect())
    }

    fn metrics(&self, id: Option<NodeId>) -> Vec<(String, f64)> {
        let entries = id.map_or(&[][..], |id| self.tree.entries(id));
        let metric = |&(key, value): &(NodeId, NodeId)| Some((self.tree.text(key)?.to_string(), self.number(value)?));
        entries.iter().filter_map(metric).collect()
    }

    /// A number, also where numpy wrote it.
    fn number(&self, id: NodeId) -> Option<f64> {
        match self.tree.get(id) {
            Node::Int(value) => Some(*value as f64),
            Node::Float(value) => Some(*value),
            Node::Instance(instance) if self.tree.global(instance.class)?.1 == "scalar" => {
                let &[kind, data] = self.tree.sequence(instance.arguments)? else { return None };
                let Node::Instance(kind) = self.tree.get(kind) else { return None };
                let kind = self.tree.text(*self.tree.sequence(kind.arguments)?.first()?)?;
                numpy_number(kind, &self.bytes(data)?)
            }
            _ => None,
        }
    }

    /// Bytes; pickles of protocol 2 write them as text in latin-1.
    fn bytes(&self, id: NodeId) -> Option<Vec<u8>> {
        match self.tree.get(id) {
            Node::Bytes(bytes) if bytes.len() <= 8 => Some(bytes.to_vec()),
            Node::Instance(instance) if self.tree.global(instance.class) == Some(("_codecs", "encode")) => {
                let text = self.tree.text(*self.tree.sequence(instance.arguments)?.first()?)?;
                text.chars().take(9).map(|letter| u8::try_from(letter).ok()).collect()
            }
            _ => None,
        }
    }

    /// A training argument. What is no plain value, or lies too deep, becomes `None`.
    fn setting(&self, id: NodeId, depth: usize, visits: &mut usize) -> Value {
        if depth > DEEPEST_SETTING || *visits == 0 {
            return Value::None;
        }
        *visits -= 1;
        match self.tree.get(id) {
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Text(value) if value.len() <= 4096 => Value::String(value.to_string()),
            Node::Tuple(values) | Node::List(values) => {
                // Not a lazy size hint of the whole list: one list may stand at many places.
                let mut list = Vec::new();
                for &value in values.iter().take(*visits) {
                    list.push(self.setting(value, depth + 1, visits));
                }
                Value::List(list)
            }
            Node::Instance(instance)
                if self.tree.global(instance.class).is_some_and(|(module, _)| module.starts_with("pathlib")) =>
            {
                let parts = self.tree.sequence(instance.arguments).unwrap_or_default();
                let parts: Vec<&str> = parts.iter().take(64).filter_map(|&part| self.tree.text(part)).collect();
                Value::String(parts.join("/").replacen("//", "/", 1))
            }
            Node::Instance(_) if self.number(id).is_some() => self.number(id).map_or(Value::None, Value::Float),
            Node::Dict(_) | Node::Instance(_) => {
                let mut map = Vec::new();
                for &(key, value) in self.tree.entries(id).iter().take(*visits) {
                    let key = match self.tree.get(key) {
                        Node::Text(key) => key.to_string(),
                        Node::Int(key) => key.to_string(),
                        _ => continue,
                    };
                    map.push((key, self.setting(value, depth + 1, visits)));
                }
                Value::Map(map)
            }
            _ => Value::None,
        }
    }
}

fn numpy_number(kind: &str, bytes: &[u8]) -> Option<f64> {
    match kind.trim_start_matches(['<', '=']) {
        "f8" => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        "f4" => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        "i8" => Some(i64::from_le_bytes(bytes.try_into().ok()?) as f64),
        "i4" => Some(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        _ => None,
    }
}
