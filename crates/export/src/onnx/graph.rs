//! An ONNX graph under construction.

use std::collections::{HashMap, HashSet};

use crate::numbers::halves;
use crate::protobuf::Message;

/// Type of a tensor's elements, with its number in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float32 = 1,
    Int8 = 3,
    Int32 = 6,
    Int64 = 7,
    Float16 = 10,
}

/// A dimension of an input or output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dimension {
    Fixed(usize),
    /// Any size, under a name; dimensions of one name are equal.
    Any(&'static str),
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(super) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Text(&'a str),
    Tensor(Message),
}

impl Attribute<'_> {
    fn message(self, name: &str) -> Message {
        let message = Message::new().bytes(1, name);
        match self {
            Attribute::Int(value) => message.int(3, value).int(20, 2),
            Attribute::Text(text) => message.bytes(4, text).int(20, 3),
            Attribute::Tensor(tensor) => message.message(5, tensor).int(20, 4),
            Attribute::Ints(values) => message.ints(8, values.iter().copied()).int(20, 7),
        }
    }
}

/// Name of a value in the graph.
pub(super) type Name = String;

/// Nodes, constants, inputs and outputs so far.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    names: HashSet<Name>,
    integers: HashMap<Vec<i64>, Name>,
}

impl Graph {
    /// A node with one output; `scope` is the module it belongs to. Returns the output's name.
    pub fn node(&mut self, scope: &str, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Name {
        let [output] = self.node_with(scope, operator, inputs, attributes);
        output
    }

    /// A node with several outputs.
    pub fn node_with<const N: usize>(
        &mut self,
        scope: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> [Name; N] {
        let name = self.unused(&format!("{scope}/{operator}"));
        let outputs = std::array::from_fn(|index| if index == 0 { name.clone() } else { format!("{name}:{index}") });
        self.push(&name, operator, inputs, &outputs, attributes);
        outputs
    }

    fn push(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        outputs: &[Name],
        attributes: &[(&str, Attribute)],
    ) {
        let mut node = Message::new();
        for input in inputs {
            node = node.bytes(1, input);
        }
        for output in outputs {
            node = node.bytes(2, output);
        }
        let attributes = attributes.iter().map(|(name, attribute)| attribute.clone().message(name));
        self.nodes.push(node.bytes(3, name).bytes(4, operator).messages(5, attributes));
    }

    fn unused(&mut self, name: &str) -> Name {
        let mut candidate = name.to_owned();
        let mut number = 1;
        while !self.names.insert(candidate.clone()) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        candidate
    }

    /// A constant of floating-point numbers.
    pub fn constant(&mut self, name: &str, element: Element, shape: &[usize], values: &[f32]) -> Name {
        self.named(name, tensor(element, shape, values))
    }

    /// A constant in float32.
    pub fn float(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Name {
        self.constant(name, Element::Float32, shape, values)
    }

    /// A constant of 8-bit integers.
    pub fn bytes(&mut self, name: &str, shape: &[usize], values: &[i8]) -> Name {
        let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
        self.named(name, tensor_of_bytes(Element::Int8, shape, &bytes))
    }

    /// A constant of 32-bit integers.
    pub fn words(&mut self, name: &str, shape: &[usize], values: &[i32]) -> Name {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.named(name, tensor_of_bytes(Element::Int32, shape, &bytes))
    }

    fn named(&mut self, name: &str, tensor: Message) -> Name {
        let name = self.unused(name);
        self.constants.push(tensor.bytes(8, &name));
        name
    }

    /// A list of integers, such as a shape; equal lists are one constant.
    pub fn integers(&mut self, values: &[i64]) -> Name {
        if let Some(name) = self.integers.get(values) {
            return name.clone();
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = tensor_of_bytes(Element::Int64, &[values.len()], &bytes);
        let texts: Vec<_> = values.iter().map(ToString::to_string).collect();
        let name = self.named(&format!("integers/{}", texts.join(",")), tensor);
        self.integers.insert(values.to_vec(), name.clone());
        name
    }

    /// A value in another shape; 0 keeps a dimension, −1 takes what is left.
    pub fn reshape(&mut self, scope: &str, input: &str, shape: &[i64]) -> Name {
        let shape = self.integers(shape);
        self.node(scope, "Reshape", &[input, &shape], &[])
    }

    /// Elements `from .. to` of an axis.
    pub fn slice(&mut self, scope: &str, input: &str, axis: i64, from: usize, to: usize) -> Name {
        let [from, to, axis] = [from as i64, to as i64, axis].map(|value| self.integers(&[value]));
        self.node(scope, "Slice", &[input, &from, &to, &axis], &[])
    }

    /// Axes in another order.
    pub fn transpose(&mut self, scope: &str, input: &str, order: &[i64]) -> Name {
        self.node(scope, "Transpose", &[input], &[("perm", Attribute::Ints(order))])
    }

    /// Values one after another along an axis.
    pub fn concat(&mut self, scope: &str, inputs: &[&str], axis: i64) -> Name {
        self.node(scope, "Concat", inputs, &[("axis", Attribute::Int(axis))])
    }

    /// A value in another type.
    pub fn cast(&mut self, scope: &str, input: &str, to: Element) -> Name {
        self.node(scope, "Cast", &[input], &[("to", Attribute::Int(to as i64))])
    }

    /// Declares an input in float32.
    pub fn input(&mut self, name: &str, shape: &[Dimension]) {
        self.inputs.push(value_info(name, shape));
    }

    /// Makes a float32 value an output under a name of its own.
    pub fn output(&mut self, name: &str, value: &str, shape: &[Dimension]) {
        self.push(name, "Identity", &[value], &[name.to_owned()], &[]);
        self.outputs.push(value_info(name, shape));
    }

    /// The finished graph.
    pub fn finish(self, name: &str) -> Message {
        Message::new()
            .messages(1, self.nodes)
            .bytes(2, name)
            .messages(5, self.constants)
            .messages(11, self.inputs)
            .messages(12, self.outputs)
    }
}

/// A tensor without a name, from float32.
pub(super) fn tensor(element: Element, shape: &[usize], values: &[f32]) -> Message {
    let bytes: Vec<u8> = match element {
        Element::Float16 => halves(values),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    tensor_of_bytes(element, shape, &bytes)
}

fn tensor_of_bytes(element: Element, shape: &[usize], bytes: &[u8]) -> Message {
    let dimensions = shape.iter().map(|&size| size as i64);
    Message::new().ints(1, dimensions).int(2, element as i64).bytes(9, bytes)
}

fn value_info(name: &str, shape: &[Dimension]) -> Message {
    let dimensions = shape.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => Message::new().int(1, *size as i64),
        Dimension::Any(name) => Message::new().bytes(2, name),
    });
    let shape = Message::new().messages(1, dimensions);
    let tensor = Message::new().int(1, Element::Float32 as i64).message(2, shape);
    Message::new().bytes(1, name).message(2, Message::new().message(1, tensor))
}
