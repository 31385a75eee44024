//! NCNN: the network as a list of layers in text, its numbers in a binary file beside it.
//!
//! Source: <https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure> and the operators' page beside it. Values have no
//! batch there: axes count from the channels, and an image is `c × h × w`.

use std::fmt::Write as _;

use yolo11_network::Model;

use crate::lower::{Form, lower};
use crate::metadata::yaml;
use crate::numbers::{halves, singles};
use crate::options::check;
use crate::program::{Convolution, Id, Operation, Program, Step};
use crate::{Entry, Error, ExportOptions, Head};

/// First line of the text.
const MAGIC: &str = "7767517";
/// Before weights in float32, float16 and 8 bits.
const FLOAT32: u32 = 0;
const FLOAT16: u32 = 0x0130_6B47;
const INT8: u32 = 0x000D_4B38;

/// Writes a model as the files of a folder: `model.ncnn.param`, `model.ncnn.bin` and `metadata.yaml`, with the input `in0` and the
/// outputs `out0` …. The same model and options make the same bytes.
///
/// # Errors
/// The options do not fit the model; suppression, a batch or free sizes are asked for.
pub fn ncnn(model: &Model, options: &ExportOptions) -> Result<Vec<Entry>, Error> {
    check(model, options)?;
    if let Head::Suppressed(_) = options.head {
        return Err(Error::NoSuppression { format: "ncnn" });
    }
    if options.dynamic {
        return Err(Error::NotDynamic { format: "ncnn" });
    }
    if options.batch != 1 {
        return Err(Error::NoBatch { format: "ncnn" });
    }
    let program = lower(model, options, Form::fixed(options.precision));
    let mut writer = Writer {
        program: &program,
        layers: Vec::new(),
        blobs: 0,
        bytes: Vec::new(),
        copies: vec![Vec::new(); program.steps.len()],
    };
    writer.write();
    let text = format!("{MAGIC}\n{} {}\n{}\n", writer.layers.len(), writer.blobs, writer.layers.join("\n"));
    Ok(vec![
        Entry { name: "model.ncnn.param".into(), content: text.into_bytes() },
        Entry { name: "model.ncnn.bin".into(), content: writer.bytes },
        Entry { name: "metadata.yaml".into(), content: yaml(model, options).into_bytes() },
    ])
}

struct Writer<'a> {
    program: &'a Program,
    layers: Vec<String>,
    blobs: usize,
    bytes: Vec<u8>,
    /// For each value the names under which it can still be read: a layer takes its input away.
    copies: Vec<Vec<String>>,
}

impl Writer<'_> {
    fn write(&mut self) {
        let mut readers = vec![0; self.program.steps.len()];
        for step in &self.program.steps {
            match step.operation {
                // The second input only says how large.
                Operation::Image => readers[step.inputs[0]] += 1,
                _ => step.inputs.iter().for_each(|&input| readers[input] += 1),
            }
        }
        self.program.outputs.iter().for_each(|(_, value)| readers[*value] += 1);
        for (id, step) in self.program.steps.iter().enumerate() {
            if readers[id] > 0 && !is_number(step) {
                self.step(id, step, readers[id]);
            }
        }
        for (index, (_, value)) in self.program.outputs.iter().enumerate() {
            let from = self.take(*value);
            self.layer("Noop", &format!("out{index}"), &[from], &[format!("out{index}")], "");
        }
    }

    /// A name under which a value can be read, for one reader.
    fn take(&mut self, value: Id) -> String {
        self.copies[value].pop().unwrap_or_default()
    }

    fn layer(&mut self, kind: &str, name: &str, inputs: &[String], outputs: &[String], parameters: &str) {
        let mut line = format!("{kind:24} {name:24} {} {}", inputs.len(), outputs.len());
        for blob in inputs.iter().chain(outputs) {
            let _ = write!(line, " {blob}");
        }
        self.layers.push(format!("{line} {parameters}").trim_end().to_owned());
        self.blobs += outputs.len();
    }

    fn step(&mut self, id: Id, step: &Step, readers: usize) {
        let shape = &step.shape;
        let (kind, parameters) = match &step.operation {
            Operation::Images => ("Input", String::new()),
            Operation::Constant(values) => {
                self.bytes.extend(singles(values));
                ("MemoryData", sizes(shape))
            }
            Operation::Convolution(convolution) => self.convolution(step, convolution),
            Operation::Silu => ("Swish", String::new()),
            Operation::Sigmoid => ("Sigmoid", String::new()),
            Operation::Add => ("BinaryOp", self.binary(0, step)),
            Operation::Subtract => ("BinaryOp", self.binary(1, step)),
            Operation::Multiply => ("BinaryOp", self.binary(2, step)),
            Operation::Concat { axis } => ("Concat", format!("0={}", axis - 1)),
            Operation::Slice { axis, first } => {
                let last = first + shape[*axis];
                ("Crop", format!("-23309=1,{first} -23310=1,{last} -23311=1,{}", axis - 1))
            }
            Operation::MaxPool { kernel } => ("Pooling", format!("0=0 1={kernel} 2=1 3={} 5=1", kernel / 2)),
            Operation::Upsample => ("Interp", "0=1 1=2.0 2=2.0 6=0".into()),
            Operation::Reshape { .. } | Operation::Image => ("Reshape", sizes(shape)),
            Operation::Transpose { order } => {
                // Two orders occur: the last two axes change places, or the first two.
                ("Permute", if order.ends_with(&[3, 2]) { "0=1".into() } else { "0=2".into() })
            }
            Operation::MatMul => ("MatMul", String::new()),
            Operation::Softmax { axis } => ("Softmax", format!("0={} 1=1", axis - 1)),
            // The program is in float32 and its sizes are fixed.
            Operation::Narrow | Operation::Widen | Operation::Centres | Operation::Strides(_) => {
                ("Noop", String::new())
            }
        };
        let inputs: &[Id] = match step.operation {
            Operation::Image => &step.inputs[..1],
            _ => &step.inputs,
        };
        let inputs: Vec<Id> = inputs.iter().copied().filter(|&input| !is_number(&self.program.steps[input])).collect();
        let inputs: Vec<String> = inputs.into_iter().map(|input| self.take(input)).collect();
        let value = if id == 0 { "in0".to_owned() } else { format!("v{id}") };
        let name = if id == 0 { value.clone() } else { format!("{id}/{}", step.scope) };
        self.layer(kind, &name, &inputs, std::slice::from_ref(&value), &parameters);
        self.copies[id] = vec![value.clone()];
        if readers > 1 {
            let copies: Vec<String> = (0..readers).map(|copy| format!("{value}_{copy}")).collect();
            self.layer("Split", &format!("{id}/split"), &[value], &copies, "");
            self.copies[id] = copies;
        }
    }

    /// Parameters of an operation on two values, or on a value and a number.
    fn binary(&self, operation: usize, step: &Step) -> String {
        match &self.program.steps[step.inputs[1]].operation {
            Operation::Constant(values) if is_number(&self.program.steps[step.inputs[1]]) => {
                format!("0={operation} 1=1 2={:e}", values[0])
            }
            _ => format!("0={operation}"),
        }
    }

    fn convolution(&mut self, step: &Step, convolution: &Convolution) -> (&'static str, String) {
        let (kernel, stride, groups) = (convolution.kernel, convolution.stride, convolution.groups);
        let mut parameters = format!(
            "0={} 1={kernel} 3={stride} 4={} 5=1 6={}",
            convolution.output_channels,
            kernel / 2,
            convolution.weight.len()
        );
        if groups > 1 {
            let _ = write!(parameters, " 7={groups}");
        }
        if let Some(quantised) = &convolution.quantised {
            // Symmetric around zero.
            let spread = quantised.input;
            let most = [-128, 127].map(|end| (spread.scale * (end - i32::from(spread.zero)) as f32).abs());
            let weights = convolution.quantised_weights();
            parameters += if groups > 1 { " 8=1" } else { " 8=2" };
            self.bytes.extend(INT8.to_le_bytes());
            self.bytes.extend(weights.values.iter().map(|value| *value as u8));
            self.align();
            self.bytes.extend(singles(&convolution.bias));
            self.bytes.extend(singles(&weights.scales.iter().map(|scale| 1.0 / scale).collect::<Vec<_>>()));
            self.bytes.extend(singles(&[127.0 / most[0].max(most[1])]));
        } else if step.half {
            self.bytes.extend(FLOAT16.to_le_bytes());
            self.bytes.extend(halves(&convolution.weight));
            self.align();
            self.bytes.extend(singles(&convolution.bias));
        } else {
            self.bytes.extend(FLOAT32.to_le_bytes());
            self.bytes.extend(singles(&convolution.weight));
            self.bytes.extend(singles(&convolution.bias));
        }
        (if groups > 1 { "ConvolutionDepthWise" } else { "Convolution" }, parameters)
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Whether a step is a single number, which stands in the layers that read it.
fn is_number(step: &Step) -> bool {
    matches!(step.operation, Operation::Constant(_)) && step.shape.is_empty()
}

/// Width, height and channels, as far as there are such axes after the batch.
fn sizes(shape: &[usize]) -> String {
    let sizes: Vec<String> =
        shape[1..].iter().rev().enumerate().map(|(place, size)| format!("{place}={size}")).collect();
    sizes.join(" ")
}

#[cfg(test)]
mod tests {
    use yolo11_network::{Network, Scale};

    use super::*;
    use crate::Precision;

    #[test]
    fn every_value_is_made_once_and_read_once() {
        let model = Model::initialise(&Network::yolo11(Scale::Nano, 2), 1);
        let names = ["a".to_owned(), "b".to_owned()];
        let options = ExportOptions {
            names: &names,
            size: [64, 96],
            batch: 1,
            dynamic: false,
            opset: 17,
            precision: Precision::Float32,
            head: Head::Decoded,
        };
        let entries = ncnn(&model, &options).unwrap();
        assert_eq!(entries, ncnn(&model, &options).unwrap());
        let text = String::from_utf8(entries[0].content.clone()).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(MAGIC));
        let counts: Vec<usize> = lines.next().unwrap().split(' ').map(|count| count.parse().unwrap()).collect();
        let (mut made, mut read, mut layers) = (Vec::new(), Vec::new(), 0);
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [inputs, outputs]: [usize; 2] = [2, 3].map(|word| words[word].parse().unwrap());
            read.extend(words[4..4 + inputs].iter().map(|word| (*word).to_owned()));
            assert!(read.iter().all(|blob| made.contains(blob)), "{line}");
            made.extend(words[4 + inputs..4 + inputs + outputs].iter().map(|word| (*word).to_owned()));
            layers += 1;
        }
        assert_eq!(counts, [layers, made.len()]);
        read.push("out0".into());
        made.sort();
        read.sort();
        assert_eq!(made, read);
    }
}
