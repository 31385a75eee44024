//! From the description of a network to the list of operations that the writers print.

use std::collections::HashMap;

use yolo11_network::{self as network, BINS, Model, Node, ValueId};

use crate::program::{Convolution, Id, Operation, Program, Quantised, Spread, Step};
use crate::{Calibration, ExportOptions, Head, Precision};

/// The first modules, down to an eighth of the picture's sides, keep their numbers in float32 where the others have float16. They hold 3 to
/// 6 % of the weights, and rounding them moves scores more than rounding all the others.
const EXACT_MODULES: usize = 5;

/// What the modules after the network are called.
pub(crate) const HEAD: &str = "head";

/// How a format wants it.
#[derive(Clone, Copy)]
pub(crate) struct Form<'a> {
    /// Whether the numbers of the network's layers, but for the first, are in float16.
    pub half: bool,
    /// Whether those layers compute in it too.
    pub computes_in_half: bool,
    /// Whether batch and size are free.
    pub dynamic: bool,
    /// Ranges for 8 bits.
    pub calibration: Option<&'a Calibration>,
    /// Whether boxes are shares of the input's sides instead of pixels; sizes must be fixed.
    pub shares: bool,
}

impl<'a> Form<'a> {
    /// Numbers of the options' precision, computed with in float32, of one size, boxes in pixels.
    pub fn fixed(precision: Precision<'a>) -> Self {
        let half = precision == Precision::Float16;
        Form { half, computes_in_half: false, dynamic: false, calibration: precision.calibration(), shares: false }
    }
}

/// Every node of the network and the head that the options ask for. With suppression the outputs are `boxes` `[batch, 4, anchors]`,
/// corners in pixels, and `scores` `[batch, classes, anchors]`.
pub(crate) fn lower(model: &Model, options: &ExportOptions, form: Form) -> Program {
    let [height, width] = options.size;
    let mut lowering = Lowering {
        model,
        form,
        steps: Vec::new(),
        values: vec![0; model.network().values.len()],
        by_head: HashMap::new(),
        half: false,
    };
    let shape = vec![options.batch, 3, height, width];
    lowering.values[0] = lowering.push("images", Operation::Images, &[], shape);
    let nodes = &model.network().nodes;
    for (place, node) in nodes.iter().enumerate() {
        if form.half && !lowering.half && !is_exact(node) {
            lowering.narrow(&nodes[..place], &nodes[place..]);
        }
        let value = lowering.node(node);
        lowering.values[node.output] = value;
    }
    let outputs = lowering.head(options);
    Program { steps: lowering.steps, outputs }
}

/// Whether a node belongs to the modules that stay in float32.
fn is_exact(node: &Node) -> bool {
    let module = node.name.split('.').nth(1).and_then(|number| number.parse::<usize>().ok());
    module.is_some_and(|module| module < EXACT_MODULES)
}

struct Lowering<'a> {
    model: &'a Model,
    form: Form<'a>,
    steps: Vec<Step>,
    /// The network's values.
    values: Vec<Id>,
    /// Attention inputs, by the value they come from, as `[batch, head, width, pixel]`.
    by_head: HashMap<ValueId, Id>,
    /// Whether steps have their numbers in float16 at present.
    half: bool,
}

/// Widths of an attention block.
#[derive(Clone, Copy)]
struct Widths {
    heads: usize,
    key_width: usize,
    head_width: usize,
}

impl Lowering<'_> {
    fn push(&mut self, scope: &str, operation: Operation, inputs: &[Id], shape: Vec<usize>) -> Id {
        let half = self.half && !matches!(operation, Operation::Widen);
        self.steps.push(Step { scope: scope.to_owned(), operation, inputs: inputs.to_vec(), shape, half });
        self.steps.len() - 1
    }

    /// From here on numbers are in float16: what is made already and read later too.
    fn narrow(&mut self, made: &[Node], later: &[Node]) {
        self.half = true;
        for value in made.iter().map(|node| node.output) {
            if self.form.computes_in_half && later.iter().any(|node| node.inputs.contains(&value)) {
                let scope = self.steps[self.values[value]].scope.clone();
                self.values[value] = self.same(&scope, Operation::Narrow, &[self.values[value]]);
            }
        }
    }

    fn shape(&self, value: Id) -> Vec<usize> {
        self.steps[value].shape.clone()
    }

    /// An operation whose value has the shape of its first input.
    fn same(&mut self, scope: &str, operation: Operation, inputs: &[Id]) -> Id {
        let shape = self.shape(inputs[0]);
        self.push(scope, operation, inputs, shape)
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Id {
        self.push(name, Operation::Constant(values), &[], shape.to_vec())
    }

    fn concat(&mut self, scope: &str, inputs: &[Id], axis: usize) -> Id {
        if let [one] = inputs {
            return *one;
        }
        let mut shape = self.shape(inputs[0]);
        shape[axis] = inputs.iter().map(|&input| self.steps[input].shape[axis]).sum();
        self.push(scope, Operation::Concat { axis }, inputs, shape)
    }

    fn slice(&mut self, scope: &str, input: Id, axis: usize, first: usize, length: usize) -> Id {
        let mut shape = self.shape(input);
        shape[axis] = length;
        self.push(scope, Operation::Slice { axis, first }, &[input], shape)
    }

    fn reshape(&mut self, scope: &str, input: Id, to: &[i64]) -> Id {
        let from = self.shape(input);
        let known: usize = to.iter().enumerate().fold(1, |product, (axis, &size)| match size {
            0 => product * from[axis],
            -1 => product,
            size => product * size as usize,
        });
        let shape = (to.iter().enumerate())
            .map(|(axis, &size)| match size {
                0 => from[axis],
                -1 => from.iter().product::<usize>() / known,
                size => size as usize,
            })
            .collect();
        self.push(scope, Operation::Reshape { to: to.to_vec() }, &[input], shape)
    }

    fn transpose(&mut self, scope: &str, input: Id, order: &[usize]) -> Id {
        let from = self.shape(input);
        let shape = order.iter().map(|&axis| from[axis]).collect();
        self.push(scope, Operation::Transpose { order: order.to_vec() }, &[input], shape)
    }

    fn matmul(&mut self, scope: &str, left: Id, right: Id) -> Id {
        let mut shape = self.shape(left);
        let last = shape.len() - 1;
        shape[last] = self.steps[right].shape[last];
        self.push(scope, Operation::MatMul, &[left, right], shape)
    }

    fn widen(&mut self, scope: &str, input: Id) -> Id {
        let is_half = self.form.computes_in_half && self.steps[input].half;
        if is_half { self.same(scope, Operation::Widen, &[input]) } else { input }
    }

    fn node(&mut self, node: &Node) -> Id {
        let scope = node.name.as_str();
        let inputs: Vec<Id> = node.inputs.iter().map(|&input| self.values[input]).collect();
        let channels = self.model.network().values[node.output].channels;
        match node.operation {
            network::Operation::Convolution(convolution) => self.convolution(scope, inputs[0], &convolution),
            network::Operation::Concat => self.concat(scope, &inputs, 1),
            network::Operation::Slice { first } => self.slice(scope, inputs[0], 1, first, channels),
            network::Operation::Add => self.same(scope, Operation::Add, &inputs),
            network::Operation::MaxPool { kernel } => self.same(scope, Operation::MaxPool { kernel }, &inputs),
            network::Operation::Upsample => {
                let [batch, channels, height, width] = self.image_shape(inputs[0]);
                self.push(scope, Operation::Upsample, &inputs, vec![batch, channels, 2 * height, 2 * width])
            }
            network::Operation::Attention { heads, key_width, head_width } => {
                self.attention(scope, node.inputs[0], Widths { heads, key_width, head_width })
            }
            network::Operation::AttentionValues { heads, key_width, head_width } => {
                let widths = Widths { heads, key_width, head_width };
                let values = self.part(scope, node.inputs[0], widths, 2 * key_width, head_width);
                self.image(scope, values, inputs[0], heads * head_width)
            }
        }
    }

    fn image_shape(&self, value: Id) -> [usize; 4] {
        let shape = &self.steps[value].shape;
        [shape[0], shape[1], shape[2], shape[3]]
    }

    /// Convolution with batch norm folded in, then its activation.
    fn convolution(&mut self, scope: &str, input: Id, convolution: &network::Convolution) -> Id {
        let folded = self.model.fold(convolution);
        let [batch, _, height, width] = self.image_shape(input);
        let shape = vec![
            batch,
            convolution.output_channels,
            height.div_ceil(convolution.stride),
            width.div_ceil(convolution.stride),
        ];
        let quantised = self
            .form
            .calibration
            .and_then(|calibration| calibration.of(convolution))
            .map(|ranges| Quantised { input: Spread::of(ranges.input), sum: Spread::of(ranges.sum) });
        let operation = Operation::Convolution(Box::new(Convolution {
            weight: folded.weight,
            bias: folded.bias,
            output_channels: convolution.output_channels,
            input_channels_per_group: convolution.input_channels_per_group(),
            kernel: convolution.kernel,
            stride: convolution.stride,
            groups: convolution.groups,
            quantised,
        }));
        let sum = self.push(scope, operation, &[input], shape);
        if convolution.silu { self.same(scope, Operation::Silu, &[sum]) } else { sum }
    }

    /// Queries, keys or values of an attention input: `[batch, head, width, pixel]`.
    fn part(&mut self, scope: &str, input: ValueId, widths: Widths, first: usize, width: usize) -> Id {
        let Widths { heads, key_width, head_width } = widths;
        let by_head = match self.by_head.get(&input) {
            Some(&value) => value,
            None => {
                let shape = [0, heads as i64, (2 * key_width + head_width) as i64, -1];
                let value = self.reshape(scope, self.values[input], &shape);
                self.by_head.insert(input, value);
                value
            }
        };
        self.slice(scope, by_head, 2, first, width)
    }

    /// `[batch, head, width, pixel]` as an image of the size of the value `like`.
    fn image(&mut self, scope: &str, value: Id, like: Id, channels: usize) -> Id {
        let [batch, _, height, width] = self.image_shape(like);
        self.push(scope, Operation::Image, &[value, like], vec![batch, channels, height, width])
    }

    /// Scaled dot-product attention over all pixels.
    fn attention(&mut self, scope: &str, input: ValueId, widths: Widths) -> Id {
        let Widths { heads, key_width, head_width } = widths;
        let queries = self.part(scope, input, widths, 0, key_width);
        let keys = self.part(scope, input, widths, key_width, key_width);
        let values = self.part(scope, input, widths, 2 * key_width, head_width);
        // The factor goes to the queries: their products with the keys then stay small, which half precision needs.
        let factor = self.constant(&format!("{scope}.factor"), &[], vec![(key_width as f32).powf(-0.5)]);
        let queries = self.same(scope, Operation::Multiply, &[queries, factor]);
        let queries = self.transpose(scope, queries, &[0, 1, 3, 2]);
        let likeness = self.matmul(scope, queries, keys);
        let shares = self.same(scope, Operation::Softmax { axis: 3 }, &[likeness]);
        let values = self.transpose(scope, values, &[0, 1, 3, 2]);
        let attended = self.matmul(scope, shares, values);
        let attended = self.transpose(scope, attended, &[0, 1, 3, 2]);
        self.image(scope, attended, self.values[input], heads * head_width)
    }

    /// From the head's logits to what the file gives out, in float32.
    fn head(&mut self, options: &ExportOptions) -> Vec<(String, Id)> {
        let network = self.model.network();
        let levels: Vec<(Id, Id)> =
            network.head.iter().map(|level| (self.values[level.boxes], self.values[level.scores])).collect();
        if options.head == Head::Raw {
            return (levels.iter().enumerate())
                .map(|(index, &(boxes, scores))| {
                    let joined = self.concat(HEAD, &[boxes, scores], 1);
                    (format!("output{index}"), self.widen(HEAD, joined))
                })
                .collect();
        }
        let boxes: Vec<Id> = levels.iter().map(|level| level.0).collect();
        let scores: Vec<Id> = levels.iter().map(|level| level.1).collect();
        let logits = self.joined(&boxes, 4 * BINS);
        self.half = false;
        // Expectation of each side's distribution, as a convolution over the bins.
        let bins = self.reshape(HEAD, logits, &[0, 4, BINS as i64, -1]);
        let bins = self.transpose(HEAD, bins, &[0, 2, 1, 3]);
        let shares = self.same(HEAD, Operation::Softmax { axis: 1 }, &[bins]);
        let sides = self.expectation(shares);
        let sides = self.reshape(HEAD, sides, &[0, 4, -1]);
        let before = self.slice(HEAD, sides, 1, 0, 2);
        let after = self.slice(HEAD, sides, 1, 2, 2);
        let (centres, strides) = self.anchors(&boxes, options.size);
        let near = self.push_like(Operation::Subtract, &[centres, before], before);
        let far = self.push_like(Operation::Add, &[centres, after], after);
        let boxes = if options.head == Head::Decoded {
            let sum = self.same(HEAD, Operation::Add, &[near, far]);
            let half = self.constant("head/half", &[], vec![0.5]);
            let centre = self.same(HEAD, Operation::Multiply, &[sum, half]);
            let size = self.same(HEAD, Operation::Subtract, &[far, near]);
            self.concat(HEAD, &[centre, size], 1)
        } else {
            self.concat(HEAD, &[near, far], 1)
        };
        let boxes = self.same(HEAD, Operation::Multiply, &[boxes, strides]);
        self.half = self.form.half;
        let logits = self.joined(&scores, network.classes);
        self.half = false;
        let scores = self.same(HEAD, Operation::Sigmoid, &[logits]);
        if options.head == Head::Decoded {
            let output = self.concat(HEAD, &[boxes, scores], 1);
            return vec![("output0".into(), output)];
        }
        vec![("boxes".into(), boxes), ("scores".into(), scores)]
    }

    fn push_like(&mut self, operation: Operation, inputs: &[Id], like: Id) -> Id {
        let shape = self.shape(like);
        self.push(HEAD, operation, inputs, shape)
    }

    /// The levels' logits side by side: `[batch, channels, anchor]` in float32.
    fn joined(&mut self, levels: &[Id], channels: usize) -> Id {
        let flat: Vec<Id> = levels.iter().map(|&level| self.reshape(HEAD, level, &[0, channels as i64, -1])).collect();
        let joined = self.concat(HEAD, &flat, 2);
        self.widen(HEAD, joined)
    }

    /// Mean of 0, 1 … 15 under the shares `[batch, bin, side, anchor]`.
    fn expectation(&mut self, shares: Id) -> Id {
        let [batch, _, sides, anchors] = self.image_shape(shares);
        let operation = Operation::Convolution(Box::new(Convolution {
            weight: (0..BINS).map(|bin| bin as f32).collect(),
            bias: vec![0.0],
            output_channels: 1,
            input_channels_per_group: BINS,
            kernel: 1,
            stride: 1,
            groups: 1,
            quantised: None,
        }));
        self.push("head/bins", operation, &[shares], vec![batch, 1, sides, anchors])
    }

    /// Centres `[1, 2, anchor]` (x, y) in units of the stride and strides `[1, 1, anchor]`.
    fn anchors(&mut self, boxes: &[Id], [height, width]: [usize; 2]) -> (Id, Id) {
        let network = self.model.network();
        let count = network.anchors([height, width]);
        if self.form.dynamic {
            let strides = network.head.iter().map(|level| level.stride).collect();
            let centres = self.push(HEAD, Operation::Centres, boxes, vec![1, 2, count]);
            return (centres, self.push(HEAD, Operation::Strides(strides), boxes, vec![1, 1, count]));
        }
        let (mut centres, mut strides) = (vec![0.0; 2 * count], Vec::with_capacity(count));
        for level in &network.head {
            for row in 0..height / level.stride {
                for column in 0..width / level.stride {
                    centres[strides.len()] = column as f32 + 0.5;
                    centres[count + strides.len()] = row as f32 + 0.5;
                    strides.push(level.stride as f32);
                }
            }
        }
        let centres = self.constant("head/anchors", &[1, 2, count], centres);
        if !self.form.shares {
            return (centres, self.constant("head/strides", &[1, 1, count], strides));
        }
        let shares = [width, height, width, height].map(|side| strides.iter().map(move |stride| stride / side as f32));
        (centres, self.constant("head/strides", &[1, 4, count], shares.into_iter().flatten().collect()))
    }
}
