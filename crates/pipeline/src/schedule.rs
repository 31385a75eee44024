//! What each step of a training uses: learning rates, momentum, how many batches make a step, weight decay.
//!
//! Within an epoch the rates are constant, except during the warm-up, where they move with every iteration.

use yolo11_engine::{OptimiserKind, Rates};

/// Fewest iterations of a warm-up, whatever the epochs say.
const SHORTEST_WARM_UP: u64 = 100;
/// Iterations (of the nominal batch) above which `auto` takes SGD.
const SGD_ITERATIONS: u64 = 10_000;

/// What a schedule is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSettings {
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Batches of one epoch.
    pub batches: usize,
    /// Pictures of a batch.
    pub batch: usize,
    /// Pictures that one step of the optimiser is meant to see (64 in the field).
    pub nominal_batch: usize,
    /// Learning rate at the start.
    pub lr0: f64,
    /// Share of `lr0` that is left at the end.
    pub lrf: f64,
    /// Falls by half a cosine wave instead of a line.
    pub cosine: bool,
    /// Momentum after the warm-up.
    pub momentum: f64,
    /// Decay for a step of the nominal batch.
    pub weight_decay: f64,
    /// Length of the warm-up in epochs; 0 for none.
    pub warmup_epochs: f64,
    /// Momentum at the start of the warm-up.
    pub warmup_momentum: f64,
    /// Learning rate of the biases at the start of the warm-up.
    pub warmup_bias_lr: f64,
}

/// The optimiser that a run uses, with the figures that belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimiserChoice {
    /// The rule.
    pub kind: OptimiserKind,
    /// Learning rate at the start.
    pub lr0: f64,
    /// Momentum, or first beta.
    pub momentum: f64,
    /// Learning rate of the biases at the start of the warm-up.
    pub warmup_bias_lr: f64,
}

impl OptimiserChoice {
    /// What `optimizer: auto` stands for: SGD for long trainings, AdamW with a rate by the number of classes for short ones.
    /// Long is more than 10,000 iterations of batches that are at least the nominal batch.
    pub fn automatic(pictures: usize, batch: usize, nominal_batch: usize, epochs: usize, classes: usize) -> Self {
        let iterations = pictures.div_ceil(batch.max(nominal_batch).max(1)) as u64 * epochs as u64;
        if iterations > SGD_ITERATIONS {
            OptimiserChoice { kind: OptimiserKind::Sgd, lr0: 0.01, momentum: 0.9, warmup_bias_lr: 0.1 }
        } else {
            let lr0 = 0.002 * 5.0 / (4.0 + classes as f64);
            // Adam's steps have the length of the rate itself: biases must not start at .1 here.
            OptimiserChoice {
                kind: OptimiserKind::AdamW,
                lr0: (lr0 * 1e6).round() / 1e6,
                momentum: 0.9,
                warmup_bias_lr: 0.0,
            }
        }
    }
}

/// What one iteration uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IterationPlan {
    /// Learning rates and momentum.
    pub rates: Rates,
    /// Batches whose gradients make one step of the optimiser.
    pub accumulate: u64,
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    settings: ScheduleSettings,
    kind: OptimiserKind,
    warmup: u64,
}

impl Schedule {
    /// Plans a run with one kind of optimiser.
    pub fn new(settings: ScheduleSettings, kind: OptimiserKind) -> Self {
        let warmup = if settings.warmup_epochs > 0.0 {
            ((settings.warmup_epochs * settings.batches as f64).round() as u64).max(SHORTEST_WARM_UP)
        } else {
            0
        };
        Schedule { settings, kind, warmup }
    }

    /// Iterations (batches) of the warm-up.
    pub fn warmup_iterations(&self) -> u64 {
        self.warmup
    }

    /// Batches of one optimiser step after the warm-up.
    pub fn accumulate(&self) -> u64 {
        let settings = &self.settings;
        (settings.nominal_batch as f64 / settings.batch.max(1) as f64).round_ties_even().max(1.0) as u64
    }

    /// Decay in proportion to the pictures that one step really sees.
    pub fn weight_decay(&self) -> f64 {
        let settings = &self.settings;
        settings.weight_decay * (settings.batch as u64 * self.accumulate()) as f64 / settings.nominal_batch as f64
    }

    /// Share of `lr0` in an epoch, counted from 0: 1 at first, `lrf` after the last.
    pub fn factor(&self, epoch: usize) -> f64 {
        let ScheduleSettings { epochs, lrf, cosine, .. } = self.settings;
        let done = epoch as f64 / epochs.max(1) as f64;
        if cosine {
            lrf + (1.0 - lrf) * (1.0 + (done * std::f64::consts::PI).cos()) / 2.0
        } else {
            (1.0 - done).max(0.0) * (1.0 - lrf) + lrf
        }
    }

    /// What the iteration (batch, counted from 0 over the whole run) in an epoch uses.
    ///
    /// The momentum warms up for SGD only: Adam's correction of its start presumes that beta stays the same.
    pub fn at(&self, iteration: u64, epoch: usize) -> IterationPlan {
        let settings = &self.settings;
        let scheduled = settings.lr0 * self.factor(epoch);
        let mut rates = Rates { weights: scheduled, norms: scheduled, biases: scheduled, momentum: settings.momentum };
        if iteration >= self.warmup {
            return IterationPlan { rates, accumulate: self.accumulate() };
        }
        let share = iteration as f64 / self.warmup as f64;
        let between = |from: f64, to: f64| from + (to - from) * share;
        rates.weights = between(0.0, scheduled);
        rates.norms = between(0.0, scheduled);
        rates.biases = between(settings.warmup_bias_lr, scheduled);
        if self.kind == OptimiserKind::Sgd {
            rates.momentum = between(settings.warmup_momentum, settings.momentum);
        }
        let full = settings.nominal_batch as f64 / settings.batch.max(1) as f64;
        IterationPlan { rates, accumulate: between(1.0, full).round_ties_even().max(1.0) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of the recorded training on BCCD: 205 pictures in batches of 4 for 60 epochs.
    fn bccd() -> ScheduleSettings {
        ScheduleSettings {
            epochs: 60,
            batches: 52,
            batch: 4,
            nominal_batch: 64,
            lr0: 0.001,
            lrf: 0.01,
            cosine: false,
            momentum: 0.937,
            weight_decay: 0.0005,
            warmup_epochs: 3.0,
            warmup_momentum: 0.8,
            warmup_bias_lr: 0.1,
        }
    }

    #[test]
    fn rates_are_those_of_the_recorded_training() {
        let Some(shared) = std::env::var_os("YOLO11_SHARED") else {
            eprintln!("skipped: YOLO11_SHARED is not set");
            return;
        };
        let path = std::path::Path::new(&shared).join("oracle/bccd_peer_60_epochs_320px.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let schedule = Schedule::new(bccd(), OptimiserKind::AdamW);
        let mut rows = 0;
        for (epoch, row) in text.lines().skip(1).enumerate() {
            let columns: Vec<f64> = row.split(',').map(|column| column.trim().parse().unwrap()).collect();
            let last = (epoch as u64 + 1) * 52 - 1;
            let rates = schedule.at(last, epoch).rates;
            for (given, wanted) in [rates.weights, rates.norms, rates.biases].into_iter().zip(&columns[12..15]) {
                assert!((given - wanted).abs() <= 1e-5 * wanted, "epoch {}: {given} {wanted}", epoch + 1);
            }
            rows += 1;
        }
        assert_eq!(rows, 60);
    }

    #[test]
    fn warm_up_ramps_rates_momentum_and_accumulation() {
        let schedule = Schedule::new(bccd(), OptimiserKind::Sgd);
        assert_eq!(schedule.warmup_iterations(), 156);
        let start = schedule.at(0, 0);
        assert_eq!(start.rates, Rates { weights: 0.0, norms: 0.0, biases: 0.1, momentum: 0.8 });
        assert_eq!(start.accumulate, 1);
        let middle = schedule.at(78, 1);
        assert!((middle.rates.momentum - 0.8685).abs() < 1e-12);
        // Half way from 1 to 16 is 8.5; ties go to the even number.
        assert_eq!(middle.accumulate, 8);
        assert_eq!(schedule.at(156, 3).accumulate, 16);
        assert_eq!(schedule.at(156, 3).rates.momentum, 0.937);
        assert_eq!(Schedule::new(bccd(), OptimiserKind::AdamW).at(0, 0).rates.momentum, 0.937);
        let short = Schedule::new(ScheduleSettings { batches: 5, ..bccd() }, OptimiserKind::Sgd);
        assert_eq!(short.warmup_iterations(), 100);
        let none = Schedule::new(ScheduleSettings { warmup_epochs: 0.0, ..bccd() }, OptimiserKind::Sgd);
        assert_eq!(none.at(0, 0).rates.weights, 0.001);
    }

    #[test]
    fn decay_follows_the_pictures_of_a_step() {
        assert_eq!(Schedule::new(bccd(), OptimiserKind::Sgd).weight_decay(), 0.0005);
        let settings = ScheduleSettings { batch: 96, ..bccd() };
        let schedule = Schedule::new(settings, OptimiserKind::Sgd);
        assert_eq!(schedule.accumulate(), 1);
        assert!((schedule.weight_decay() - 0.00075).abs() < 1e-12);
    }

    #[test]
    fn the_cosine_starts_at_one_is_half_way_in_the_middle_and_ends_at_lrf() {
        let schedule = Schedule::new(ScheduleSettings { cosine: true, ..bccd() }, OptimiserKind::Sgd);
        assert_eq!(schedule.factor(0), 1.0);
        assert!((schedule.factor(30) - 0.505).abs() < 1e-12);
        assert!((schedule.factor(60) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn automatic_takes_adamw_for_short_and_sgd_for_long_trainings() {
        let short = OptimiserChoice::automatic(205, 4, 64, 60, 3);
        assert_eq!((short.kind, short.lr0, short.momentum), (OptimiserKind::AdamW, 0.001429, 0.9));
        let long = OptimiserChoice::automatic(118_287, 16, 64, 100, 80);
        assert_eq!((long.kind, long.lr0, long.momentum), (OptimiserKind::Sgd, 0.01, 0.9));
        // 64,000 pictures make 1,000 iterations of 64: ten epochs are not yet more than 10,000.
        assert_eq!(OptimiserChoice::automatic(64_000, 4, 64, 10, 3).kind, OptimiserKind::AdamW);
        assert_eq!(OptimiserChoice::automatic(64_000, 4, 64, 11, 3).kind, OptimiserKind::Sgd);
    }
}
