//! Measures decoding and loading: `cargo run --release -p yolo11-dataset --example loader_speed -- dataset.yaml 640`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use yolo11_dataset::{Augmentation, Cache, DatasetDescription, Loader, LoaderSettings, ScanOptions, SplitName, decode};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: loader_speed dataset.yaml [size]")?;
    let size: usize = arguments.next().map_or(Ok(640), |size| size.parse())?;
    let description = DatasetDescription::read(&file)?;
    let start = Instant::now();
    let (split, findings) = description.scan(SplitName::Train, &ScanOptions::default())?;
    let count = split.images.len();
    println!("scan: {count} pictures, {} findings, {:.1} ms", findings.len(), start.elapsed().as_secs_f64() * 1e3);
    let split = Arc::new(split);

    let decode_all = || -> Result<(), yolo11_dataset::Error> {
        split.images.iter().try_for_each(|image| decode::decode_file(Path::new(&image.path)).map(|_| ()))
    };
    report("decode alone", count, || decode_all().map_err(Into::into))?;

    let plain = Augmentation { mosaic: 0.0, ..Augmentation::default() };
    let rotated = Augmentation { degrees: 10.0, ..Augmentation::default() };
    let ram = Cache::Ram { limit_bytes: 4 << 30 };
    for (name, augment, workers, cache) in [
        ("mosaic, in the calling thread", Augmentation::default(), 0, Cache::None),
        ("mosaic, 1 worker", Augmentation::default(), 1, Cache::None),
        ("mosaic, 2 workers", Augmentation::default(), 2, Cache::None),
        ("mosaic, 1 worker, cache=ram", Augmentation::default(), 1, ram.clone()),
        ("mosaic and rotation, 1 worker, cache=ram", rotated, 1, ram.clone()),
        ("no mosaic, 1 worker", plain, 1, Cache::None),
        ("no mosaic, 1 worker, cache=ram", plain, 1, ram),
    ] {
        let settings = LoaderSettings { augment: Some(augment), workers, cache, ..LoaderSettings::training(4, size) };
        let loader = Loader::new(split.clone(), settings)?;
        let mut epoch = 0;
        let run = || -> Result<(), Box<dyn Error>> {
            for batch in loader.epoch(epoch) {
                loader.recycle(batch?);
            }
            epoch += 1;
            Ok(())
        };
        report(name, count, run)?;
    }
    let loader = Loader::new(split.clone(), LoaderSettings { workers: 1, ..LoaderSettings::evaluation(8, size) })?;
    report("evaluation, rectangular, 1 worker", count, || {
        for batch in loader.epoch(0) {
            loader.recycle(batch?);
        }
        Ok(())
    })?;
    Ok(())
}

/// Median of seven runs after one.
fn report(name: &str, count: usize, mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let [fastest, median, slowest] = [times[0], times[3], times[6]].map(|time| count as f64 / time);
    println!("{name}: {median:.0} pictures/s ({slowest:.0} to {fastest:.0})");
    Ok(())
}
