//! Random numbers that depend only on named keys, so that work can be dealt to any number of threads.

/// A small generator (SplitMix64: Steele, Lea and Flood, 2014) whose start is a hash of keys such as seed, epoch and
/// position. Every sample has its own.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// A generator for these keys; different keys give unrelated numbers.
    pub fn new(keys: &[u64]) -> Self {
        let mut state = 0x243f_6a88_85a3_08d3;
        for &key in keys {
            state = mix(state ^ mix(key.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        }
        Self { state }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between two values.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..count; 0 for a count of 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Gamma with this shape (at least 1) and scale 1 (Marsaglia and Tsang, 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Beta with equal parameters of at least 1.
    pub fn beta(&mut self, shape: f64) -> f64 {
        let (a, b) = (self.gamma(shape), self.gamma(shape));
        a / (a + b)
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(&[1, 2]);
        let count = 100_000;
        let unit: Vec<f64> = (0..count).map(|_| random.unit()).collect();
        let beta: Vec<f64> = (0..count).map(|_| random.beta(32.0)).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let variance = |values: &[f64]| {
            let centre = mean(values);
            values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / values.len() as f64
        };
        assert!((mean(&unit) - 0.5).abs() < 0.005, "{}", mean(&unit));
        assert!((variance(&unit) - 1.0 / 12.0).abs() < 0.002);
        assert!((mean(&beta) - 0.5).abs() < 0.002);
        // Variance of Beta(a, a) is 1 / (4 (2a + 1)).
        assert!((variance(&beta) - 1.0 / 260.0).abs() < 0.0002);
    }

    #[test]
    fn keys_decide_the_numbers() {
        assert_eq!(Random::new(&[1, 2, 3]).bits(), Random::new(&[1, 2, 3]).bits());
        assert_ne!(Random::new(&[1, 2, 3]).bits(), Random::new(&[1, 3, 2]).bits());
        let mut order: Vec<usize> = (0..50).collect();
        Random::new(&[7]).shuffle(&mut order);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_ne!(order, sorted);
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
