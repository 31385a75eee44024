//! What a pickle holds, as data.

use crate::error::Problem;
use crate::tensor::ElementType;

/// Position of a node in its tree. Indices and not pointers: a pickle may refer to itself.
pub(crate) type NodeId = u32;

/// One value of the tree. Text and bytes are borrowed from the file.
#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<NodeId>),
    /// A list or a set.
    List(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    Global {
        module: &'a str,
        name: &'a str,
    },
    Instance(Box<Instance>),
    Storage {
        element: ElementType,
        key: &'a str,
    },
    Tensor(Box<TensorView>),
    /// A value that no reader of weights has a use for.
    Opaque,
}

/// An object that would have been made by calling something: kept as what was called and with what, never called.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub class: NodeId,
    pub arguments: NodeId,
    pub state: Option<NodeId>,
    pub items: Vec<(NodeId, NodeId)>,
}

/// A tensor as a window on a storage; offset and strides in elements.
#[derive(Clone, Debug)]
pub(crate) struct TensorView {
    pub element: ElementType,
    pub storage: NodeId,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

pub(super) const NONE: NodeId = 0;
pub(super) const TRUE: NodeId = 1;
pub(super) const FALSE: NodeId = 2;
pub(super) const EMPTY_TUPLE: NodeId = 3;

/// All nodes of a pickle and the memory they may take.
pub(crate) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    budget: usize,
    pub root: NodeId,
}

impl<'a> Tree<'a> {
    pub(super) fn new(budget: usize) -> Tree<'a> {
        let nodes = vec![Node::None, Node::Bool(true), Node::Bool(false), Node::Tuple(Vec::new())];
        Tree { nodes, budget, root: NONE }
    }

    /// Takes bytes from the budget. Callers charge twice what they store, since vectors grow by doubling.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Problem> {
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            Problem::damaged("data.pkl", "its objects would take more memory than a file of this size can need")
        })?;
        Ok(())
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<NodeId, Problem> {
        self.charge(2 * size_of::<Node>())?;
        self.nodes.push(node);
        Ok(self.nodes.len() as NodeId - 1)
    }

    pub fn get(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Node<'a> {
        &mut self.nodes[id as usize]
    }

    pub fn text(&self, id: NodeId) -> Option<&'a str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Module and name of a global.
    pub fn global(&self, id: NodeId) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Entries of a dictionary, or of an object's own dictionary.
    pub fn entries(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        match self.get(id) {
            Node::Dict(entries) => entries,
            Node::Instance(instance) if !instance.items.is_empty() => &instance.items,
            Node::Instance(instance) => match instance.state.map(|state| self.get(state)) {
                Some(Node::Dict(entries)) => entries,
                // Objects with slots: (dictionary, slots).
                Some(Node::Tuple(parts)) => match parts.first().map(|&first| self.get(first)) {
                    Some(Node::Dict(entries)) => entries,
                    _ => &[],
                },
                _ => &[],
            },
            _ => &[],
        }
    }

    /// The value of a text key of a dictionary or an object. As in Python, the last of equal keys counts.
    pub fn field(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).iter().rev().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }

    /// As [`Tree::field`], without values that are `None`.
    pub fn present(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.field(id, key).filter(|&value| !matches!(self.get(value), Node::None))
    }

    /// Elements of a list, tuple or set.
    pub fn sequence(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.get(id) {
            Node::Tuple(values) | Node::List(values) => Some(values),
            _ => None,
        }
    }
}
