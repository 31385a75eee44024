//! The module's code, a line for each operation.

use std::fmt::Write as _;

use yolo11_network::{BINS, Network, Node, Operation};

use super::Weight;
use crate::{ExportOptions, Head, Precision};

/// Numbers of PyTorch's element types.
const FLOAT32: usize = 6;
const FLOAT16: usize = 5;

/// The text of `code/__torch__.py`.
pub(super) fn write(network: &Network, weights: &[Weight], options: &ExportOptions) -> String {
    let names: Vec<String> = weights.iter().map(|weight| format!("\"{}\", ", weight.name)).collect();
    let mut text = format!("class Detector(Module):\n  __parameters__ = [{}]\n  __buffers__ = []\n", names.concat());
    text += "  training : bool\n";
    for weight in weights {
        let _ = writeln!(text, "  {} : Tensor", weight.name);
    }
    let raw = options.head == Head::Raw;
    let result = if raw { "Tuple[Tensor, Tensor, Tensor]" } else { "Tensor" };
    let _ = writeln!(text, "  def forward(self: __torch__.Detector,\n    images: Tensor) -> {result}:");
    let kind = if options.precision == Precision::Float16 { FLOAT16 } else { FLOAT32 };
    let mut body = vec![format!("v0 = torch.to(images, {kind})")];
    for node in &network.nodes {
        operation(&mut body, network, node);
    }
    if raw {
        for (index, level) in network.head.iter().enumerate() {
            body.push(format!("l{index} = torch.to(torch.cat([v{}, v{}], 1), {FLOAT32})", level.boxes, level.scores));
        }
        body.push("return (l0, l1, l2)".into());
    } else {
        decode(&mut body, network);
    }
    for line in body {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn operation(body: &mut Vec<String>, network: &Network, node: &Node) {
    let output = node.output;
    let inputs: Vec<String> = node.inputs.iter().map(|input| format!("v{input}")).collect();
    let input = &inputs[0];
    let channels = network.values[output].channels;
    match node.operation {
        Operation::Convolution(convolution) => {
            let (name, padding, stride) = (node.name.replace('.', "_"), convolution.kernel / 2, convolution.stride);
            body.push(format!(
                "v{output} = torch.conv2d({input}, self.{name}_weight, self.{name}_bias, [{stride}, {stride}], [{padding}, {padding}], [1, 1], {})",
                convolution.groups
            ));
            if convolution.silu {
                body.push(format!("v{output} = torch.mul(v{output}, torch.sigmoid(v{output}))"));
            }
        }
        Operation::Concat => body.push(format!("v{output} = torch.cat([{}], 1)", inputs.join(", "))),
        Operation::Slice { first } => {
            body.push(format!("v{output} = torch.slice({input}, 1, {first}, {}, 1)", first + channels));
        }
        Operation::Add => body.push(format!("v{output} = torch.add({input}, {})", inputs[1])),
        Operation::MaxPool { kernel } => {
            let padding = kernel / 2;
            body.push(format!(
                "v{output} = torch.max_pool2d({input}, [{kernel}, {kernel}], [1, 1], [{padding}, {padding}], [1, 1], False)"
            ));
        }
        Operation::Upsample => {
            let sides = format!("[torch.mul(torch.size({input}, 2), 2), torch.mul(torch.size({input}, 3), 2)]");
            body.push(format!("v{output} = torch.upsample_nearest2d({input}, {sides}, 2., 2.)"));
        }
        Operation::Attention { heads, key_width, head_width } => {
            let width = 2 * key_width + head_width;
            body.push(format!("h{output} = torch.reshape({input}, [torch.size({input}, 0), {heads}, {width}, -1])"));
            let part = |from: usize, to: usize| format!("torch.slice(h{output}, 2, {from}, {to}, 1)");
            let factor = (key_width as f64).powf(-0.5);
            body.push(format!("q{output} = torch.mul({}, {factor})", part(0, key_width)));
            body.push(format!(
                "s{output} = torch.softmax(torch.matmul(torch.transpose(q{output}, -2, -1), {}), -1)",
                part(key_width, 2 * key_width)
            ));
            body.push(format!(
                "a{output} = torch.matmul({}, torch.transpose(s{output}, -2, -1))",
                part(2 * key_width, width)
            ));
            body.push(image(output, &format!("a{output}"), input, heads * head_width));
        }
        Operation::AttentionValues { heads, key_width, head_width } => {
            let width = 2 * key_width + head_width;
            body.push(format!("h{output} = torch.reshape({input}, [torch.size({input}, 0), {heads}, {width}, -1])"));
            let values = format!("torch.slice(h{output}, 2, {}, {width}, 1)", 2 * key_width);
            body.push(image(output, &values, input, heads * head_width));
        }
    }
}

/// Heads side by side again, as an image of the size of `like`.
fn image(output: usize, value: &str, like: &str, channels: usize) -> String {
    format!(
        "v{output} = torch.reshape({value}, [torch.size({like}, 0), {channels}, torch.size({like}, 2), torch.size({like}, 3)])"
    )
}

/// From logits to boxes in pixels and probabilities, in float32.
fn decode(body: &mut Vec<String>, network: &Network) {
    let mut decoded = Vec::new();
    for (index, level) in network.head.iter().enumerate() {
        let (boxes, stride) = (format!("v{}", level.boxes), level.stride);
        let batch = format!("torch.size({boxes}, 0)");
        body.push(format!("b{index} = torch.reshape(torch.to({boxes}, {FLOAT32}), [{batch}, 4, {BINS}, -1])"));
        // Expectation of each side's distribution; 0, 1 … 15 and the cells' places are running sums of ones, which are then
        // where the picture is: on the CPU or on a device.
        body.push(format!("p{index} = torch.softmax(b{index}, 2)"));
        body.push(format!("n{index} = torch.sub(torch.cumsum(torch.ones_like(p{index}), 2), 1.)"));
        body.push(format!("d{index} = torch.sum(torch.mul(p{index}, n{index}), [2])"));
        body.push(format!("o{index} = torch.ones_like(torch.to(torch.slice({boxes}, 1, 0, 1, 1), {FLOAT32}))"));
        for (name, axis) in [("x", 3), ("y", 2)] {
            body.push(format!(
                "{name}{index} = torch.reshape(torch.sub(torch.cumsum(o{index}, {axis}), 0.5), [{batch}, 1, -1])"
            ));
        }
        body.push(format!("c{index} = torch.cat([x{index}, y{index}], 1)"));
        body.push(format!("f{index} = torch.sub(c{index}, torch.slice(d{index}, 1, 0, 2, 1))"));
        body.push(format!("t{index} = torch.add(c{index}, torch.slice(d{index}, 1, 2, 4, 1))"));
        body.push(format!("m{index} = torch.mul(torch.add(f{index}, t{index}), 0.5)"));
        body.push(format!("r{index} = torch.mul(torch.cat([m{index}, torch.sub(t{index}, f{index})], 1), {stride}.)"));
        let scores = format!("v{}", level.scores);
        body.push(format!(
            "z{index} = torch.sigmoid(torch.reshape(torch.to({scores}, {FLOAT32}), [{batch}, {}, -1]))",
            network.classes
        ));
        body.push(format!("l{index} = torch.cat([r{index}, z{index}], 1)"));
        decoded.push(format!("l{index}"));
    }
    body.push(format!("return torch.cat([{}], 2)", decoded.join(", ")));
}
