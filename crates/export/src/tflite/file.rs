//! The FlatBuffer: tensors, operators and buffers by the numbers that the schema gives them.

use super::flatbuffer::{Builder, Field, Place};
use crate::numbers::singles;
use crate::program::Spread;

/// Position of a tensor in the file.
pub(super) type TensorId = usize;

/// Version of the schema.
const VERSION: u32 = 3;
/// Files begin their second word with this.
const IDENTIFIER: &str = "TFL3";
/// Constants begin at multiples of this, so that they can be mapped.
const ALIGNMENT: usize = 16;

/// Type of a tensor's elements, by the schema's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Float32 = 0,
    Float16 = 1,
    Int32 = 2,
    Int8 = 9,
}

/// An operator, by the schema's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Add = 0,
    Concatenation = 2,
    Convolution = 3,
    DepthwiseConvolution = 4,
    Dequantize = 6,
    Logistic = 14,
    MaxPool = 17,
    Multiply = 18,
    Reshape = 22,
    Softmax = 25,
    Pad = 34,
    Transpose = 39,
    Subtract = 41,
    Slice = 65,
    ResizeNearestNeighbor = 97,
    Quantize = 114,
    BatchMatMul = 126,
}

impl Builtin {
    /// The version in which it can what is asked of it here: 8-bit numbers by channel, float16 constants.
    fn version(self) -> u32 {
        match self {
            Builtin::Convolution | Builtin::DepthwiseConvolution | Builtin::Dequantize => 3,
            Builtin::Pad => 2,
            _ => 1,
        }
    }
}

/// What an operator is told beside its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Options {
    None,
    Add,
    Subtract,
    Multiply,
    BatchMatMul,
    Softmax,
    Resize,
    Concatenation {
        axis: usize,
    },
    Pool {
        kernel: usize,
    },
    /// `padded`: the input has its padding; else it stays as large.
    Convolution {
        stride: usize,
        padded: bool,
    },
    Depthwise {
        stride: usize,
        padded: bool,
    },
}

/// How 8-bit numbers become real.
pub(super) struct Quantisation {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    axis: i32,
}

impl Quantisation {
    pub fn of(spread: Spread) -> Self {
        Quantisation { scales: vec![spread.scale], zeros: vec![i64::from(spread.zero)], axis: 0 }
    }

    pub fn by_channel(scales: &[f32], axis: i32) -> Self {
        Quantisation { scales: scales.to_vec(), zeros: vec![0; scales.len()], axis }
    }
}

/// A file under way.
pub(super) struct File {
    builder: Builder,
    buffers: Vec<Place>,
    operators: Vec<Place>,
    /// Operators in the order of their first use.
    codes: Vec<Builtin>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    /// Tensors, until the end: an output's name is known late.
    tensors: Vec<Tensor>,
}

struct Tensor {
    name: String,
    kind: Type,
    shape: Vec<i32>,
    buffer: u32,
    quantisation: Option<Place>,
}

impl File {
    pub fn new() -> Self {
        let mut builder = Builder::default();
        // The first buffer is empty: that of tensors without constants.
        let empty = builder.table(&[]);
        File {
            builder,
            buffers: vec![empty],
            operators: Vec::new(),
            codes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// A tensor; with `content` a constant.
    pub fn tensor(
        &mut self,
        name: &str,
        kind: Type,
        shape: &[usize],
        content: Option<&[u8]>,
        quantisation: Option<&Quantisation>,
    ) -> TensorId {
        let builder = &mut self.builder;
        let buffer = match content {
            Some(content) => {
                let data = builder.vector(content, content.len(), ALIGNMENT);
                self.buffers.push(builder.table(&[(0, Field::Place(data))]));
                self.buffers.len() as u32 - 1
            }
            None => 0,
        };
        let quantisation = quantisation.map(|quantisation| {
            let scales = builder.vector(&singles(&quantisation.scales), quantisation.scales.len(), 4);
            let zeros: Vec<u8> = quantisation.zeros.iter().flat_map(|zero| zero.to_le_bytes()).collect();
            let zeros = builder.vector(&zeros, quantisation.zeros.len(), 8);
            let axis = Field::Word(quantisation.axis as u32);
            builder.table(&[(2, Field::Place(scales)), (3, Field::Place(zeros)), (6, axis)])
        });
        let shape = shape.iter().map(|&size| size as i32).collect();
        self.tensors.push(Tensor { name: name.to_owned(), kind, shape, buffer, quantisation });
        self.tensors.len() - 1
    }

    /// Declares a tensor an input.
    pub fn input(&mut self, tensor: TensorId) {
        self.inputs.push(tensor as i32);
    }

    /// Makes a tensor an output under a name of its own.
    pub fn output(&mut self, tensor: TensorId, name: &str) {
        name.clone_into(&mut self.tensors[tensor].name);
        self.outputs.push(tensor as i32);
    }

    /// Appends an operator.
    pub fn operator(&mut self, builtin: Builtin, options: Options, inputs: &[TensorId], output: TensorId) {
        let code = self.codes.iter().position(|code| *code == builtin).unwrap_or_else(|| {
            self.codes.push(builtin);
            self.codes.len() - 1
        });
        let builder = &mut self.builder;
        let inputs: Vec<i32> = inputs.iter().map(|&tensor| tensor as i32).collect();
        let inputs = builder.integers(&inputs);
        let outputs = builder.integers(&[output as i32]);
        let mut fields = vec![(0, Field::Word(code as u32)), (1, Field::Place(inputs)), (2, Field::Place(outputs))];
        if let Some((kind, table)) = options.write(builder) {
            fields.extend([(3, Field::Byte(kind)), (4, Field::Place(table))]);
        }
        self.operators.push(builder.table(&fields));
    }

    /// The bytes.
    pub fn finish(self, description: &str) -> Vec<u8> {
        let mut builder = self.builder;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            let name = builder.text(&tensor.name);
            let shape = builder.integers(&tensor.shape);
            let mut fields = vec![
                (0, Field::Place(shape)),
                (1, Field::Byte(tensor.kind as u8)),
                (2, Field::Word(tensor.buffer)),
                (3, Field::Place(name)),
            ];
            fields.extend(tensor.quantisation.map(|quantisation| (4, Field::Place(quantisation))));
            tensors.push(builder.table(&fields));
        }
        let mut codes = Vec::new();
        for &code in &self.codes {
            let fields =
                [(0, Field::Byte(code as u8)), (2, Field::Word(code.version())), (3, Field::Word(code as u32))];
            codes.push(builder.table(&fields));
        }
        let places = [
            builder.places(&tensors),
            builder.integers(&self.inputs),
            builder.integers(&self.outputs),
            builder.places(&self.operators),
            builder.text("main"),
        ];
        let fields: Vec<(usize, Field)> = places.into_iter().map(Field::Place).enumerate().collect();
        let graph = builder.table(&fields);
        let places = [
            builder.places(&codes),
            builder.places(&[graph]),
            builder.text(description),
            builder.places(&self.buffers),
        ];
        let mut fields = vec![(0, Field::Word(VERSION))];
        fields.extend(places.into_iter().map(Field::Place).enumerate().map(|(slot, field)| (slot + 1, field)));
        let model = builder.table(&fields);
        builder.finish(model, IDENTIFIER, ALIGNMENT)
    }
}

impl Options {
    /// The number of the kind of options in the schema, and the table.
    fn write(self, builder: &mut Builder) -> Option<(u8, Place)> {
        /// Padding: as much as keeps the size, or none.
        const SAME: u8 = 0;
        const VALID: u8 = 1;
        let one = Field::Word(1);
        let (kind, fields) = match self {
            Options::None => return None,
            Options::Add => (11, vec![]),
            Options::Multiply => (21, vec![]),
            Options::Subtract => (28, vec![]),
            Options::Resize => (74, vec![]),
            Options::BatchMatMul => (101, vec![]),
            Options::Softmax => (9, vec![(0, Field::Word(1f32.to_bits()))]),
            Options::Concatenation { axis } => (10, vec![(0, Field::Word(axis as u32))]),
            Options::Pool { kernel } => {
                let kernel = Field::Word(kernel as u32);
                (5, vec![(0, Field::Byte(SAME)), (1, one), (2, one), (3, kernel), (4, kernel)])
            }
            Options::Convolution { stride, padded } => {
                let (padding, stride) = (if padded { VALID } else { SAME }, Field::Word(stride as u32));
                (1, vec![(0, Field::Byte(padding)), (1, stride), (2, stride), (4, one), (5, one)])
            }
            Options::Depthwise { stride, padded } => {
                let (padding, stride) = (if padded { VALID } else { SAME }, Field::Word(stride as u32));
                (2, vec![(0, Field::Byte(padding)), (1, stride), (2, stride), (3, one), (5, one), (6, one)])
            }
        };
        Some((kind, builder.table(&fields)))
    }
}
