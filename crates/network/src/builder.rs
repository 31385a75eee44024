//! Lays out the graph. A module first declares its tensors, in the order of the field's state dictionaries, then is applied.

use crate::{
    BINS, Convolution, HeadLevel, Network, Node, Operation, STRIDES, Scale, TensorKind, TensorSpec, Value, ValueId,
};

/// Builds the network of a scale for a number of classes.
pub(crate) fn build(scale: Scale, classes: usize) -> Network {
    let mut builder = Builder { scale, values: vec![Value { channels: 3, stride: 1 }], ..Builder::new(scale) };
    let c3k = scale.c3k_everywhere();
    let image = 0;

    // Backbone.
    let x = builder.layer(0).convolution("", image, 64, 3, 2);
    let x = builder.layer(1).convolution("", x, 128, 3, 2);
    let x = builder.layer(2).c3k2(x, 256, 2, c3k, 0.25);
    let x = builder.layer(3).convolution("", x, 256, 3, 2);
    let fine = builder.layer(4).c3k2(x, 512, 2, c3k, 0.25);
    let x = builder.layer(5).convolution("", fine, 512, 3, 2);
    let middle = builder.layer(6).c3k2(x, 512, 2, true, 0.5);
    let x = builder.layer(7).convolution("", middle, 1024, 3, 2);
    let x = builder.layer(8).c3k2(x, 1024, 2, true, 0.5);
    let x = builder.layer(9).sppf(x, 1024);
    let coarse = builder.layer(10).c2psa(x, 1024, 2);

    // Neck: down to the finest level and up again.
    let x = builder.layer(11).upsample(coarse);
    let x = builder.layer(12).concat("", &[x, middle]);
    let middle = builder.layer(13).c3k2(x, 512, 2, c3k, 0.5);
    let x = builder.layer(14).upsample(middle);
    let x = builder.layer(15).concat("", &[x, fine]);
    let fine = builder.layer(16).c3k2(x, 256, 2, c3k, 0.5);
    let x = builder.layer(17).convolution("", fine, 256, 3, 2);
    let x = builder.layer(18).concat("", &[x, middle]);
    let middle = builder.layer(19).c3k2(x, 512, 2, c3k, 0.5);
    let x = builder.layer(20).convolution("", middle, 512, 3, 2);
    let x = builder.layer(21).concat("", &[x, coarse]);
    let coarse = builder.layer(22).c3k2(x, 1024, 2, true, 0.5);

    let head = builder.layer(23).detect(&[fine, middle, coarse], classes);
    Network { scale, classes, values: builder.values, nodes: builder.nodes, head, tensors: builder.tensors }
}

struct Builder {
    scale: Scale,
    layer: usize,
    values: Vec<Value>,
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
}

/// A declared convolution, not yet applied to a value.
struct Module {
    name: String,
    convolution: Convolution,
}

impl Builder {
    fn new(scale: Scale) -> Self {
        Builder { scale, layer: 0, values: Vec::new(), nodes: Vec::new(), tensors: Vec::new() }
    }

    fn layer(&mut self, layer: usize) -> &mut Self {
        self.layer = layer;
        self
    }

    /// Channels after the scale's width, a multiple of 8.
    fn width(&self, channels: usize) -> usize {
        let (_, width, most) = self.scale.multiples();
        ((channels.min(most) as f64 * width / 8.0).ceil() as usize) * 8
    }

    /// Repeats after the scale's depth.
    fn depth(&self, repeats: usize) -> usize {
        let (depth, ..) = self.scale.multiples();
        ((repeats as f64 * depth).round() as usize).max(1)
    }

    fn channels(&self, value: ValueId) -> usize {
        self.values[value].channels
    }

    /// `model.<layer>` or `model.<layer>.<name>`.
    fn full_name(&self, name: &str) -> String {
        if name.is_empty() { format!("model.{}", self.layer) } else { format!("model.{}.{name}", self.layer) }
    }

    fn tensor(&mut self, name: String, shape: &[usize], kind: TensorKind) -> usize {
        self.tensors.push(TensorSpec { name, shape: shape.to_vec(), kind });
        self.tensors.len() - 1
    }

    fn node(&mut self, name: String, operation: Operation, inputs: &[ValueId], value: Value) -> ValueId {
        self.values.push(value);
        let output = self.values.len() - 1;
        self.nodes.push(Node { name, layer: self.layer, operation, inputs: inputs.to_vec(), output });
        output
    }

    /// Declares convolution + batch norm (+ SiLU).
    fn declare(&mut self, name: &str, shape: Shape) -> Module {
        let name = self.full_name(name);
        let Shape { input, output, kernel, stride, groups, silu } = shape;
        let weight = self.tensor(
            format!("{name}.conv.weight"),
            &[output, input / groups, kernel, kernel],
            TensorKind::ConvWeight,
        );
        let norm = self.tensor(format!("{name}.bn.weight"), &[output], TensorKind::NormWeight);
        self.tensor(format!("{name}.bn.bias"), &[output], TensorKind::NormBias);
        self.tensor(format!("{name}.bn.running_mean"), &[output], TensorKind::RunningMean);
        self.tensor(format!("{name}.bn.running_var"), &[output], TensorKind::RunningVar);
        self.tensor(format!("{name}.bn.num_batches_tracked"), &[], TensorKind::BatchesTracked);
        let convolution = Convolution {
            input_channels: input,
            output_channels: output,
            kernel,
            stride,
            groups,
            weight,
            norm: Some(norm),
            bias: None,
            silu,
        };
        Module { name, convolution }
    }

    /// Declares a plain 1×1 convolution with bias.
    fn declare_plain(&mut self, name: &str, input: usize, output: usize) -> Module {
        let name = self.full_name(name);
        let weight = self.tensor(format!("{name}.weight"), &[output, input, 1, 1], TensorKind::ConvWeight);
        let bias = self.tensor(format!("{name}.bias"), &[output], TensorKind::ConvBias);
        let convolution = Convolution {
            input_channels: input,
            output_channels: output,
            kernel: 1,
            stride: 1,
            groups: 1,
            weight,
            norm: None,
            bias: Some(bias),
            silu: false,
        };
        Module { name, convolution }
    }

    fn apply(&mut self, module: &Module, input: ValueId) -> ValueId {
        let convolution = module.convolution;
        let stride = self.values[input].stride * convolution.stride;
        let value = Value { channels: convolution.output_channels, stride };
        self.node(module.name.clone(), Operation::Convolution(convolution), &[input], value)
    }

    /// A whole layer: a Conv whose channels follow the scale's width.
    fn convolution(&mut self, name: &str, input: ValueId, channels: usize, kernel: usize, stride: usize) -> ValueId {
        let shape = Shape { stride, ..Shape::new(self.channels(input), self.width(channels), kernel) };
        let module = self.declare(name, shape);
        self.apply(&module, input)
    }

    fn concat(&mut self, name: &str, inputs: &[ValueId]) -> ValueId {
        let channels = inputs.iter().map(|&input| self.channels(input)).sum();
        let name = self.full_name(name);
        let value = Value { channels, ..self.values[inputs[0]] };
        self.node(name, Operation::Concat, inputs, value)
    }

    fn slice(&mut self, name: &str, input: ValueId, first: usize, channels: usize) -> ValueId {
        let name = self.full_name(name);
        let value = Value { channels, ..self.values[input] };
        self.node(name, Operation::Slice { first }, &[input], value)
    }

    fn add(&mut self, name: &str, left: ValueId, right: ValueId) -> ValueId {
        let name = self.full_name(name);
        let value = self.values[left];
        self.node(name, Operation::Add, &[left, right], value)
    }

    fn upsample(&mut self, input: ValueId) -> ValueId {
        let name = self.full_name("");
        let Value { channels, stride } = self.values[input];
        self.node(name, Operation::Upsample, &[input], Value { channels, stride: stride / 2 })
    }

    /// C3k2: halves, a chain of inner blocks on the second half, everything joined.
    fn c3k2(&mut self, input: ValueId, channels: usize, repeats: usize, c3k: bool, expansion: f64) -> ValueId {
        let output = self.width(channels);
        let half = (output as f64 * expansion) as usize;
        let repeats = self.depth(repeats);
        let cv1 = self.declare("cv1", Shape::new(self.channels(input), 2 * half, 1));
        let cv2 = self.declare("cv2", Shape::new((2 + repeats) * half, output, 1));
        let inner: Vec<Inner> = (0..repeats)
            .map(|index| {
                let name = format!("m.{index}");
                if c3k {
                    Inner::C3k(Box::new(self.declare_c3k(&name, half)))
                } else {
                    Inner::Bottleneck(Box::new(self.declare_bottleneck(&name, half, 0.5)))
                }
            })
            .collect();

        let both = self.apply(&cv1, input);
        let first = self.slice("split.0", both, 0, half);
        let second = self.slice("split.1", both, half, half);
        let mut kept = vec![first, second];
        for block in &inner {
            let last = kept[kept.len() - 1];
            let next = match block {
                Inner::Bottleneck(bottleneck) => self.apply_bottleneck(bottleneck, last),
                Inner::C3k(c3k) => self.apply_c3k(c3k, last),
            };
            kept.push(next);
        }
        let joined = self.concat("concat", &kept);
        self.apply(&cv2, joined)
    }

    fn declare_bottleneck(&mut self, name: &str, channels: usize, expansion: f64) -> Bottleneck {
        let hidden = (channels as f64 * expansion) as usize;
        Bottleneck {
            name: name.to_string(),
            cv1: self.declare(&format!("{name}.cv1"), Shape::new(channels, hidden, 3)),
            cv2: self.declare(&format!("{name}.cv2"), Shape::new(hidden, channels, 3)),
        }
    }

    fn apply_bottleneck(&mut self, block: &Bottleneck, input: ValueId) -> ValueId {
        let x = self.apply(&block.cv1, input);
        let x = self.apply(&block.cv2, x);
        self.add(&format!("{}.add", block.name), input, x)
    }

    fn declare_c3k(&mut self, name: &str, channels: usize) -> C3k {
        let half = channels / 2;
        C3k {
            name: name.to_string(),
            cv1: self.declare(&format!("{name}.cv1"), Shape::new(channels, half, 1)),
            cv2: self.declare(&format!("{name}.cv2"), Shape::new(channels, half, 1)),
            cv3: self.declare(&format!("{name}.cv3"), Shape::new(2 * half, channels, 1)),
            inner: [0, 1].map(|index| self.declare_bottleneck(&format!("{name}.m.{index}"), half, 1.0)),
        }
    }

    fn apply_c3k(&mut self, block: &C3k, input: ValueId) -> ValueId {
        let mut x = self.apply(&block.cv1, input);
        for bottleneck in &block.inner {
            x = self.apply_bottleneck(bottleneck, x);
        }
        let aside = self.apply(&block.cv2, input);
        let joined = self.concat(&format!("{}.concat", block.name), &[x, aside]);
        self.apply(&block.cv3, joined)
    }

    /// SPPF: three chained poolings, all four kept.
    fn sppf(&mut self, input: ValueId, channels: usize) -> ValueId {
        let hidden = self.channels(input) / 2;
        let cv1 = self.declare("cv1", Shape::new(self.channels(input), hidden, 1));
        let cv2 = self.declare("cv2", Shape::new(4 * hidden, self.width(channels), 1));
        let mut kept = vec![self.apply(&cv1, input)];
        for index in 0..3 {
            let last = kept[index];
            let name = self.full_name(&format!("pool.{index}"));
            kept.push(self.node(name, Operation::MaxPool { kernel: 5 }, &[last], self.values[last]));
        }
        let joined = self.concat("concat", &kept);
        self.apply(&cv2, joined)
    }

    /// C2PSA: attention blocks on one half of the channels.
    fn c2psa(&mut self, input: ValueId, channels: usize, repeats: usize) -> ValueId {
        let output = self.width(channels);
        let half = output / 2;
        let repeats = self.depth(repeats);
        let cv1 = self.declare("cv1", Shape::new(self.channels(input), 2 * half, 1));
        let cv2 = self.declare("cv2", Shape::new(2 * half, output, 1));
        let blocks: Vec<Psa> = (0..repeats).map(|index| self.declare_psa(&format!("m.{index}"), half)).collect();

        let both = self.apply(&cv1, input);
        let aside = self.slice("split.0", both, 0, half);
        let mut x = self.slice("split.1", both, half, half);
        for block in &blocks {
            x = self.apply_psa(block, x);
        }
        let joined = self.concat("concat", &[aside, x]);
        self.apply(&cv2, joined)
    }

    fn declare_psa(&mut self, name: &str, channels: usize) -> Psa {
        let heads = (channels / 64).max(1);
        let head_width = channels / heads;
        let key_width = head_width / 2;
        let qkv = channels + 2 * key_width * heads;
        let linear = |input, output| Shape { silu: false, ..Shape::new(input, output, 1) };
        Psa {
            name: name.to_string(),
            heads,
            key_width,
            head_width,
            qkv: self.declare(&format!("{name}.attn.qkv"), linear(channels, qkv)),
            projection: self.declare(&format!("{name}.attn.proj"), linear(channels, channels)),
            position: self.declare(
                &format!("{name}.attn.pe"),
                Shape { groups: channels, silu: false, ..Shape::new(channels, channels, 3) },
            ),
            expand: self.declare(&format!("{name}.ffn.0"), Shape::new(channels, 2 * channels, 1)),
            contract: self.declare(&format!("{name}.ffn.1"), linear(2 * channels, channels)),
        }
    }

    fn apply_psa(&mut self, block: &Psa, input: ValueId) -> ValueId {
        let Psa { name, heads, key_width, head_width, .. } = block;
        let (heads, key_width, head_width) = (*heads, *key_width, *head_width);
        let value = self.values[input];
        let qkv = self.apply(&block.qkv, input);
        let attended = self.node(
            self.full_name(&format!("{name}.attn")),
            Operation::Attention { heads, key_width, head_width },
            &[qkv],
            value,
        );
        let values = self.node(
            self.full_name(&format!("{name}.attn.values")),
            Operation::AttentionValues { heads, key_width, head_width },
            &[qkv],
            value,
        );
        let position = self.apply(&block.position, values);
        let sum = self.add(&format!("{name}.attn.add"), attended, position);
        let projected = self.apply(&block.projection, sum);
        let x = self.add(&format!("{name}.add.0"), input, projected);
        let wide = self.apply(&block.expand, x);
        let narrow = self.apply(&block.contract, wide);
        self.add(&format!("{name}.add.1"), x, narrow)
    }

    /// The head: a box branch and a class branch on every level.
    fn detect(&mut self, inputs: &[ValueId], classes: usize) -> Vec<HeadLevel> {
        let first = self.channels(inputs[0]);
        let box_width = (first / 4).max(4 * BINS).max(16);
        let class_width = first.max(classes.min(100));
        let box_branches: Vec<[Module; 3]> = (0..inputs.len())
            .map(|level| {
                let channels = self.channels(inputs[level]);
                [
                    self.declare(&format!("cv2.{level}.0"), Shape::new(channels, box_width, 3)),
                    self.declare(&format!("cv2.{level}.1"), Shape::new(box_width, box_width, 3)),
                    self.declare_plain(&format!("cv2.{level}.2"), box_width, 4 * BINS),
                ]
            })
            .collect();
        let depthwise = |channels| Shape { groups: channels, ..Shape::new(channels, channels, 3) };
        let class_branches: Vec<[Module; 5]> = (0..inputs.len())
            .map(|level| {
                let channels = self.channels(inputs[level]);
                [
                    self.declare(&format!("cv3.{level}.0.0"), depthwise(channels)),
                    self.declare(&format!("cv3.{level}.0.1"), Shape::new(channels, class_width, 1)),
                    self.declare(&format!("cv3.{level}.1.0"), depthwise(class_width)),
                    self.declare(&format!("cv3.{level}.1.1"), Shape::new(class_width, class_width, 1)),
                    self.declare_plain(&format!("cv3.{level}.2"), class_width, classes),
                ]
            })
            .collect();
        let name = self.full_name("dfl.conv.weight");
        self.tensor(name, &[1, BINS, 1, 1], TensorKind::DflWeight);

        let mut levels = Vec::new();
        for (level, &input) in inputs.iter().enumerate() {
            let boxes = box_branches[level].iter().fold(input, |x, module| self.apply(module, x));
            let scores = class_branches[level].iter().fold(input, |x, module| self.apply(module, x));
            levels.push(HeadLevel { stride: STRIDES[level], boxes, scores });
        }
        levels
    }
}

/// Shape of a convolution with batch norm.
struct Shape {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    silu: bool,
}

impl Shape {
    fn new(input: usize, output: usize, kernel: usize) -> Self {
        Shape { input, output, kernel, stride: 1, groups: 1, silu: true }
    }
}

struct Bottleneck {
    name: String,
    cv1: Module,
    cv2: Module,
}

struct C3k {
    name: String,
    cv1: Module,
    cv2: Module,
    cv3: Module,
    inner: [Bottleneck; 2],
}

enum Inner {
    Bottleneck(Box<Bottleneck>),
    C3k(Box<C3k>),
}

struct Psa {
    name: String,
    heads: usize,
    key_width: usize,
    head_width: usize,
    qkv: Module,
    projection: Module,
    position: Module,
    expand: Module,
    contract: Module,
}
