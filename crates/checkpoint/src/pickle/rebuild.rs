//! The few calls in a checkpoint that mean data: containers, tensors, storages. Every other call stays an inert object.

use super::machine::inert;
use super::tree::{Instance, Node, NodeId, TensorView, Tree};
use crate::error::{Problem, shown};
use crate::tensor::ElementType;

/// PyTorch itself stops at 64 axes, and no convolution has more than five.
const MOST_AXES: usize = 8;

/// What calling `callable` with the tuple `arguments` stands for.
pub(super) fn call<'a>(tree: &mut Tree<'a>, callable: NodeId, arguments: NodeId) -> Result<NodeId, Problem> {
    let Some((module, name)) = tree.global(callable) else {
        return instance(tree, callable, arguments);
    };
    // No call below takes more; a hostile tuple may hold millions.
    let values: Vec<NodeId> = tree.sequence(arguments).unwrap_or_default().iter().copied().take(8).collect();
    match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter") | ("builtins" | "__builtin__", "dict") => {
            let pairs = values.last().map_or_else(Vec::new, |&pairs| dictionary(tree, pairs));
            tree.charge(2 * size_of_val(pairs.as_slice()))?;
            tree.push(Node::Dict(pairs))
        }
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple")
        | ("collections", "deque")
        | ("torch", "Size") => {
            let elements =
                values.first().and_then(|&elements| tree.sequence(elements)).map_or_else(Vec::new, <[NodeId]>::to_vec);
            tree.charge(2 * size_of_val(elements.as_slice()))?;
            tree.push(Node::List(elements))
        }
        ("builtins" | "__builtin__", "getattr") => attribute(tree, callable, arguments, &values),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
            let view = tensor(tree, &values)
                .ok_or_else(|| Problem::damaged("data.pkl", "a tensor's shape, strides or storage are malformed"))?;
            tree.charge(2 * (size_of::<TensorView>() + 2 * view.shape.len() * size_of::<usize>()))?;
            tree.push(Node::Tensor(Box::new(view)))
        }
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => match values.first() {
            Some(&tensor) => Ok(tensor),
            None => instance(tree, callable, arguments),
        },
        ("torch._tensor", "_rebuild_from_type_v2") => match values[..] {
            // (how to rebuild, type, arguments, state); the function has been through the same list of names.
            [function, _, inner, _] if tree.global(function).is_some_and(|(module, _)| module == "torch._utils") => {
                call(tree, function, inner)
            }
            _ => instance(tree, callable, arguments),
        },
        _ => instance(tree, callable, arguments),
    }
}

/// An object kept as what was called and with what.
pub(super) fn instance(tree: &mut Tree<'_>, class: NodeId, arguments: NodeId) -> Result<NodeId, Problem> {
    tree.charge(2 * size_of::<Instance>())?;
    tree.push(Node::Instance(Box::new(inert(class, arguments))))
}

/// `getattr` is how a bound method of a module is pickled, and how an attack walks from a module to `os`: only the first is let by.
fn attribute(tree: &mut Tree<'_>, callable: NodeId, arguments: NodeId, values: &[NodeId]) -> Result<NodeId, Problem> {
    let of_object = values.first().is_some_and(|&object| matches!(tree.get(object), Node::Instance(_)));
    let name = values.get(1).and_then(|&name| tree.text(name)).unwrap_or("?");
    if !of_object || name.starts_with("__") || values.len() > 3 {
        return Err(Problem::Refused { global: format!("getattr(…, {})", shown(name)) });
    }
    instance(tree, callable, arguments)
}

/// Entries of a dictionary or of a list of pairs.
fn dictionary(tree: &Tree<'_>, id: NodeId) -> Vec<(NodeId, NodeId)> {
    match tree.get(id) {
        Node::Dict(entries) => entries.clone(),
        Node::List(pairs) | Node::Tuple(pairs) => pairs
            .iter()
            .filter_map(|&pair| match tree.sequence(pair)? {
                &[key, value] => Some((key, value)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// `(storage, offset, shape, strides, …)`; the third form gives the element type as its seventh argument.
fn tensor(tree: &Tree<'_>, values: &[NodeId]) -> Option<TensorView> {
    let &[storage, offset, shape, strides, ..] = values else { return None };
    let Node::Storage { mut element, .. } = *tree.get(storage) else { return None };
    if let Some((_, name)) = values.get(6).and_then(|&id| tree.global(id)) {
        element = element_type(name);
    }
    let (shape, strides) = (sizes(tree, shape)?, sizes(tree, strides)?);
    if shape.len() != strides.len() {
        return None;
    }
    Some(TensorView { element, storage, offset: size(tree, offset)?, shape, strides })
}

fn size(tree: &Tree<'_>, id: NodeId) -> Option<usize> {
    match tree.get(id) {
        Node::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn sizes(tree: &Tree<'_>, id: NodeId) -> Option<Vec<usize>> {
    let values = tree.sequence(id)?;
    if values.len() > MOST_AXES {
        return None;
    }
    values.iter().map(|&value| size(tree, value)).collect()
}

/// `('storage', type, key, device, elements)`. The number of elements is not needed: the entry's length in the archive counts.
pub(super) fn storage<'a>(tree: &Tree<'a>, id: NodeId) -> Option<Node<'a>> {
    let Node::Tuple(parts) = tree.get(id) else { return None };
    let &[kind, class, key, _, _] = parts.as_slice() else { return None };
    let (_, class) = tree.global(class)?;
    (tree.text(kind) == Some("storage")).then_some(())?;
    Some(Node::Storage { element: element_type(class), key: tree.text(key)? })
}

/// The element type of a storage class (`HalfStorage`) or of a dtype (`float16`).
fn element_type(name: &str) -> ElementType {
    match name {
        "HalfStorage" | "float16" | "half" => ElementType::F16,
        "BFloat16Storage" | "bfloat16" => ElementType::BF16,
        "FloatStorage" | "float32" | "float" => ElementType::F32,
        "DoubleStorage" | "float64" | "double" => ElementType::F64,
        "ByteStorage" | "uint8" | "BoolStorage" | "bool" => ElementType::U8,
        "CharStorage" | "int8" => ElementType::I8,
        "ShortStorage" | "int16" => ElementType::I16,
        "IntStorage" | "int32" => ElementType::I32,
        "LongStorage" | "int64" => ElementType::I64,
        _ => ElementType::Other,
    }
}
