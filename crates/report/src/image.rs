//! The surface that everything is drawn on.

use crate::Error;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Paper.
pub(crate) const WHITE: Colour = [255; 3];
/// Letters that are read first.
pub(crate) const INK: Colour = [31, 36, 48];
/// Letters that stand back.
pub(crate) const MUTED: Colour = [104, 112, 128];
/// Lines that help the eye.
pub(crate) const GRID: Colour = [229, 232, 238];

/// JPEG quality of every written picture: fine letters stay clean.
const QUALITY: u8 = 95;

/// A picture in memory: rows of red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub pixels: Vec<u8>,
}

impl Image {
    /// A picture of one colour, at least one pixel large.
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let mut pixels = vec![255; width * height * 3];
        if colour != WHITE {
            pixels.as_chunks_mut::<3>().0.fill(colour);
        }
        Image { width, height, pixels }
    }

    /// Takes over pixels `[height, width, 3]`.
    ///
    /// # Errors
    /// The number of bytes is another, or the picture is empty.
    pub fn from_pixels(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, Error> {
        let expected = width.saturating_mul(height).saturating_mul(3);
        if pixels.len() != expected || pixels.is_empty() {
            return Err(Error::Size { width, height, expected: expected.max(3), found: pixels.len() });
        }
        Ok(Image { width, height, pixels })
    }

    /// The pixel in this column and row; both must be inside.
    pub fn pixel(&self, x: usize, y: usize) -> Colour {
        let at = (y * self.width + x) * 3;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Fills `[left, top, right, bottom)`; what lies outside is left out.
    pub fn fill(&mut self, area: [i64; 4], colour: Colour) {
        self.each_row(area, |row| row.fill(colour));
    }

    /// Like [`Image::fill`], with `share` of the colour over what was there.
    pub(crate) fn shade(&mut self, area: [i64; 4], colour: Colour, share: f32) {
        self.each_row(area, |row| row.iter_mut().for_each(|pixel| mix(pixel, colour, share)));
    }

    /// Four sides of this thickness, drawn inwards from the edges of `[left, top, right, bottom)`.
    pub(crate) fn frame(&mut self, [left, top, right, bottom]: [i64; 4], thick: i64, colour: Colour, share: f32) {
        let thick_y = thick.min((bottom - top + 1) / 2).max(1);
        let thick_x = thick.min((right - left + 1) / 2).max(1);
        self.shade([left, top, right, top + thick_y], colour, share);
        self.shade([left, (bottom - thick_y).max(top + thick_y), right, bottom], colour, share);
        self.shade([left, top + thick_y, left + thick_x, bottom - thick_y], colour, share);
        self.shade([(right - thick_x).max(left + thick_x), top + thick_y, right, bottom - thick_y], colour, share);
    }

    /// Lays `share` of a colour over one pixel, which may lie outside.
    pub(crate) fn blend(&mut self, x: i64, y: i64, colour: Colour, share: f32) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        if let Some(pixel) = self.pixels[at..].first_chunk_mut::<3>() {
            mix(pixel, colour, share);
        }
    }

    /// Lays another picture on this one, its first corner at `(left, top)`.
    pub(crate) fn paste(&mut self, other: &Image, left: usize, top: usize) {
        let columns = other.width.min(self.width.saturating_sub(left));
        for y in 0..other.height.min(self.height.saturating_sub(top)) {
            let to = ((top + y) * self.width + left) * 3;
            let from = y * other.width * 3;
            self.pixels[to..to + columns * 3].copy_from_slice(&other.pixels[from..from + columns * 3]);
        }
    }

    /// The picture at another size. Enlarged by whole factors its pixels stay sharp squares; made smaller, each new pixel is
    /// the mean of those it covers.
    pub fn resized(&self, width: usize, height: usize) -> Image {
        let (width, height) = (width.max(1), height.max(1));
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let columns = coverage(self.width, width);
        let rows = coverage(self.height, height);
        // Across first: [self.height, width, 3].
        let mut across = vec![0f32; self.height * width * 3];
        for y in 0..self.height {
            let row = &self.pixels[y * self.width * 3..][..self.width * 3];
            for (x, parts) in columns.iter().enumerate() {
                let to = &mut across[(y * width + x) * 3..][..3];
                for &(column, share) in parts {
                    for channel in 0..3 {
                        to[channel] += share * f32::from(row[column * 3 + channel]);
                    }
                }
            }
        }
        let mut pixels = Vec::with_capacity(width * height * 3);
        let mut sums = vec![0f32; width * 3];
        for parts in &rows {
            sums.fill(0.0);
            for &(row, share) in parts {
                let from = &across[row * width * 3..][..width * 3];
                sums.iter_mut().zip(from).for_each(|(sum, value)| *sum += share * value);
            }
            pixels.extend(sums.iter().map(|sum| sum.round().clamp(0.0, 255.0) as u8));
        }
        Image { width, height, pixels }
    }

    /// The file's bytes as PNG.
    ///
    /// # Errors
    /// A side is too long for the format.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let refused = |reason: String| self.refused("PNG", reason);
        let [width, height] = [self.width, self.height].map(u32::try_from);
        let (Ok(width), Ok(height)) = (width, height) else {
            return Err(refused("sides are at most 2³² − 1 pixels".into()));
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().map_err(|error| refused(error.to_string()))?;
        writer.write_image_data(&self.pixels).map_err(|error| refused(error.to_string()))?;
        writer.finish().map_err(|error| refused(error.to_string()))?;
        Ok(bytes)
    }

    /// The file's bytes as JPEG.
    ///
    /// # Errors
    /// A side is longer than the format's 65535 pixels.
    pub fn to_jpeg(&self) -> Result<Vec<u8>, Error> {
        let [width, height] = [self.width, self.height].map(u16::try_from);
        let (Ok(width), Ok(height)) = (width, height) else {
            return Err(self.refused("JPEG", "sides are at most 65535 pixels".into()));
        };
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, QUALITY);
        let encoded = encoder.encode(&self.pixels, width, height, jpeg_encoder::ColorType::Rgb);
        encoded.map_err(|error| self.refused("JPEG", error.to_string()))?;
        Ok(bytes)
    }

    fn refused(&self, format: &'static str, reason: String) -> Error {
        Error::Encode { format, width: self.width, height: self.height, reason }
    }

    fn each_row(&mut self, [left, top, right, bottom]: [i64; 4], mut draw: impl FnMut(&mut [[u8; 3]])) {
        let columns = left.clamp(0, self.width as i64) as usize..right.clamp(0, self.width as i64) as usize;
        let rows = top.clamp(0, self.height as i64) as usize..bottom.clamp(0, self.height as i64) as usize;
        if columns.is_empty() {
            return;
        }
        for row in rows {
            let start = row * self.width;
            let pixels = &mut self.pixels[(start + columns.start) * 3..(start + columns.end) * 3];
            draw(pixels.as_chunks_mut::<3>().0);
        }
    }
}

/// `share` of a colour over a pixel.
fn mix(pixel: &mut [u8; 3], colour: Colour, share: f32) {
    for (old, new) in pixel.iter_mut().zip(colour) {
        let value = f32::from(*old) + (f32::from(new) - f32::from(*old)) * share;
        *old = value.round().clamp(0.0, 255.0) as u8;
    }
}

/// A colour between two others.
pub(crate) fn between(from: Colour, to: Colour, share: f32) -> Colour {
    let mut mixed = from;
    mix(&mut mixed, to, share);
    mixed
}

/// For each new pixel of an axis the old pixels it covers, with shares that sum to one.
fn coverage(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f64 / to as f64;
    let part = |index: usize| {
        let (start, end) = (index as f64 * step, (index + 1) as f64 * step);
        let last = (end.ceil() as usize).min(from).max(start as usize + 1);
        let covered = (start as usize..last).map(|pixel| {
            let covered = (end.min((pixel + 1) as f64) - start.max(pixel as f64)).max(0.0);
            (pixel.min(from - 1), (covered / step) as f32)
        });
        covered.filter(|(_, share)| *share > 0.0).collect()
    };
    (0..to).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_cut_at_the_edges() {
        let mut image = Image::new(4, 3, WHITE);
        image.fill([-5, 1, 2, 99], [1, 2, 3]);
        assert_eq!((image.pixel(1, 2), image.pixel(2, 2), image.pixel(0, 0)), ([1, 2, 3], WHITE, WHITE));
        image.blend(-1, 0, [0; 3], 1.0);
        image.blend(4, 0, [0; 3], 1.0);
        image.blend(3, 0, [0; 3], 0.5);
        assert_eq!(image.pixel(3, 0), [128; 3]);
    }

    #[test]
    fn a_frame_has_each_pixel_once() {
        let mut image = Image::new(9, 7, WHITE);
        image.frame([1, 1, 8, 6], 1, [0; 3], 0.5);
        let grey = image.pixels.as_chunks::<3>().0.iter().filter(|&&pixel| pixel == [128; 3]).count();
        assert_eq!(grey, 2 * 7 + 2 * 3, "a corner drawn twice would be darker");
        assert_eq!(image.pixel(4, 3), WHITE);
    }

    #[test]
    fn sizes_change_by_means_and_by_squares() {
        let image = Image::from_pixels(2, 1, vec![0, 0, 0, 100, 200, 40]).unwrap();
        assert_eq!(image.resized(1, 1).pixels, [50, 100, 20]);
        let large = image.resized(4, 2);
        assert_eq!([0, 1, 2, 3].map(|x| large.pixel(x, 1)), [[0; 3], [0; 3], [100, 200, 40], [100, 200, 40]]);
        let odd = Image::new(7, 5, [9, 8, 7]).resized(3, 4);
        assert!(odd.pixels.as_chunks::<3>().0.iter().all(|&pixel| pixel == [9, 8, 7]));
    }

    #[test]
    fn wrong_sizes_are_told() {
        let error = Image::from_pixels(2, 2, vec![0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "a picture of 2×2 pixels has 12 bytes, not 5");
        let error = Image::new(70_000, 1, WHITE).to_jpeg().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a picture of 70000×1 pixels cannot be written as JPEG: sides are at most 65535 pixels"
        );
    }
}
