//! What a doctor says of one thing.

use std::fmt;

use serde_json::{Map, Value, json};

/// What was looked at and how it is. `Display` gives its lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub verdict: Verdict,
    /// What it is for, where the subject does not say so.
    pub purpose: Option<&'static str>,
    /// Figures for programs, beside the words for people.
    pub facts: Map<String, Value>,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be; a few words.
    Well(String),
    /// Not there or not set up, which is no fault.
    Absent {
        /// What is missing.
        detail: String,
        /// How to get it, where that is worth a word.
        fix: Option<String>,
    },
    /// Not as it should be.
    Faulty {
        /// What is wrong.
        fault: String,
        /// What mends it.
        fix: String,
    },
}

impl Finding {
    /// A finding on `subject`.
    pub fn new(subject: impl Into<String>, verdict: Verdict) -> Finding {
        Finding { subject: subject.into(), verdict, purpose: None, facts: Map::new() }
    }

    /// It is as it should be.
    pub fn well(subject: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding::new(subject, Verdict::Well(detail.into()))
    }

    /// It is not there, which is no fault.
    pub fn absent(subject: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding::new(subject, Verdict::Absent { detail: detail.into(), fix: None })
    }

    /// It is not there, which is no fault; `fix` would bring it.
    pub fn missing(subject: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(subject, Verdict::Absent { detail: detail.into(), fix: Some(fix.into()) })
    }

    /// It is not as it should be.
    pub fn faulty(subject: impl Into<String>, fault: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(subject, Verdict::Faulty { fault: fault.into(), fix: fix.into() })
    }

    /// From an error's text: its first line is the fault, its hint the fix.
    pub fn error(subject: impl Into<String>, error: &impl fmt::Display) -> Finding {
        let text = error.to_string();
        let (fault, fix) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        Finding::faulty(subject, fault, fix)
    }

    /// Says what the subject is for.
    pub fn serving(self, purpose: &'static str) -> Finding {
        Finding { purpose: Some(purpose), ..self }
    }

    /// Adds a figure for programs.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Finding {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Whether it is a fault.
    pub fn is_fault(&self) -> bool {
        matches!(self.verdict, Verdict::Faulty { .. })
    }

    /// For `--json`: `subject`, `verdict` (`well`, `absent` or `faulty`) and `detail`; `fix`, `purpose` and `facts` where there are any.
    pub fn to_json(&self) -> Value {
        let (verdict, detail, fix) = match &self.verdict {
            Verdict::Well(detail) => ("well", detail, None),
            Verdict::Absent { detail, fix } => ("absent", detail, fix.as_ref()),
            Verdict::Faulty { fault, fix } => ("faulty", fault, Some(fix)),
        };
        let mut value = json!({"subject": self.subject, "verdict": verdict, "detail": detail});
        let more = [("fix", fix.map(|fix| json!(fix))), ("purpose", self.purpose.map(|purpose| json!(purpose)))];
        for (name, given) in more {
            if let Some(given) = given {
                value[name] = given;
            }
        }
        if !self.facts.is_empty() {
            value["facts"] = Value::Object(self.facts.clone());
        }
        value
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, detail, fix) = match &self.verdict {
            Verdict::Well(detail) => ("well", detail, None),
            Verdict::Absent { detail, fix } => ("absent", detail, fix.as_ref()),
            Verdict::Faulty { fault, fix } => ("FAULTY", fault, Some(fix)),
        };
        writeln!(f, "{word:<7} {}: {detail}", self.subject)?;
        if let Some(purpose) = self.purpose.filter(|_| word != "well") {
            writeln!(f, "        for: {purpose}")?;
        }
        if let Some(fix) = fix {
            writeln!(f, "        fix: {fix}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_lines_for_people_and_values_for_programs() {
        let well = Finding::well("memory", "3 GB free").serving("pictures").with("free_bytes", 3_000_000_000u64);
        assert_eq!(well.to_string(), "well    memory: 3 GB free\n");
        assert_eq!(
            well.to_json(),
            json!({"subject": "memory", "verdict": "well", "detail": "3 GB free", "purpose": "pictures", "facts": {"free_bytes": 3_000_000_000u64}})
        );
        let missing = Finding::missing("ffmpeg", "not installed", "apt install ffmpeg").serving("videos");
        assert_eq!(
            missing.to_string(),
            "absent  ffmpeg: not installed\n        for: videos\n        fix: apt install ffmpeg\n"
        );
        let absent = Finding::absent("store", "not set");
        assert_eq!(absent.to_json(), json!({"subject": "store", "verdict": "absent", "detail": "not set"}));
        let faulty = Finding::error("store", &"no bucket `a`\nhint: make it");
        assert_eq!(faulty.to_string(), "FAULTY  store: no bucket `a`\n        fix: make it\n");
        assert!(faulty.is_fault() && !missing.is_fault());
    }
}
