//! What 8 bits cost: mAP of the file beside that of the weights.

use std::path::Path;
use std::sync::Arc;

use yolo11_config::Settings;
use yolo11_dataset::Split;
use yolo11_inference::{Backend, ModelInfo, Native};

use crate::Error;
use crate::validation::Validator;
use crate::weights::Loaded;

/// More of mAP50-95 than this is not taken for an export.
const MOST: f64 = 0.05;
/// Pictures in a batch of our engine.
const BATCH: usize = 8;

/// mAP50-95 on the validation pictures, in inputs of the file's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Of the weights in our own engine.
    pub float32: f64,
    /// Of the file in its runtime.
    pub int8: f64,
}

/// Measures the weights and the file on the same pictures.
pub(super) fn measure(
    settings: &Settings,
    loaded: &Loaded,
    split: Arc<Split>,
    backend: &mut dyn Backend,
) -> Result<Cost, Error> {
    let mut validator = Validator::new(split, settings, BATCH, true)?;
    let info = ModelInfo::native(loaded.path.clone(), loaded.names.clone());
    let mut native = Native::new(loaded.model.clone(), info, BATCH);
    let mut map = |backend: &mut dyn Backend| -> Result<f64, Error> {
        let measured = validator.run(backend, |_, _| Ok(true))?;
        Ok(measured.map_or(0.0, |(validation, _)| validation.summary.map50_95))
    };
    Ok(Cost { float32: map(&mut native)?, int8: map(backend)? })
}

impl Cost {
    /// # Errors
    /// The file is worse than 8 bits explain.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        if self.float32 - self.int8 <= MOST {
            return Ok(());
        }
        Err(Error::Verification {
            path: path.to_owned(),
            reason: format!(
                "8 bits cost {:.4} of mAP50-95 ({:.4} instead of {:.4}), where {MOST} is taken\nhint: calibrate on more pictures (fraction=1), or export with half=true",
                self.float32 - self.int8,
                self.int8,
                self.float32
            ),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Cost { float32, int8 } = self;
        format!("mAP50-95 {int8:.4}, of the weights in float32 {float32:.4}: 8 bits cost {:.4}", float32 - int8)
    }
}
