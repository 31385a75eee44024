//! What a split holds, in figures: how many, how large, where, of each class.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::Split;
use crate::labels::Label;

/// Squares along a side of the map of positions.
const GRID: usize = 8;
/// Areas in pixels below which an object counts as small and as medium (COCO's evaluation).
const COCO_AREAS: [f64; 2] = [32.0 * 32.0, 96.0 * 96.0];
/// Most sizes of pictures that are listed.
const MOST_SIZES: usize = 10;

/// Five figures of a list of values: least, lower quartile, median, upper quartile, greatest. NaN of no values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread(pub [f64; 5]);

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| match values.len() {
            0 => f64::NAN,
            // Between two values as far as the share says.
            count => {
                let place = (count - 1) as f64 * quarter as f64 / 4.0;
                let (low, share) = (values[place as usize], place.fract());
                low + (values[(place as usize + 1).min(count - 1)] - low) * share
            }
        };
        Spread([0, 1, 2, 3, 4].map(at))
    }

    /// The middle value.
    pub fn median(&self) -> f64 {
        self.0[2]
    }

    fn to_json(self) -> Value {
        let names = ["least", "lower_quartile", "median", "upper_quartile", "greatest"];
        names.iter().zip(self.0).map(|(name, value)| ((*name).to_owned(), rounded(value))).collect()
    }
}

/// Sizes and places of some objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Shapes {
    /// Widths as shares of the picture.
    pub width: Spread,
    /// Heights as shares of the picture.
    pub height: Spread,
    /// Sides of squares of the same area, in pixels of the picture.
    pub side: Spread,
    /// Width over height, in pixels.
    pub aspect: Spread,
    /// How many are small (below 32² pixels), medium (below 96²) and large, as COCO counts.
    pub areas: [usize; 3],
    /// How many centres lie in each square of an 8 × 8 grid over the picture, row by row.
    pub positions: Vec<usize>,
}

impl Shapes {
    fn of<'a>(objects: impl Iterator<Item = (&'a Label, [usize; 2])>) -> Self {
        let [mut widths, mut heights, mut sides, mut aspects] = [const { Vec::new() }; 4];
        let mut areas = [0; 3];
        let mut positions = vec![0; GRID * GRID];
        for (label, [height, width]) in objects {
            let [cx, cy, w, h] = label.bbox.map(f64::from);
            let pixels = [w * width as f64, h * height as f64];
            let area = pixels[0] * pixels[1];
            widths.push(w);
            heights.push(h);
            sides.push(area.sqrt());
            aspects.push(pixels[0] / pixels[1]);
            areas[COCO_AREAS.iter().filter(|&&limit| area >= limit).count()] += 1;
            let square = |value: f64| ((value * GRID as f64) as usize).min(GRID - 1);
            positions[square(cy) * GRID + square(cx)] += 1;
        }
        let [width, height, side, aspect] = [widths, heights, sides, aspects].map(Spread::of);
        Shapes { width, height, side, aspect, areas, positions }
    }

    fn to_json(&self) -> Value {
        json!({
            "width": self.width.to_json(), "height": self.height.to_json(), "side_pixels": self.side.to_json(),
            "aspect": self.aspect.to_json(),
            "areas": {"small": self.areas[0], "medium": self.areas[1], "large": self.areas[2]},
            "positions": self.positions.chunks(GRID).collect::<Vec<_>>(),
        })
    }
}

/// What a split holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Number of pictures.
    pub images: usize,
    /// Pictures without an object.
    pub backgrounds: usize,
    /// Number of objects.
    pub boxes: usize,
    /// Number of objects of each class.
    pub boxes_per_class: Vec<usize>,
    /// Number of pictures with an object of each class.
    pub images_per_class: Vec<usize>,
    /// Objects of a picture.
    pub boxes_per_image: Spread,
    /// The most frequent sizes `[height, width]` of pictures, with their number.
    pub image_sizes: Vec<([usize; 2], usize)>,
    /// All objects.
    pub shapes: Shapes,
    /// The objects of each class.
    pub shapes_per_class: Vec<Shapes>,
}

impl Split {
    /// Counts and measures pictures and objects.
    pub fn statistics(&self) -> Statistics {
        let mut boxes_per_class = vec![0; self.names.len()];
        let mut images_per_class = vec![0; self.names.len()];
        let mut sizes: BTreeMap<[usize; 2], usize> = BTreeMap::new();
        for image in &self.images {
            *sizes.entry(image.size).or_default() += 1;
            let mut seen = HashSet::new();
            for label in &image.labels {
                boxes_per_class[label.class] += 1;
                if seen.insert(label.class) {
                    images_per_class[label.class] += 1;
                }
            }
        }
        let mut image_sizes: Vec<([usize; 2], usize)> = sizes.into_iter().collect();
        image_sizes.sort_by_key(|&(size, count)| (std::cmp::Reverse(count), size));
        image_sizes.truncate(MOST_SIZES);
        let mut by_class: Vec<Vec<(&Label, [usize; 2])>> = vec![Vec::new(); self.names.len()];
        for (label, size) in self.objects() {
            by_class[label.class].push((label, size));
        }
        Statistics {
            images: self.images.len(),
            backgrounds: self.images.iter().filter(|image| image.labels.is_empty()).count(),
            boxes: boxes_per_class.iter().sum(),
            boxes_per_class,
            images_per_class,
            boxes_per_image: Spread::of(self.images.iter().map(|image| image.labels.len() as f64).collect()),
            image_sizes,
            shapes: Shapes::of(self.objects()),
            shapes_per_class: by_class.into_iter().map(|class| Shapes::of(class.into_iter())).collect(),
        }
    }

    /// Every object with its picture's size.
    fn objects(&self) -> impl Iterator<Item = (&Label, [usize; 2])> {
        self.images.iter().flat_map(|image| image.labels.iter().map(|label| (label, image.size)))
    }
}

impl Statistics {
    /// The few figures by which a split is known.
    pub fn profile(&self) -> Value {
        json!({
            "pictures": self.images, "backgrounds": self.backgrounds, "objects": self.boxes,
            "objects_per_class": self.boxes_per_class, "pictures_per_class": self.images_per_class,
        })
    }

    /// All figures.
    pub fn to_json(&self, names: &[String]) -> Value {
        let mut all = self.profile();
        let sizes = self.image_sizes.iter();
        all["picture_sizes"] = sizes
            .map(|([height, width], count)| json!({"width": width, "height": height, "pictures": count}))
            .collect();
        all["objects_per_picture"] = self.boxes_per_image.to_json();
        all["shapes"] = self.shapes.to_json();
        let classes = names.iter().zip(&self.shapes_per_class).map(|(name, shapes)| {
            let mut shapes = shapes.to_json();
            shapes["name"] = json!(name);
            shapes
        });
        all["classes"] = classes.collect();
        all
    }
}

/// Six digits are enough for a reader; null where there is no value.
fn rounded(value: f64) -> Value {
    if !value.is_finite() {
        return Value::Null;
    }
    json!(format!("{value:.6}").parse::<f64>().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageEntry, SplitName};

    #[test]
    fn figures_are_those_of_the_boxes() {
        let label = |class: usize, bbox: [f32; 4]| Label { class, bbox };
        let image = |name: &str, size: [usize; 2], labels: Vec<Label>| ImageEntry { path: name.into(), size, labels };
        let split = Split {
            name: SplitName::Train,
            images: vec![
                image("a", [100, 200], vec![label(0, [0.1, 0.9, 0.1, 0.2]), label(1, [0.5, 0.5, 0.5, 0.5])]),
                image("b", [400, 400], vec![label(1, [0.99, 0.01, 0.25, 0.25])]),
                image("c", [100, 200], Vec::new()),
            ],
            names: vec!["x".into(), "y".into(), "z".into()],
        };
        let found = split.statistics();
        assert_eq!((found.images, found.backgrounds, found.boxes), (3, 1, 3));
        assert_eq!((found.boxes_per_class.clone(), found.images_per_class.clone()), (vec![1, 2, 0], vec![1, 2, 0]));
        assert_eq!(found.boxes_per_image, Spread([0.0, 0.5, 1.0, 1.5, 2.0]));
        assert_eq!(found.image_sizes, [([100, 200], 2), ([400, 400], 1)]);
        // 20 × 20, 100 × 50 and 100 × 100 pixels.
        assert_eq!(found.shapes.areas, [1, 1, 1]);
        assert!((found.shapes.side.0[0] - 20.0).abs() < 1e-4 && (found.shapes.side.0[4] - 100.0).abs() < 1e-4);
        assert!((found.shapes_per_class[1].aspect.0[4] - 2.0).abs() < 1e-5);
        assert!(found.shapes_per_class[2].side.median().is_nan());
        let at = |row: usize, column: usize| found.shapes.positions[row * GRID + column];
        assert_eq!((at(7, 0), at(4, 4), at(0, 7)), (1, 1, 1));
        let json = found.to_json(&split.names);
        assert_eq!(json["shapes"]["width"]["median"], 0.25);
        assert_eq!(json["classes"][2]["side_pixels"]["median"], Value::Null);
        assert_eq!((&json["objects"], &json["classes"][1]["name"]), (&json!(3), &json!("y")));
    }
}
