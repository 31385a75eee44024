//! The steps of a program as nodes.

use std::collections::HashMap;

use super::graph::{Attribute, Element, Graph, Name};
use crate::program::{Convolution, Id, Operation, Program, Quantised, Spread, Step};

/// Writes every step; the names of the values.
pub(super) fn write(graph: &mut Graph, program: &Program, dynamic: bool) -> Vec<Name> {
    let mut writer =
        Writer { graph, program, dynamic, values: Vec::with_capacity(program.steps.len()), rounded: HashMap::new() };
    for step in &program.steps {
        let value = writer.step(step);
        writer.values.push(value);
    }
    writer.values
}

struct Writer<'a> {
    graph: &'a mut Graph,
    program: &'a Program,
    /// Whether batch and size are free.
    dynamic: bool,
    values: Vec<Name>,
    /// Values rounded to 8 bits, by the value they come from.
    rounded: HashMap<Id, Name>,
}

impl Writer<'_> {
    fn step(&mut self, step: &Step) -> Name {
        let scope = step.scope.as_str();
        let inputs: Vec<Name> = step.inputs.iter().map(|&input| self.values[input].clone()).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let element = if step.half { Element::Float16 } else { Element::Float32 };
        let axis = |axis: usize| [("axis", Attribute::Int(axis as i64))];
        let graph = &mut *self.graph;
        match &step.operation {
            Operation::Images => "images".into(),
            Operation::Constant(values) => graph.constant(scope, element, &step.shape, values),
            Operation::Convolution(convolution) => self.convolution(step, inputs[0], convolution, element),
            Operation::Silu => {
                let gate = graph.node(scope, "Sigmoid", &inputs, &[]);
                graph.node(scope, "Mul", &[inputs[0], &gate], &[])
            }
            Operation::Sigmoid => graph.node(scope, "Sigmoid", &inputs, &[]),
            Operation::Add => graph.node(scope, "Add", &inputs, &[]),
            Operation::Subtract => graph.node(scope, "Sub", &inputs, &[]),
            Operation::Multiply => graph.node(scope, "Mul", &inputs, &[]),
            Operation::MatMul => graph.node(scope, "MatMul", &inputs, &[]),
            Operation::Concat { axis } => graph.concat(scope, &inputs, *axis as i64),
            Operation::Softmax { axis: along } => graph.node(scope, "Softmax", &inputs, &axis(*along)),
            Operation::Slice { axis, first } => {
                graph.slice(scope, inputs[0], *axis as i64, *first, first + step.shape[*axis])
            }
            Operation::MaxPool { kernel } => {
                let (kernel, padding) = (*kernel as i64, (kernel / 2) as i64);
                let attributes = [
                    ("kernel_shape", Attribute::Ints(&[kernel; 2])),
                    ("pads", Attribute::Ints(&[padding; 4])),
                    ("strides", Attribute::Ints(&[1, 1])),
                ];
                graph.node(scope, "MaxPool", &inputs, &attributes)
            }
            Operation::Upsample => {
                let scales = graph.float("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
                let attributes = [
                    ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
                    ("mode", Attribute::Text("nearest")),
                    ("nearest_mode", Attribute::Text("floor")),
                ];
                graph.node(scope, "Resize", &[inputs[0], "", &scales], &attributes)
            }
            Operation::Reshape { to } => graph.reshape(scope, inputs[0], to),
            Operation::Image => self.image(step, inputs[0], inputs[1]),
            Operation::Transpose { order } => {
                let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
                graph.transpose(scope, inputs[0], &order)
            }
            Operation::Narrow | Operation::Widen => graph.cast(scope, inputs[0], element),
            Operation::Centres => centres(graph, scope, &inputs),
            Operation::Strides(strides) => strides_of(graph, scope, &inputs, strides),
        }
    }

    fn convolution(&mut self, step: &Step, input: &str, convolution: &Convolution, element: Element) -> Name {
        let (scope, kernel) = (step.scope.as_str(), convolution.kernel);
        let attributes = [
            ("dilations", Attribute::Ints(&[1, 1])),
            ("group", Attribute::Int(convolution.groups as i64)),
            ("kernel_shape", Attribute::Ints(&[kernel as i64; 2])),
            ("pads", Attribute::Ints(&[(kernel / 2) as i64; 4])),
            ("strides", Attribute::Ints(&[convolution.stride as i64; 2])),
        ];
        if let Some(quantised) = &convolution.quantised {
            let [input, weight, bias] = self.quantised_inputs(step, input, convolution, quantised);
            let sum = self.graph.node(scope, "Conv", &[&input, &weight, &bias], &attributes);
            return self.round(scope, &sum, quantised.sum);
        }
        let weight =
            self.graph.constant(&format!("{scope}.weight"), element, &convolution.weight_shape(), &convolution.weight);
        let bias =
            self.graph.constant(&format!("{scope}.bias"), element, &[convolution.output_channels], &convolution.bias);
        self.graph.node(scope, "Conv", &[input, &weight, &bias], &attributes)
    }

    /// Input, weight and bias of a convolution as 8-bit (bias: 32-bit) numbers that are made real again: what a runtime joins with the
    /// convolution to one in integers.
    fn quantised_inputs(
        &mut self,
        step: &Step,
        input: &str,
        convolution: &Convolution,
        quantised: &Quantised,
    ) -> [Name; 3] {
        let scope = step.scope.as_str();
        let rounded = match self.rounded.get(&step.inputs[0]) {
            Some(name) => name.clone(),
            None => {
                let name = self.round(&self.program.steps[step.inputs[0]].scope, input, quantised.input);
                self.rounded.insert(step.inputs[0], name.clone());
                name
            }
        };
        let weights = convolution.quantised_weights();
        let channels = [convolution.output_channels];
        let scale = quantised.input.scale;
        let bias_scales: Vec<f32> = weights.scales.iter().map(|weight| weight * scale).collect();
        let bias: Vec<i32> =
            convolution.bias.iter().zip(&bias_scales).map(|(bias, scale)| (bias / scale).round() as i32).collect();
        let graph = &mut *self.graph;
        let by_channel = [("axis", Attribute::Int(0))];
        let values = graph.bytes(&format!("{scope}.weight"), &convolution.weight_shape(), &weights.values);
        let scales = graph.float(&format!("{scope}.weight_scale"), &channels, &weights.scales);
        let zeros = graph.bytes(&format!("{scope}.weight_zero"), &channels, &vec![0; channels[0]]);
        let weight = graph.node(scope, "DequantizeLinear", &[&values, &scales, &zeros], &by_channel);
        let values = graph.words(&format!("{scope}.bias"), &channels, &bias);
        let scales = graph.float(&format!("{scope}.bias_scale"), &channels, &bias_scales);
        let zeros = graph.words(&format!("{scope}.bias_zero"), &channels, &vec![0; channels[0]]);
        let bias = graph.node(scope, "DequantizeLinear", &[&values, &scales, &zeros], &by_channel);
        [rounded, weight, bias]
    }

    /// A value to 8 bits and back.
    fn round(&mut self, scope: &str, value: &str, spread: Spread) -> Name {
        let graph = &mut *self.graph;
        let scale = graph.float(&format!("{scope}.scale"), &[], &[spread.scale]);
        let zero = graph.bytes(&format!("{scope}.zero"), &[], &[spread.zero]);
        let rounded = graph.node(scope, "QuantizeLinear", &[value, &scale, &zero], &[]);
        graph.node(scope, "DequantizeLinear", &[&rounded, &scale, &zero], &[])
    }

    /// A value as an image of the size of `like`.
    fn image(&mut self, step: &Step, value: &str, like: &str) -> Name {
        let scope = step.scope.as_str();
        let [channels, height, width] = [1, 2, 3].map(|axis| step.shape[axis] as i64);
        if !self.dynamic {
            return self.graph.reshape(scope, value, &[0, channels, height, width]);
        }
        let shape = self.graph.node(scope, "Shape", &[like], &[]);
        let pixels = self.graph.slice(scope, &shape, 0, 2, 4);
        let first = self.graph.integers(&[0, channels]);
        let shape = self.graph.concat(scope, &[&first, &pixels], 0);
        self.graph.node(scope, "Reshape", &[value, &shape], &[])
    }
}

/// Centres of the levels' cells, x and y of each level: 0.5, 1.5 … for each row and column, spread over the grid.
fn level_centres(graph: &mut Graph, scope: &str, level: &str) -> [Name; 2] {
    let half = graph.float("head/half", &[], &[0.5]);
    let one = graph.float("head/one", &[], &[1.0]);
    let shape = graph.node(scope, "Shape", &[level], &[]);
    let grid = graph.slice(scope, &shape, 0, 2, 4);
    [(3, [1, 1, 1, -1]), (2, [1, 1, -1, 1])].map(|(axis, spread)| {
        let size = graph.slice(scope, &shape, 0, axis, axis + 1);
        let scalar = graph.integers(&[]);
        let size = graph.node(scope, "Reshape", &[&size, &scalar], &[]);
        let size = graph.cast(scope, &size, Element::Float32);
        let limit = graph.node(scope, "Add", &[&size, &half], &[]);
        let steps = graph.node(scope, "Range", &[&half, &limit, &one], &[]);
        let steps = graph.reshape(scope, &steps, &spread);
        let ones = graph.integers(&[1, 1]);
        let full = graph.concat(scope, &[&ones, &grid], 0);
        let axis = graph.node(scope, "Expand", &[&steps, &full], &[]);
        graph.reshape(scope, &axis, &[1, 1, -1])
    })
}

fn centres(graph: &mut Graph, scope: &str, levels: &[&str]) -> Name {
    let centres: Vec<Name> = (levels.iter())
        .map(|level| {
            let [x, y] = level_centres(graph, scope, level);
            graph.concat(scope, &[&x, &y], 1)
        })
        .collect();
    graph.concat(scope, &centres.iter().map(String::as_str).collect::<Vec<_>>(), 2)
}

/// As many strides as centres: their x with nothing left of it.
fn strides_of(graph: &mut Graph, scope: &str, levels: &[&str], strides: &[usize]) -> Name {
    let strides: Vec<Name> = (levels.iter().zip(strides))
        .map(|(level, &stride)| {
            let [x, _] = level_centres(graph, scope, level);
            let nothing = graph.float("head/zero", &[], &[0.0]);
            let stride = graph.float("head/stride", &[], &[stride as f32]);
            let zeros = graph.node(scope, "Mul", &[&x, &nothing], &[]);
            graph.node(scope, "Add", &[&zeros, &stride], &[])
        })
        .collect();
    graph.concat(scope, &strides.iter().map(String::as_str).collect::<Vec<_>>(), 2)
}
