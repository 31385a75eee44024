/// What a tensor is for: it decides start value, weight decay and whether it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorKind {
    /// Convolution weight `[out, in / groups, height, width]`.
    ConvWeight,
    /// Convolution bias `[out]`.
    ConvBias,
    /// Batch norm's scale `[channels]`.
    NormWeight,
    /// Batch norm's shift `[channels]`.
    NormBias,
    /// Batch norm's running mean `[channels]`.
    RunningMean,
    /// Batch norm's running variance `[channels]`.
    RunningVar,
    /// Number of batches behind the running statistics: a scalar, an integer in files.
    BatchesTracked,
    /// The head's constant 0, 1, … 15 `[1, 16, 1, 1]`, never trained.
    DflWeight,
}

impl TensorKind {
    /// Whether the optimiser moves it.
    pub fn is_parameter(self) -> bool {
        matches!(self, Self::ConvWeight | Self::ConvBias | Self::NormWeight | Self::NormBias)
    }

    /// Whether weight decay applies: to weights of rank above one only.
    pub fn decays(self) -> bool {
        self == Self::ConvWeight
    }

    /// Whether it is a bias (of a convolution or a norm), which has a warm-up of its own.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::ConvBias | Self::NormBias)
    }
}

/// Name, shape and purpose of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The field's name, such as `model.2.m.0.cv1.conv.weight`.
    pub name: String,
    /// Row-major shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: TensorKind,
}

impl TensorSpec {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
