//! Makes the demo set and, for a look at it, PNGs of a few pictures with their boxes:
//! `cargo run --release -p yolo11-dataset --example demo_pictures -- folder`.

use std::error::Error;
use std::path::PathBuf;

use yolo11_dataset::{DatasetDescription, ScanOptions, SplitName, decode, demo};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: demo_pictures folder")?);
    let start = std::time::Instant::now();
    let file = demo::generate(&folder.join("demo"), 0)?;
    println!("{} after {:.1} s", file.display(), start.elapsed().as_secs_f64());
    let description = DatasetDescription::read(file)?;
    for name in [SplitName::Train, SplitName::Val] {
        let (split, findings) = description.scan(name, &ScanOptions::default())?;
        println!("{name}: {:?}, {} findings", split.statistics(), findings.len());
        let mut sheet = image::RgbImage::new(4 * 324, 3 * 324);
        for (number, entry) in split.images.iter().take(12).enumerate() {
            let picture = decode::decode_file(&entry.path)?;
            let (width, height) = (picture.width as u32, picture.height as u32);
            let mut image = image::RgbImage::from_raw(width, height, picture.pixels).ok_or("size")?;
            for label in &entry.labels {
                let [cx, cy, w, h] = label.bbox;
                let x = |share: f32| ((share * width as f32) as u32).min(width - 1);
                let y = |share: f32| ((share * height as f32) as u32).min(height - 1);
                let (x1, x2, y1, y2) = (x(cx - w / 2.0), x(cx + w / 2.0), y(cy - h / 2.0), y(cy + h / 2.0));
                let colour = image::Rgb([[255, 40, 40], [255, 255, 0], [0, 255, 255]][label.class]);
                (x1..=x2).for_each(|x| [y1, y2].iter().for_each(|&y| image.put_pixel(x, y, colour)));
                (y1..=y2).for_each(|y| [x1, x2].iter().for_each(|&x| image.put_pixel(x, y, colour)));
            }
            image::imageops::replace(&mut sheet, &image, (number as i64 % 4) * 324, (number as i64 / 4) * 324);
        }
        sheet.save(folder.join(format!("{name}.png")))?;
    }
    Ok(())
}
