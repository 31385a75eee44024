//! Files to RGB pixels: JPEG, PNG, BMP, WebP, TIFF; grey, palette, alpha, 16-bit and CMYK; EXIF orientation applied.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::Error;
use crate::header::jpeg_header;

/// Longest side that is decoded.
const LONGEST: usize = 65_535;

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[height, width, 3]`, red, green, blue.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// Reads a picture as it is meant to be seen.
///
/// # Errors
/// The file cannot be read, or is no whole picture.
pub fn decode_file(path: &Path) -> Result<Picture, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    decode(&bytes).map_err(|message| Error::Picture { path: path.to_path_buf(), message })
}

/// Decodes a picture by its content, whatever its name. Alpha is dropped, 16 bits are scaled to 8, grey is repeated.
///
/// # Errors
/// What is wrong with the bytes, in one line.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let (picture, orientation) =
        if bytes.starts_with(&[0xff, 0xd8]) { decode_jpeg(bytes)? } else { decode_other(bytes)? };
    if picture.height == 0 || picture.width == 0 {
        return Err("the picture has no pixels".into());
    }
    orient(picture, orientation)
}

fn decode_jpeg(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    let orientation = jpeg_header(&mut Cursor::new(bytes))?.orientation();
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(LONGEST)
        .set_max_height(LONGEST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().map_err(|error| format!("cannot be decoded: {}", one_line(&error)))?;
    let (width, height) = decoder.dimensions().ok_or("the file has no picture header")?;
    if pixels.len() != width * height * 3 {
        return Err("cannot be decoded: unusual colour channels".into());
    }
    Ok((Picture { height, width, pixels }, orientation))
}

fn decode_other(bytes: &[u8]) -> Result<(Picture, Orientation), String> {
    let fault = |error: image::ImageError| format!("cannot be decoded: {}", one_line(&error));
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("not a JPEG, PNG, BMP, WebP or TIFF picture".into());
    }
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(fault)?.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok((Picture { height, width, pixels: image.into_raw() }, orientation))
}

fn orient(picture: Picture, orientation: Orientation) -> Result<Picture, String> {
    if orientation == Orientation::NoTransforms {
        return Ok(picture);
    }
    let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.pixels)
        .ok_or("the picture is larger than its file says")?;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    Ok(Picture { height: image.height() as usize, width: image.width() as usize, pixels: image.into_raw() })
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
