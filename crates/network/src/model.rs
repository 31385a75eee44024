use crate::{BINS, Convolution, NORM_EPSILON, Network, STRIDES, TensorKind};

/// A network with the values of its tensors, each in float32, row-major, in the shape of its [`TensorSpec`](crate::TensorSpec).
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    network: Network,
    tensors: Vec<Vec<f32>>,
}

/// A convolution whose batch norm has been multiplied into it, for evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedConvolution {
    /// Weight `[out, in / groups, height, width]`.
    pub weight: Vec<f32>,
    /// Bias `[out]`.
    pub bias: Vec<f32>,
}

impl Model {
    /// Start values as PyTorch gives a convolution by default (uniform within 1/√fan-in), identity norms, and the head's biases set
    /// for the prior that objects are rare. The same seed gives the same bits everywhere.
    pub fn initialise(network: &Network, seed: u64) -> Model {
        let mut tensors = Vec::with_capacity(network.tensors().len());
        for (index, spec) in network.tensors().iter().enumerate() {
            let count = spec.elements();
            tensors.push(match spec.kind {
                TensorKind::ConvWeight => {
                    let fan_in: usize = spec.shape[1..].iter().product();
                    let bound = 1.0 / (fan_in as f64).sqrt();
                    let mut random = SplitMix64::new(seed, index as u64);
                    (0..count).map(|_| ((random.uniform() * 2.0 - 1.0) * bound) as f32).collect()
                }
                TensorKind::ConvBias => vec![head_bias(network, &spec.name); count],
                TensorKind::NormWeight | TensorKind::RunningVar => vec![1.0; count],
                TensorKind::NormBias | TensorKind::RunningMean | TensorKind::BatchesTracked => vec![0.0; count],
                TensorKind::DflWeight => (0..BINS).map(|bin| bin as f32).collect(),
            });
        }
        Model { network: network.clone(), tensors }
    }

    /// A model to be filled: all zeros, but for the head's constants.
    pub fn zeros(network: &Network) -> Model {
        let values = |kind, count| match kind {
            TensorKind::DflWeight => (0..BINS).map(|bin| bin as f32).collect(),
            _ => vec![0.0; count],
        };
        let tensors = network.tensors().iter().map(|spec| values(spec.kind, spec.elements())).collect();
        Model { network: network.clone(), tensors }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Values of the tensor at a position of [`Network::tensors`].
    pub fn tensor(&self, index: usize) -> &[f32] {
        &self.tensors[index]
    }

    /// Values of a tensor, to change. Its length is fixed.
    pub fn tensor_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.tensors[index]
    }

    /// Weight and bias of a convolution in evaluation form: batch norm with its running statistics multiplied in.
    pub fn fold(&self, convolution: &Convolution) -> FoldedConvolution {
        let mut weight = self.tensor(convolution.weight).to_vec();
        let Some(norm) = convolution.norm else {
            let bias = match convolution.bias {
                Some(bias) => self.tensor(bias).to_vec(),
                None => vec![0.0; convolution.output_channels],
            };
            return FoldedConvolution { weight, bias };
        };
        let [scale, shift, mean, variance] = [0, 1, 2, 3].map(|offset| self.tensor(norm + offset));
        let per_channel = weight.len() / convolution.output_channels;
        let mut bias = Vec::with_capacity(convolution.output_channels);
        for (channel, taps) in weight.chunks_exact_mut(per_channel).enumerate() {
            let factor = scale[channel] / (variance[channel] + NORM_EPSILON).sqrt();
            taps.iter_mut().for_each(|tap| *tap *= factor);
            bias.push(shift[channel] - mean[channel] * factor);
        }
        FoldedConvolution { weight, bias }
    }
}

/// Start value of the biases of the head's last convolutions.
fn head_bias(network: &Network, name: &str) -> f32 {
    // Names end in `.cv2.<level>.2.bias` (boxes) and `.cv3.<level>.2.bias` (classes).
    let mut parts = name.rsplit('.').skip(2);
    let level: usize = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    if parts.next() == Some("cv2") {
        return 2.0;
    }
    let cells = 640.0 / STRIDES[level.min(2)] as f64;
    (5.0 / network.classes as f64 / (cells * cells)).ln() as f32
}

/// The SplitMix64 generator (Steele, Lea, Flood 2014): its stream is part of what a seed means, so it is written out here.
struct SplitMix64(u64);

impl SplitMix64 {
    /// An independent stream for each (seed, stream) pair.
    fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = SplitMix64(seed ^ 0x5DEE_CE66_D1CE_4E5B);
        let base = mixer.next();
        SplitMix64(base ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scale;

    #[test]
    fn start_values_follow_pytorch_and_the_seed() {
        let network = Network::yolo11(Scale::Nano, 3);
        let model = Model::initialise(&network, 7);
        let weight = model.tensor(network.tensor_index("model.1.conv.weight").unwrap());
        let bound = 1.0 / (16.0f32 * 9.0).sqrt();
        let largest = weight.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(largest <= bound && largest > 0.99 * bound, "{largest} {bound}");
        let variance = weight.iter().map(|value| value * value).sum::<f32>() / weight.len() as f32;
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.05);
        let bias = model.tensor(network.tensor_index("model.23.cv3.1.2.bias").unwrap());
        assert!((bias[0] - (5.0f32 / 3.0 / 1600.0).ln()).abs() < 1e-6);
        assert_eq!(model.tensor(network.tensor_index("model.23.cv2.2.2.bias").unwrap()), [2.0; 64]);
        assert_eq!(model, Model::initialise(&network, 7));
        assert_ne!(model, Model::initialise(&network, 8));
    }

    #[test]
    fn folding_is_batch_norm_after_convolution() {
        let network = Network::yolo11(Scale::Nano, 3);
        let mut model = Model::initialise(&network, 0);
        let convolution = network
            .nodes
            .iter()
            .find_map(|node| match node.operation {
                crate::Operation::Convolution(convolution) => Some(convolution),
                _ => None,
            })
            .unwrap();
        let norm = convolution.norm.unwrap();
        for (offset, value) in [(0, 2.0), (1, 0.5), (2, 3.0), (3, 4.0 - NORM_EPSILON)] {
            model.tensor_mut(norm + offset).fill(value);
        }
        let folded = model.fold(&convolution);
        // y = 2 (x − 3) / 2 + 0.5 = x − 2.5
        assert!(folded.bias.iter().all(|bias| (bias + 2.5).abs() < 1e-6));
        let original = model.tensor(convolution.weight);
        assert!(folded.weight.iter().zip(original).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
