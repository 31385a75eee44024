//! What an `.onnx` file says about itself, and whether it is whole: read before any runtime sees it.
//!
//! Runtimes trust a file's sizes. So every tensor's shape is held against the bytes that are there, and every number that makes an
//! operator's output larger than its input against a bound: what a damaged file asks for is refused before it is made.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::cell::Cell;
use std::collections::HashMap;

use super::literal;
use super::wire::{Fields, Malformed, Value};

/// Graphs within graphs, as branches and loops have them.
const MOST_DEPTH: usize = 8;
/// Greatest kernel, stride, dilation or padding of a sensible detector.
const MOST_EXTENT: i64 = 64;
/// Greatest factor by which an image is scaled up inside a network.
const MOST_SCALE: f32 = 8.0;
/// Greatest number of elements that a file of constants may ask for, where the file itself is smaller.
const LEAST_ELEMENTS: u64 = 1 << 20;
/// Most nodes, constants, and names that nodes read and make: a detector has some thousands at most. What is kept of each takes several
/// times its least bytes.
const MOST_NODES: usize = 1 << 16;
/// Most inputs or outputs of a graph, attributes of a node, texts beside the graph.
const MOST_ENTRIES: usize = 1 << 12;

/// Type of an input's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float32,
    Float16,
}

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// Name of the input for pictures.
    pub input: String,
    /// Its shape `[batch, 3, height, width]`, none where any size is taken.
    pub shape: [Option<usize>; 4],
    /// Its type.
    pub element: Element,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Names of the classes, where the metadata have them.
    pub names: Option<Vec<String>>,
    /// Multiples that the input's sides must have, where the metadata say.
    pub stride: Option<usize>,
    /// Height and width that it was made for, where the metadata say.
    pub size: Option<[usize; 2]>,
    /// Whether the metadata name another task than detection.
    pub other_task: Option<String>,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub String);

impl From<Malformed> for Refused {
    fn from(Malformed(reason): Malformed) -> Self {
        Refused(reason.to_owned())
    }
}

fn refused<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

/// Whether there is room for one more.
fn room(count: usize, most: usize, what: &str) -> Result<(), Refused> {
    if count < most { Ok(()) } else { refused(format!("it has more than {most} {what}")) }
}

/// Reads and checks a whole file. Nothing of it is copied but names.
pub(crate) fn describe(file: &[u8]) -> Result<Description, Refused> {
    let (mut graph, mut metadata, mut opset) = (None, HashMap::new(), false);
    for field in Fields(file) {
        match field? {
            (7, value) if graph.is_none() => graph = Some(value.bytes()?),
            (7, _) => return refused("it holds two graphs"),
            (8, value) => opset |= !value.bytes()?.is_empty(),
            (14, value) => {
                let [key, text] = texts(value.bytes()?)?;
                room(metadata.len(), MOST_ENTRIES, "texts")?;
                metadata.insert(key, text);
            }
            _ => {}
        }
    }
    let (Some(graph), true) = (graph, opset) else {
        return refused("it holds no graph and no version of its operators");
    };
    let limit = (file.len() as u64).max(LEAST_ELEMENTS);
    let Ends { inputs, outputs, constants } = Checker { limit, names: Cell::new(0) }.graph(graph, 0)?;
    // Files of old list their weights among the inputs.
    let mut pictures = inputs.into_iter().filter(|input| !constants.contains_key(input.name));
    let Some(Input { name, shape, element }) = pictures.next() else {
        return refused("it has no input");
    };
    if let Some(Input { name, .. }) = pictures.next() {
        return refused(format!("it has a second input `{name}`, and a detector takes pictures only"));
    }
    let (Some(shape), Some(element)) = (shape, element) else {
        return refused(format!("its input `{name}` is not [batch, 3, height, width] in float32 or float16"));
    };
    if outputs.is_empty() {
        return refused("it has no output");
    }
    let text = |key: &str| metadata.get(key).copied();
    Ok(Description {
        input: name.to_owned(),
        shape,
        element,
        outputs: outputs.into_iter().map(str::to_owned).collect(),
        names: text("names").and_then(literal::names),
        stride: text("stride")
            .and_then(|stride| stride.trim().parse().ok())
            .filter(|stride| (1..=1024).contains(stride)),
        size: text("imgsz").and_then(literal::size).filter(|size| size.iter().all(|side| (1..=8192).contains(side))),
        other_task: text("task").filter(|task| *task != "detect").map(str::to_owned),
    })
}

/// Key and value of an entry.
fn texts(entry: &[u8]) -> Result<[&str; 2], Refused> {
    let mut pair = [""; 2];
    for field in Fields(entry) {
        if let (number @ (1 | 2), value) = field? {
            pair[number as usize - 1] = value.text()?;
        }
    }
    Ok(pair)
}

struct Input<'a> {
    name: &'a str,
    shape: Option<[Option<usize>; 4]>,
    element: Option<Element>,
}

/// Inputs, outputs and constants of a graph.
struct Ends<'a> {
    inputs: Vec<Input<'a>>,
    outputs: Vec<&'a str>,
    constants: HashMap<&'a str, Tensor<'a>>,
}

/// A constant: its elements are in the file, as many as its shape says.
#[derive(Clone, Copy)]
struct Tensor<'a> {
    element: i64,
    raw: Option<&'a [u8]>,
    /// The message, for numbers that do not stand as raw bytes.
    message: &'a [u8],
}

struct Checker {
    /// Elements that constants may ask for.
    limit: u64,
    /// Names that nodes read and make, so far.
    names: Cell<usize>,
}

impl Checker {
    fn graph<'a>(&self, graph: &'a [u8], depth: usize) -> Result<Ends<'a>, Refused> {
        if depth > MOST_DEPTH {
            return refused("its graphs are nested too deeply");
        }
        let mut ends = Ends { inputs: Vec::new(), outputs: Vec::new(), constants: HashMap::new() };
        let mut nodes = 0;
        for field in Fields(graph) {
            match field? {
                (1, _) => {
                    room(nodes, MOST_NODES, "nodes")?;
                    nodes += 1;
                }
                (5, value) => {
                    let (name, tensor) = tensor(value.bytes()?)?;
                    room(ends.constants.len(), MOST_NODES, "constants")?;
                    ends.constants.insert(name, tensor);
                }
                (11, value) => {
                    room(ends.inputs.len(), MOST_ENTRIES, "inputs")?;
                    ends.inputs.push(input(value.bytes()?)?);
                }
                (12, value) => {
                    room(ends.outputs.len(), MOST_ENTRIES, "outputs")?;
                    ends.outputs.push(input(value.bytes()?)?.name);
                }
                (15, _) => return refused("sparse weights are not read"),
                _ => {}
            }
        }
        // Constants stand behind the nodes that read them.
        for node in repeated(graph, 1) {
            self.node(node?.bytes()?, &mut ends.constants, depth)?;
        }
        Ok(ends)
    }

    fn node<'a>(
        &self,
        message: &'a [u8],
        constants: &mut HashMap<&'a str, Tensor<'a>>,
        depth: usize,
    ) -> Result<(), Refused> {
        let (mut inputs, mut output, mut operator, mut attributes) = (Vec::new(), None, "", Vec::new());
        for field in Fields(message) {
            let field = field?;
            if let (1 | 2, _) = field {
                room(self.names.get(), MOST_NODES, "values")?;
                self.names.set(self.names.get() + 1);
            }
            match field {
                (1, value) => inputs.push(value.text()?),
                (2, value) => output = output.or(Some(value.text()?)),
                (4, value) => operator = value.text()?,
                (5, value) => {
                    room(attributes.len(), MOST_ENTRIES, "attributes of a node")?;
                    attributes.push(value.bytes()?);
                }
                _ => {}
            }
        }
        for attribute in attributes {
            let name = match repeated(attribute, 1).next() {
                Some(name) => name?.text()?,
                None => "",
            };
            let is_extent = matches!(name, "kernel_shape" | "pads" | "strides" | "dilations" | "output_padding");
            let mut value = None;
            for field in Fields(attribute) {
                match field? {
                    (5, one) => value = Some(tensor(one.bytes()?)?.1),
                    (6 | 11, graph) => drop(self.graph(graph.bytes()?, depth + 1)?),
                    (3 | 8, ints) if is_extent => {
                        for extent in ints.ints() {
                            if !(0..=MOST_EXTENT).contains(&extent?) {
                                return refused(format!("a {operator} has {name} beyond reason"));
                            }
                        }
                    }
                    _ => {}
                }
            }
            if let (Some(tensor), Some(output), "Constant") = (value, output, operator) {
                constants.insert(output, tensor);
            }
        }
        let constant = |place: usize| inputs.get(place).and_then(|name| constants.get(name));
        match operator {
            "Expand" => self.shape(operator, constant(1))?,
            "ConstantOfShape" => self.shape(operator, constant(0))?,
            "Tile" | "Pad" => self.shape(operator, constant(1))?,
            "Range" => {
                for place in 0..3 {
                    self.shape(operator, constant(place))?;
                }
            }
            "Resize" | "Upsample" => {
                for place in 1..inputs.len() {
                    self.scales(operator, constant(place))?;
                }
                self.shape(operator, constant(3))?;
            }
            // Where branches and loops hold one it could not be cut out, see `rust/stages.rs`.
            "NonMaxSuppression" if depth > 0 => return refused("it suppresses inside a branch or loop"),
            "OneHot" | "EyeLike" | "RandomNormal" | "RandomUniform" => {
                return refused(format!("its operator {operator} has no place in a detector"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A constant that sizes an output: the product of its numbers stays within the limit.
    fn shape(&self, operator: &str, constant: Option<&Tensor>) -> Result<(), Refused> {
        let Some(tensor) = constant.filter(|tensor| tensor.element == INT64 || tensor.element == INT32) else {
            return Ok(());
        };
        let mut product = 1u64;
        tensor.each_integer(|size| product = product.saturating_mul(size.unsigned_abs().max(1)))?;
        if product > self.limit { refused(format!("its {operator} asks for {product} elements")) } else { Ok(()) }
    }

    fn scales(&self, operator: &str, constant: Option<&Tensor>) -> Result<(), Refused> {
        let Some(tensor) = constant.filter(|tensor| tensor.element == FLOAT32) else { return Ok(()) };
        for scale in tensor.floats()? {
            if !(0.0..=MOST_SCALE).contains(&scale) {
                return refused(format!("its {operator} scales by {scale}"));
            }
        }
        Ok(())
    }
}

const FLOAT32: i64 = 1;
const INT32: i64 = 6;
const INT64: i64 = 7;

impl<'a> Tensor<'a> {
    fn each_integer(&self, mut take: impl FnMut(i64)) -> Result<(), Refused> {
        let width = if self.element == INT64 { 8 } else { 4 };
        for bytes in self.raw.unwrap_or_default().chunks_exact(width) {
            let mut wide = if bytes[bytes.len() - 1] & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
            wide[..bytes.len()].copy_from_slice(bytes);
            take(i64::from_le_bytes(wide));
        }
        for value in repeated(self.message, if self.element == INT64 { 7 } else { 5 }) {
            for int in value?.ints() {
                take(int?);
            }
        }
        Ok(())
    }

    fn floats(&self) -> Result<Vec<f32>, Refused> {
        let mut floats: Vec<f32> = f32s(self.raw.unwrap_or_default()).collect();
        for value in repeated(self.message, 4) {
            floats.extend(f32s(value?.bytes()?));
        }
        Ok(floats)
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// The values of one field.
fn repeated<'a>(message: &'a [u8], number: u32) -> impl Iterator<Item = Result<Value<'a>, Refused>> {
    Fields(message).filter_map(move |field| match field {
        Ok((found, value)) => (found == number).then_some(Ok(value)),
        Err(malformed) => Some(Err(malformed.into())),
    })
}

/// Name and content of a tensor, whose shape must be that of the elements that are there.
fn tensor(message: &[u8]) -> Result<(&str, Tensor<'_>), Refused> {
    let (mut name, mut element, mut raw, mut typed, mut elements) = ("", 0, None, 0u64, 1u64);
    for field in Fields(message) {
        match field? {
            (1, value) => {
                for size in value.ints() {
                    let size = u64::try_from(size?).map_err(|_| Refused("a tensor has a negative size".into()))?;
                    elements =
                        elements.checked_mul(size).ok_or_else(|| Refused("a tensor's size is beyond reason".into()))?;
                }
            }
            (2, value) => element = value.int()?,
            (4, value) => typed += value.bytes()?.len() as u64 / 4,
            (5 | 7 | 11, value) => {
                for int in value.ints() {
                    int?;
                    typed += 1;
                }
            }
            (6, _) => return refused("a tensor of texts is not read"),
            (8, value) => name = value.text()?,
            (9, value) => raw = Some(value.bytes()?),
            (10, value) => typed += value.bytes()?.len() as u64 / 8,
            (13, _) => return refused("its weights lie in another file\nhint: save it with its weights inside"),
            (14, value) if value.int()? != 0 => {
                return refused("its weights lie in another file\nhint: save it with its weights inside");
            }
            _ => {}
        }
    }
    let bits: u64 = match element {
        FLOAT32 | INT32 | 12 => 32,
        2 | 3 | 9 => 8,
        4 | 5 | 10 | 16 => 16,
        INT64 | 11 | 13 => 64,
        other => return refused(format!("tensor `{name}` has elements of type {other}, which is not read")),
    };
    let there = match raw {
        Some(raw) => raw.len() as u64 * 8 / bits,
        None => typed,
    };
    if there != elements || raw.is_some_and(|raw| !(raw.len() as u64 * 8).is_multiple_of(bits)) {
        return refused(format!("tensor `{name}` should hold {elements} elements and holds {there}"));
    }
    Ok((name, Tensor { element, raw, message }))
}

/// An input or output.
fn input(message: &[u8]) -> Result<Input<'_>, Refused> {
    let mut found = Input { name: "", shape: None, element: None };
    for field in Fields(message) {
        match field? {
            (1, value) => found.name = value.text()?,
            (2, kind) => {
                for field in Fields(kind.bytes()?) {
                    if let (1, tensor) = field? {
                        tensor_type(tensor.bytes()?, &mut found)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn tensor_type(message: &[u8], found: &mut Input) -> Result<(), Refused> {
    for field in Fields(message) {
        match field? {
            (1, value) => {
                found.element = match value.int()? {
                    1 => Some(Element::Float32),
                    10 => Some(Element::Float16),
                    _ => None,
                }
            }
            (2, shape) => {
                let mut sizes = Vec::new();
                for field in Fields(shape.bytes()?) {
                    if let (1, dimension) = field? {
                        sizes.push(size(dimension.bytes()?)?);
                    }
                }
                found.shape = <[Option<usize>; 4]>::try_from(sizes)
                    .ok()
                    .filter(|shape| shape[1].is_none_or(|channels| channels == 3));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A dimension's size; none where it is free.
fn size(dimension: &[u8]) -> Result<Option<usize>, Refused> {
    let mut size = None;
    for field in Fields(dimension) {
        if let (1, value) = field? {
            let value = value.int()?;
            if !(1..=65_536).contains(&value) {
                return refused(format!("its input has a side of {value}"));
            }
            size = usize::try_from(value).ok();
        }
    }
    Ok(size)
}
