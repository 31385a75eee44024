//! The environment variables that MLflow's own client honours, from wherever they come.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Environment variables. Built from pairs, so that nothing below reads the process's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// From pairs of name and value. Empty values count as missing.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment { values: pairs.filter(|(_, value): &(String, String)| !value.trim().is_empty()).collect() }
    }

    /// The process's own; what is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        Self::from_pairs(pairs.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The first of several that is set.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Sets a variable here, not in the process.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Whether a switch is on: `true`, `1`, `yes` or `on`.
    pub fn is_on(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().trim().to_ascii_lowercase();
        matches!(value.as_str(), "true" | "1" | "yes" | "on")
    }

    /// A number, or `default` where it is missing or none.
    pub fn number(&self, name: &str, default: f64) -> f64 {
        let found = self.get(name).and_then(|value| value.trim().parse::<f64>().ok());
        found.filter(|value| value.is_finite() && *value >= 0.0).unwrap_or(default)
    }

    /// Longest wait for an answer: `MLFLOW_HTTP_REQUEST_TIMEOUT`, 120 s.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.number("MLFLOW_HTTP_REQUEST_TIMEOUT", 120.0).clamp(0.1, 86_400.0))
    }

    /// Values that must never be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(name, _)| crate::secret::is_secret_name(name)).map(|(_, value)| value.as_str())
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// How calls are repeated: `MLFLOW_HTTP_REQUEST_{MAX_RETRIES,BACKOFF_FACTOR,BACKOFF_JITTER}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Repetitions before `sync` gives up; a training never gives up.
    pub most: u32,
    /// Seconds of the first pause; each one after is twice as long.
    pub factor: f64,
    /// Most seconds that are added at random, so that many clients do not come back at once.
    pub jitter: f64,
    /// Longest pause in seconds.
    pub longest: f64,
}

impl RetryPolicy {
    /// As the environment says.
    pub fn of(environment: &Environment) -> Self {
        RetryPolicy {
            most: environment.number("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 7.0) as u32,
            factor: environment.number("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", 2.0),
            jitter: environment.number("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", 1.0),
            longest: 30.0,
        }
    }

    /// The pause before repetition `number`, from 0; `chance` is a random number from 0 to 1. What the server asked for wins where it is
    /// longer, up to ten minutes.
    pub fn pause(&self, number: u32, chance: f64, asked: Option<Duration>) -> Duration {
        let own = (self.factor / 2.0 * 2f64.powi(number.min(16) as i32)).min(self.longest) + self.jitter * chance;
        let asked = asked.unwrap_or_default().min(Duration::from_secs(600));
        Duration::from_secs_f64(own).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_never_shown() {
        let environment = Environment::from_pairs([
            ("MLFLOW_TRACKING_PASSWORD", "hush"),
            ("MLFLOW_TRACKING_INSECURE_TLS", "True"),
            ("MLFLOW_TRACKING_TOKEN", " "),
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "2.5"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many"),
        ]);
        assert!(environment.is_on("MLFLOW_TRACKING_INSECURE_TLS"));
        assert_eq!(environment.get("MLFLOW_TRACKING_TOKEN"), None);
        assert_eq!(environment.timeout(), Duration::from_millis(2500));
        assert_eq!(RetryPolicy::of(&environment).most, 7);
        assert!(!format!("{environment:?}").contains("hush"), "{environment:?}");
        assert_eq!(environment.secrets().collect::<Vec<_>>(), ["hush"]);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_the_server_is_heard() {
        let policy = RetryPolicy { most: 7, factor: 2.0, jitter: 1.0, longest: 30.0 };
        let seconds = |number, chance, asked| policy.pause(number, chance, asked).as_secs_f64();
        assert_eq!(
            (0..7).map(|number| seconds(number, 0.0, None)).collect::<Vec<_>>(),
            [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        );
        assert_eq!(seconds(0, 0.5, None), 1.5);
        assert_eq!(seconds(0, 0.5, Some(Duration::from_secs(60))), 60.0);
        assert_eq!(seconds(0, 0.0, Some(Duration::from_secs(86_400))), 600.0);
    }
}
