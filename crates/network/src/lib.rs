//! What a YOLO11 is: one description that everything which needs the network walks.
//!
//! [`Network::yolo11`] lays out the graph for a [`Scale`] and a number of classes: a list of [`Node`]s, each applying one
//! [`Operation`] to named values, and the list of tensors ([`TensorSpec`]) they use, in the order and under the names of the
//! state dictionaries that the field exchanges. The engine that trains, the writers of other formats, the checkpoint reader and
//! the summary are all walks over it. [`Model`] joins a network with the values of its tensors.

mod builder;
mod model;
mod operation;
mod tensor;

pub use model::{FoldedConvolution, Model};
pub use operation::{Convolution, Node, Operation, Value, ValueId};
pub use tensor::{TensorKind, TensorSpec};

/// Bins of the distribution that describes one side of a box ([Generalized Focal Loss](https://arxiv.org/abs/2006.04388)).
pub const BINS: usize = 16;
/// Pixels per cell of the three levels of the head.
pub const STRIDES: [usize; 3] = [8, 16, 32];
/// Batch norm's addend under the square root.
pub const NORM_EPSILON: f32 = 1e-3;
/// Share of a batch's statistics that enters the running statistics.
pub const NORM_MOMENTUM: f32 = 0.03;

/// The five sizes of the family: how deep (repeats) and how wide (channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// yolo11n
    Nano,
    /// yolo11s
    Small,
    /// yolo11m
    Medium,
    /// yolo11l
    Large,
    /// yolo11x
    ExtraLarge,
}

impl Scale {
    /// All five, smallest first.
    pub const ALL: [Scale; 5] = [Scale::Nano, Scale::Small, Scale::Medium, Scale::Large, Scale::ExtraLarge];

    /// The letter at the end of the model's name.
    pub fn letter(self) -> char {
        match self {
            Scale::Nano => 'n',
            Scale::Small => 's',
            Scale::Medium => 'm',
            Scale::Large => 'l',
            Scale::ExtraLarge => 'x',
        }
    }

    /// The scale a letter stands for, in either case.
    pub fn from_letter(letter: char) -> Option<Scale> {
        Scale::ALL.into_iter().find(|scale| scale.letter() == letter.to_ascii_lowercase())
    }

    /// Reads `yolo11n`, `yolov11n` or either with the ending `.yaml`, in any case.
    pub fn from_model_name(name: &str) -> Option<Scale> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".yaml").unwrap_or(&name);
        let letter = name.strip_prefix("yolo11").or_else(|| name.strip_prefix("yolov11"))?;
        let mut letters = letter.chars();
        let scale = Scale::from_letter(letters.next()?)?;
        letters.next().is_none().then_some(scale)
    }

    /// The model's name, such as `yolo11n`.
    pub fn model_name(self) -> String {
        format!("yolo11{}", self.letter())
    }

    /// Depth multiple, width multiple, most channels before the width multiple.
    fn multiples(self) -> (f64, f64, usize) {
        match self {
            Scale::Nano => (0.5, 0.25, 1024),
            Scale::Small => (0.5, 0.5, 1024),
            Scale::Medium => (0.5, 1.0, 512),
            Scale::Large => (1.0, 1.0, 512),
            Scale::ExtraLarge => (1.0, 1.5, 512),
        }
    }

    /// Whether every C3k2 block holds C3k blocks, not only the deep ones.
    fn c3k_everywhere(self) -> bool {
        matches!(self, Scale::Medium | Scale::Large | Scale::ExtraLarge)
    }
}

/// One level of the detection head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLevel {
    /// Input pixels per cell.
    pub stride: usize,
    /// The value with 4 × [`BINS`] channels: distribution logits of left, top, right, bottom.
    pub boxes: ValueId,
    /// The value with one logit per class.
    pub scores: ValueId,
}

/// A YOLO11 detector as a graph. Nodes stand in an order in which they can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Size of the family.
    pub scale: Scale,
    /// Number of classes.
    pub classes: usize,
    /// Every value that flows between nodes; the first is the input image with three channels.
    pub values: Vec<Value>,
    /// The operations.
    pub nodes: Vec<Node>,
    /// The head's levels, finest first.
    pub head: Vec<HeadLevel>,
    tensors: Vec<TensorSpec>,
}

impl Network {
    /// The network of a scale for a number of classes (at least 1).
    pub fn yolo11(scale: Scale, classes: usize) -> Network {
        builder::build(scale, classes)
    }

    /// Every tensor of the network in state-dictionary order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Position of a tensor by its name.
    pub fn tensor_index(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// Number of parameters as the field publishes it: all trained values and the head's 16 constants.
    pub fn parameters(&self) -> usize {
        let counts = |kind: TensorKind| kind.is_parameter() || kind == TensorKind::DflWeight;
        self.tensors.iter().filter(|tensor| counts(tensor.kind)).map(TensorSpec::elements).sum()
    }

    /// Number of numbered layers (`model.0` … `model.23`).
    pub fn layers(&self) -> usize {
        self.nodes.iter().map(|node| node.layer).max().map_or(0, |last| last + 1)
    }

    /// Anchors (cells of the three levels) for an input of `[height, width]` pixels.
    pub fn anchors(&self, size: [usize; 2]) -> usize {
        self.head.iter().map(|level| (size[0] / level.stride) * (size[1] / level.stride)).sum()
    }

    /// Billions of floating-point operations of one forward pass on one image of `[height, width]` pixels, counted as the field
    /// publishes them: two for a multiplication with its addition in convolutions, attention's products and the head's expectation,
    /// eight for each element of a batch norm.
    pub fn gflops(&self, size: [usize; 2]) -> f64 {
        let nodes: f64 = self.nodes.iter().map(|node| self.node_operations(node, size)).sum();
        let expectation = (2 * BINS * 4 * self.anchors(size)) as f64;
        (nodes + expectation) / 1e9
    }

    /// Floating-point operations of one node, counted as in [`Network::gflops`].
    pub fn node_operations(&self, node: &Node, size: [usize; 2]) -> f64 {
        let value = &self.values[node.output];
        let pixels = ((size[0] / value.stride) * (size[1] / value.stride)) as f64;
        match &node.operation {
            Operation::Convolution(convolution) => {
                let taps = convolution.kernel * convolution.kernel * convolution.input_channels_per_group();
                let norm = if convolution.norm.is_some() { 8 } else { 0 };
                pixels * (value.channels * (2 * taps + norm)) as f64
            }
            Operation::Attention { heads, key_width, head_width } => {
                pixels * pixels * (2 * heads * (key_width + head_width)) as f64
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_in_every_spelling_give_the_scale() {
        for name in ["yolo11n", "yolov11n", "YOLO11n", "yolo11n.yaml", "YOLOv11N"] {
            assert_eq!(Scale::from_model_name(name), Some(Scale::Nano), "{name}");
        }
        for name in ["yolo11", "yolo11q", "yolo11nn", "yolov8n", "n"] {
            assert_eq!(Scale::from_model_name(name), None, "{name}");
        }
    }

    #[test]
    fn totals_are_the_published_ones() {
        let expected = [
            (Scale::Nano, 2_624_080, 499),
            (Scale::Small, 9_458_752, 499),
            (Scale::Medium, 20_114_688, 649),
            (Scale::Large, 25_372_160, 1015),
            (Scale::ExtraLarge, 56_966_176, 1015),
        ];
        for (scale, parameters, tensors) in expected {
            let network = Network::yolo11(scale, 80);
            assert_eq!(network.parameters(), parameters, "{scale:?}");
            assert_eq!(network.tensors().len(), tensors, "{scale:?}");
        }
    }

    #[test]
    fn every_value_is_made_before_it_is_used_and_channels_agree() {
        for scale in Scale::ALL {
            let network = Network::yolo11(scale, 3);
            let mut made = vec![false; network.values.len()];
            made[0] = true;
            for node in &network.nodes {
                assert!(node.inputs.iter().all(|&input| made[input]), "{}", node.name);
                assert!(!made[node.output], "{}", node.name);
                made[node.output] = true;
                if let Operation::Concat = node.operation {
                    let sum: usize = node.inputs.iter().map(|&input| network.values[input].channels).sum();
                    assert_eq!(sum, network.values[node.output].channels, "{}", node.name);
                }
            }
            assert!(made.into_iter().all(|made| made));
        }
    }
}
