//! A network in the few operations that every format has, each with the shape of what it makes: the list that the writers print.

/// A value: the position of the step that makes it.
pub(crate) type Id = usize;

/// Steps in an order in which they can be run, and what comes out.
pub(crate) struct Program {
    /// The first is [`Operation::Images`].
    pub steps: Vec<Step>,
    /// Name and value of each output, in float32.
    pub outputs: Vec<(String, Id)>,
}

/// One operation and the value it makes.
pub(crate) struct Step {
    /// The module it belongs to, such as `model.2.m.0.cv1`.
    pub scope: String,
    /// What it does.
    pub operation: Operation,
    /// What it reads.
    pub inputs: Vec<Id>,
    /// Shape of its value for the batch and size of the options; images are `[batch, channels, height, width]`.
    pub shape: Vec<usize>,
    /// Whether its numbers are in float16, and its value where the format computes in that.
    pub half: bool,
}

/// What a step does.
pub(crate) enum Operation {
    /// The input.
    Images,
    /// Fixed numbers, row-major.
    Constant(Vec<f32>),
    /// Convolution with padding of half the kernel, and a bias.
    Convolution(Box<Convolution>),
    /// x · σ(x).
    Silu,
    /// σ(x).
    Sigmoid,
    /// Sum of two values.
    Add,
    /// Difference of two values.
    Subtract,
    /// Product of two values.
    Multiply,
    /// Values one after another along an axis.
    Concat { axis: usize },
    /// Elements of an axis from `first` on, as many as the shape says.
    Slice { axis: usize, first: usize },
    /// Maximum over a square window, step 1, same size.
    MaxPool { kernel: usize },
    /// Every pixel doubled in both directions.
    Upsample,
    /// The same elements in another shape: 0 keeps a dimension, −1 takes what is left.
    Reshape { to: Vec<i64> },
    /// The first input's elements as an image of the second one's height and width.
    Image,
    /// Axes in another order.
    Transpose { order: Vec<usize> },
    /// Matrix product over the last two axes.
    MatMul,
    /// Softmax along an axis.
    Softmax { axis: usize },
    /// From float32 to float16.
    Narrow,
    /// From float16 to float32.
    Widen,
    /// Centres `[1, 2, anchors]` (x, y) in units of the stride of the images that are its inputs: only where sizes are free.
    Centres,
    /// Strides `[1, 1, anchors]` in pixels of the images that are its inputs: only where sizes are free.
    Strides(Vec<usize>),
}

/// A convolution with its numbers.
pub(crate) struct Convolution {
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
    /// Channels that come out.
    pub output_channels: usize,
    /// Input channels that one output channel sees.
    pub input_channels_per_group: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// 1, or the number of channels.
    pub groups: usize,
    /// How it is computed in 8 bits, where it is.
    pub quantised: Option<Quantised>,
}

impl Convolution {
    /// Shape of the weight.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.output_channels, self.input_channels_per_group, self.kernel, self.kernel]
    }
}

/// How the 8 bits of a convolution's input and of its sum before the activation are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantised {
    pub input: Spread,
    pub sum: Spread,
}

/// A number is `scale · (q − zero)`, with q from −128 to 127.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub scale: f32,
    pub zero: i8,
}

impl Spread {
    /// That of a range; zero is one of the numbers, as padding needs.
    pub fn of([least, most]: [f32; 2]) -> Spread {
        let (least, most) = (least.min(0.0), most.max(0.0));
        let scale = ((most - least) / 255.0).max(f32::MIN_POSITIVE);
        Spread { scale, zero: (-128.0 - least / scale).round().clamp(-128.0, 127.0) as i8 }
    }
}

/// Weights in 8 bits: symmetric, a scale for each output channel.
pub(crate) struct QuantisedWeights {
    /// −127 to 127.
    pub values: Vec<i8>,
    /// `[out]`.
    pub scales: Vec<f32>,
}

impl Convolution {
    /// Its weights in 8 bits.
    pub fn quantised_weights(&self) -> QuantisedWeights {
        let per_channel = self.weight.len() / self.output_channels;
        let (mut values, mut scales) = (Vec::with_capacity(self.weight.len()), Vec::new());
        for taps in self.weight.chunks_exact(per_channel) {
            let most = taps.iter().fold(0f32, |most, tap| most.max(tap.abs()));
            let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
            values.extend(taps.iter().map(|tap| (tap / scale).round() as i8));
            scales.push(scale);
        }
        QuantisedWeights { values, scales }
    }
}

impl Program {
    /// Shape of a value.
    pub fn shape(&self, value: Id) -> &[usize] {
        &self.steps[value].shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_hold_a_range_with_zero_and_weights_to_half_a_step() {
        let spread = Spread::of([-0.5, 4.6]);
        assert!((spread.scale - 5.1 / 255.0).abs() < 1e-7);
        assert_eq!(spread.zero, -103);
        // Zero belongs to every range, and a range of nothing can be divided by.
        assert_eq!(Spread::of([2.0, 5.1]), Spread { scale: 5.1 / 255.0, zero: -128 });
        assert!(Spread::of([0.0, 0.0]).scale > 0.0);
        let convolution = Convolution {
            weight: vec![1.0, -0.5, 0.26, 0.0, 0.0, 0.0],
            bias: vec![0.0; 2],
            output_channels: 2,
            input_channels_per_group: 3,
            kernel: 1,
            stride: 1,
            groups: 1,
            quantised: None,
        };
        let weights = convolution.quantised_weights();
        assert_eq!(weights.values, [127, -64, 33, 0, 0, 0]);
        assert_eq!(weights.scales, [1.0 / 127.0, 1.0]);
    }
}
