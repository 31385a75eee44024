//! Batches: the same bits for any number of workers, boxes that stay on their objects, geometry, caches.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{folder, rectangles};
use yolo11_dataset::{
    Augmentation, Batch, Cache, DatasetDescription, Error, FILL, Loader, LoaderSettings, ScanOptions, Share, Split,
    SplitName,
};

fn split(file: &Path) -> Arc<Split> {
    let description = DatasetDescription::read(file).unwrap();
    Arc::new(description.scan(SplitName::Train, &ScanOptions::default()).unwrap().0)
}

fn everything() -> Augmentation {
    Augmentation {
        degrees: 20.0,
        shear: 8.0,
        perspective: 0.0005,
        flipud: 0.5,
        mosaic: 0.7,
        mixup: 0.5,
        cutmix: 0.5,
        ..Augmentation::default()
    }
}

/// The field's augmentation with nothing random but what the test sets.
fn still() -> Augmentation {
    Augmentation {
        hsv_h: 0.0,
        hsv_s: 0.0,
        hsv_v: 0.0,
        translate: 0.0,
        scale: 0.0,
        fliplr: 0.0,
        mosaic: 0.0,
        ..Augmentation::default()
    }
}

fn batches(split: &Arc<Split>, settings: LoaderSettings, epoch: usize) -> Vec<Batch> {
    Loader::new(split.clone(), settings).unwrap().epoch(epoch).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_do_not_depend_on_workers_or_caches() {
    let root = folder();
    let split = split(&rectangles(root.path(), 22));
    let disk = Cache::Disk { folder: root.path().join("cache") };
    let settings =
        LoaderSettings { augment: Some(everything()), workers: 0, seed: 7, ..LoaderSettings::training(4, 128) };
    let expected: Vec<Vec<Batch>> = (0..3).map(|epoch| batches(&split, settings.clone(), epoch)).collect();
    assert_eq!(expected[0].iter().map(|batch| batch.count).collect::<Vec<_>>(), [4, 4, 4, 4, 4, 2]);
    assert_ne!(expected[0][0].images, expected[1][0].images, "epochs differ");
    for workers in [1, 3] {
        for cache in
            [Cache::None, Cache::Ram { limit_bytes: 1 << 30 }, Cache::Ram { limit_bytes: 100_000 }, disk.clone()]
        {
            let settings = LoaderSettings { workers, cache: cache.clone(), ..settings.clone() };
            let loader = Loader::new(split.clone(), settings).unwrap();
            assert_eq!(loader.batches(), 6);
            for (epoch, expected) in expected.iter().enumerate() {
                for (batch, expected) in loader.epoch(epoch).zip(expected) {
                    let batch = batch.unwrap();
                    assert_eq!(batch, *expected, "{workers} workers, {cache:?}");
                    loader.recycle(batch);
                }
            }
        }
    }
    let other = batches(&split, LoaderSettings { seed: 8, ..settings.clone() }, 0);
    assert_ne!(other[0].images, expected[0][0].images, "seeds differ");
    // Every picture leads one sample of an epoch.
    let mut indices: Vec<usize> =
        expected[0].iter().flat_map(|batch| &batch.samples).map(|sample| sample.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..22).collect::<Vec<_>>());
}

#[test]
fn shares_put_together_are_the_whole_batch() {
    let root = folder();
    let split = split(&rectangles(root.path(), 22));
    let settings =
        |workers| LoaderSettings { augment: Some(everything()), workers, seed: 7, ..LoaderSettings::training(5, 128) };
    let whole = batches(&split, settings(0), 1);
    assert_eq!(whole.iter().map(|batch| batch.count).collect::<Vec<_>>(), [5, 5, 5, 5, 2]);
    for of in [2, 3, 5] {
        let shares: Vec<Vec<Batch>> = (0..of)
            .map(|part| batches(&split, LoaderSettings { share: Share { part, of }, ..settings(part % 3) }, 1))
            .collect();
        // Two pictures are no batch for three.
        let expected = if of == 2 { 5 } else { 4 };
        for part in &shares {
            assert_eq!(part.len(), expected);
            assert!(part.iter().all(|batch| batch.count > 0));
        }
        for (number, batch) in whole.iter().enumerate().take(expected) {
            let images: Vec<u8> = shares.iter().flat_map(|part| part[number].images.clone()).collect();
            assert!(images == batch.images, "batch {number} of {of} shares");
            let boxes = |batch: &Batch| batch.targets.iter().map(|target| target.bbox).collect::<Vec<_>>();
            assert_eq!(shares.iter().flat_map(|part| boxes(&part[number])).collect::<Vec<_>>(), boxes(batch));
        }
    }
    let few = LoaderSettings { share: Share { part: 0, of: 6 }, ..settings(0) };
    let text = Loader::new(split.clone(), few).err().unwrap().to_string();
    assert!(text.starts_with("batch=5 cannot be shared by 6 processes\nhint: "), "{text}");
}

#[test]
fn a_buffer_given_back_is_used_again() {
    let root = folder();
    let split = split(&rectangles(root.path(), 8));
    let loader = Loader::new(split, LoaderSettings { workers: 0, ..LoaderSettings::training(4, 64) }).unwrap();
    let mut epoch = loader.epoch(0);
    let first = epoch.next().unwrap().unwrap();
    let place = first.images.as_ptr();
    loader.recycle(first);
    assert_eq!(epoch.next().unwrap().unwrap().images.as_ptr(), place);
    assert!(epoch.next().is_none());
}

#[test]
fn dropping_an_epoch_ends_its_threads_soon() {
    let root = folder();
    let split = split(&rectangles(root.path(), 200));
    let loader = Loader::new(split, LoaderSettings { workers: 2, ..LoaderSettings::training(2, 64) }).unwrap();
    let mut epoch = loader.epoch(0);
    assert_eq!(epoch.next().unwrap().unwrap().count, 2);
    drop(epoch);
    let decoded = loader.decoded();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(loader.decoded(), decoded, "nobody works any more");
    assert!(decoded < 120, "{decoded} of 200 pictures were decoded for a batch of 2");
}

/// Class whose colour a pixel shows, if any.
fn class_at(batch: &Batch, image: usize, y: usize, x: usize) -> Option<usize> {
    let [height, width] = batch.size;
    let start = ((image * height + y) * width + x) * 3;
    let [r, g, b] = [0, 1, 2].map(|channel| batch.images[start + channel]);
    match (r > 180, b > 180) {
        _ if g > 60 => None,
        (true, false) => Some(0),
        (false, true) => Some(1),
        _ => None,
    }
}

/// Corners of the targets of a picture in pixels, with their classes.
fn boxes(batch: &Batch, image: usize) -> Vec<(usize, [f32; 4])> {
    let [height, width] = batch.size.map(|side| side as f32);
    let corners = |[cx, cy, w, h]: [f32; 4]| {
        [(cx - w / 2.0) * width, (cy - h / 2.0) * height, (cx + w / 2.0) * width, (cy + h / 2.0) * height]
    };
    batch
        .targets
        .iter()
        .filter(|target| target.image == image)
        .map(|target| (target.class, corners(target.bbox)))
        .collect()
}

/// Every coloured pixel must lie in a box of its class, every box must touch colour on all its sides.
fn check_boxes(batch: &Batch, tight: bool, what: &str) -> (usize, usize) {
    let [height, width] = batch.size;
    let (mut coloured, mut outside, mut count) = (0, 0, 0);
    for image in 0..batch.count {
        let boxes = boxes(batch, image);
        count += boxes.len();
        let mut extents = vec![[f32::MAX, f32::MAX, 0.0, 0.0]; boxes.len()];
        for y in 0..height {
            for x in 0..width {
                let Some(class) = class_at(batch, image, y, x) else { continue };
                coloured += 1;
                let (u, v) = (x as f32 + 0.5, y as f32 + 0.5);
                let mut inside = false;
                for ((of, corners), extent) in boxes.iter().zip(&mut extents) {
                    let [x1, y1, x2, y2] = *corners;
                    if *of == class && u > x1 - 1.0 && u < x2 + 1.0 && v > y1 - 1.0 && v < y2 + 1.0 {
                        inside = true;
                        *extent = [
                            extent[0].min(u - 0.5),
                            extent[1].min(v - 0.5),
                            extent[2].max(u + 0.5),
                            extent[3].max(v + 0.5),
                        ];
                    }
                }
                outside += usize::from(!inside);
            }
        }
        for ((class, corners), extent) in boxes.iter().zip(&extents) {
            assert!(corners.iter().all(|&value| (-0.01..=width.max(height) as f32 + 0.01).contains(&value)));
            if tight {
                for (corner, extent) in corners.iter().zip(extent) {
                    assert!((corner - extent).abs() < 2.0, "{what}: class {class} box {corners:?} colour {extent:?}");
                }
            }
        }
    }
    // Boxes of slivers at the edge are dropped; their few pixels stay.
    assert!(outside * 60 <= coloured, "{what}: {outside} of {coloured} coloured pixels have no box");
    (coloured, count)
}

#[test]
fn boxes_move_with_their_objects() {
    let root = folder();
    let split = split(&rectangles(root.path(), 16));
    let cases = [
        ("still", still(), true),
        ("scale and translate", Augmentation { scale: 0.5, translate: 0.1, ..still() }, true),
        ("flips", Augmentation { flipud: 0.5, fliplr: 0.5, ..still() }, true),
        ("mosaic", Augmentation { mosaic: 1.0, ..still() }, true),
        (
            "mosaic, scale, translate, flips",
            Augmentation { mosaic: 1.0, scale: 0.5, translate: 0.1, flipud: 0.5, fliplr: 0.5, ..still() },
            true,
        ),
        // Turned and cut objects: a box around the whole may be larger than what the edge leaves of it.
        ("rotation", Augmentation { degrees: 45.0, ..still() }, false),
        ("shear", Augmentation { shear: 20.0, ..still() }, false),
        ("perspective", Augmentation { perspective: 0.001, ..still() }, false),
        (
            "all",
            Augmentation {
                degrees: 30.0,
                shear: 10.0,
                perspective: 0.0005,
                scale: 0.4,
                mosaic: 1.0,
                flipud: 0.5,
                fliplr: 0.5,
                ..still()
            },
            false,
        ),
        ("cutmix", Augmentation { cutmix: 1.0, mosaic: 1.0, ..still() }, false),
    ];
    for (what, augment, tight) in cases {
        let settings = LoaderSettings { augment: Some(augment), workers: 0, ..LoaderSettings::training(8, 192) };
        let mut totals = (0, 0);
        for epoch in 0..3 {
            for batch in batches(&split, settings.clone(), epoch) {
                let (coloured, count) = check_boxes(&batch, tight, what);
                totals = (totals.0 + coloured, totals.1 + count);
            }
        }
        assert!(totals.0 > 40_000 && totals.1 > 60, "{what}: {totals:?}");
    }
}

#[test]
fn turned_boxes_are_tight_inside_the_picture() {
    let root = folder();
    let split = split(&rectangles(root.path(), 8));
    let turned = Augmentation { degrees: 30.0, shear: 5.0, scale: 0.0, ..still() };
    let settings = LoaderSettings { augment: Some(turned), workers: 0, ..LoaderSettings::training(8, 192) };
    let mut checked = 0;
    for batch in batches(&split, settings, 0) {
        for image in 0..batch.count {
            for (class, corners) in boxes(&batch, image) {
                if corners.iter().any(|&value| !(3.0..189.0).contains(&value)) {
                    continue;
                }
                let mut extent = [f32::MAX, f32::MAX, 0.0f32, 0.0f32];
                for y in 0..192 {
                    for x in (0..192).filter(|&x| class_at(&batch, image, y, x) == Some(class)) {
                        let (x, y) = (x as f32, y as f32);
                        extent = [extent[0].min(x), extent[1].min(y), extent[2].max(x + 1.0), extent[3].max(y + 1.0)];
                    }
                }
                for (corner, extent) in corners.iter().zip(extent) {
                    assert!((corner - extent).abs() < 2.5, "box {corners:?} colour {extent:?}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn mixup_blends_and_keeps_both_sets_of_boxes() {
    let root = folder();
    let split = split(&rectangles(root.path(), 8));
    let settings = |augment| LoaderSettings { augment: Some(augment), workers: 0, ..LoaderSettings::training(8, 192) };
    let plain = &batches(&split, settings(still()), 0)[0];
    let mixed = &batches(&split, settings(Augmentation { mixup: 1.0, ..still() }), 0)[0];
    assert_eq!((plain.targets.len(), mixed.targets.len()), (16, 32));
    assert!(
        plain.images.iter().any(|&value| value > 250)
            && mixed.images.iter().filter(|&&value| (90..180).contains(&value)).count() > 20_000
    );
}

#[test]
fn mosaic_closes_for_the_last_epochs() {
    let root = folder();
    let split = split(&rectangles(root.path(), 8));
    let open = Augmentation { mosaic: 1.0, close_mosaic: 2, ..still() };
    let settings =
        LoaderSettings { augment: Some(open), workers: 0, epochs: Some(5), ..LoaderSettings::training(8, 192) };
    let closed = LoaderSettings { augment: Some(still()), ..settings.clone() };
    // Without mosaic, scale and shift each picture keeps exactly its two objects.
    let counts: Vec<bool> = (0..5)
        .map(|epoch| {
            let batch = batches(&split, settings.clone(), epoch).remove(0);
            (0..8).all(|image| boxes(&batch, image).len() == 2)
        })
        .collect();
    assert_eq!(counts, [false, false, false, true, true]);
    assert_eq!(batches(&split, settings, 3), batches(&split, closed, 3));
}

#[test]
fn evaluation_batches_are_rectangular_and_boxes_map_back() {
    let root = folder();
    let split = split(&rectangles(root.path(), 9));
    let settings = LoaderSettings { workers: 1, ..LoaderSettings::evaluation(3, 160) };
    let rectangular = batches(&split, settings.clone(), 0);
    // By aspect: two of 80 × 200 and one of 120 × 160; two of 120 × 160 and one square; a square, two of 160 × 120.
    // Sides are 160 · aspect / 32 + ½, rounded up to whole strides: .75 gives 5 (4.25), 1 gives 6 (5.5).
    assert_eq!(rectangular.iter().map(|batch| batch.size).collect::<Vec<_>>(), [[160, 192], [192, 192], [192, 192]]);
    let square = batches(&split, LoaderSettings { rect: false, ..settings }, 0);
    assert!(square.iter().all(|batch| batch.size == [160, 160]));
    assert_eq!(
        square.iter().flat_map(|batch| &batch.samples).map(|sample| sample.index).collect::<Vec<_>>(),
        (0..9).collect::<Vec<_>>()
    );
    for batch in rectangular.iter().chain(&square) {
        check_boxes(batch, true, "evaluation");
        for (image, sample) in batch.samples.iter().enumerate() {
            let entry = &split.images[sample.index];
            let place = sample.place.unwrap();
            assert_eq!(place.original, entry.size);
            assert_eq!(place.scaled.iter().max(), Some(&160));
            let [height, width] = entry.size.map(|side| side as f32);
            for ((_, corners), label) in boxes(batch, image).iter().zip(&entry.labels) {
                let [cx, cy, w, h] = label.bbox;
                let expected =
                    [(cx - w / 2.0) * width, (cy - h / 2.0) * height, (cx + w / 2.0) * width, (cy + h / 2.0) * height];
                for (value, expected) in place.to_original(*corners).iter().zip(expected) {
                    assert!((value - expected).abs() < 0.01, "{value} {expected}");
                }
            }
            if place.pad[1] >= 1 {
                let start = image * batch.size[0] * batch.size[1] * 3;
                assert_eq!(batch.images[start..start + 3], [FILL; 3]);
            }
        }
    }
}

/// A JPEG header and end around nothing that can be decoded: the scan takes it for whole.
fn hollow_jpeg() -> Vec<u8> {
    let frame = [0xff, 0xc0, 0, 11, 8, 0, 60, 0, 80, 1, 1, 0x11, 0];
    [&[0xff, 0xd8][..], &frame, &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0], &[0x55; 40], &[0xff, 0xd9]].concat()
}

#[test]
fn a_picture_whose_damage_shows_late_is_left_out_once_and_replaced_in_training() {
    let root = folder();
    let file = rectangles(root.path(), 9);
    let hollow = root.path().join("images/train/004.jpg");
    fs::remove_file(root.path().join("images/train/004.png")).unwrap();
    fs::write(&hollow, hollow_jpeg()).unwrap();
    let split = split(&file);
    assert_eq!((split.images[4].path.as_path(), split.images[4].size), (hollow.as_path(), [60, 80]));
    let evaluation = LoaderSettings { workers: 2, rect: false, ..LoaderSettings::evaluation(3, 64) };
    let loader = Loader::new(split.clone(), evaluation).unwrap();
    let counts: Vec<usize> = loader.epoch(0).map(|batch| batch.unwrap().count).collect();
    assert_eq!(counts, [3, 2, 3]);
    let findings = loader.findings();
    assert_eq!((findings.len(), findings[0].file.as_path()), (1, hollow.as_path()));
    assert!(findings[0].message.starts_with("cannot be decoded: "));
    assert!(findings[0].to_string().ends_with("; left out"));

    let training = LoaderSettings { augment: Some(still()), workers: 2, ..LoaderSettings::training(3, 64) };
    let loader = Loader::new(split.clone(), training.clone()).unwrap();
    let found: Vec<Batch> = loader.epoch(0).collect::<Result<_, _>>().unwrap();
    let mut indices: Vec<usize> = found.iter().flat_map(|batch| &batch.samples).map(|sample| sample.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3, 5, 5, 6, 7, 8], "the next picture takes its place");
    assert_eq!(found, batches(&split, LoaderSettings { workers: 0, ..training.clone() }, 0));
    assert_eq!(loader.findings().len(), 1);

    // All gone: an error that names the first, from threads and without.
    for entry in &split.images {
        fs::write(&entry.path, hollow_jpeg()).unwrap();
    }
    for workers in [0, 2] {
        let loader = Loader::new(split.clone(), LoaderSettings { workers, ..training.clone() }).unwrap();
        let mut epoch = loader.epoch(0);
        let error = epoch.next().unwrap().unwrap_err().to_string();
        assert!(
            error.starts_with("no picture of the train split can be read: ") && error.contains("000.png"),
            "{error}"
        );
        assert!(epoch.next().is_none());
    }
}

#[test]
fn caches_save_decoding() {
    let root = folder();
    let split = split(&rectangles(root.path(), 12));
    let cache = root.path().join("cache");
    let training = |cache: Cache| LoaderSettings { workers: 2, cache, ..LoaderSettings::training(4, 64) };
    let run = |settings: LoaderSettings, epochs: usize| {
        let loader = Loader::new(split.clone(), settings).unwrap();
        (0..epochs).for_each(|epoch| assert_eq!(loader.epoch(epoch).count(), 3));
        loader.decoded()
    };
    assert_eq!(run(training(Cache::Ram { limit_bytes: 1 << 30 }), 3), 12);
    let plain = |cache: Cache| LoaderSettings { augment: None, ..training(cache) };
    assert_eq!(run(plain(Cache::None), 3), 36);
    assert!(run(plain(Cache::Ram { limit_bytes: 6 * 64 * 64 * 3 }), 3) > 12);
    assert_eq!(run(plain(Cache::Disk { folder: cache.clone() }), 2), 12);
    assert_eq!(run(plain(Cache::Disk { folder: cache.clone() }), 1), 0);
    let files: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 12);
    assert!(files.iter().all(|file| file.extension().unwrap() == "rgb"));
    // A damaged cache file is made again; a changed picture gets a new one.
    let damaged = files.iter().find(|file| file.file_name().unwrap().to_str().unwrap().starts_with("000-")).unwrap();
    let mut bytes = fs::read(damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(damaged, bytes).unwrap();
    common::picture(&split.images[3].path, split.images[3].size[1] as u32, split.images[3].size[0] as u32, [5; 3]);
    assert_eq!(run(plain(Cache::Disk { folder: cache }), 1), 2);
}

#[test]
fn settings_out_of_range_are_refused() {
    let root = folder();
    let split = split(&rectangles(root.path(), 2));
    let message = |settings: LoaderSettings| match Loader::new(split.clone(), settings) {
        Err(error @ Error::Settings { .. }) => error.to_string(),
        _ => "accepted".into(),
    };
    let training = LoaderSettings::training(4, 64);
    assert_eq!(
        message(LoaderSettings { batch: 0, ..training.clone() }),
        "batch=0 is out of range\nhint: choose at least 1"
    );
    assert_eq!(
        message(LoaderSettings { size: 100, ..training.clone() }),
        "imgsz=100 is not a multiple of 32\nhint: choose 128"
    );
    assert_eq!(
        message(LoaderSettings { rect: true, ..training.clone() }),
        "rect and augmentation exclude each other\nhint: set rect=false for training"
    );
    let scale = Augmentation { scale: 1.5, ..Augmentation::default() };
    assert_eq!(
        message(LoaderSettings { augment: Some(scale), ..training.clone() }),
        "scale=1.5 is out of range\nhint: choose from 0 to 0.99"
    );
    let shear = Augmentation { shear: f64::NAN, ..Augmentation::default() };
    assert_eq!(
        message(LoaderSettings { augment: Some(shear), ..training }),
        "shear=NaN is out of range\nhint: choose from 0 to 89"
    );
}
