//! Fits stored tensors into a network, and one model's tensors into another's. The only file that knows the network.

use std::collections::BTreeMap;
use std::fmt;

use yolo11_network::{Model, Network, Scale, TensorKind, TensorSpec};

use crate::Checkpoint;
use crate::error::{Problem, shown};
use crate::source::Source;
use crate::tensor::{Storage, StoredTensor, elements};

/// The last layer of the first level's class branch: its first axis is the number of classes.
const CLASS_LAYER: &str = "model.23.cv3.0.2.weight";
/// How many tensors a message names.
const NAMED: usize = 5;

type Found<'t> = BTreeMap<&'t str, &'t StoredTensor>;

/// The model that the tensors describe: scale and number of classes follow from their names and shapes.
pub(crate) fn assemble(tensors: &[StoredTensor], source: &Source) -> Result<Model, Problem> {
    let found: Found = tensors.iter().map(|tensor| (plain_name(&tensor.name), tensor)).collect();
    let classes =
        found.get(CLASS_LAYER).and_then(|tensor| tensor.shape.first().copied()).filter(|&classes| classes > 0);
    let networks = Scale::ALL.map(|scale| Network::yolo11(scale, classes.unwrap_or(80)));
    let unlike = networks.each_ref().map(|network| unlike(network, &found).count());
    let nearest = (0..networks.len()).min_by_key(|&index| unlike[index]).unwrap_or(0);
    if unlike[nearest] > 0 {
        return Err(mismatch(&networks[nearest], &found));
    }
    fill(&networks[nearest], &found, source)
}

/// Without what wrappers for several devices or compilation put before each name.
fn plain_name(name: &str) -> &str {
    let name = name.strip_prefix("module.").unwrap_or(name);
    name.strip_prefix("_orig_mod.").unwrap_or(name)
}

/// Counters and constants: a file may lack them, or write a scalar with one axis.
fn is_optional(spec: &TensorSpec) -> bool {
    matches!(spec.kind, TensorKind::BatchesTracked | TensorKind::DflWeight)
}

fn fits(spec: &TensorSpec, tensor: Option<&&StoredTensor>) -> bool {
    match tensor {
        None => is_optional(spec),
        Some(tensor) => tensor.shape == spec.shape || (spec.shape.is_empty() && tensor.shape == [1]),
    }
}

/// One line for each tensor that does not fit the network.
fn unlike<'n>(network: &'n Network, found: &'n Found<'_>) -> impl Iterator<Item = String> + 'n {
    let expected: std::collections::BTreeSet<&str> = network.tensors().iter().map(|spec| spec.name.as_str()).collect();
    let absent_or_other = network.tensors().iter().filter_map(|spec| {
        let tensor = found.get(spec.name.as_str());
        if fits(spec, tensor) {
            return None;
        }
        Some(match tensor {
            Some(tensor) => format!("`{}` is {:?} where {:?} was expected", spec.name, tensor.shape, spec.shape),
            None => format!("`{}` {:?} is missing", spec.name, spec.shape),
        })
    });
    let unknown = found.keys().filter(move |name| !expected.contains(**name));
    absent_or_other.chain(unknown.map(|name| format!("`{}` was not expected", shown(name))))
}

fn mismatch(network: &Network, found: &Found<'_>) -> Problem {
    let total = network.tensors().len();
    let fitting = network
        .tensors()
        .iter()
        .filter(|spec| found.contains_key(spec.name.as_str()) && fits(spec, found.get(spec.name.as_str())));
    let fitting = fitting.count();
    // Some of each kind of misfit tell more than many of one.
    let mut lines: Vec<String> = Vec::new();
    for part in ["where", "missing", "not expected"] {
        lines.extend(unlike(network, found).filter(|line| line.contains(part)).take(NAMED.div_ceil(2)));
    }
    let others = unlike(network, found).count() - lines.len();
    let others = if others > 0 { format!("; and {others} more") } else { String::new() };
    let is_fused = found.contains_key("model.0.conv.bias") && !found.contains_key("model.0.bn.weight");
    let hint = if is_fused {
        "its batch norms were multiplied into the convolutions (fused); use the checkpoint from before that"
    } else {
        "name the weights of a YOLO11 detector (n, s, m, l or x)"
    };
    Problem::Architecture {
        problem: format!(
            "these are not the weights of a YOLO11 detector: {fitting} of {total} tensors fit the nearest, {} with {} classes: {}{others}",
            network.scale.model_name(),
            network.classes,
            lines.join("; "),
        ),
        hint,
    }
}

fn fill(network: &Network, found: &Found<'_>, source: &Source) -> Result<Model, Problem> {
    // Each tensor lies within its storage, but several could lie in one: the file would then unfold to more than it holds.
    let named = found.values().map(|tensor| elements(&tensor.shape).unwrap_or(usize::MAX));
    if named.fold(0usize, usize::saturating_add) as u64 > source.length() {
        return Err(Problem::damaged("data.pkl", "its tensors name more numbers than the file holds"));
    }
    let mut tensors: Vec<(usize, &StoredTensor)> = Vec::with_capacity(network.tensors().len());
    for (index, spec) in network.tensors().iter().enumerate() {
        tensors.extend(found.get(spec.name.as_str()).map(|tensor| (index, *tensor)));
    }
    // Tensors of one storage after each other, each storage read once.
    tensors.sort_by_key(|(_, tensor)| tensor.storage.start);
    let mut model = Model::zeros(network);
    let (mut read, mut stored): (Option<&Storage>, Vec<u8>) = (None, Vec::new());
    for (index, tensor) in tensors {
        if read != Some(&tensor.storage) {
            tensor.storage.read(source, &mut stored)?;
            read = Some(&tensor.storage);
        }
        tensor.decode(&stored, model.tensor_mut(index));
    }
    Ok(model)
}

/// What [`transfer`] took over. Displays as `448 of 499 tensors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Tensors taken.
    pub taken: usize,
    /// Tensors of the network that took them.
    pub total: usize,
    /// Names of the network's tensors that kept their values: absent in the checkpoint or of another shape.
    pub left: Vec<String>,
}

impl fmt::Display for Transfer {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} of {} tensors", self.taken, self.total)
    }
}

/// Starts a model from a checkpoint of another number of classes (or scale): takes every tensor whose name and shape fit.
pub fn transfer(from: &Checkpoint, into: &mut Model) -> Transfer {
    let source = from.model.network();
    let positions: BTreeMap<&str, usize> =
        source.tensors().iter().enumerate().map(|(index, spec)| (spec.name.as_str(), index)).collect();
    let specs = into.network().tensors().to_vec();
    let mut left = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        match positions.get(spec.name.as_str()) {
            Some(&position) if source.tensors()[position].shape == spec.shape => {
                into.tensor_mut(index).copy_from_slice(from.model.tensor(position));
            }
            _ => left.push(spec.name.clone()),
        }
    }
    Transfer { taken: specs.len() - left.len(), total: specs.len(), left }
}
