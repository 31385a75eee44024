//! Keys that configuration files of the reference trainer may hold and that have no setting here.
//!
//! Such a file should work as it stands, so keys that mean nothing for detection are passed over, and keys that would change a result
//! are accepted with the value that changes nothing and refused with any other.

/// Keys without bearing on anything this program does: other tasks, other formats, switches of the reference's own screen.
const WITHOUT_BEARING: &[&str] = &[
    "angle",
    "auto_augment",
    "cfg",
    "copy_paste",
    "copy_paste_mode",
    "deterministic",
    "dnn",
    "dropout",
    "erasing",
    "int8",
    "keras",
    "kobj",
    "mask_ratio",
    "optimize",
    "overlap_mask",
    "pose",
    "retina_masks",
    "rle",
    "save_dir",
    "simplify",
    "stream_buffer",
    "tracker",
    "workspace",
];

/// Keys with the only values that ask for nothing more than this program does.
const NEUTRAL: &[(&str, &[&str])] = &[
    ("augment", &["false"]),
    ("bgr", &["0", "0.0"]),
    ("cls_pw", &["0", "0.0"]),
    ("compile", &["false"]),
    ("embed", &[]),
    ("line_width", &[]),
    ("mode", &["train", "val", "predict", "export"]),
    ("multi_scale", &["false", "0", "0.0"]),
    ("profile", &["false"]),
    ("save_frames", &["false"]),
    ("show", &["false"]),
    ("show_boxes", &["true"]),
    ("show_conf", &["true"]),
    ("show_labels", &["true"]),
    ("task", &["detect"]),
    ("visualize", &["false"]),
];

/// What to do with a key of the reference trainer.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// Pass over it.
    Ignore,
    /// Refuse it; only these values would be passed over.
    Refuse(&'static [&'static str]),
}

/// Whether `key` is one of the reference's, and what to do with it when it holds `value` (nothing: null).
pub(crate) fn known(key: &str, value: Option<&str>) -> Option<Known> {
    if WITHOUT_BEARING.contains(&key) {
        return Some(Known::Ignore);
    }
    let (_, neutral) = NEUTRAL.iter().find(|(name, _)| *name == key)?;
    let Some(value) = value else { return Some(Known::Ignore) };
    match neutral.iter().any(|neutral| value.eq_ignore_ascii_case(neutral)) {
        true => Some(Known::Ignore),
        false => Some(Known::Refuse(neutral)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_change_nothing_are_passed_over() {
        assert_eq!(known("overlap_mask", Some("true")), Some(Known::Ignore));
        assert_eq!(known("task", Some("detect")), Some(Known::Ignore));
        assert_eq!(known("task", Some("segment")), Some(Known::Refuse(&["detect"])));
        assert_eq!(known("embed", None), Some(Known::Ignore));
        assert_eq!(known("embed", Some("[1]")), Some(Known::Refuse(&[])));
        assert_eq!(known("epochs", None), None);
    }
}
