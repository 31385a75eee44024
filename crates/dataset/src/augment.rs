//! Varies training pictures and moves their boxes along.

use std::sync::Arc;

use crate::canvas::{Canvas, PixelBox};
use crate::hsv::{HsvGains, shift_hsv};
use crate::labels::Label;
use crate::random::Random;
use crate::store::Store;
use crate::warp::Projection;
use crate::{Error, Picture};

/// How training pictures are varied; every setting with the field's default. Applied in this order: mosaic or letterbox,
/// projection (rotation, scale, shear, perspective, translation), mixup, cutmix, colours, flips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Largest turn of the hue, as a share of the colour circle: 0 to 1.
    pub hsv_h: f64,
    /// Largest relative change of the saturation: 0 to 1.
    pub hsv_s: f64,
    /// Largest relative change of the brightness: 0 to 1.
    pub hsv_v: f64,
    /// Largest rotation in degrees: 0 to 180.
    pub degrees: f64,
    /// Largest shift, as a share of the input: 0 to 1.
    pub translate: f64,
    /// Largest relative change of the size: 0 to below 1.
    pub scale: f64,
    /// Largest shear in degrees: 0 to below 90.
    pub shear: f64,
    /// Largest perspective term: 0 to 0.001 (1 / pixels).
    pub perspective: f64,
    /// Probability of turning a picture upside down.
    pub flipud: f64,
    /// Probability of mirroring a picture.
    pub fliplr: f64,
    /// Probability of putting four pictures together.
    pub mosaic: f64,
    /// Probability of blending two pictures (Zhang et al., 2018), by a share from Beta(32, 32).
    pub mixup: f64,
    /// Probability of pasting a rectangle of another picture (Yun et al., 2019) where it hides no object by more than a tenth.
    pub cutmix: f64,
    /// Number of epochs at the end without mosaic, mixup and cutmix.
    pub close_mosaic: usize,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            hsv_h: 0.015,
            hsv_s: 0.7,
            hsv_v: 0.4,
            degrees: 0.0,
            translate: 0.1,
            scale: 0.5,
            shear: 0.0,
            perspective: 0.0,
            flipud: 0.0,
            fliplr: 0.5,
            mosaic: 1.0,
            mixup: 0.0,
            cutmix: 0.0,
            close_mosaic: 10,
        }
    }
}

impl Augmentation {
    /// Whether samples are made of more than one picture.
    pub(crate) fn mixes(&self) -> bool {
        self.mosaic > 0.0 || self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// The same without mosaic, mixup and cutmix: for the last epochs.
    pub(crate) fn closed(&self) -> Self {
        Self { mosaic: 0.0, mixup: 0.0, cutmix: 0.0, ..*self }
    }

    /// Checks every range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let ranges = [
            ("hsv_h", self.hsv_h, 1.0),
            ("hsv_s", self.hsv_s, 1.0),
            ("hsv_v", self.hsv_v, 1.0),
            ("degrees", self.degrees, 180.0),
            ("translate", self.translate, 1.0),
            ("scale", self.scale, 0.99),
            ("shear", self.shear, 89.0),
            ("perspective", self.perspective, 0.001),
            ("flipud", self.flipud, 1.0),
            ("fliplr", self.fliplr, 1.0),
            ("mosaic", self.mosaic, 1.0),
            ("mixup", self.mixup, 1.0),
            ("cutmix", self.cutmix, 1.0),
        ];
        match ranges.iter().find(|(_, value, highest)| !(0.0..=*highest).contains(value)) {
            None => Ok(()),
            Some((name, value, highest)) => Err(Error::Settings {
                message: format!("{name}={value} is out of range"),
                hint: format!("choose from 0 to {highest}"),
            }),
        }
    }
}

/// Makes training samples of one epoch: pictures from the store, random numbers from each sample's own generator.
pub(crate) struct Composer<'a> {
    pub store: &'a Store,
    pub settings: &'a Augmentation,
    /// Side of the square input.
    pub size: usize,
    /// Pictures that partners of a mosaic are taken from.
    pub partners: &'a [u32],
}

/// Room that is used again for each sample of a thread.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The sample itself, before it is copied into its batch.
    pub sample: Vec<u8>,
    plane: Vec<u8>,
    other: Vec<u8>,
}

impl Composer<'_> {
    /// Writes one sample (RGB, `[size, size, 3]`) and gives its objects, and the index of the picture it is made around.
    pub fn compose(
        &self,
        index: usize,
        random: &mut Random,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(usize, Vec<Label>), Error> {
        let settings = self.settings;
        let (index, mut boxes) = self.base(index, random, out, &mut scratch.plane)?;
        if random.chance(settings.mixup) {
            scratch.other.resize(out.len(), 0);
            let (_, others) = self.base(self.partner(random), random, &mut scratch.other, &mut scratch.plane)?;
            blend(out, &scratch.other, random.beta(32.0));
            boxes.extend(others);
        }
        if random.chance(settings.cutmix) {
            scratch.other.resize(out.len(), 0);
            let (_, others) = self.base(self.partner(random), random, &mut scratch.other, &mut scratch.plane)?;
            cut_and_paste(out, &mut boxes, &scratch.other, &others, self.size, random);
        }
        let gains = HsvGains {
            hue: random.uniform(-settings.hsv_h, settings.hsv_h) as f32,
            saturation: 1.0 + random.uniform(-settings.hsv_s, settings.hsv_s) as f32,
            value: 1.0 + random.uniform(-settings.hsv_v, settings.hsv_v) as f32,
        };
        if settings.hsv_h > 0.0 || settings.hsv_s > 0.0 || settings.hsv_v > 0.0 {
            shift_hsv(out, gains);
        }
        let side = self.size as f64;
        if random.chance(settings.flipud) {
            flip_rows(out, self.size * 3);
            for bbox in &mut boxes {
                let [x1, y1, x2, y2] = bbox.corners;
                bbox.corners = [x1, side - y2, x2, side - y1];
            }
        }
        if random.chance(settings.fliplr) {
            out.chunks_exact_mut(self.size * 3).for_each(mirror_row);
            for bbox in &mut boxes {
                let [x1, y1, x2, y2] = bbox.corners;
                bbox.corners = [side - x2, y1, side - x1, y2];
            }
        }
        let label = |bbox: &PixelBox| {
            let [x1, y1, x2, y2] = bbox.corners.map(|value| value / side);
            let bbox_shares = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1].map(|value| value as f32);
            Label { class: bbox.class, bbox: bbox_shares }
        };
        Ok((index, boxes.iter().map(label).collect()))
    }

    fn partner(&self, random: &mut Random) -> usize {
        self.partners[random.below(self.partners.len())] as usize
    }

    /// A mosaic or a single picture, seen through a random projection.
    fn base(
        &self,
        index: usize,
        random: &mut Random,
        out: &mut [u8],
        plane: &mut Vec<u8>,
    ) -> Result<(usize, Vec<PixelBox>), Error> {
        let side = self.size as i64;
        let (index, picture) = self.store.readable(index)?;
        let canvas = if random.chance(self.settings.mosaic) {
            self.mosaic(index, picture, random)?
        } else {
            let mut canvas = Canvas::new([self.size, self.size]);
            let centre = |length: usize| ((side - length as i64) as f64 / 2.0 - 0.1).round() as i64;
            let origin = [centre(picture.width), centre(picture.height)];
            canvas.place(picture, self.store.labels(index), origin);
            canvas
        };
        let (projection, scale) = self.projection(canvas.size(), random);
        Ok((index, canvas.view(&projection, scale, [self.size, self.size], out, plane)))
    }

    /// Four pictures around a random point of the middle half of a plane of twice the size.
    fn mosaic(&self, index: usize, first: Arc<Picture>, random: &mut Random) -> Result<Canvas, Error> {
        let side = self.size as f64;
        let mut canvas = Canvas::new([2 * self.size, 2 * self.size]);
        let mut middle = || random.uniform(side / 2.0, side * 1.5) as i64;
        let (x, y) = (middle(), middle());
        let mut current = (index, first);
        for corner in 0..4 {
            if corner > 0 {
                current = self.store.readable(self.partner(random))?;
            }
            let (index, picture) = &current;
            let (width, height) = (picture.width as i64, picture.height as i64);
            let origin = [if corner % 2 == 0 { x - width } else { x }, if corner < 2 { y - height } else { y }];
            canvas.place(picture.clone(), self.store.labels(*index), origin);
        }
        Ok(canvas)
    }

    /// From the plane to the input, about their centres; and the enlargement that is part of it.
    fn projection(&self, plane: [usize; 2], random: &mut Random) -> (Projection, f64) {
        let settings = self.settings;
        let mut vary = |range: f64| random.uniform(-range, range);
        let [px, py] = [vary(settings.perspective), vary(settings.perspective)];
        let angle = vary(settings.degrees).to_radians();
        let scale = 1.0 + vary(settings.scale);
        let [shear_x, shear_y] = [vary(settings.shear), vary(settings.shear)].map(|degrees| degrees.to_radians().tan());
        let [shift_x, shift_y] =
            [vary(settings.translate), vary(settings.translate)].map(|share| (0.5 + share) * self.size as f64);
        let centre =
            Projection([[1.0, 0.0, -(plane[1] as f64) / 2.0], [0.0, 1.0, -(plane[0] as f64) / 2.0], [0.0, 0.0, 1.0]]);
        let perspective = Projection([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [px, py, 1.0]]);
        let (sine, cosine) = (angle.sin() * scale, angle.cos() * scale);
        let rotate = Projection([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]]);
        let shear = Projection([[1.0, shear_x, 0.0], [shear_y, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let shift = Projection([[1.0, 0.0, shift_x], [0.0, 1.0, shift_y], [0.0, 0.0, 1.0]]);
        (shift.after(shear).after(rotate).after(perspective).after(centre), scale)
    }
}

fn blend(out: &mut [u8], other: &[u8], share: f64) {
    let share = (share * 256.0).round() as u32;
    for (pixel, &other) in out.iter_mut().zip(other) {
        *pixel = ((u32::from(*pixel) * share + u32::from(other) * (256 - share) + 128) >> 8) as u8;
    }
}

/// Pastes a random rectangle of the other sample where it covers at most a tenth of every object; three tries.
fn cut_and_paste(
    out: &mut [u8],
    boxes: &mut Vec<PixelBox>,
    other: &[u8],
    others: &[PixelBox],
    size: usize,
    random: &mut Random,
) {
    for _ in 0..3 {
        let side = (1.0 - random.beta(32.0)).sqrt();
        let length = |random: &mut Random| ((size as f64 * side * random.uniform(0.5, 1.0)) as usize).max(1);
        let (width, height) = (length(random), length(random));
        let (x, y) = (random.below(size - width + 1), random.below(size - height + 1));
        let window = [x, y, x + width, y + height].map(|edge| edge as f64);
        if boxes.iter().any(|bbox| bbox.clipped(window).area() > 0.1 * bbox.area()) {
            continue;
        }
        for row in y..y + height {
            let range = (row * size + x) * 3..(row * size + x + width) * 3;
            out[range.clone()].copy_from_slice(&other[range]);
        }
        boxes.extend(others.iter().filter_map(|bbox| {
            let part = bbox.clipped(window);
            part.worth_keeping(bbox.area()).then_some(part)
        }));
        return;
    }
}

fn mirror_row(row: &mut [u8]) {
    let (pixels, _) = row.as_chunks_mut::<3>();
    pixels.reverse();
}

fn flip_rows(pixels: &mut [u8], row_bytes: usize) {
    let rows = pixels.len() / row_bytes;
    let (upper, lower) = pixels.split_at_mut(rows.div_ceil(2) * row_bytes);
    for (above, below) in upper.chunks_exact_mut(row_bytes).zip(lower.chunks_exact_mut(row_bytes).rev()) {
        above.swap_with_slice(below);
    }
}
