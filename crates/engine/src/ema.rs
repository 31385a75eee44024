//! Keeps a smoothed copy of a model: the exponential moving average of its parameters and running statistics.

use rayon::prelude::*;
use yolo11_network::{Model, TensorKind};

/// Values that one unit of parallel work takes.
const CHUNK: usize = 1 << 14;
/// How slowly an average follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmaSettings {
    /// Share of the old average that stays once the average has warmed up.
    pub decay: f64,
    /// Updates over which the decay rises to 63 % of that.
    pub tau: f64,
}

impl Default for EmaSettings {
    fn default() -> Self {
        EmaSettings { decay: 0.9999, tau: 2000.0 }
    }
}

/// The average of a model over the steps of its training; validation and saved weights use it.
#[derive(Clone, Debug)]
pub struct Ema {
    model: Model,
    settings: EmaSettings,
    updates: u64,
}

impl Ema {
    /// Starts at the model itself.
    pub fn new(model: &Model, settings: EmaSettings) -> Self {
        Ema { model: model.clone(), settings, updates: 0 }
    }

    /// Goes on from a saved average.
    pub fn restore(model: Model, settings: EmaSettings, updates: u64) -> Self {
        Ema { model, settings, updates }
    }

    /// The average.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How often it was updated.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Moves the average towards a model of the same network: by 1 − decay·(1 − e^(−updates / tau)) of the way.
    /// The count of batches behind the running statistics is copied.
    pub fn update(&mut self, model: &Model) {
        self.updates += 1;
        let EmaSettings { decay, tau } = self.settings;
        let decay = decay * (1.0 - (-(self.updates as f64) / tau).exp());
        let (kept, taken) = (decay as f32, (1.0 - decay) as f32);
        for index in 0..model.network().tensors().len() {
            let kind = model.network().tensors()[index].kind;
            let (average, new) = (self.model.tensor_mut(index), model.tensor(index));
            match kind {
                TensorKind::BatchesTracked | TensorKind::DflWeight => average.copy_from_slice(new),
                _ => average.par_chunks_mut(CHUNK).zip(new.par_chunks(CHUNK)).for_each(|(average, new)| {
                    for (average, new) in average.iter_mut().zip(new) {
                        *average = *average * kept + taken * *new;
                    }
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_network::{Network, Scale};

    #[test]
    fn the_average_follows_the_formula_over_parameters_and_statistics() {
        let network = Network::yolo11(Scale::Nano, 1);
        let mut model = Model::initialise(&network, 0);
        let names = ["model.0.conv.weight", "model.0.bn.running_var"];
        let indices = names.map(|name| network.tensor_index(name).unwrap());
        let tracked = network.tensors().iter().position(|spec| spec.kind == TensorKind::BatchesTracked).unwrap();
        indices.iter().for_each(|&index| model.tensor_mut(index).fill(1.0));
        let mut ema = Ema::new(&model, EmaSettings::default());
        indices.iter().for_each(|&index| model.tensor_mut(index).fill(3.0));
        model.tensor_mut(tracked).fill(7.0);
        let mut wanted = 1.0f64;
        for update in 1..=3 {
            ema.update(&model);
            let decay = 0.9999 * (1.0 - (-f64::from(update) / 2000.0).exp());
            wanted = wanted * decay + 3.0 * (1.0 - decay);
        }
        for index in indices {
            assert!((f64::from(ema.model().tensor(index)[0]) - wanted).abs() < 1e-6);
        }
        assert_eq!(ema.model().tensor(tracked)[0], 7.0);
        assert_eq!(ema.updates(), 3);
    }
}
