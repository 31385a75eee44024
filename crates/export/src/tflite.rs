//! TensorFlow Lite (LiteRT): one FlatBuffer, its input and layers channels-last.
//!
//! Source: <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>.

mod file;
mod flatbuffer;
mod zip;

use std::collections::HashMap;

use yolo11_network::Model;

use crate::lower::{Form, lower};
use crate::metadata::json;
use crate::numbers::{halves, singles};
use crate::options::check;
use crate::program::{Convolution, Id, Operation, Program, Quantised, Spread, Step};
use crate::{Error, ExportOptions, Head};
use file::{Builtin, File, Options, Quantisation, TensorId, Type};

/// Order of the axes of an image with its channels last, by those of one with its channels first.
const TO_LAST: [usize; 4] = [0, 2, 3, 1];
const TO_FIRST: [usize; 4] = [0, 3, 1, 2];

/// Writes a model as the bytes of a `.tflite` file, with the input `images` `[batch, height, width, 3]`. Boxes are shares of the
/// input's sides, as readers of such files expect. What the file says about itself is `metadata.json` in a zip archive at its end.
/// The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model; suppression or free sizes are asked for.
pub fn tflite(model: &Model, options: &ExportOptions) -> Result<Vec<u8>, Error> {
    check(model, options)?;
    if let Head::Suppressed(_) = options.head {
        return Err(Error::NoSuppression { format: "tflite" });
    }
    if options.dynamic {
        return Err(Error::NotDynamic { format: "tflite" });
    }
    let form = Form { shares: true, ..Form::fixed(options.precision) };
    let program = lower(model, options, form);
    let mut writer = Writer {
        file: File::new(),
        values: Vec::with_capacity(program.steps.len()),
        rounded: HashMap::new(),
        ordered: HashMap::new(),
    };
    writer.write(&program);
    let description = model.network().scale.model_name();
    let bytes = writer.file.finish(&description);
    if i32::try_from(bytes.len()).is_err() {
        return Err(Error::TooLarge { bytes: bytes.len() });
    }
    Ok(zip::append(bytes, "metadata.json", json(model, options).as_bytes()))
}

struct Writer {
    file: File,
    values: Vec<Value>,
    /// Values in 8 bits, by the value they come from.
    rounded: HashMap<Id, Value>,
    /// Values in the other order of axes, by the tensor they come from.
    ordered: HashMap<TensorId, Value>,
}

/// A tensor and the order of its axes.
#[derive(Clone)]
struct Value {
    tensor: TensorId,
    /// Its shape as it is stored.
    shape: Vec<usize>,
    /// Whether it is an image whose channels are stored last.
    last: bool,
}

impl Writer {
    fn write(&mut self, program: &Program) {
        for (id, step) in program.steps.iter().enumerate() {
            let value = self.step(id, step);
            self.values.push(value);
        }
        for (name, value) in &program.outputs {
            let value = self.first(&self.values[*value].clone());
            self.file.output(value.tensor, name);
        }
    }

    /// Appends an operator with one output of float32.
    fn operator(
        &mut self,
        name: &str,
        builtin: Builtin,
        options: Options,
        inputs: &[TensorId],
        (shape, last): (Vec<usize>, bool),
    ) -> Value {
        let tensor = self.file.tensor(name, Type::Float32, &shape, None, None);
        self.file.operator(builtin, options, inputs, tensor);
        Value { tensor, shape, last }
    }

    fn integers(&mut self, name: &str, shape: &[usize], values: &[usize]) -> TensorId {
        let bytes: Vec<u8> = values.iter().flat_map(|value| (*value as i32).to_le_bytes()).collect();
        self.file.tensor(name, Type::Int32, shape, Some(&bytes), None)
    }

    /// Numbers of a step in its precision.
    fn weight(&mut self, name: &str, step: &Step, shape: &[usize], values: &[f32]) -> TensorId {
        if !step.half {
            return self.file.tensor(name, Type::Float32, shape, Some(&singles(values)), None);
        }
        let stored = self.file.tensor(&format!("{name}/stored"), Type::Float16, shape, Some(&halves(values)), None);
        let real = self.file.tensor(name, Type::Float32, shape, None, None);
        self.file.operator(Builtin::Dequantize, Options::None, &[stored], real);
        real
    }

    fn transposed(&mut self, value: &Value, order: [usize; 4], last: bool) -> Value {
        if let Some(value) = self.ordered.get(&value.tensor) {
            return value.clone();
        }
        let shape = order.iter().map(|&axis| value.shape[axis]).collect();
        let axes = self.integers(&format!("{}/order", value.tensor), &[4], &order);
        let name = format!("{}/ordered", value.tensor);
        let made = self.operator(&name, Builtin::Transpose, Options::None, &[value.tensor, axes], (shape, last));
        self.ordered.insert(value.tensor, made.clone());
        made
    }

    /// An image with its channels last.
    fn last(&mut self, value: &Value) -> Value {
        if value.last { value.clone() } else { self.transposed(value, TO_LAST, true) }
    }

    /// A value with its axes in the program's order.
    fn first(&mut self, value: &Value) -> Value {
        if value.last { self.transposed(value, TO_FIRST, false) } else { value.clone() }
    }

    fn step(&mut self, id: Id, step: &Step) -> Value {
        let name = format!("{id}/{}", step.scope);
        let inputs: Vec<Value> = step.inputs.iter().map(|&input| self.values[input].clone()).collect();
        match &step.operation {
            Operation::Images => {
                let shape: Vec<usize> = TO_LAST.iter().map(|&axis| step.shape[axis]).collect();
                let tensor = self.file.tensor("images", Type::Float32, &shape, None, None);
                self.file.input(tensor);
                Value { tensor, shape, last: true }
            }
            Operation::Constant(values) => {
                let tensor = self.file.tensor(&name, Type::Float32, &step.shape, Some(&singles(values)), None);
                Value { tensor, shape: step.shape.clone(), last: false }
            }
            Operation::Convolution(convolution) => self.convolution(&name, step, &inputs[0], convolution),
            Operation::Silu => {
                let made = || (inputs[0].shape.clone(), inputs[0].last);
                let input = inputs[0].tensor;
                let gate = self.operator(&format!("{name}/gate"), Builtin::Logistic, Options::None, &[input], made());
                self.operator(
                    &format!("{name}/silu"),
                    Builtin::Multiply,
                    Options::Multiply,
                    &[input, gate.tensor],
                    made(),
                )
            }
            Operation::Sigmoid => {
                let made = (inputs[0].shape.clone(), inputs[0].last);
                self.operator(&name, Builtin::Logistic, Options::None, &[inputs[0].tensor], made)
            }
            Operation::Add => self.binary(&name, step, Builtin::Add, Options::Add, &inputs),
            Operation::Subtract => self.binary(&name, step, Builtin::Subtract, Options::Subtract, &inputs),
            Operation::Multiply => self.binary(&name, step, Builtin::Multiply, Options::Multiply, &inputs),
            Operation::MatMul => {
                let inputs: Vec<TensorId> = inputs.iter().map(|input| self.first(input).tensor).collect();
                let made = (step.shape.clone(), false);
                self.operator(&name, Builtin::BatchMatMul, Options::BatchMatMul, &inputs, made)
            }
            Operation::Concat { axis } => {
                let last = inputs.iter().all(|input| input.last);
                let inputs: Vec<Value> =
                    inputs.iter().map(|input| if last { input.clone() } else { self.first(input) }).collect();
                let axis = if last { place(*axis) } else { *axis };
                let tensors: Vec<TensorId> = inputs.iter().map(|input| input.tensor).collect();
                let mut shape = inputs[0].shape.clone();
                shape[axis] = inputs.iter().map(|input| input.shape[axis]).sum();
                self.operator(&name, Builtin::Concatenation, Options::Concatenation { axis }, &tensors, (shape, last))
            }
            Operation::Slice { axis, first } => self.slice(&name, step, &inputs[0], *axis, *first),
            Operation::MaxPool { kernel } => {
                let input = self.last(&inputs[0]);
                let options = Options::Pool { kernel: *kernel };
                self.operator(&name, Builtin::MaxPool, options, &[input.tensor], (input.shape, true))
            }
            Operation::Upsample => {
                let input = self.last(&inputs[0]);
                let shape = vec![input.shape[0], 2 * input.shape[1], 2 * input.shape[2], input.shape[3]];
                let sides = self.integers(&format!("{name}/sides"), &[2], &shape[1..3]);
                let inputs = [input.tensor, sides];
                self.operator(&name, Builtin::ResizeNearestNeighbor, Options::Resize, &inputs, (shape, true))
            }
            Operation::Reshape { .. } | Operation::Image => {
                let input = self.first(&inputs[0]);
                let shape = self.integers(&format!("{name}/shape"), &[step.shape.len()], &step.shape);
                let made = (step.shape.clone(), false);
                self.operator(&name, Builtin::Reshape, Options::None, &[input.tensor, shape], made)
            }
            Operation::Transpose { order } => {
                let input = self.first(&inputs[0]);
                let order = self.integers(&format!("{name}/order"), &[order.len()], order);
                let made = (step.shape.clone(), false);
                self.operator(&name, Builtin::Transpose, Options::None, &[input.tensor, order], made)
            }
            // The operator knows the last axis alone.
            Operation::Softmax { axis } => {
                let input = if *axis == 1 { self.last(&inputs[0]) } else { self.first(&inputs[0]) };
                let made = (input.shape.clone(), input.last);
                self.operator(&name, Builtin::Softmax, Options::Softmax, &[input.tensor], made)
            }
            // The program is in float32 and its sizes are fixed.
            Operation::Narrow | Operation::Widen | Operation::Centres | Operation::Strides(_) => inputs[0].clone(),
        }
    }

    fn binary(&mut self, name: &str, step: &Step, builtin: Builtin, options: Options, inputs: &[Value]) -> Value {
        let last = inputs.iter().all(|input| input.last);
        let tensors: Vec<TensorId> =
            inputs.iter().map(|input| if last { input.tensor } else { self.first(input).tensor }).collect();
        let shape = if last { inputs[0].shape.clone() } else { step.shape.clone() };
        self.operator(name, builtin, options, &tensors, (shape, last))
    }

    fn slice(&mut self, name: &str, step: &Step, input: &Value, axis: usize, first: usize) -> Value {
        let (mut shape, along) = (input.shape.clone(), if input.last { place(axis) } else { axis });
        shape[along] = step.shape[axis];
        let mut begin = vec![0; shape.len()];
        begin[along] = first;
        let begin = self.integers(&format!("{name}/begin"), &[shape.len()], &begin);
        let size = self.integers(&format!("{name}/size"), &[shape.len()], &shape);
        self.operator(name, Builtin::Slice, Options::None, &[input.tensor, begin, size], (shape, input.last))
    }

    fn convolution(&mut self, name: &str, step: &Step, input: &Value, convolution: &Convolution) -> Value {
        let depthwise = convolution.groups > 1;
        let [out, inner, kernel, _] = convolution.weight_shape();
        let (shape, channel_axis) =
            if depthwise { ([1, kernel, kernel, out], 3) } else { ([out, kernel, kernel, inner], 0) };
        let input = self.last(input);
        let stride = convolution.stride;
        let made = TO_LAST.map(|axis| step.shape[axis]).to_vec();
        let padded = stride > 1;
        let options = match depthwise {
            true => Options::Depthwise { stride, padded },
            false => Options::Convolution { stride, padded },
        };
        let builtin = if depthwise { Builtin::DepthwiseConvolution } else { Builtin::Convolution };
        let Some(quantised) = &convolution.quantised else {
            let input = if padded { self.pad(name, &input, kernel / 2, None) } else { input };
            let values = reordered(&convolution.weight, convolution);
            let weight = self.weight(&format!("{name}/weight"), step, &shape, &values);
            let bias = self.weight(&format!("{name}/bias"), step, &[out], &convolution.bias);
            return self.operator(name, builtin, options, &[input.tensor, weight, bias], (made, true));
        };
        let rounded = self.rounded(step.inputs[0], &input, quantised);
        let input = if padded { self.pad(name, &rounded, kernel / 2, Some(quantised.input)) } else { rounded };
        let weights = convolution.quantised_weights();
        let values = reordered(&weights.values, convolution);
        let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
        let weight = Quantisation::by_channel(&weights.scales, channel_axis);
        let weight = self.file.tensor(&format!("{name}/weight"), Type::Int8, &shape, Some(&bytes), Some(&weight));
        let scales: Vec<f32> = weights.scales.iter().map(|scale| scale * quantised.input.scale).collect();
        let bias = convolution.bias.iter().zip(&scales).map(|(bias, scale)| (bias / scale).round() as i32);
        let bytes: Vec<u8> = bias.flat_map(i32::to_le_bytes).collect();
        let bias = Quantisation::by_channel(&scales, 0);
        let bias = self.file.tensor(&format!("{name}/bias"), Type::Int32, &[out], Some(&bytes), Some(&bias));
        let spread = Quantisation::of(quantised.sum);
        let sum = self.file.tensor(&format!("{name}/sum"), Type::Int8, &made, None, Some(&spread));
        self.file.operator(builtin, options, &[input.tensor, weight, bias], sum);
        self.operator(name, Builtin::Dequantize, Options::None, &[sum], (made, true))
    }

    /// A value in 8 bits, for all convolutions that read it.
    fn rounded(&mut self, id: Id, value: &Value, quantised: &Quantised) -> Value {
        if let Some(value) = self.rounded.get(&id) {
            return value.clone();
        }
        let spread = Quantisation::of(quantised.input);
        let tensor = self.file.tensor(&format!("{id}/rounded"), Type::Int8, &value.shape, None, Some(&spread));
        self.file.operator(Builtin::Quantize, Options::None, &[value.tensor], tensor);
        let rounded = Value { tensor, ..value.clone() };
        self.rounded.insert(id, rounded.clone());
        rounded
    }

    /// Zeros on all four sides: the format's own padding for steps of 2 lies on two sides only.
    fn pad(&mut self, name: &str, value: &Value, padding: usize, spread: Option<Spread>) -> Value {
        let widths =
            self.integers(&format!("{name}/padding"), &[4, 2], &[0, 0, padding, padding, padding, padding, 0, 0]);
        let mut shape = value.shape.clone();
        shape[1] += 2 * padding;
        shape[2] += 2 * padding;
        let kind = if spread.is_some() { Type::Int8 } else { Type::Float32 };
        let spread = spread.map(Quantisation::of);
        let tensor = self.file.tensor(&format!("{name}/padded"), kind, &shape, None, spread.as_ref());
        self.file.operator(Builtin::Pad, Options::None, &[value.tensor, widths], tensor);
        Value { tensor, shape, last: true }
    }
}

/// Where an axis of the program lies in an image whose channels are last.
fn place(axis: usize) -> usize {
    TO_LAST.iter().position(|&from| from == axis).unwrap_or(axis)
}

/// Weights `[out, in, height, width]` as the format has them: `[out, height, width, in]`, of depthwise convolutions
/// `[1, height, width, channel]`.
fn reordered<T: Copy>(weight: &[T], convolution: &Convolution) -> Vec<T> {
    let [out, inner, kernel, _] = convolution.weight_shape();
    let taps = kernel * kernel;
    let mut values = Vec::with_capacity(weight.len());
    if convolution.groups > 1 {
        (0..taps).for_each(|tap| values.extend((0..out).map(|channel| weight[channel * taps + tap])));
        return values;
    }
    for channel in 0..out {
        for tap in 0..taps {
            values.extend((0..inner).map(|input| weight[(channel * inner + input) * taps + tap]));
        }
    }
    values
}
