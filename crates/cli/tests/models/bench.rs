//! What tests of exported files share.

use yolo11_network::{Model, Network, Scale, TensorKind};

/// A model of random weights whose values neither die out nor explode on the way to the head; a smaller `variance` makes them livelier.
pub fn random(scale: Scale, variance: f32) -> Model {
    let network = Network::yolo11(scale, 3);
    let mut model = Model::initialise(&network, 3);
    let kinds: Vec<TensorKind> = network.tensors().iter().map(|spec| spec.kind).collect();
    for (index, kind) in kinds.into_iter().enumerate() {
        let uneven = |place: usize| (place * 37 % 19) as f32 / 18.0 - 0.5;
        for (place, value) in model.tensor_mut(index).iter_mut().enumerate() {
            match kind {
                TensorKind::NormWeight => *value = 1.0 + 0.4 * uneven(place),
                TensorKind::NormBias | TensorKind::RunningMean => *value = 0.2 * uneven(place + index),
                TensorKind::RunningVar => *value = variance,
                TensorKind::ConvBias => *value = 3.0 * uneven(place),
                _ => {}
            }
        }
    }
    model
}
