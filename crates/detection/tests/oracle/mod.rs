//! Reads the recorded reference numbers; their folder is `$YOLO11_SHARED/oracle`.
#![allow(dead_code)]

use std::path::PathBuf;

/// The recordings' folder, or nothing, with a word on stderr, where the environment names none.
pub fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("YOLO11_SHARED");
    if shared.is_none() {
        eprintln!("skipped: YOLO11_SHARED is not set");
    }
    Some(PathBuf::from(shared?).join("oracle"))
}

/// A recorded JSON document.
pub fn json(name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(folder()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// A recorded safetensors file.
pub struct Recorded(Vec<u8>);

impl Recorded {
    /// One training step and one evaluation of yolo11n with this number of classes.
    pub fn step(classes: usize) -> Option<Self> {
        Some(Self(std::fs::read(folder()?.join(format!("yolo11n_nc{classes}_s0_step.safetensors"))).unwrap()))
    }

    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensors = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let view = tensors.tensor(name).unwrap();
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        (view.shape().to_vec(), values)
    }

    /// A tensor's values as they lie.
    pub fn flat(&self, name: &str) -> Vec<f32> {
        self.tensor(name).1
    }

    /// A tensor `[image, channel, anchor]` turned to `[image, anchor, channel]`.
    pub fn rows(&self, name: &str) -> Vec<f32> {
        let (shape, values) = self.tensor(name);
        let (channels, anchors) = (shape[1], shape[2]);
        let mut turned = Vec::with_capacity(values.len());
        for image in values.chunks(channels * anchors) {
            for anchor in 0..anchors {
                turned.extend((0..channels).map(|channel| image[channel * anchors + anchor]));
            }
        }
        turned
    }
}

/// Norm of the difference by the norm of the expected values.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (difference / square(&mut expected.iter().map(|&value| f64::from(value)))).sqrt()
}
