//! What can be wrong with the slices a caller hands in.

/// Why head outputs, targets or boxes could not be used; nothing has been changed when it is returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A side of the network input is no positive multiple of the largest stride.
    #[error(
        "network input of {height} x {width} pixels: both sides must be positive multiples of 32\nhint: round the image size up to a multiple of 32"
    )]
    Size {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The head has no class at all.
    #[error("the head has 0 classes\nhint: give the dataset at least one class name")]
    NoClasses,
    /// A slice does not have the length that its shape asks for.
    #[error("{name} holds {found} values, its shape {shape:?} asks for {expected}", expected = shape.iter().product::<usize>())]
    Length {
        /// Which slice.
        name: &'static str,
        /// Values found.
        found: usize,
        /// Shape it should have.
        shape: [usize; 3],
    },
    /// A target names an image beyond the batch.
    #[error("target {index} belongs to image {image}, the batch has {images}")]
    TargetImage {
        /// Position of the target in the list.
        index: usize,
        /// Image it names.
        image: usize,
        /// Images in the batch.
        images: usize,
    },
    /// A target or a ground-truth box names a class the head does not have.
    #[error(
        "target {index} has class {class}, the head has {classes} (0 to {last})\nhint: make the number of classes that of the dataset's names",
        last = classes.saturating_sub(1)
    )]
    TargetClass {
        /// Position of the target in the list.
        index: usize,
        /// Class it names.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A target's box holds an infinite or undefined number.
    #[error("target {index} has the box {bbox:?}, which is not finite")]
    TargetBox {
        /// Position of the target in the list.
        index: usize,
        /// Its box as given.
        bbox: [f32; 4],
    },
}
