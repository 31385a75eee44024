//! Every setting once: name, aliases, type, range, default, help.
//!
//! The table in `table.rs` is the only place that knows the settings. From it follow the struct [`Settings`] with a typed public field each,
//! the YAML file and the `key=value` arguments ([`Settings::load`]), a run's args.yaml ([`Settings::to_yaml`], [`Settings::from_args_yaml`]),
//! the listing of `yolo11 config` ([`listing`]), the completion and the page docs/configuration.md.
//!
//! ```
//! use yolo11_config::Settings;
//! let mut settings = Settings::default();
//! settings.apply_yaml("training: {epochs: 30, augmentation: {mosaic: 0}}", "example.yaml".as_ref())?;
//! settings.apply_argument("batch=4")?;
//! assert_eq!((settings.epochs, settings.augmentation.mosaic), (30, 0.0));
//! # Ok::<(), yolo11_config::Error>(())
//! ```

mod error;
mod kinds;
pub mod listing;
mod lookup;
mod model;
mod node;
mod reference;
mod resolve;
mod section;
mod table;

pub use error::{Error, Origin};
pub use kinds::{
    BackendName, Batch, Cache, Device, ExportFormat, Freeze, OptimizerName, Pretrained, Range, Resume, Split,
};
pub use lookup::find;
pub use model::{ModelScale, ModelSource};
pub use node::Position;
pub use section::Section;
pub use table::{Augmentation, Gains, Mlflow, Setting, Settings, table};
