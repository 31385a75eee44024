//! Pictures.

use std::path::Path;

use yolo11_dataset::{Picture, decode};

use crate::Error;

/// A picture in memory: RGB, a byte each.
#[derive(Clone, Debug, PartialEq)]
pub struct Image(pub(crate) Picture);

impl Image {
    /// Reads a JPEG, PNG, BMP, WebP or TIFF file; pictures that a camera has marked as turned are turned.
    ///
    /// # Errors
    /// The file cannot be read or is no picture.
    pub fn open(path: impl AsRef<Path>) -> Result<Image, Error> {
        let path = path.as_ref();
        let failed = |reason: String| Error::Image { path: Some(path.to_owned()), reason };
        let bytes = std::fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        decode::decode(&bytes).map(Image).map_err(failed)
    }

    /// Decodes the bytes of such a file.
    ///
    /// # Errors
    /// They are no picture.
    pub fn decode(bytes: &[u8]) -> Result<Image, Error> {
        decode::decode(bytes).map(Image).map_err(|reason| Error::Image { path: None, reason })
    }

    /// Takes pixels `[height, width, 3]`, row by row: red, green, blue.
    ///
    /// # Errors
    /// There are not `width` · `height` · 3 of them, or none at all.
    pub fn from_rgb(width: usize, height: usize, pixels: impl Into<Vec<u8>>) -> Result<Image, Error> {
        let pixels = pixels.into();
        let wanted = width.checked_mul(height).and_then(|area| area.checked_mul(3));
        if pixels.is_empty() || wanted != Some(pixels.len()) {
            let reason = format!("{} bytes are not {width}×{height} pixels in RGB", pixels.len());
            return Err(Error::Image { path: None, reason });
        }
        Ok(Image(Picture { height, width, pixels }))
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.0.height
    }

    /// The pixels, row by row: red, green, blue.
    pub fn pixels(&self) -> &[u8] {
        &self.0.pixels
    }
}
