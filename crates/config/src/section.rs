//! The sections of a settings file.

/// A part of the settings file; also a heading in help and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// The run itself.
    Training,
    /// How weights move.
    Optimizer,
    /// How pictures are varied.
    Augmentation,
    /// What each part of the loss weighs.
    Loss,
    /// Which pictures.
    Dataset,
    /// How detections are chosen and measured.
    Validation,
    /// What `predict` reads and writes.
    Prediction,
    /// What `export` writes.
    Export,
    /// Where results go.
    Output,
    /// Experiment tracking.
    Mlflow,
}

impl Section {
    /// Every section, in the order of documentation.
    pub const ALL: [Section; 10] = [
        Section::Training,
        Section::Optimizer,
        Section::Augmentation,
        Section::Loss,
        Section::Dataset,
        Section::Validation,
        Section::Prediction,
        Section::Export,
        Section::Output,
        Section::Mlflow,
    ];

    /// The section's keys from the file's top, joined by dots. `training.` itself may be left out.
    pub fn path(self) -> &'static str {
        match self {
            Section::Training => "training",
            Section::Optimizer => "training.optimizer",
            Section::Augmentation => "training.augmentation",
            Section::Loss => "training.loss",
            Section::Dataset => "dataset",
            Section::Validation => "validation",
            Section::Prediction => "prediction",
            Section::Export => "export",
            Section::Output => "output",
            Section::Mlflow => "mlflow",
        }
    }

    /// The section's own key, the last part of its path.
    pub fn key(self) -> &'static str {
        self.path().rsplit('.').next().unwrap_or_default()
    }

    /// What its settings decide, for headings.
    pub fn title(self) -> &'static str {
        match self {
            Section::Training => "the run itself",
            Section::Optimizer => "how weights move",
            Section::Augmentation => "how training pictures are varied",
            Section::Loss => "what each part of the loss weighs",
            Section::Dataset => "which pictures",
            Section::Validation => "how detections are chosen and measured",
            Section::Prediction => "what `predict` reads and writes",
            Section::Export => "what `export` writes",
            Section::Output => "where results go",
            Section::Mlflow => "experiment tracking",
        }
    }

    /// The section that `key` opens inside `parent` (nothing: the top of the file).
    pub(crate) fn opened_by(key: &str, parent: Option<Section>) -> Option<Section> {
        let found = Section::ALL.into_iter().find(|section| section.key() == key)?;
        let nested = found.path().starts_with("training.");
        match parent {
            None => Some(found),
            Some(Section::Training) if nested => Some(found),
            Some(_) => None,
        }
    }

    /// Whether a setting of section `other` may stand in this one: `training` is the common roof of all but tracking.
    pub(crate) fn takes(self, other: Section) -> bool {
        self == other || (self == Section::Training && other != Section::Mlflow)
    }
}
