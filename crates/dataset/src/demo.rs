//! A small detection set to try everything with, drawn from a seed: bottles, coins and leaves on cluttered grounds.
//!
//! Classes differ by shape and texture; colours are shared between them and with the clutter (pebbles, twigs, stars,
//! paper), which belongs to no class.

mod objects;
mod paint;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;

use crate::random::Random;
use crate::{Error, Picture};
use objects::Kind;
use paint::Painting;

/// Class names of the demo set.
pub const NAMES: [&str; 3] = ["bottle", "coin", "leaf"];

/// Pictures for training.
pub const TRAIN: usize = 240;

/// Pictures for validation.
pub const VAL: usize = 60;

/// Last file written: where it is, the set is complete.
const DESCRIPTION: &str = "dataset.yaml";

/// Makes the set in `folder` and gives its `dataset.yaml`. Where the folder holds a set already, nothing is done. The set
/// is made beside the folder under another name and renamed at the end, so it is whole or not there. The same seed gives
/// the same bytes.
///
/// # Errors
/// The folder cannot be written, or exists without holding a demo set.
pub fn generate(folder: &Path, seed: u64) -> Result<PathBuf, Error> {
    let description = folder.join(DESCRIPTION);
    if description.is_file() {
        return Ok(description);
    }
    let write = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Write { path, source }
    };
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.exists() && !is_empty(folder) {
        return Err(Error::Settings {
            message: format!("{} exists, but holds no demo set", folder.display()),
            hint: "name another folder".into(),
        });
    }
    let name = folder.file_name().map_or_else(|| "demo".into(), |name| name.to_string_lossy().into_owned());
    let temporary = folder.with_file_name(format!(".{name}-{}.part", std::process::id()));
    let made = make(&temporary, seed).and_then(|()| {
        if folder.exists() {
            fs::remove_dir(folder).map_err(write(folder))?;
        }
        fs::rename(&temporary, folder).map_err(write(folder))
    });
    if let Err(error) = made {
        // Only what was just made here is removed.
        let _ = fs::remove_dir_all(&temporary);
        // Another process may have been faster.
        return if description.is_file() { Ok(description) } else { Err(error) };
    }
    Ok(description)
}

/// Pictures of the kind that the set holds, drawn in memory.
pub fn pictures(count: usize, seed: u64) -> Vec<Picture> {
    (0..count)
        .map(|number| {
            let scene = draw(&mut Random::new(&[seed, 0, number as u64]));
            Picture { height: scene.height, width: scene.width, pixels: scene.pixels }
        })
        .collect()
}

fn make(folder: &Path, seed: u64) -> Result<(), Error> {
    for (split, count) in [("train", TRAIN), ("val", VAL)] {
        let images = folder.join("images").join(split);
        let labels = folder.join("labels").join(split);
        for path in [&images, &labels] {
            fs::create_dir_all(path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        (0..count).into_par_iter().try_for_each(|number| {
            let mut random = Random::new(&[seed, u64::from(split == "val"), number as u64]);
            let scene = draw(&mut random);
            let jpeg = encode(&scene)?;
            write_file(&images.join(format!("{number:04}.jpg")), &jpeg)?;
            write_file(&labels.join(format!("{number:04}.txt")), scene.rows.as_bytes())
        })?;
    }
    let names: String = NAMES.iter().enumerate().map(|(class, name)| format!("  {class}: {name}\n")).collect();
    let text = format!(
        "# Drawn by yolo11 from seed {seed}: bottles, coins and leaves among clutter.\ntrain: images/train\n\
         val: images/val\nnames:\n{names}"
    );
    write_file(&folder.join(DESCRIPTION), text.as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)
    };
    write().map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// A finished picture with its label rows.
struct Scene {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    rows: String,
}

fn draw(random: &mut Random) -> Scene {
    let shapes = [(320, 240), (240, 320), (320, 320), (320, 256)];
    let (width, height) = shapes[random.below(shapes.len())];
    let mut painting = Painting::ground(width, height, random);
    let clutter = 3 + random.below(6);
    for _ in 0..clutter {
        painting.add(Kind::clutter(random), random.uniform(14.0, 70.0) as f32, random);
    }
    let objects = 2 + random.below(6);
    for _ in 0..objects {
        // Small ones are more frequent: uniform in the logarithm.
        let size = 26.0 * 6.2f64.powf(random.unit());
        let class = random.below(NAMES.len());
        painting.add(Kind::of_class(class), size as f32, random);
        if random.chance(0.3) {
            painting.add(Kind::clutter(random), random.uniform(10.0, 40.0) as f32, random);
        }
    }
    let rows = painting.rows();
    Scene { width, height, pixels: painting.finish(random), rows }
}

fn encode(scene: &Scene) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 88);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&scene.pixels, scene.width as u16, scene.height as u16, ColorType::Rgb).map_err(|error| {
        Error::Settings {
            message: format!("the demo picture cannot be encoded: {error}"),
            hint: "please report this".into(),
        }
    })?;
    Ok(bytes)
}
