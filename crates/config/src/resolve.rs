//! Settings from their sources: defaults, then a file, then the command line; and back into a file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Origin};
use crate::kinds::{Device, Pretrained, Refusal};
use crate::lookup::{look_up, missed};
use crate::model::locate_weights;
use crate::node::{Data, Entry, Node, Position, parse};
use crate::reference::{Known, known};
use crate::section::Section;
use crate::table::{Setting, Settings, table};

/// The key of args.yaml that lists which settings the user gave; every other one stands there with its default.
const GIVEN: &str = "given";

/// What suits the generated demo set, which is smaller and simpler than what the defaults are for.
const DEMO: [(&str, &str); 6] =
    [("epochs", "30"), ("imgsz", "320"), ("batch", "8"), ("nbs", "16"), ("optimizer", "AdamW"), ("lr0", "0.002")];

impl Settings {
    /// Defaults, then `file`, then `arguments` (`key=value` each, later ones win).
    ///
    /// # Errors
    /// Names the file's line and column, or the argument, and what is allowed there.
    pub fn load(file: Option<&Path>, arguments: &[String]) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        if let Some(path) = file {
            settings.apply_file(path)?;
        }
        for argument in arguments {
            settings.apply_argument(argument)?;
        }
        Ok(settings)
    }

    /// The settings of a run from its args.yaml, as [`Settings::to_yaml`] wrote them.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_args_yaml(path: &Path) -> Result<Settings, Error> {
        Settings::load(Some(path), &[])
    }

    /// Reads a settings file over these settings.
    ///
    /// # Errors
    /// [`Error::Read`], and those of [`Settings::apply_yaml`].
    pub fn apply_file(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        self.apply_yaml(&text, path)
    }

    /// Takes YAML text over these settings; `path` names it in messages.
    ///
    /// # Errors
    /// Malformed YAML, unknown keys, wrong values and doubled settings, each with line and column.
    pub fn apply_yaml(&mut self, text: &str, path: &Path) -> Result<(), Error> {
        let at = |at| Box::new(Origin::File { path: path.to_owned(), at });
        let document =
            parse(text).map_err(|fault| Error::Malformed { origin: at(fault.at), message: fault.message })?;
        let Data::Map(entries) = &document.data else {
            let message = "a settings file holds `key: value` lines".to_owned();
            return Err(Error::Malformed { origin: at(document.at), message });
        };
        let mut file = FileReader { settings: self, path, seen: HashMap::new() };
        file.entries(entries, None)?;
        // args.yaml holds every setting; which of them were the user's own is listed beside them.
        if let Some(entry) = entries.iter().find(|entry| entry.key == GIVEN)
            && let Data::List(names) = &entry.value.data
        {
            self.given.retain(|name| names.iter().any(|listed| listed.text() == Some(name)));
        }
        Ok(())
    }

    /// Takes one `key=value` over these settings.
    ///
    /// # Errors
    /// Names the argument and what is allowed.
    pub fn apply_argument(&mut self, argument: &str) -> Result<(), Error> {
        let Some((key, value)) = argument.split_once('=') else {
            let hint = match look_up(argument.trim_start_matches('-'), None) {
                Ok(setting) => format!("write {}=value", setting.name),
                Err(_) => "settings are written key=value, as in epochs=3".to_owned(),
            };
            return Err(Error::Argument { argument: argument.to_owned(), hint });
        };
        let (key, origin) = (key.trim(), Box::new(Origin::Argument(argument.to_owned())));
        let node = Node::from_argument(value)
            .map_err(|fault| Error::Malformed { origin: origin.clone(), message: fault.message })?;
        match look_up(key, None) {
            Ok(setting) => {
                self.set(setting, &node).map_err(|refusal| invalid(setting, key, &node, origin, refusal))?;
                // A file goes from machine to machine; an argument means this one.
                if setting.name == "device" && matches!(self.device, Device::Cuda(_)) && !self.is_given("strict_device")
                {
                    self.strict_device = true;
                    self.given.insert("strict_device");
                }
                Ok(())
            }
            Err(miss) => match known(key, (!node.is_null()).then(|| node.summary()).as_deref()) {
                Some(answer) => passed_over(answer, key, &node, origin),
                None => Err(missed(&miss, key, None, origin)),
            },
        }
    }

    /// Whether the user gave this setting in the file or on the command line; `name` is its name in the table.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Takes every setting over that was given in `other`: how a resumed run's saved settings meet new arguments.
    pub fn overlay(&mut self, other: &Settings) {
        for setting in table().filter(|setting| other.given.contains(setting.name)) {
            (setting.copy)(self, other);
            self.given.insert(setting.name);
        }
    }

    /// For a training on `data=demo`: gives the settings that the user left open values that suit that small set, and says which.
    ///
    /// # Errors
    /// None in practice: the values are within their ranges.
    pub fn suit_demo(&mut self) -> Result<Vec<String>, Error> {
        let mut changed = Vec::new();
        if self.data.as_deref() != Some("demo") {
            return Ok(changed);
        }
        for (name, value) in DEMO.into_iter().filter(|(name, _)| !self.given.contains(name)).collect::<Vec<_>>() {
            let argument = format!("{name}={value}");
            self.apply_argument(&argument)?;
            changed.push(argument);
        }
        Ok(changed)
    }

    /// The data set's name or path.
    ///
    /// # Errors
    /// [`Error::NoData`] where none is set.
    pub fn require_data(&self) -> Result<&str, Error> {
        self.data.as_deref().ok_or(Error::NoData)
    }

    /// What `predict` looks at, at least one.
    ///
    /// # Errors
    /// [`Error::NoSource`] where none is set.
    pub fn require_source(&self) -> Result<&[String], Error> {
        if self.source.is_empty() { Err(Error::NoSource) } else { Ok(&self.source) }
    }

    /// The weights file to start from, as it can be opened: that of `pretrained`, else that of `model`; nothing for a random start.
    ///
    /// # Errors
    /// [`Error::NoWeights`](crate::Error::NoWeights) where the file does not exist.
    pub fn start_weights(&self) -> Result<Option<PathBuf>, Error> {
        match &self.pretrained {
            Pretrained::No => Ok(None),
            Pretrained::FromModel => self.model.locate(),
            Pretrained::Weights(path) => locate_weights(path).map(Some),
        }
    }

    /// Every setting under its flat name, one a line, as args.yaml holds them; [`Settings::from_args_yaml`] gives the same settings back.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for setting in table() {
            let _ = writeln!(text, "{}: {}", setting.name, yaml(&setting.value(self)));
        }
        let given: Vec<_> = self.given.iter().map(|name| Value::from(*name)).collect();
        let _ = writeln!(text, "{GIVEN}: {}", yaml(&Value::Array(given)));
        text
    }

    /// Every setting's name and value as one line of text, for tables and trackers.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, String)> {
        table().map(|setting| match setting.value(self) {
            Value::String(text) => (setting.name, text),
            value => (setting.name, yaml(&value)),
        })
    }

    fn set(&mut self, setting: &'static Setting, node: &Node) -> Result<(), Refusal> {
        if node.is_null() {
            (setting.copy)(self, &Settings::default());
            self.given.remove(setting.name);
            return Ok(());
        }
        (setting.read)(self, node, setting.range)?;
        self.given.insert(setting.name);
        Ok(())
    }
}

/// Takes a file's entries section by section and remembers where each setting was given.
struct FileReader<'a> {
    settings: &'a mut Settings,
    path: &'a Path,
    seen: HashMap<&'static str, (String, Position)>,
}

impl FileReader<'_> {
    fn entries(&mut self, entries: &[Entry], section: Option<Section>) -> Result<(), Error> {
        for entry in entries {
            match (Section::opened_by(&entry.key, section), &entry.value.data) {
                (Some(inner), Data::Map(entries)) => self.entries(entries, Some(inner))?,
                // A section whose every line is commented out.
                (Some(_), _) if entry.value.is_null() => {}
                (Some(inner), _) if look_up(&entry.key, section).is_err() => {
                    let message = format!("`{}` is a section: its settings stand below it, indented", inner.path());
                    return Err(Error::Malformed { origin: self.origin(entry.value.at), message });
                }
                _ if section.is_none() && entry.key == GIVEN => {}
                _ => self.entry(entry, section)?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, section: Option<Section>) -> Result<(), Error> {
        let Entry { key, value, .. } = entry;
        let setting = match look_up(key, section) {
            Ok(setting) => setting,
            Err(miss) => {
                return match known(key, (!value.is_null()).then(|| value.summary()).as_deref()) {
                    Some(answer) => passed_over(answer, key, value, self.origin(value.at)),
                    None => Err(missed(&miss, key, section, self.origin(entry.at))),
                };
            }
        };
        if let Some((first_key, first)) = self.seen.get(setting.name) {
            return Err(Error::Duplicate {
                origin: self.origin(entry.at),
                key: key.clone(),
                first_key: first_key.clone(),
                first: *first,
            });
        }
        self.seen.insert(setting.name, (key.clone(), entry.at));
        let taken = self.settings.set(setting, value);
        taken.map_err(|refusal| invalid(setting, key, value, self.origin(value.at), refusal))
    }

    fn origin(&self, at: Position) -> Box<Origin> {
        Box::new(Origin::File { path: self.path.to_owned(), at })
    }
}

fn invalid(setting: &Setting, key: &str, node: &Node, origin: Box<Origin>, refusal: Refusal) -> Error {
    Error::InvalidValue {
        origin,
        key: key.to_owned(),
        given: node.summary(),
        allowed: setting.allowed(),
        hint: refusal.hint,
    }
}

fn passed_over(answer: Known, key: &str, node: &Node, origin: Box<Origin>) -> Result<(), Error> {
    let Known::Refuse(neutral) = answer else { return Ok(()) };
    let hint = match neutral {
        [] => "leave it out".to_owned(),
        values => format!("leave it out, or give {}", values.join(" or ")),
    };
    Err(Error::Unsupported { origin, key: key.to_owned(), given: node.summary(), hint })
}

/// A JSON value as YAML on one line. JSON is YAML; only texts that can stand bare lose their quotes.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) if is_bare(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{}: {}", yaml(&key.as_str().into()), yaml(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether every YAML reader takes the bare text as that text: a letter first, then letters, digits and a few harmless marks, and no word with a meaning.
fn is_bare(text: &str) -> bool {
    let meaning = ["true", "false", "null", "none", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|mark| mark.is_ascii_alphanumeric() || "_-./".contains(mark))
        && !meaning.contains(&text.to_ascii_lowercase().as_str())
}
