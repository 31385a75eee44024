//! OpenVINO's intermediate representation, version 11: the network as XML, its constants in a binary file beside it.
//!
//! Source: <https://docs.openvino.ai/latest/documentation/openvino-ir-format.html> and the operation sets' pages beside it.

use std::collections::HashMap;
use std::fmt::Write as _;

use yolo11_network::Model;

use crate::lower::{Form, lower};
use crate::metadata::{metadata, yaml};
use crate::numbers::{halves, singles};
use crate::options::check;
use crate::program::{Convolution, Id, Operation, Program, Spread, Step};
use crate::{Entry, Error, ExportOptions, Head};

/// Writes a model as the files of a folder: `NAME.xml`, `NAME.bin` and `metadata.yaml`. The same model and options make the same bytes.
///
/// In float16 weights are stored so, and the plug-in that runs the file decides what it computes in, as in files that OpenVINO's own
/// converter compresses.
///
/// # Errors
/// The options do not fit the model, or suppression is asked for.
pub fn openvino(model: &Model, options: &ExportOptions, name: &str) -> Result<Vec<Entry>, Error> {
    check(model, options)?;
    if let Head::Suppressed(_) = options.head {
        return Err(Error::NoSuppression { format: "openvino" });
    }
    let form = Form { dynamic: options.dynamic, ..Form::fixed(options.precision) };
    let program = lower(model, options, form);
    let mut writer = Writer {
        dynamic: options.dynamic,
        layers: String::new(),
        edges: String::new(),
        bytes: Vec::new(),
        count: 0,
        rounded: HashMap::new(),
    };
    writer.program(&program);
    let mut text = String::from("<?xml version=\"1.0\"?>\n");
    let _ = writeln!(text, "<net name=\"{}\" version=\"11\">", model.network().scale.model_name());
    let _ = writeln!(text, "\t<layers>\n{}\t</layers>\n\t<edges>\n{}\t</edges>", writer.layers, writer.edges);
    text += "\t<rt_info>\n\t\t<framework>\n";
    for (key, value) in metadata(model, options) {
        let _ = writeln!(text, "\t\t\t<{key} value=\"{}\" />", escaped(&value));
    }
    text += "\t\t</framework>\n\t</rt_info>\n</net>\n";
    Ok(vec![
        Entry { name: format!("{name}.xml"), content: text.into_bytes() },
        Entry { name: format!("{name}.bin"), content: writer.bytes },
        Entry { name: "metadata.yaml".into(), content: yaml(model, options).into_bytes() },
    ])
}

/// A text inside an XML attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            letter => escaped.push(letter),
        }
    }
    escaped
}

struct Writer {
    /// Whether batch and size are free.
    dynamic: bool,
    layers: String,
    edges: String,
    bytes: Vec<u8>,
    count: usize,
    /// Values rounded to 8 bits, by the value they come from.
    rounded: HashMap<Id, Value>,
}

/// What a layer makes.
#[derive(Clone)]
struct Value {
    layer: usize,
    port: usize,
    kind: &'static str,
    shape: Vec<usize>,
}

/// The names of a type in attributes and in ports.
const KINDS: [(&str, &str); 4] = [("f32", "FP32"), ("f16", "FP16"), ("i64", "I64"), ("i8", "I8")];

impl Writer {
    /// A layer with one output.
    fn layer(
        &mut self,
        name: &str,
        operation: (&str, u32),
        attributes: &str,
        inputs: &[&Value],
        (kind, shape): (&'static str, &[usize]),
    ) -> Value {
        let layer = self.count;
        self.count += 1;
        let (operation, version) = operation;
        let text = &mut self.layers;
        let name = escaped(name);
        // A result has no attributes but the name of what comes out, which stands in the layer itself.
        let (attributes, names) =
            if operation == "Result" { ("", format!(" {attributes}")) } else { (attributes, String::new()) };
        let _ = writeln!(
            text,
            "\t\t<layer id=\"{layer}\" name=\"{name}\" type=\"{operation}\" version=\"opset{version}\"{names}>"
        );
        if !attributes.is_empty() {
            let _ = writeln!(text, "\t\t\t<data {attributes} />");
        }
        if !inputs.is_empty() {
            *text += "\t\t\t<input>\n";
            for (port, input) in inputs.iter().enumerate() {
                // Where sizes are free those of the first batch would only mislead.
                let shape = if self.dynamic { &[][..] } else { &input.shape[..] };
                write_port(text, port, input.kind, shape, "");
                let (from, from_port) = (input.layer, input.port);
                let _ = writeln!(
                    self.edges,
                    "\t\t<edge from-layer=\"{from}\" from-port=\"{from_port}\" to-layer=\"{layer}\" to-port=\"{port}\" />"
                );
            }
            *text += "\t\t\t</input>\n";
        }
        if operation != "Result" {
            *text += "\t\t\t<output>\n";
            let names = if operation == "Parameter" { " names=\"images\"" } else { "" };
            let written = if self.dynamic && operation != "Const" { &[][..] } else { shape };
            write_port(text, inputs.len(), kind, written, names);
            *text += "\t\t\t</output>\n";
        }
        *text += "\t\t</layer>\n";
        Value { layer, port: inputs.len(), kind, shape: shape.to_vec() }
    }

    fn constant(&mut self, name: &str, kind: &'static str, shape: &[usize], content: &[u8]) -> Value {
        self.bytes.resize(self.bytes.len().next_multiple_of(64), 0);
        let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let attributes = format!(
            "element_type=\"{kind}\" shape=\"{}\" offset=\"{}\" size=\"{}\"",
            sizes.join(", "),
            self.bytes.len(),
            content.len()
        );
        self.bytes.extend_from_slice(content);
        self.layer(name, ("Const", 1), &attributes, &[], (kind, shape))
    }

    /// Numbers of a step in its precision.
    fn weight(&mut self, name: &str, step: &Step, shape: &[usize], values: &[f32]) -> Value {
        if !step.half {
            return self.constant(name, "f32", shape, &singles(values));
        }
        let stored = self.constant(&format!("{name}/stored"), "f16", shape, &halves(values));
        self.layer(name, ("Convert", 1), "destination_type=\"f32\"", &[&stored], ("f32", shape))
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.constant(name, "f32", shape, &singles(values))
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, "i64", &[values.len()], &bytes)
    }

    fn program(&mut self, program: &Program) {
        let mut values: Vec<Value> = Vec::with_capacity(program.steps.len());
        for (number, step) in program.steps.iter().enumerate() {
            let inputs: Vec<&Value> = step.inputs.iter().map(|&input| &values[input]).collect();
            let inputs: Vec<Value> = inputs.into_iter().cloned().collect();
            let value = self.step(&format!("{number}/{}", step.scope), step, &inputs.iter().collect::<Vec<_>>());
            values.push(value);
        }
        for (name, value) in &program.outputs {
            let value = values[*value].clone();
            let names = format!("output_names=\"{name}\"");
            self.layer(name, ("Result", 1), &names, &[&value], ("f32", &[]));
        }
    }

    fn step(&mut self, name: &str, step: &Step, inputs: &[&Value]) -> Value {
        let made = ("f32", step.shape.as_slice());
        let broadcast = "auto_broadcast=\"numpy\"";
        match &step.operation {
            Operation::Images => {
                let sizes: Vec<String> = (step.shape.iter().enumerate())
                    .map(|(axis, size)| if self.dynamic && axis != 1 { "?".into() } else { size.to_string() })
                    .collect();
                let attributes = format!("shape=\"{}\" element_type=\"f32\"", sizes.join(","));
                self.layer("images", ("Parameter", 1), &attributes, &[], made)
            }
            Operation::Constant(values) => {
                let shape = if step.shape.is_empty() { &[1][..] } else { &step.shape };
                self.floats(name, shape, values)
            }
            Operation::Convolution(convolution) => self.convolution(name, step, inputs[0], convolution),
            Operation::Silu => self.layer(name, ("Swish", 4), "", inputs, made),
            Operation::Sigmoid => self.layer(name, ("Sigmoid", 1), "", inputs, made),
            Operation::Add => self.layer(name, ("Add", 1), broadcast, inputs, made),
            Operation::Subtract => self.layer(name, ("Subtract", 1), broadcast, inputs, made),
            Operation::Multiply => self.layer(name, ("Multiply", 1), broadcast, inputs, made),
            Operation::MatMul => {
                self.layer(name, ("MatMul", 1), "transpose_a=\"false\" transpose_b=\"false\"", inputs, made)
            }
            Operation::Concat { axis } => self.layer(name, ("Concat", 1), &format!("axis=\"{axis}\""), inputs, made),
            Operation::Softmax { axis } => self.layer(name, ("SoftMax", 8), &format!("axis=\"{axis}\""), inputs, made),
            Operation::Slice { axis, first } => {
                self.slice(name, inputs[0], *axis, [*first, first + step.shape[*axis]], made)
            }
            Operation::MaxPool { kernel } => {
                let padding = kernel / 2;
                let attributes = format!(
                    "strides=\"1, 1\" pads_begin=\"{padding}, {padding}\" pads_end=\"{padding}, {padding}\" kernel=\"{kernel}, {kernel}\" rounding_type=\"floor\" auto_pad=\"explicit\""
                );
                self.layer(name, ("MaxPool", 1), &attributes, inputs, made)
            }
            Operation::Upsample => {
                let scales = self.floats(&format!("{name}/scales"), &[2], &[2.0, 2.0]);
                let axes = self.integers(&format!("{name}/axes"), &[2, 3]);
                let attributes = "mode=\"nearest\" shape_calculation_mode=\"scales\" coordinate_transformation_mode=\"asymmetric\" nearest_mode=\"floor\" antialias=\"false\" pads_begin=\"0, 0, 0, 0\" pads_end=\"0, 0, 0, 0\" cube_coeff=\"-0.75\"";
                self.layer(name, ("Interpolate", 11), attributes, &[inputs[0], &scales, &axes], made)
            }
            Operation::Reshape { to } => self.reshape(name, inputs[0], to, &step.shape),
            Operation::Image => self.image(name, step, inputs[0], inputs[1]),
            Operation::Transpose { order } => {
                let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
                let order = self.integers(&format!("{name}/order"), &order);
                self.layer(name, ("Transpose", 1), "", &[inputs[0], &order], made)
            }
            // The program is in float32.
            Operation::Narrow | Operation::Widen => inputs[0].clone(),
            Operation::Centres => self.centres(name, inputs),
            Operation::Strides(strides) => self.strides(name, inputs, strides),
        }
    }

    fn convolution(&mut self, name: &str, step: &Step, input: &Value, convolution: &Convolution) -> Value {
        let grouped = convolution.groups > 1;
        let [out, inner, kernel, _] = convolution.weight_shape();
        let shape = match grouped {
            true => vec![convolution.groups, out / convolution.groups, inner, kernel, kernel],
            false => vec![out, inner, kernel, kernel],
        };
        let (input, weight) = match &convolution.quantised {
            Some(quantised) => {
                let rounded = match self.rounded.get(&step.inputs[0]) {
                    Some(value) => value.clone(),
                    None => {
                        let value = self.round(&format!("{name}/rounded"), input, quantised.input);
                        self.rounded.insert(step.inputs[0], value.clone());
                        value
                    }
                };
                (rounded, self.quantised_weight(name, &shape, convolution))
            }
            None => (input.clone(), self.weight(&format!("{name}/weight"), step, &shape, &convolution.weight)),
        };
        let (padding, stride) = (convolution.kernel / 2, convolution.stride);
        let attributes = format!(
            "strides=\"{stride}, {stride}\" pads_begin=\"{padding}, {padding}\" pads_end=\"{padding}, {padding}\" dilations=\"1, 1\" auto_pad=\"explicit\""
        );
        let operation = if grouped { "GroupConvolution" } else { "Convolution" };
        let made = ("f32", step.shape.as_slice());
        let sum = self.layer(&format!("{name}/convolution"), (operation, 1), &attributes, &[&input, &weight], made);
        let bias = self.weight(&format!("{name}/bias"), step, &[1, out, 1, 1], &convolution.bias);
        self.layer(name, ("Add", 1), "auto_broadcast=\"numpy\"", &[&sum, &bias], made)
    }

    /// A value rounded to 256 steps, which the plug-in turns into integers.
    fn round(&mut self, name: &str, value: &Value, spread: Spread) -> Value {
        let ends = [-128, 127].map(|end| spread.scale * (end - i32::from(spread.zero)) as f32);
        let ends = ["least", "most"].map(|end| format!("{name}/{end}")).into_iter().zip(ends);
        let ends: Vec<Value> = ends.map(|(name, end)| self.floats(&name, &[1, 1, 1, 1], &[end])).collect();
        let shape = value.shape.clone();
        self.layer(
            name,
            ("FakeQuantize", 1),
            "levels=\"256\" auto_broadcast=\"numpy\"",
            &[value, &ends[0], &ends[1], &ends[0], &ends[1]],
            ("f32", &shape),
        )
    }

    fn quantised_weight(&mut self, name: &str, shape: &[usize], convolution: &Convolution) -> Value {
        let weights = convolution.quantised_weights();
        let bytes: Vec<u8> = weights.values.iter().map(|value| *value as u8).collect();
        let stored = self.constant(&format!("{name}/weight/stored"), "i8", shape, &bytes);
        let real = self.layer(
            &format!("{name}/weight/real"),
            ("Convert", 1),
            "destination_type=\"f32\"",
            &[&stored],
            ("f32", shape),
        );
        let mut scales_shape = vec![1; shape.len()];
        scales_shape[0] = shape[0];
        let scales = self.floats(&format!("{name}/weight/scales"), &scales_shape, &weights.scales);
        self.layer(
            &format!("{name}/weight"),
            ("Multiply", 1),
            "auto_broadcast=\"numpy\"",
            &[&real, &scales],
            ("f32", shape),
        )
    }

    fn slice(
        &mut self,
        name: &str,
        input: &Value,
        axis: usize,
        [from, to]: [usize; 2],
        made: (&'static str, &[usize]),
    ) -> Value {
        let parts = [("from", from), ("to", to), ("step", 1), ("axis", axis)];
        let parts = parts.map(|(part, value)| self.integers(&format!("{name}/{part}"), &[value as i64]));
        self.layer(name, ("Slice", 8), "", &[input, &parts[0], &parts[1], &parts[2], &parts[3]], made)
    }

    fn reshape(&mut self, name: &str, input: &Value, to: &[i64], shape: &[usize]) -> Value {
        let to = self.integers(&format!("{name}/shape"), to);
        self.layer(name, ("Reshape", 1), "special_zero=\"true\"", &[input, &to], (input.kind, shape))
    }

    fn image(&mut self, name: &str, step: &Step, value: &Value, like: &Value) -> Value {
        let [channels, height, width] = [1, 2, 3].map(|axis| step.shape[axis]);
        if !self.dynamic {
            return self.reshape(name, value, &[0, channels as i64, height as i64, width as i64], &step.shape);
        }
        let first = self.integers(&format!("{name}/first"), &[0, channels as i64]);
        let pixels = self.pixels(name, like);
        let shape =
            self.layer(&format!("{name}/shape"), ("Concat", 1), "axis=\"0\"", &[&first, &pixels], ("i64", &[4]));
        self.layer(name, ("Reshape", 1), "special_zero=\"true\"", &[value, &shape], ("f32", &step.shape))
    }

    /// `[height, width]` of an image.
    fn pixels(&mut self, name: &str, image: &Value) -> Value {
        let shape =
            self.layer(&format!("{name}/sizes"), ("ShapeOf", 3), "output_type=\"i64\"", &[image], ("i64", &[4]));
        self.slice(&format!("{name}/pixels"), &shape, 0, [2, 4], ("i64", &[2]))
    }

    /// Centres of a level's cells, x and y: 0.5, 1.5 … for each row and column, spread over the grid.
    fn level_centres(&mut self, name: &str, level: &Value) -> [Value; 2] {
        let half = self.constant(&format!("{name}/half"), "f32", &[], &singles(&[0.5]));
        let one = self.constant(&format!("{name}/one"), "f32", &[], &singles(&[1.0]));
        let pixels = self.pixels(name, level);
        let [height, width] = [level.shape[2], level.shape[3]];
        let ones = self.integers(&format!("{name}/ones"), &[1, 1]);
        let full = self.layer(&format!("{name}/full"), ("Concat", 1), "axis=\"0\"", &[&ones, &pixels], ("i64", &[4]));
        [(1, [1, 1, 1, -1]), (0, [1, 1, -1, 1])].map(|(axis, spread)| {
            let name = format!("{name}/{axis}");
            let count = [height, width][axis];
            let place = self.constant(&format!("{name}/place"), "i64", &[], &(axis as i64).to_le_bytes());
            let along = self.constant(&format!("{name}/along"), "i64", &[], &0i64.to_le_bytes());
            let size = self.layer(
                &format!("{name}/side"),
                ("Gather", 8),
                "batch_dims=\"0\"",
                &[&pixels, &place, &along],
                ("i64", &[]),
            );
            let size =
                self.layer(&format!("{name}/real"), ("Convert", 1), "destination_type=\"f32\"", &[&size], ("f32", &[]));
            let limit = self.layer(
                &format!("{name}/limit"),
                ("Add", 1),
                "auto_broadcast=\"numpy\"",
                &[&size, &half],
                ("f32", &[]),
            );
            let range = ("f32", &[count][..]);
            let steps = self.layer(
                &format!("{name}/steps"),
                ("Range", 4),
                "output_type=\"f32\"",
                &[&half, &limit, &one],
                range,
            );
            let steps = self.reshape(&format!("{name}/line"), &steps, &spread, &[1, 1, 1, count]);
            let made = ("f32", &[1, 1, height, width][..]);
            let grid = self.layer(&format!("{name}/grid"), ("Broadcast", 3), "mode=\"numpy\"", &[&steps, &full], made);
            self.reshape(&name, &grid, &[1, 1, -1], &[1, 1, height * width])
        })
    }

    fn centres(&mut self, name: &str, levels: &[&Value]) -> Value {
        let mut parts = Vec::new();
        for (index, level) in levels.iter().enumerate() {
            let name = format!("{name}/{index}");
            let [x, y] = self.level_centres(&name, level);
            let made = ("f32", &[1, 2, x.shape[2]][..]);
            parts.push(self.layer(&name, ("Concat", 1), "axis=\"1\"", &[&x, &y], made));
        }
        self.joined(name, &parts)
    }

    /// As many strides as centres: their x with nothing left of it.
    fn strides(&mut self, name: &str, levels: &[&Value], strides: &[usize]) -> Value {
        let mut parts = Vec::new();
        for (index, (level, &stride)) in levels.iter().zip(strides).enumerate() {
            let name = format!("{name}/{index}");
            let [x, _] = self.level_centres(&name, level);
            let (made, broadcast) = (("f32", &x.shape.clone()[..]), "auto_broadcast=\"numpy\"");
            let zero = self.floats(&format!("{name}/zero"), &[1], &[0.0]);
            let stride = self.floats(&format!("{name}/stride"), &[1], &[stride as f32]);
            let zeros = self.layer(&format!("{name}/zeros"), ("Multiply", 1), broadcast, &[&x, &zero], made);
            parts.push(self.layer(&name, ("Add", 1), broadcast, &[&zeros, &stride], made));
        }
        self.joined(name, &parts)
    }

    fn joined(&mut self, name: &str, parts: &[Value]) -> Value {
        let anchors = parts.iter().map(|part| part.shape[2]).sum();
        let made = ("f32", &[1, parts[0].shape[1], anchors][..]);
        self.layer(name, ("Concat", 1), "axis=\"2\"", &parts.iter().collect::<Vec<_>>(), made)
    }
}

fn write_port(text: &mut String, port: usize, kind: &str, shape: &[usize], names: &str) {
    let precision = KINDS.iter().find(|(name, _)| *name == kind).map_or("FP32", |(_, precision)| precision);
    let _ = write!(text, "\t\t\t\t<port id=\"{port}\" precision=\"{precision}\"{names}");
    if shape.is_empty() {
        *text += " />\n";
        return;
    }
    *text += ">\n";
    for size in shape {
        let _ = writeln!(text, "\t\t\t\t\t<dim>{size}</dim>");
    }
    *text += "\t\t\t\t</port>\n";
}
