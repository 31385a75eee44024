//! Moves a model's parameters along their gradients: SGD with Nesterov momentum, Adam, AdamW.
//!
//! The formulas and the order of their float32 operations are PyTorch's (`torch.optim`), after clipping the gradient's norm over
//! all parameters. Every value is updated on its own and the norm is summed by fixed pieces, so the number of threads never
//! shows in a result.

use rayon::prelude::*;
use yolo11_network::{Model, Network, TensorKind};

use crate::Gradients;

/// Values that one unit of parallel work takes.
const CHUNK: usize = 1 << 14;
/// Adam's addend in the denominator.
const ADAM_EPSILON: f32 = 1e-8;
/// Addend to the norm when clipping, as in PyTorch.
const CLIP_EPSILON: f64 = 1e-6;

/// Which rule moves the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimiserKind {
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd,
    /// Adam (Kingma and Ba, 2015); decay is added to the gradient.
    Adam,
    /// AdamW (Loshchilov and Hutter, 2019); decay shrinks the weights themselves.
    AdamW,
}

impl OptimiserKind {
    /// The field's name: `SGD`, `Adam`, `AdamW`.
    pub fn name(self) -> &'static str {
        match self {
            OptimiserKind::Sgd => "SGD",
            OptimiserKind::Adam => "Adam",
            OptimiserKind::AdamW => "AdamW",
        }
    }

    /// Reads a name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sgd, Self::Adam, Self::AdamW].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Names of the arrays that it keeps for each parameter.
    fn moments(self) -> &'static [&'static str] {
        match self {
            OptimiserKind::Sgd => &["momentum_buffer"],
            OptimiserKind::Adam | OptimiserKind::AdamW => &["exp_avg", "exp_avg_sq"],
        }
    }
}

/// What stays the same from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimiserSettings {
    /// Decay of the weights of rank above one; norms and biases never decay.
    pub weight_decay: f64,
    /// Second beta of the Adam family.
    pub beta2: f64,
    /// Longest gradient over all parameters; longer ones are scaled down to it. 0 for no bound.
    pub clip_norm: f64,
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        OptimiserSettings { weight_decay: 0.0005, beta2: 0.999, clip_norm: 10.0 }
    }
}

/// What a schedule sets for one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Learning rate of the weights of rank above one.
    pub weights: f64,
    /// Learning rate of the norms' scales.
    pub norms: f64,
    /// Learning rate of all biases.
    pub biases: f64,
    /// Momentum of SGD, first beta of the Adam family.
    pub momentum: f64,
}

impl Rates {
    fn learning_rate(&self, kind: TensorKind) -> f64 {
        match kind {
            TensorKind::NormWeight => self.norms,
            kind if kind.is_bias() => self.biases,
            _ => self.weights,
        }
    }
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Norm of the gradient over all trained parameters, before clipping. Where it is not finite nothing was moved.
    pub gradient_norm: f64,
}

/// An optimiser for the parameters of one network, with its moments.
#[derive(Clone, Debug)]
pub struct Optimiser {
    kind: OptimiserKind,
    settings: OptimiserSettings,
    /// Per moment and parameter; `(tensor, kind, name)` in `parameters` gives the order.
    moments: Vec<Vec<Vec<f32>>>,
    parameters: Vec<(usize, TensorKind, String)>,
    steps: u64,
    partial: Vec<f64>,
}

impl Optimiser {
    /// An optimiser at rest. `frozen` tells the tensors (by position in [`Network::tensors`]) that must not move.
    pub fn new(
        kind: OptimiserKind,
        network: &Network,
        settings: OptimiserSettings,
        frozen: impl Fn(usize) -> bool,
    ) -> Self {
        let mut parameters = Vec::new();
        for (index, spec) in network.tensors().iter().enumerate() {
            if spec.kind.is_parameter() && !frozen(index) {
                parameters.push((index, spec.kind, spec.name.clone()));
            }
        }
        let zeros = || parameters.iter().map(|&(index, ..)| vec![0.0; network.tensors()[index].elements()]).collect();
        let moments = kind.moments().iter().map(|_| zeros()).collect();
        Optimiser { kind, settings, moments, parameters, steps: 0, partial: Vec::new() }
    }

    /// The rule.
    pub fn kind(&self) -> OptimiserKind {
        self.kind
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves every parameter that is not frozen. The gradients are left as they are.
    pub fn step(&mut self, model: &mut Model, gradients: &Gradients, rates: &Rates) -> StepReport {
        let gradient_norm = self.gradient_norm(gradients);
        if !gradient_norm.is_finite() {
            return StepReport { gradient_norm };
        }
        let bound = self.settings.clip_norm;
        let clip = if bound > 0.0 { (bound / (gradient_norm + CLIP_EPSILON)).min(1.0) as f32 } else { 1.0 };
        self.steps += 1;
        for position in 0..self.parameters.len() {
            let (index, kind, _) = self.parameters[position];
            let lr = rates.learning_rate(kind);
            let decay = if kind.decays() { self.settings.weight_decay } else { 0.0 };
            let values = model.tensor_mut(index);
            let gradient = gradients.tensor(index);
            match (self.kind, self.moments.as_mut_slice()) {
                (OptimiserKind::Sgd, [buffer]) => {
                    let rule = SgdRule { lr, decay, momentum: rates.momentum, clip, first: self.steps == 1 };
                    rule.apply(values, gradient, &mut buffer[position]);
                }
                (kind, [mean, square]) => {
                    let rule = AdamRule {
                        lr,
                        decay,
                        decoupled: kind == OptimiserKind::AdamW,
                        betas: [rates.momentum, self.settings.beta2],
                        clip,
                        step: self.steps,
                    };
                    rule.apply(values, gradient, &mut mean[position], &mut square[position]);
                }
                _ => unreachable!("the number of moments follows from the kind"),
            }
        }
        StepReport { gradient_norm }
    }

    /// Norm over all parameters that are not frozen, summed in float64 by fixed pieces.
    fn gradient_norm(&mut self, gradients: &Gradients) -> f64 {
        let mut sum = 0.0;
        for &(index, ..) in &self.parameters {
            let gradient = gradients.tensor(index);
            self.partial.clear();
            self.partial.resize(gradient.len().div_ceil(CHUNK), 0.0);
            let chunks = gradient.par_chunks(CHUNK).zip(&mut self.partial);
            chunks.for_each(|(chunk, partial)| *partial = sum_of_squares(chunk));
            sum += self.partial.iter().sum::<f64>();
        }
        sum.sqrt()
    }

    /// Every moment under `<moment>.<parameter>`, such as `exp_avg.model.0.conv.weight`; with [`Optimiser::steps`] the whole state.
    pub fn state(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.kind.moments().iter().zip(&self.moments).flat_map(move |(moment, arrays)| {
            let arrays = self.parameters.iter().zip(arrays);
            arrays.map(move |((_, _, name), array)| (format!("{moment}.{name}"), array.as_slice()))
        })
    }

    /// Takes over a state: `read` fills an array, known by the name that [`Optimiser::state`] gives it. After an error of `read` some
    /// arrays are filled and others are not.
    pub fn restore<E>(&mut self, steps: u64, mut read: impl FnMut(&str, &mut [f32]) -> Result<(), E>) -> Result<(), E> {
        for (moment, arrays) in self.kind.moments().iter().zip(&mut self.moments) {
            for ((_, _, parameter), array) in self.parameters.iter().zip(arrays) {
                read(&format!("{moment}.{parameter}"), array)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

/// In eight lanes, so that it vectorises with a fixed order of additions.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for lane in 0..8 {
            let value = f64::from(chunk[lane]);
            lanes[lane] += value * value;
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(value) * f64::from(value);
    }
    lanes.iter().sum()
}

struct SgdRule {
    lr: f64,
    decay: f64,
    momentum: f64,
    clip: f32,
    first: bool,
}

impl SgdRule {
    fn apply(&self, values: &mut [f32], gradient: &[f32], buffer: &mut [f32]) {
        let (lr, decay, clip) = (self.lr as f32, self.decay as f32, self.clip);
        let momentum = self.momentum as f32;
        // The first step takes the gradient itself for the buffer, whatever stands there.
        let kept = if self.first { 0.0 } else { momentum };
        let chunks = values.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(buffer.par_chunks_mut(CHUNK));
        chunks.for_each(|((values, gradient), buffer)| {
            for ((value, &gradient), buffer) in values.iter_mut().zip(gradient).zip(buffer) {
                let gradient = gradient * clip + decay * *value;
                *buffer = *buffer * kept + gradient;
                *value -= lr * (gradient + momentum * *buffer);
            }
        });
    }
}

struct AdamRule {
    lr: f64,
    decay: f64,
    decoupled: bool,
    betas: [f64; 2],
    clip: f32,
    step: u64,
}

impl AdamRule {
    fn apply(&self, values: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let [beta1, beta2] = self.betas;
        let correction1 = 1.0 - beta1.powf(self.step as f64);
        let correction2 = (1.0 - beta2.powf(self.step as f64)).sqrt() as f32;
        let step_size = (self.lr / correction1) as f32;
        let (into_mean, into_square, kept_square) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32, beta2 as f32);
        let shrink = if self.decoupled { (1.0 - self.lr * self.decay) as f32 } else { 1.0 };
        let added = if self.decoupled { 0.0 } else { self.decay as f32 };
        let clip = self.clip;
        let moments = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
        let chunks = values.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(moments);
        chunks.for_each(|((values, gradient), (mean, square))| {
            for ((value, &gradient), (mean, square)) in values.iter_mut().zip(gradient).zip(mean.iter_mut().zip(square))
            {
                let gradient = gradient * clip + added * *value;
                let shrunk = *value * shrink;
                *mean += into_mean * (gradient - *mean);
                *square = *square * kept_square + into_square * (gradient * gradient);
                let denominator = square.sqrt() / correction2 + ADAM_EPSILON;
                *value = shrunk - step_size * (*mean / denominator);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_network::Scale;

    const RATES: Rates = Rates { weights: 0.1, norms: 0.1, biases: 0.5, momentum: 0.9 };

    /// A network whose first convolution's weight starts at 2 with gradient 1 everywhere and all other gradients zero.
    fn setting() -> (Network, Model, Gradients, usize, usize) {
        let network = Network::yolo11(Scale::Nano, 3);
        let mut model = Model::initialise(&network, 0);
        let mut gradients = Gradients::zeros(&network);
        let weight = network.tensor_index("model.0.conv.weight").unwrap();
        let bias = network.tensor_index("model.0.bn.bias").unwrap();
        model.tensor_mut(weight).fill(2.0);
        gradients.tensor_mut(weight).fill(0.25);
        gradients.tensor_mut(bias).fill(0.5);
        (network, model, gradients, weight, bias)
    }

    fn near(given: f32, wanted: f64) -> bool {
        (f64::from(given) - wanted).abs() < 2e-6 * wanted.abs().max(1e-3)
    }

    #[test]
    fn sgd_follows_pytorch_by_hand() {
        let (network, mut model, gradients, weight, bias) = setting();
        let settings = OptimiserSettings { weight_decay: 0.5, clip_norm: 1e9, ..Default::default() };
        let mut optimiser = Optimiser::new(OptimiserKind::Sgd, &network, settings, |_| false);
        let report = optimiser.step(&mut model, &gradients, &RATES);
        // 432 weights of .25 and 16 biases of .5.
        assert!((report.gradient_norm - (432.0f64 * 0.0625 + 16.0 * 0.25).sqrt()).abs() < 1e-12);
        // g = .25 + .5·2 = 1.25; buffer = 1.25; 2 − .1·(1.25 + .9·1.25) = 1.7625.
        assert!(near(model.tensor(weight)[0], 1.7625), "{}", model.tensor(weight)[0]);
        // No decay, own rate: −.5·(.5 + .45) = −.475.
        assert!(near(model.tensor(bias)[0], -0.475));
        optimiser.step(&mut model, &gradients, &RATES);
        // g = .25 + .88125 = 1.13125; buffer = 1.125 + 1.13125 = 2.25625; 1.7625 − .1·(1.13125 + 2.030625) = 1.4463125.
        assert!(near(model.tensor(weight)[0], 1.4463125), "{}", model.tensor(weight)[0]);
    }

    #[test]
    fn adam_and_adamw_follow_pytorch_by_hand() {
        for (kind, wanted) in [
            // g = 1.25: the first step of Adam goes by the whole rate: 2 − .1·1.25/(1.25 + 1e-8).
            (OptimiserKind::Adam, 1.9),
            // 2·(1 − .1·.5) − .1 = 1.8.
            (OptimiserKind::AdamW, 1.8),
        ] {
            let (network, mut model, gradients, weight, bias) = setting();
            let settings = OptimiserSettings { weight_decay: 0.5, clip_norm: 1e9, ..Default::default() };
            let mut optimiser = Optimiser::new(kind, &network, settings, |_| false);
            optimiser.step(&mut model, &gradients, &RATES);
            assert!(near(model.tensor(weight)[0], wanted), "{kind:?} {}", model.tensor(weight)[0]);
            assert!(near(model.tensor(bias)[0], -0.5), "{kind:?}");
            if kind == OptimiserKind::AdamW {
                let mut halved = gradients.clone();
                halved.tensor_mut(weight).fill(0.125);
                optimiser.step(&mut model, &halved, &RATES);
                // m = .9·.025 + .1·.125 = .035, m̂ = .035/.19; v = .999·6.25e-5 + .001·.015625, v̂ = v/.001999.
                let mean: f64 = 0.035 / 0.19;
                let square: f64 = (0.999 * 6.25e-5 + 1.5625e-5) / 0.001999;
                let wanted = 1.8 * 0.95 - 0.1 * mean / (square.sqrt() + 1e-8);
                assert!(near(model.tensor(weight)[0], wanted), "{} {wanted}", model.tensor(weight)[0]);
            }
        }
    }

    #[test]
    fn long_gradients_are_clipped_and_broken_ones_move_nothing() {
        let (network, mut model, mut gradients, weight, _) = setting();
        gradients.tensor_mut(weight).fill(100.0);
        let settings = OptimiserSettings { weight_decay: 0.0, ..Default::default() };
        let mut optimiser = Optimiser::new(OptimiserKind::Sgd, &network, settings, |_| false);
        let rates = Rates { momentum: 0.0, ..RATES };
        let norm = optimiser.step(&mut model, &gradients, &rates).gradient_norm;
        let wanted = 2.0 - 0.1 * 100.0 * 10.0 / (norm + 1e-6);
        assert!(near(model.tensor(weight)[0], wanted), "{} {wanted}", model.tensor(weight)[0]);
        let before = model.clone();
        gradients.tensor_mut(weight)[5] = f32::NAN;
        assert!(!optimiser.step(&mut model, &gradients, &rates).gradient_norm.is_finite());
        assert_eq!(model, before);
        assert_eq!(optimiser.steps(), 1);
    }

    #[test]
    fn frozen_tensors_stay_and_a_restored_state_goes_on_with_the_same_bits() {
        let (network, mut model, gradients, weight, bias) = setting();
        let make =
            || Optimiser::new(OptimiserKind::AdamW, &network, OptimiserSettings::default(), |index| index == weight);
        let mut optimiser = make();
        optimiser.step(&mut model, &gradients, &RATES);
        assert_eq!(model.tensor(weight)[0], 2.0);
        assert_ne!(model.tensor(bias)[0], 0.0);
        let saved: Vec<(String, Vec<f32>)> = optimiser.state().map(|(name, array)| (name, array.to_vec())).collect();
        assert!(saved.iter().any(|(name, _)| name == "exp_avg_sq.model.0.bn.bias"));
        let mut other = make();
        let read = |name: &str, values: &mut [f32]| {
            let (_, array) = saved.iter().find(|(saved, _)| saved == name).ok_or_else(|| name.to_owned())?;
            values.copy_from_slice(array);
            Ok::<(), String>(())
        };
        other.restore(optimiser.steps(), read).unwrap();
        let mut twin = model.clone();
        optimiser.step(&mut model, &gradients, &RATES);
        other.step(&mut twin, &gradients, &RATES);
        assert_eq!(model, twin);
        let missing = make().restore(1, |name, _| Err(name.to_owned())).unwrap_err();
        assert_eq!(missing, "exp_avg.model.0.bn.weight");
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (network, model, mut gradients, ..) = setting();
        for (index, spec) in network.tensors().iter().enumerate() {
            if spec.kind.is_parameter() {
                let values = gradients.tensor_mut(index).iter_mut().enumerate();
                values.for_each(|(position, value)| *value = ((position * 37 + index) % 101) as f32 / 101.0 - 0.5);
            }
        }
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut model = model.clone();
            let mut optimiser = Optimiser::new(OptimiserKind::AdamW, &network, OptimiserSettings::default(), |_| false);
            let report = pool.install(|| optimiser.step(&mut model, &gradients, &RATES));
            (model, report.gradient_norm.to_bits())
        };
        assert_eq!(run(1), run(3));
    }
}
