//! Image series as MLflow's pages show them: each picture as PNG, and small as WebP beside it.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader};

use crate::Error;
use crate::artifacts::{ArtifactStore, Source};
use crate::record::SeriesImage;

/// Longest side of the small one in pixels.
const SMALL: u32 = 256;

/// Where a picture of a series belongs, without its ending.
pub fn stem(image: &SeriesImage) -> String {
    let key = image.key.replace('/', "~");
    format!("images/{key}+step+{}+timestamp+{}+{}", image.step, image.timestamp, image.id)
}

/// Sends a picture in both forms.
///
/// # Errors
/// Those of the way to the store, and a picture that cannot be read.
pub(crate) fn ship(image: &SeriesImage, run_folder: &Path, store: &dyn ArtifactStore) -> Result<(), Error> {
    let path = run_folder.join(&image.file);
    let bytes = std::fs::read(&path).map_err(|source| Error::read(&path, source))?;
    let failed =
        |error: image::ImageError| Error::read(&path, std::io::Error::new(std::io::ErrorKind::NotFound, error));
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let reader = reader.map_err(|source| Error::read(&path, source))?;
    let is_png = reader.format() == Some(ImageFormat::Png);
    let picture = reader.decode().map_err(failed)?;
    let encode = |picture: &image::DynamicImage, format| {
        let mut encoded = Cursor::new(Vec::new());
        picture.write_to(&mut encoded, format).map(|()| encoded.into_inner()).map_err(failed)
    };
    let small =
        if picture.width().max(picture.height()) > SMALL { picture.thumbnail(SMALL, SMALL) } else { picture.clone() };
    let small = encode(&image::DynamicImage::from(small.to_rgb8()), ImageFormat::WebP)?;
    let whole = if is_png { bytes } else { encode(&picture, ImageFormat::Png)? };
    let stem = stem(image);
    store.put(&format!("{stem}.png"), Source::Bytes(&whole))?;
    store.put(&format!("{stem}+compressed.webp"), Source::Bytes(&small))
}
