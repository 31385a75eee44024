//! The network's layers, node by node.

use std::collections::HashMap;

use yolo11_network::{Convolution, Model, Node, Operation, ValueId};

use super::graph::{Attribute, Element, Graph, Name};
use crate::ExportOptions;

/// Writes every node of the network; the names of its values, by their position.
pub(super) fn write(graph: &mut Graph, model: &Model, options: &ExportOptions) -> Vec<Name> {
    let mut images = "images".to_owned();
    if graph.element() == Element::Float16 {
        images = graph.cast("images", &images, Element::Float16);
    }
    let network = model.network();
    let mut writer = Writer {
        graph,
        model,
        size: (!options.dynamic).then_some(options.size),
        values: vec![images; network.values.len()],
        heads: HashMap::new(),
    };
    for node in &network.nodes {
        writer.values[node.output] = writer.node(node);
    }
    writer.values
}

struct Writer<'a> {
    graph: &'a mut Graph,
    model: &'a Model,
    /// `[height, width]` of the input where it is fixed.
    size: Option<[usize; 2]>,
    values: Vec<Name>,
    heads: HashMap<ValueId, Name>,
}

/// Widths of an attention block.
#[derive(Clone, Copy)]
struct Widths {
    heads: usize,
    key_width: usize,
    head_width: usize,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node) -> Name {
        let scope = node.name.as_str();
        let inputs: Vec<Name> = node.inputs.iter().map(|&input| self.values[input].clone()).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let channels = self.model.network().values[node.output].channels;
        match node.operation {
            Operation::Convolution(convolution) => self.convolution(scope, inputs[0], &convolution),
            Operation::Concat => self.graph.concat(scope, &inputs, 1),
            Operation::Slice { first } => self.graph.slice(scope, inputs[0], 1, first, first + channels),
            Operation::Add => self.graph.node(scope, "Add", &inputs, &[]),
            Operation::MaxPool { kernel } => {
                let (kernel, padding) = (kernel as i64, (kernel / 2) as i64);
                let attributes = [
                    ("kernel_shape", Attribute::Ints(&[kernel; 2])),
                    ("pads", Attribute::Ints(&[padding; 4])),
                    ("strides", Attribute::Ints(&[1, 1])),
                ];
                self.graph.node(scope, "MaxPool", &inputs, &attributes)
            }
            Operation::Upsample => {
                let scales = self.graph.float("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
                let attributes = [
                    ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
                    ("mode", Attribute::Text("nearest")),
                    ("nearest_mode", Attribute::Text("floor")),
                ];
                self.graph.node(scope, "Resize", &[inputs[0], "", &scales], &attributes)
            }
            Operation::Attention { heads, key_width, head_width } => {
                self.attention(scope, node.inputs[0], Widths { heads, key_width, head_width })
            }
            Operation::AttentionValues { heads, key_width, head_width } => {
                let widths = Widths { heads, key_width, head_width };
                let values = self.part(scope, node.inputs[0], widths, 2 * key_width, head_width);
                self.image(scope, &values, node.inputs[0], heads * head_width)
            }
        }
    }

    /// Convolution with batch norm folded in, then x · σ(x).
    fn convolution(&mut self, scope: &str, input: &str, convolution: &Convolution) -> Name {
        let folded = self.model.fold(convolution);
        let (kernel, output) = (convolution.kernel, convolution.output_channels);
        let shape = [output, convolution.input_channels_per_group(), kernel, kernel];
        let weight = self.graph.weight(&format!("{scope}.weight"), &shape, &folded.weight);
        let bias = self.graph.weight(&format!("{scope}.bias"), &[output], &folded.bias);
        let attributes = [
            ("dilations", Attribute::Ints(&[1, 1])),
            ("group", Attribute::Int(convolution.groups as i64)),
            ("kernel_shape", Attribute::Ints(&[kernel as i64; 2])),
            ("pads", Attribute::Ints(&[(kernel / 2) as i64; 4])),
            ("strides", Attribute::Ints(&[convolution.stride as i64; 2])),
        ];
        let sum = self.graph.node(scope, "Conv", &[input, &weight, &bias], &attributes);
        if !convolution.silu {
            return sum;
        }
        let gate = self.graph.node(scope, "Sigmoid", &[&sum], &[]);
        self.graph.node(scope, "Mul", &[&sum, &gate], &[])
    }

    /// Queries, keys or values of an attention input: `[batch, head, width, pixel]`.
    fn part(&mut self, scope: &str, input: ValueId, widths: Widths, first: usize, width: usize) -> Name {
        let Widths { heads, key_width, head_width } = widths;
        let by_head = match self.heads.get(&input) {
            Some(name) => name.clone(),
            None => {
                let shape = [0, heads as i64, (2 * key_width + head_width) as i64, -1];
                let name = self.graph.reshape(scope, &self.values[input], &shape);
                self.heads.insert(input, name.clone());
                name
            }
        };
        self.graph.slice(scope, &by_head, 2, first, first + width)
    }

    /// `[batch, head, width, pixel]` as an image of the size of the value `like`.
    fn image(&mut self, scope: &str, value: &str, like: ValueId, channels: usize) -> Name {
        let stride = self.model.network().values[like].stride;
        if let Some([height, width]) = self.size {
            let shape = [0, channels as i64, (height / stride) as i64, (width / stride) as i64];
            return self.graph.reshape(scope, value, &shape);
        }
        let shape = self.graph.node(scope, "Shape", &[&self.values[like]], &[]);
        let pixels = self.graph.slice(scope, &shape, 0, 2, 4);
        let first = self.graph.integers(&[0, channels as i64]);
        let shape = self.graph.concat(scope, &[&first, &pixels], 0);
        self.graph.node(scope, "Reshape", &[value, &shape], &[])
    }

    /// Scaled dot-product attention over all pixels.
    fn attention(&mut self, scope: &str, input: ValueId, widths: Widths) -> Name {
        let Widths { heads, key_width, head_width } = widths;
        let queries = self.part(scope, input, widths, 0, key_width);
        let keys = self.part(scope, input, widths, key_width, key_width);
        let values = self.part(scope, input, widths, 2 * key_width, head_width);
        // The factor goes to the queries: their products with the keys then stay small, which half precision needs.
        let factor = self.graph.weight(&format!("{scope}.factor"), &[], &[(key_width as f32).powf(-0.5)]);
        let queries = self.graph.node(scope, "Mul", &[&queries, &factor], &[]);
        let queries = self.graph.transpose(scope, &queries, &[0, 1, 3, 2]);
        let likeness = self.graph.node(scope, "MatMul", &[&queries, &keys], &[]);
        let shares = self.graph.node(scope, "Softmax", &[&likeness], &[("axis", Attribute::Int(-1))]);
        let values = self.graph.transpose(scope, &values, &[0, 1, 3, 2]);
        let attended = self.graph.node(scope, "MatMul", &[&shares, &values], &[]);
        let attended = self.graph.transpose(scope, &attended, &[0, 1, 3, 2]);
        self.image(scope, &attended, input, heads * head_width)
    }
}
