//! The module's code, a line for each step.

use std::fmt::Write as _;

use super::Weight;
use crate::program::{Id, Operation, Program, Step};

/// Numbers of PyTorch's element types.
const FLOAT32: usize = 6;
const FLOAT16: usize = 5;

/// The text of `code/__torch__.py`.
pub(super) fn write(program: &Program, weights: &[Weight]) -> String {
    let names: Vec<String> = weights.iter().map(|weight| format!("\"{}\", ", weight.name)).collect();
    let mut text = format!("class Detector(Module):\n  __parameters__ = [{}]\n  __buffers__ = []\n", names.concat());
    text += "  training : bool\n";
    for weight in weights {
        let _ = writeln!(text, "  {} : Tensor", weight.name);
    }
    let outputs: Vec<String> = program.outputs.iter().map(|(_, value)| format!("v{value}")).collect();
    let (result, returned) = match outputs.as_slice() {
        [one] => ("Tensor".to_owned(), one.clone()),
        several => {
            (format!("Tuple[{}]", vec!["Tensor"; several.len()].join(", ")), format!("({})", several.join(", ")))
        }
    };
    let _ = writeln!(text, "  def forward(self: __torch__.Detector,\n    images: Tensor) -> {result}:");
    for (id, step) in program.steps.iter().enumerate() {
        for line in lines(id, step) {
            let _ = writeln!(text, "    {line}");
        }
    }
    let _ = writeln!(text, "    return {returned}");
    text
}

/// Name of a convolution's weight and bias, or of a constant.
pub(super) fn attribute(step: &Step, what: &str) -> String {
    format!("{}{what}", step.scope.replace(['.', '/'], "_"))
}

fn lines(id: Id, step: &Step) -> Vec<String> {
    let inputs: Vec<String> = step.inputs.iter().map(|input| format!("v{input}")).collect();
    let joined = inputs.join(", ");
    let kind = if step.half { FLOAT16 } else { FLOAT32 };
    let input = inputs.first().map_or("", String::as_str);
    let value = match &step.operation {
        Operation::Images => format!("torch.to(images, {kind})"),
        // A single number stands in the code.
        Operation::Constant(values) if step.shape.is_empty() => format!("{:?}", f64::from(values[0])),
        Operation::Constant(_) => format!("self.{}", attribute(step, "")),
        Operation::Convolution(convolution) => {
            let (padding, stride) = (convolution.kernel / 2, convolution.stride);
            let (weight, bias) = (attribute(step, "_weight"), attribute(step, "_bias"));
            format!(
                "torch.conv2d({input}, self.{weight}, self.{bias}, [{stride}, {stride}], [{padding}, {padding}], [1, 1], {})",
                convolution.groups
            )
        }
        Operation::Silu => format!("torch.mul({input}, torch.sigmoid({input}))"),
        Operation::Sigmoid => format!("torch.sigmoid({input})"),
        Operation::Add => format!("torch.add({joined})"),
        Operation::Subtract => format!("torch.sub({joined})"),
        Operation::Multiply => format!("torch.mul({joined})"),
        Operation::MatMul => format!("torch.matmul({joined})"),
        Operation::Concat { axis } => format!("torch.cat([{joined}], {axis})"),
        Operation::Slice { axis, first } => {
            format!("torch.slice({input}, {axis}, {first}, {}, 1)", first + step.shape[*axis])
        }
        Operation::MaxPool { kernel } => {
            let padding = kernel / 2;
            format!("torch.max_pool2d({input}, [{kernel}, {kernel}], [1, 1], [{padding}, {padding}], [1, 1], False)")
        }
        Operation::Upsample => {
            let sides = format!("[torch.mul(torch.size({input}, 2), 2), torch.mul(torch.size({input}, 3), 2)]");
            format!("torch.upsample_nearest2d({input}, {sides}, 2., 2.)")
        }
        Operation::Reshape { to } => {
            let size = |(axis, size): (usize, &i64)| match size {
                0 => format!("torch.size({input}, {axis})"),
                size => size.to_string(),
            };
            format!("torch.reshape({input}, [{}])", to.iter().enumerate().map(size).collect::<Vec<_>>().join(", "))
        }
        Operation::Image => {
            let (like, channels) = (&inputs[1], step.shape[1]);
            format!(
                "torch.reshape({input}, [torch.size({like}, 0), {channels}, torch.size({like}, 2), torch.size({like}, 3)])"
            )
        }
        Operation::Transpose { order } => format!("torch.permute({input}, {order:?})"),
        Operation::Softmax { axis } => format!("torch.softmax({input}, {axis})"),
        Operation::Narrow | Operation::Widen => format!("torch.to({input}, {kind})"),
        Operation::Centres => return centres(id, &inputs),
        Operation::Strides(strides) => return level_strides(id, &inputs, strides),
    };
    vec![format!("v{id} = {value}")]
}

/// The cells' places are running sums of ones, which are then where the picture is: on the CPU or on a device.
fn centres(id: Id, levels: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut parts = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        lines.push(format!(
            "o{id}_{index} = torch.ones_like(torch.to(torch.slice(torch.slice({level}, 0, 0, 1, 1), 1, 0, 1, 1), {FLOAT32}))"
        ));
        for (name, axis) in [("x", 3), ("y", 2)] {
            lines.push(format!(
                "{name}{id}_{index} = torch.reshape(torch.sub(torch.cumsum(o{id}_{index}, {axis}), 0.5), [1, 1, -1])"
            ));
        }
        lines.push(format!("c{id}_{index} = torch.cat([x{id}_{index}, y{id}_{index}], 1)"));
        parts.push(format!("c{id}_{index}"));
    }
    lines.push(format!("v{id} = torch.cat([{}], 2)", parts.join(", ")));
    lines
}

fn level_strides(id: Id, levels: &[String], strides: &[usize]) -> Vec<String> {
    let parts: Vec<String> = (levels.iter().zip(strides))
        .map(|(level, stride)| {
            let cells = format!("torch.to(torch.slice(torch.slice({level}, 0, 0, 1, 1), 1, 0, 1, 1), {FLOAT32})");
            format!("torch.mul(torch.reshape(torch.ones_like({cells}), [1, 1, -1]), {stride}.)")
        })
        .collect();
    vec![format!("v{id} = torch.cat([{}], 2)", parts.join(", "))]
}
