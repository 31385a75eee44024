/// Position of a value in [`Network::values`](crate::Network::values).
pub type ValueId = usize;

/// Something that flows between nodes: an image with channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Channels per pixel.
    pub channels: usize,
    /// Input pixels per pixel of this value, in each direction.
    pub stride: usize,
}

/// A convolution with what belongs to it. Tensors are positions in [`Network::tensors`](crate::Network::tensors).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Input channels.
    pub input_channels: usize,
    /// Output channels.
    pub output_channels: usize,
    /// Side of the square kernel; padding is half of it.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// 1, or the number of channels for a depthwise convolution.
    pub groups: usize,
    /// The weight.
    pub weight: usize,
    /// The first of batch norm's five tensors: weight, bias, running mean, running variance, batches tracked.
    pub norm: Option<usize>,
    /// The bias, where there is no batch norm.
    pub bias: Option<usize>,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Convolution {
    /// Whether each channel is convolved alone.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1
    }

    /// Input channels that one output channel sees.
    pub fn input_channels_per_group(&self) -> usize {
        self.input_channels / self.groups
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Convolution, then batch norm and SiLU where the description has them.
    Convolution(Convolution),
    /// Channels of all inputs one after another.
    Concat,
    /// Channels `first .. first + output channels` of the input.
    Slice {
        /// First channel taken.
        first: usize,
    },
    /// Sum of two inputs.
    Add,
    /// Maximum over a square window, step 1, same size.
    MaxPool {
        /// Side of the window.
        kernel: usize,
    },
    /// Every pixel doubled in both directions.
    Upsample,
    /// Scaled dot-product attention over all pixels. The input holds, head after head, `key_width` query channels, `key_width` key
    /// channels and `head_width` value channels; the output, head after head, `head_width` channels.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Channels of a query and of a key.
        key_width: usize,
        /// Channels of a value.
        head_width: usize,
    },
    /// The value channels of an attention input, head after head.
    AttentionValues {
        /// Number of heads.
        heads: usize,
        /// Channels of a query and of a key.
        key_width: usize,
        /// Channels of a value.
        head_width: usize,
    },
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The module's name, such as `model.2.m.0.cv1`.
    pub name: String,
    /// Number of the layer it belongs to (0 … 23).
    pub layer: usize,
    /// What it does.
    pub operation: Operation,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub output: ValueId,
}
