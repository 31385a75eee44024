//! Where the head's predictions sit: one anchor per cell of three grids.

use crate::{Error, Heads};

/// Strides of the three levels in pixels, in the order of the anchors.
pub const STRIDES: [usize; 3] = [8, 16, 32];

/// Distribution bins for each side of a box: distances 0 to 15 in units of the stride.
pub const BINS: usize = 16;

/// Box logits of one anchor: `BINS` for each of left, top, right, bottom.
pub const BOX_LOGITS: usize = 4 * BINS;

/// One grid of anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Side of a cell in pixels.
    pub stride: usize,
    /// Cells down and across.
    pub grid: [usize; 2],
    /// Index of its first anchor; the others follow row by row.
    pub first: usize,
}

impl Level {
    /// The three levels of a network input of `[height, width]` pixels.
    pub fn all(size: [usize; 2]) -> [Level; 3] {
        let mut first = 0;
        STRIDES.map(|stride| {
            let grid = [size[0] / stride, size[1] / stride];
            let level = Level { stride, grid, first };
            first += grid[0] * grid[1];
            level
        })
    }
}

/// Centre and stride of one anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Centre x, y in units of the stride: column + 0.5, row + 0.5.
    pub centre: [f32; 2],
    /// Side of its cell in pixels.
    pub stride: f32,
}

/// Number of anchors of a network input of `[height, width]` pixels: 8400 at 640 x 640.
pub fn anchor_count(size: [usize; 2]) -> usize {
    STRIDES.iter().map(|stride| (size[0] / stride) * (size[1] / stride)).sum()
}

/// The anchor with this index in the head's order.
pub fn anchor(levels: &[Level; 3], index: usize) -> Anchor {
    let level = levels.iter().rev().find(|level| index >= level.first).unwrap_or(&levels[0]);
    let cell = index - level.first;
    let (row, column) = (cell / level.grid[1], cell % level.grid[1]);
    Anchor { centre: [column as f32 + 0.5, row as f32 + 0.5], stride: level.stride as f32 }
}

impl Heads<'_> {
    /// Anchors of one image.
    pub fn anchors(&self) -> usize {
        anchor_count(self.size)
    }

    /// Checks that the input size fits the strides and both slices fit their shapes.
    pub fn check(&self) -> Result<(), Error> {
        let [height, width] = self.size;
        if height == 0 || width == 0 || height % 32 != 0 || width % 32 != 0 {
            return Err(Error::Size { height, width });
        }
        if self.classes == 0 {
            return Err(Error::NoClasses);
        }
        let anchors = self.anchors();
        for (name, found, last) in
            [("boxes", self.boxes.len(), BOX_LOGITS), ("scores", self.scores.len(), self.classes)]
        {
            let shape = [self.images, anchors, last];
            if found != shape.iter().product::<usize>() {
                return Err(Error::Length { name, found, shape });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_run_through_the_levels_row_by_row() {
        assert_eq!(anchor_count([640, 640]), 8400);
        assert_eq!(anchor_count([128, 160]), 420);
        let levels = Level::all([128, 160]);
        assert_eq!(levels.map(|level| level.first), [0, 320, 400]);
        assert_eq!(anchor(&levels, 0), Anchor { centre: [0.5, 0.5], stride: 8.0 });
        assert_eq!(anchor(&levels, 21), Anchor { centre: [1.5, 1.5], stride: 8.0 });
        assert_eq!(anchor(&levels, 320), Anchor { centre: [0.5, 0.5], stride: 16.0 });
        assert_eq!(anchor(&levels, 419), Anchor { centre: [4.5, 3.5], stride: 32.0 });
    }

    #[test]
    fn misfitting_heads_are_named() {
        let heads = Heads { boxes: &[0.0; 21 * 64], scores: &[0.0; 42], images: 1, classes: 2, size: [32, 32] };
        assert_eq!(heads.check(), Ok(()));
        let wrong = Heads { size: [32, 40], ..heads };
        assert_eq!(wrong.check(), Err(Error::Size { height: 32, width: 40 }));
        let wrong = Heads { scores: &[0.0; 41], ..heads };
        let message = wrong.check().map_err(|error| error.to_string());
        assert_eq!(message, Err("scores holds 41 values, its shape [1, 21, 2] asks for 42".to_owned()));
        assert_eq!(Heads { classes: 0, ..heads }.check(), Err(Error::NoClasses));
    }
}
