//! What values a network's convolutions see on real pictures: how 8 bits are spread over them.

use std::collections::BTreeMap;

use yolo11_network::Convolution;

/// Least and greatest value that a convolution reads, and of its sum with the bias, before the activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvolutionRanges {
    /// Of what it reads.
    pub input: [f32; 2],
    /// Of its sum.
    pub sum: [f32; 2],
}

/// Ranges of the convolutions that are to be computed in 8 bits; the others stay in float32.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// By the position of the weight in [`Network::tensors`](yolo11_network::Network::tensors).
    ranges: BTreeMap<usize, ConvolutionRanges>,
}

impl Calibration {
    /// Ranges by the position of the weight in the network's tensors.
    pub fn new(ranges: impl IntoIterator<Item = (usize, ConvolutionRanges)>) -> Self {
        Calibration { ranges: ranges.into_iter().collect() }
    }

    /// Those of a convolution, where it is to be computed in 8 bits.
    pub(crate) fn of(&self, convolution: &Convolution) -> Option<ConvolutionRanges> {
        self.ranges.get(&convolution.weight).copied()
    }
}
