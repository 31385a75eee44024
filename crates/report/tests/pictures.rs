//! Every kind of picture, drawn from usual and from odd input.

use yolo11_detection::{Detection, DetectionMetrics, DetectionSummary, Target, TrueBox};
use yolo11_report::curves::Kind;
use yolo11_report::{Image, class_colour, confusion, curves, labels, results};

/// A validation of this many classes whose figures differ; every fourth object is missed, every fifth taken for the next class.
fn summary(classes: usize, per_class: usize) -> DetectionSummary {
    let mut metrics = DetectionMetrics::new(classes);
    for class in 0..classes {
        for index in 0..per_class {
            let bbox = [10.0, 10.0, 60.0 + class as f32 % 7.0, 80.0];
            let score = 0.3 + 0.6 * ((index * 37 + class * 11) % 100) as f32 / 100.0;
            let found = if index % 5 == 4 { (class + 1) % classes } else { class };
            let mut detections = vec![Detection { bbox, score, class: found }];
            if index % 4 == 3 {
                detections[0].bbox = [200.0, 200.0, 220.0, 260.0];
            }
            metrics.add_image(&detections, &[TrueBox { class, bbox }]).unwrap();
        }
    }
    metrics.finish()
}

fn names(count: usize) -> Vec<String> {
    let odd = ["a class with a name that goes on and on and on and on until nobody reads it", "猫", "кошка", ""];
    (0..count).map(|class| odd.get(class).map_or_else(|| format!("name {class}"), |name| (*name).to_owned())).collect()
}

fn share_of(image: &Image, colour: [u8; 3]) -> usize {
    image.pixels.as_chunks::<3>().0.iter().filter(|&&pixel| pixel == colour).count()
}

/// Every picture of a run for these figures; with `SAMPLES=FOLDER` they are also written there, to look at.
fn all(label: &str, summary: &DetectionSummary, names: &[String]) -> Vec<Image> {
    let mut images: Vec<(String, Image)> =
        Kind::ALL.iter().map(|&kind| (kind.file_name().to_owned(), curves::draw(kind, summary, names))).collect();
    for normalised in [false, true] {
        let name = format!("confusion{}.png", if normalised { "_normalised" } else { "" });
        images.push((name, confusion::draw(&summary.confusion, names, normalised)));
    }
    let targets: Vec<Target> = (0..names.len() * 9)
        .map(|index| {
            let place = |factor: usize| (index * factor % 97) as f32 / 97.0;
            let class = index * index % names.len();
            Target { image: index / 3, class, bbox: [place(31), place(57), place(13) * 0.4, place(7) * 0.6] }
        })
        .collect();
    images.push(("labels.png".into(), labels::draw(names.len() * 4, &targets, names)));
    if let Ok(folder) = std::env::var("SAMPLES") {
        for (name, image) in &images {
            std::fs::write(format!("{folder}/{label}_{name}"), image.to_png().unwrap()).unwrap();
        }
    }
    images.into_iter().map(|(_, image)| image).collect()
}

#[test]
fn any_number_of_classes_is_drawn() {
    for (classes, per_class) in [(1, 20), (3, 0), (3, 40), (20, 12), (21, 12), (80, 12), (200, 4), (1200, 1)] {
        let summary = summary(classes, per_class);
        let images = all(&classes.to_string(), &summary, &names(classes));
        assert_eq!(images.len(), 7);
        for image in &images[..4] {
            assert_eq!((image.width, image.height), (1600, 1000));
        }
        for image in &images[4..6] {
            assert!(image.width.max(image.height) <= 6600, "{classes} classes: {}×{}", image.width, image.height);
            // 15 pixels a cell at least, up to 400 classes; more share some 5000 pixels.
            assert!(image.width >= (15 * (classes + 1)).min(4800), "{classes} classes: {}", image.width);
        }
        for image in &images {
            let ink = image.pixels.iter().filter(|&&channel| channel < 128).count();
            assert!(ink > 1000, "{classes} classes: the picture is empty");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_they_can_be_read() {
    let summary = summary(3, 40);
    let one = all("again", &summary, &names(3));
    let other = all("again", &summary, &names(3));
    for (one, other) in one.iter().zip(&other) {
        let (png, jpeg) = (one.to_png().unwrap(), one.to_jpeg().unwrap());
        assert!(png == other.to_png().unwrap() && jpeg == other.to_jpeg().unwrap());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (one.width, one.height));
        assert!(pixels == one.pixels, "PNG keeps every pixel");
        let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&jpeg));
        let decoded = decoder.decode().unwrap();
        assert_eq!(decoder.dimensions(), Some((one.width, one.height)));
        let apart: u64 = decoded.iter().zip(&one.pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(apart < 4 * decoded.len() as u64, "JPEG differs by {} a channel", apart / decoded.len() as u64);
    }
}

#[test]
fn curves_and_cells_lie_where_their_values_are() {
    // One class, half its objects found, all of what is found right, with the same confidence.
    let mut metrics = DetectionMetrics::new(1);
    let bbox = [10.0, 10.0, 60.0, 80.0];
    for index in 0..10 {
        let detections = if index % 2 == 0 { vec![Detection { bbox, score: 0.6, class: 0 }] } else { Vec::new() };
        metrics.add_image(&detections, &[TrueBox { class: 0, bbox }]).unwrap();
    }
    let summary = metrics.finish();
    let names = ["cell".to_owned()];
    let recall = curves::draw(Kind::Recall, &summary, &names);
    // The field is 1020 × 730 pixels from (130, 150): recall 0.5 below confidence 0.6, 0 beyond.
    let ink = [31, 36, 48];
    for (confidence, value) in [(0.1, 0.5), (0.4, 0.5), (0.7, 0.0), (0.9, 0.0)] {
        let (x, y) = (130.0 + confidence * 1020.0, 880.0 - value * 730.0);
        assert_eq!(recall.pixel(x as usize, y as usize), ink, "{confidence}");
        assert_ne!(recall.pixel(x as usize, y as usize - 12), ink, "{confidence}");
    }
    // Two cells a side, 150 pixels each: one of right ones, one of missed ones, both 5 of 10.
    let matrix = confusion::draw(&summary.confusion, &names, true);
    let left = (0..matrix.width).find(|&x| matrix.pixel(x, 160) == [170, 176, 188]).unwrap() + 1;
    let corner = |row: usize, column: usize| matrix.pixel(left + column * 150 + 10, 150 + row * 150 + 10);
    assert_eq!(corner(0, 0), corner(1, 0));
    assert_eq!(corner(0, 1), corner(1, 1));
    assert_ne!(corner(0, 0), corner(0, 1));
}

#[test]
fn results_bear_one_epoch_and_figures_that_are_none() {
    let header = "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),\
                  metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss";
    let draw = |rows: &[String]| results::draw(&results::parse(&format!("{header}\n{}\n", rows.join("\n"))).unwrap());
    let row = |epoch: usize| {
        let fall = 3.0 / (1.0 + epoch as f64 / 8.0) + 0.05 * ((epoch * 7 % 5) as f64);
        let rise = 1.0 - 1.0 / (1.0 + epoch as f64 / 9.0);
        format!("{epoch},1,{fall},{fall},{fall},{rise},{rise},{rise},{rise},{fall},{fall},{fall}")
    };
    let one = draw(&[row(1)]);
    let none = draw(&[]);
    let broken = draw(&["1,1,nan,inf,-inf,,,,,1e308,-1e308,0".into(), "2,1,nan,,,,,,,-1e308,1e308,0".into()]);
    let many = draw(&(1..=300).map(row).collect::<Vec<_>>());
    if let Ok(folder) = std::env::var("SAMPLES") {
        for (name, image) in [("one", &one), ("none", &none), ("broken", &broken), ("many", &many)] {
            std::fs::write(format!("{folder}/results_{name}.png"), image.to_png().unwrap()).unwrap();
        }
    }
    for image in [&one, &none, &broken, &many] {
        assert_eq!((image.width, image.height), (2440, 920));
    }
    let blue = |image: &Image| {
        image.pixels.as_chunks::<3>().0.iter().filter(|[red, _, blue]| i32::from(*blue) - i32::from(*red) > 90).count()
    };
    // A dot of 7 pixels across in each of ten panels; the heading has some more of the colour.
    assert!((10 * 25..10 * 45).contains(&(blue(&one) - blue(&none))), "{}", blue(&one) - blue(&none));
    assert!(blue(&many) > blue(&none) + 10 * 300);
}

#[test]
fn labels_bear_nothing_and_nonsense() {
    let empty = labels::draw(0, &[], &[]);
    let wild = [[f32::NAN; 4], [5.0, -5.0, 9.0, -9.0], [0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]];
    let targets: Vec<Target> = wild.iter().map(|&bbox| Target { image: 0, class: 7, bbox }).collect();
    let odd = labels::draw(1, &targets, &["only".into()]);
    assert_eq!((empty.width, empty.height), (odd.width, odd.height));
    assert_eq!(share_of(&empty, class_colour(0)), 0);
}
