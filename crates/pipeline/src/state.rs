//! The full state of a training as a file: what [`TrainingState`] holds, bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use yolo11_checkpoint::{StateArray, StateFile, save_state, state_to_bytes};
use yolo11_engine::{Ema, EmaSettings, Gradients, Optimiser};
use yolo11_network::{Model, Network, Scale};

use crate::Error;
use crate::event::{Counters, TrainingState};

/// Tells this file's layout from later ones.
const FORMAT: &str = "yolo11-training-state-1";

/// A training state read back.
pub struct SavedTraining {
    /// The trained model.
    pub model: Model,
    /// Its average, and how often it was updated.
    pub average: Model,
    /// Updates of the average.
    pub updates: u64,
    /// Gradients that waited for the optimiser's next step.
    pub gradients: Gradients,
    /// Counters and sums.
    pub counters: Counters,
    /// The run's settings as the YAML of its `args.yaml`.
    pub settings_yaml: String,
    /// Names of the classes.
    pub names: Vec<String>,
    optimiser_kind: String,
    optimiser_steps: u64,
    /// Where the optimiser's moments still lie.
    file: StateFile<'static>,
}

/// Writes a training state, atomically.
pub fn save(path: &Path, state: &TrainingState, settings_yaml: &str, names: &[String]) -> Result<(), Error> {
    Ok(save_state(path, &texts(state, settings_yaml, names), &arrays(state))?)
}

/// What [`save`] writes, for other processes; `path` is what errors call it.
pub(crate) fn to_bytes(state: &TrainingState, names: &[String], path: &Path) -> Result<Vec<u8>, Error> {
    Ok(state_to_bytes(path, &texts(state, "", names), &arrays(state))?)
}

fn texts(state: &TrainingState, settings_yaml: &str, names: &[String]) -> BTreeMap<String, String> {
    let texts = [
        ("format", FORMAT.to_owned()),
        ("scale", state.model.network().scale.letter().to_string()),
        ("names", serde_json::json!(names).to_string()),
        ("settings", settings_yaml.to_owned()),
        ("counters", serde_json::json!(state.counters).to_string()),
        ("optimiser", state.optimiser.kind().name().to_owned()),
        ("optimiser_steps", state.optimiser.steps().to_string()),
        ("ema_updates", state.ema.updates().to_string()),
    ];
    texts.map(|(key, text)| (key.to_owned(), text)).into()
}

fn arrays<'a>(state: &TrainingState<'a>) -> Vec<StateArray<'a>> {
    let mut arrays = Vec::new();
    for (index, spec) in state.model.network().tensors().iter().enumerate() {
        let array = |part: &str, values| StateArray {
            name: format!("{part}/{}", spec.name),
            shape: spec.shape.clone(),
            values,
        };
        arrays.push(array("model", state.model.tensor(index)));
        arrays.push(array("ema", state.ema.model().tensor(index)));
        if state.counters.waiting > 0 && spec.kind.is_parameter() {
            arrays.push(array("gradients", state.gradients.tensor(index)));
        }
    }
    arrays.extend(state.optimiser.state().map(|(name, values)| StateArray {
        name: format!("optimiser/{name}"),
        shape: vec![values.len()],
        values,
    }));
    arrays
}

/// Reads a training state.
pub fn load(path: &Path) -> Result<SavedTraining, Error> {
    read(StateFile::open(path)?, path)
}

/// Reads what [`to_bytes`] gave.
pub(crate) fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<SavedTraining, Error> {
    read(StateFile::from_bytes(bytes, path)?, path)
}

fn read(file: StateFile<'static>, path: &Path) -> Result<SavedTraining, Error> {
    let text = |key: &str| {
        file.metadata().get(key).cloned().ok_or_else(|| damaged(path, &format!("it does not tell its `{key}`")))
    };
    if text("format")? != FORMAT {
        return Err(damaged(path, "it was written by another version of this program"));
    }
    let number = |key: &str| text(key)?.parse::<u64>().map_err(|_| damaged(path, &format!("`{key}` is no number")));
    let names: Vec<String> =
        serde_json::from_str(&text("names")?).map_err(|_| damaged(path, "`names` is no list of names"))?;
    let counters: Counters =
        serde_json::from_str(&text("counters")?).map_err(|_| damaged(path, "`counters` cannot be read"))?;
    let scale = text("scale")?.chars().next().and_then(Scale::from_letter);
    let scale = scale.ok_or_else(|| damaged(path, "`scale` is none of n, s, m, l, x"))?;
    let network = Network::yolo11(scale, names.len().max(1));

    let mut model = Model::zeros(&network);
    let mut average = model.clone();
    let mut gradients = Gradients::zeros(&network);
    for (index, spec) in network.tensors().iter().enumerate() {
        let take = |part: &str, values: &mut [f32]| file.read(&format!("{part}/{}", spec.name), values);
        take("model", model.tensor_mut(index))?;
        take("ema", average.tensor_mut(index))?;
        if counters.waiting > 0 && spec.kind.is_parameter() {
            take("gradients", gradients.tensor_mut(index))?;
        }
    }
    Ok(SavedTraining {
        model,
        average,
        updates: number("ema_updates")?,
        gradients,
        counters,
        settings_yaml: text("settings")?,
        names,
        optimiser_kind: text("optimiser")?,
        optimiser_steps: number("optimiser_steps")?,
        file,
    })
}

impl SavedTraining {
    /// The average, to go on from.
    pub fn ema(&self, settings: EmaSettings) -> Ema {
        Ema::restore(self.average.clone(), settings, self.updates)
    }

    /// Gives an optimiser its moments back. `path` names the file in messages.
    pub fn restore(&self, optimiser: &mut Optimiser, path: &Path) -> Result<(), Error> {
        if self.optimiser_kind != optimiser.kind().name() {
            return Err(Error::Setup {
                message: format!(
                    "{}: the run was trained with {} and cannot go on with {}",
                    path.display(),
                    self.optimiser_kind,
                    optimiser.kind().name()
                ),
                hint: "leave `optimizer` out when resuming".into(),
            });
        }
        let read = |name: &str, values: &mut [f32]| self.file.read(&format!("optimiser/{name}"), values);
        Ok(optimiser.restore(self.optimiser_steps, read)?)
    }
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::Setup {
        message: format!("{}: not a training state that can be resumed: {problem}", path.display()),
        hint: "start a new run from the weights with model=…/last.pt".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_engine::{OptimiserKind, OptimiserSettings, Rates};

    #[test]
    fn a_state_comes_back_with_every_bit() {
        let network = Network::yolo11(Scale::Nano, 2);
        let mut model = Model::initialise(&network, 3);
        let mut gradients = Gradients::zeros(&network);
        for (index, spec) in network.tensors().iter().enumerate() {
            if spec.kind.is_parameter() {
                gradients.tensor_mut(index).fill(0.01 * (index % 7) as f32 - 0.02);
            }
        }
        let make = || Optimiser::new(OptimiserKind::AdamW, &network, OptimiserSettings::default(), |_| false);
        let mut optimiser = make();
        let mut ema = Ema::new(&model, EmaSettings::default());
        let rates = Rates { weights: 0.01, norms: 0.01, biases: 0.01, momentum: 0.9 };
        optimiser.step(&mut model, &gradients, &rates);
        ema.update(&model);
        let mut counters = Counters { epoch: 1, batch: 3, iteration: 9, waiting: 2, ..Counters::start() };
        counters.loss_sums = [0.1f64.to_bits(), f64::NAN.to_bits(), 3];
        let state = TrainingState {
            model: &model,
            ema: &ema,
            optimiser: &optimiser,
            gradients: &gradients,
            counters: &counters,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.state.safetensors");
        save(&path, &state, "epochs: 3\n", &["a".into(), "b\"".into()]).unwrap();

        let saved = load(&path).unwrap();
        assert_eq!(saved.model, model);
        assert_eq!(saved.counters, counters);
        assert_eq!((saved.settings_yaml.as_str(), saved.names.len()), ("epochs: 3\n", 2));
        let again = saved.ema(EmaSettings::default());
        assert_eq!((again.model(), again.updates()), (ema.model(), 1));
        let mut other = make();
        saved.restore(&mut other, &path).unwrap();
        let mut twin = saved.model.clone();
        optimiser.step(&mut model, &gradients, &rates);
        other.step(&mut twin, &saved.gradients, &rates);
        assert_eq!(model, twin);

        let mut sgd = Optimiser::new(OptimiserKind::Sgd, &network, OptimiserSettings::default(), |_| false);
        let text = saved.restore(&mut sgd, &path).unwrap_err().to_string();
        assert!(text.contains("was trained with AdamW and cannot go on with SGD"), "{text}");
    }
}
