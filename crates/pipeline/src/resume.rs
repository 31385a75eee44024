//! Finds the run that `resume=` means and reads what it goes on from.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use yolo11_config::{Resume, Settings};

use crate::Error;
use crate::observers::STATE_FILE;
use crate::state::{self, SavedTraining};

/// A run to go on with.
pub struct Resumed {
    /// Its folder.
    pub folder: PathBuf,
    /// The file with its state.
    pub state_path: PathBuf,
    /// Its state.
    pub state: SavedTraining,
    /// Its settings, with those over them that were given anew.
    pub settings: Settings,
}

/// Finds and reads the run: `true` means that of `project/name`, or the newest in `project`; a path is a run's folder, its `weights`,
/// `last.pt` or the state's file itself.
pub fn find(settings: &Settings) -> Result<Resumed, Error> {
    let state_path = match &settings.resume {
        Resume::From(path) => state_of(path)?,
        _ => match &settings.name {
            Some(name) => state_of(&settings.project.join(name))?,
            None => newest(&settings.project)?,
        },
    };
    let folder = state_path.parent().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned();
    let state = state::load(&state_path)?;
    let mut resumed = Settings::default();
    resumed.apply_yaml(&state.settings_yaml, &folder.join("args.yaml"))?;
    resumed.overlay(settings);
    if state.counters.epoch >= resumed.epochs {
        return Err(Error::Setup {
            message: format!(
                "{}: the run is finished: {} of {} epochs are done",
                folder.display(),
                state.counters.epoch,
                resumed.epochs
            ),
            hint: format!("give epochs=N above {}, or start a new run from its weights", state.counters.epoch),
        });
    }
    Ok(Resumed { folder, state_path, state, settings: resumed })
}

fn state_of(path: &Path) -> Result<PathBuf, Error> {
    let candidates = [path.join("weights").join(STATE_FILE), path.join(STATE_FILE), path.with_file_name(STATE_FILE)];
    if path.is_file() && path.file_name().is_some_and(|name| name == STATE_FILE) {
        return Ok(path.to_owned());
    }
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(|| Error::Setup {
        message: format!("{}: there is no {STATE_FILE} to resume from", path.display()),
        hint: "name a run's folder or its weights/last.pt; to start anew from weights alone use model=PATH".into(),
    })
}

fn newest(project: &Path) -> Result<PathBuf, Error> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(project).into_iter().flatten().flatten() {
        let path = entry.path().join("weights").join(STATE_FILE);
        if let Ok(modified) = std::fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            found.push((modified, path));
        }
    }
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| Error::Setup {
        message: format!("{}: no run in it can be resumed", project.display()),
        hint: "give resume=PATH with the run's folder, or project=FOLDER".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_from_every_path_of_a_run() {
        let project = tempfile::tempdir().unwrap();
        let weights = project.path().join("train2/weights");
        std::fs::create_dir_all(&weights).unwrap();
        let text = newest(project.path()).unwrap_err().to_string();
        assert!(text.contains("no run in it can be resumed\nhint: "), "{text}");
        let wanted = weights.join(STATE_FILE);
        std::fs::write(&wanted, "x").unwrap();
        std::fs::write(weights.join("last.pt"), "x").unwrap();
        for path in [project.path().join("train2"), weights.clone(), weights.join("last.pt"), wanted.clone()] {
            assert_eq!(state_of(&path).unwrap(), wanted, "{}", path.display());
        }
        assert_eq!(newest(project.path()).unwrap(), wanted);
        let text = state_of(&project.path().join("train")).unwrap_err().to_string();
        assert!(text.contains("there is no last.state.safetensors to resume from"), "{text}");
    }
}
