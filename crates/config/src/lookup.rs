//! From a key as people write it to the setting it means.

use crate::error::{Error, Origin};
use crate::section::Section;
use crate::table::{Setting, table};

/// The setting of this name or alias, dotted names included; nothing where there is none.
pub fn find(key: &str) -> Option<&'static Setting> {
    by_name(key).or_else(|| {
        let (path, key) = key.rsplit_once('.')?;
        look_up(key, Some(section_of_path(path)?)).ok()
    })
}

/// Why a key means no setting.
pub(crate) enum Miss {
    /// It belongs to another section.
    Elsewhere(&'static Setting),
    /// There is none.
    Unknown,
}

/// The setting that `key` means inside `section` (nothing: the top of a file, or the command line).
pub(crate) fn look_up(key: &str, section: Option<Section>) -> Result<&'static Setting, Miss> {
    let Some(section) = section else { return find(key).ok_or(Miss::Unknown) };
    if let Some(setting) = by_name(&format!("{}.{key}", section.key())) {
        return Ok(setting);
    }
    match by_name(key) {
        Some(setting) if section.takes(setting.section) => Ok(setting),
        Some(setting) => Err(Miss::Elsewhere(setting)),
        None => Err(Miss::Unknown),
    }
}

/// The error for a key that means no setting, with the nearest name.
pub(crate) fn missed(miss: &Miss, key: &str, section: Option<Section>, origin: Box<Origin>) -> Error {
    match (miss, section) {
        (Miss::Elsewhere(setting), Some(section)) => Error::Misplaced {
            origin,
            key: key.to_owned(),
            section: section.path(),
            hint: format!("`{}` is a setting of `{}`", setting.name, setting.section.path()),
        },
        _ => Error::UnknownKey { origin, key: key.to_owned(), hint: nearest_hint(key, section) },
    }
}

fn by_name(key: &str) -> Option<&'static Setting> {
    table().find(|setting| setting.name == key || setting.aliases.contains(&key))
}

fn section_of_path(path: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|section| section.path() == path || section.key() == path)
}

fn nearest_hint(key: &str, section: Option<Section>) -> String {
    match nearest(key, section) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`yolo11 config` lists every key".to_owned(),
    }
}

/// The name, alias or section nearest to `key`, if one is near: names before aliases before sections where several are as near.
fn nearest(key: &str, section: Option<Section>) -> Option<&'static str> {
    let wanted = key.to_ascii_lowercase().replace('-', "_");
    let reachable = table().filter(|setting| section.is_none_or(|section| section.takes(setting.section)));
    // Inside a section a dotted name goes by its last part: `mlflow.run_name` is `run_name` there.
    let inside = |name: &'static str| match (section, name.rsplit_once('.')) {
        (Some(section), Some((path, last))) => (path == section.key()).then_some(last),
        (Some(_), None) => Some(name),
        (None, _) => Some(name),
    };
    let names = reachable.clone().map(|setting| setting.name);
    let aliases = reachable.flat_map(|setting| setting.aliases.iter().copied());
    let sections = Section::ALL.into_iter().map(Section::key);
    let mut best: Option<(usize, &'static str)> = None;
    for name in names.chain(aliases).filter_map(inside).chain(sections) {
        let distance = strsim::damerau_levenshtein(&wanted, name);
        let near = distance <= (name.len().max(wanted.len()) / 3).max(1);
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_sections_and_dotted_names_lead_to_one_setting() {
        for (key, name) in [
            ("epochs", "epochs"),
            ("training.epochs", "epochs"),
            ("batch_size", "batch"),
            ("training.optimizer.lr", "lr0"),
            ("optimizer.name", "optimizer"),
            ("augmentation.hsv_h", "hsv_h"),
            ("dataset.data_yaml", "data"),
            ("run_name", "name"),
            ("mlflow.run_name", "mlflow.run_name"),
        ] {
            assert_eq!(find(key).map(|setting| setting.name), Some(name), "{key}");
        }
        for key in ["dataset.epochs", "mlflow.name", "nothing", "a.b.c", ""] {
            assert!(find(key).is_none(), "{key}");
        }
    }

    #[test]
    fn no_name_means_two_settings() {
        let mut seen = std::collections::BTreeSet::new();
        for name in table().flat_map(|setting| setting.aliases.iter().copied().chain([setting.name])) {
            assert!(seen.insert(name), "{name} stands twice in the table");
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        for (key, section, name) in [
            ("epoch", None, Some("epochs")),
            ("Batch-Size", None, Some("batch_size")),
            ("img_sz", None, Some("imgsz")),
            ("mosiac", Some(Section::Augmentation), Some("mosaic")),
            ("epochs", Some(Section::Mlflow), None),
            ("experiment_nam", Some(Section::Mlflow), Some("experiment_name")),
            ("trainig", None, Some("training")),
            ("qwertyuiop", None, None),
        ] {
            assert_eq!(nearest(key, section), name, "{key}");
        }
    }
}
