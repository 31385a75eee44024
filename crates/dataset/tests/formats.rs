//! Annotations of other programs come in with the boxes they have, go out as they came, and hostile files are refused with their
//! line.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{folder, write};
use proptest::prelude::*;
use serde_json::{Value, json};
use yolo11_dataset::annotations::{AnnotatedImage, Extra, Link, Object, WriteOptions};
use yolo11_dataset::formats::{Crowds, Format, ImportOptions, export, import};
use yolo11_dataset::{Annotations, DatasetDescription, Error, ScanOptions, SplitName};

/// Objects by picture: class name and `[cx, cy, w, h]` in shares, sorted.
type Boxes = BTreeMap<String, Vec<(String, [f64; 4])>>;

fn boxes(annotations: &Annotations) -> Boxes {
    let of_image = |image: &AnnotatedImage| {
        let rows = image.objects.iter().filter(|object| !object.apart);
        let row = |object: &Object| (annotations.names[object.class].clone(), object.shares(image.size).unwrap());
        let mut rows: Vec<_> = rows.map(row).collect();
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let stem = image.name.rsplit_once('.').unwrap().0;
        (format!("{}/{stem}", image.split), rows)
    };
    annotations.images.iter().map(of_image).collect()
}

/// Boxes of YOLO labels as a training reads them.
fn labels(file: &Path, split: SplitName) -> Boxes {
    let (split, _) = DatasetDescription::read(file).unwrap().scan(split, &ScanOptions::default()).unwrap();
    let of_image = |image: &yolo11_dataset::ImageEntry| {
        let row = |label: &yolo11_dataset::Label| (split.names[label.class].clone(), label.bbox.map(f64::from));
        let mut rows: Vec<_> = image.labels.iter().map(row).collect();
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        (format!("{}/{}", split.name, image.path.file_stem().unwrap().to_string_lossy()), rows)
    };
    split.images.iter().map(of_image).collect()
}

fn assert_same(one: &Boxes, other: &Boxes, tolerance: f64) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, rows) in one {
        let others = &other[name];
        assert_eq!(rows.len(), others.len(), "{name}");
        // Rounding may change the order: each has its like.
        for (class, bbox) in rows {
            let like = |(own, twin): &&(String, [f64; 4])| {
                own == class && bbox.iter().zip(twin).all(|(a, b)| (a - b).abs() <= tolerance)
            };
            assert!(others.iter().any(|row| like(&row)), "{name}: {class} {bbox:?} in {others:?}");
        }
    }
}

fn at(images: &Path) -> ImportOptions {
    ImportOptions { images: vec![images.to_path_buf()], ..ImportOptions::default() }
}

#[test]
fn bccd_comes_from_voc_as_its_labels_and_goes_back() {
    let Some(shared) = common::shared() else { return };
    let bccd = shared.join("data/bccd");
    let names = ["RBC", "WBC", "Platelets"].map(str::to_string).to_vec();
    let options = ImportOptions { names: names.clone(), ..at(&bccd) };
    let (voc, findings) = import(Format::Voc, &bccd.join("voc"), &options).unwrap();
    assert_eq!(voc.names, names);
    // Two boxes of the set have neither width nor height.
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("BloodImage_00338.xml:158: ") && texts[0].contains("has no area"), "{texts:?}");
    let root = folder();
    let file = root.path().join("all.yaml");
    let yaml = format!(
        "path: {}\ntrain: train/images\nval: valid/images\ntest: test/images\nnames: [RBC, WBC, Platelets]\n",
        bccd.display()
    );
    write(&file, yaml);
    let mut own = Boxes::new();
    for split in SplitName::ALL {
        own.extend(labels(&file, split));
    }
    assert_eq!(own.values().map(Vec::len).sum::<usize>(), 4886);
    assert_same(&own, &boxes(&voc), 1e-4);

    // Through label files on disk, and back: every box, also those without area.
    let made = voc.write(&root.path().join("yolo"), WriteOptions::default()).unwrap();
    let (read, findings) = Annotations::read(&DatasetDescription::read(&made).unwrap()).unwrap();
    assert!(findings.is_empty());
    assert_same(&own, &boxes(&read), 1e-6);
    export(&read, Format::Voc, &root.path().join("voc"), Link::Hard).unwrap();
    let numbers = |folder: &Path| {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder.join("Annotations")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let kept = ["<name>", "<xmin>", "<ymin>", "<xmax>", "<ymax>", "<pose>", "<difficult>", "<width>", "<path>"];
            let lines = text.lines().map(str::trim).filter(|line| kept.iter().any(|tag| line.starts_with(tag)));
            all.insert(path.file_name().unwrap().to_owned(), lines.map(str::to_owned).collect::<Vec<_>>());
        }
        all
    };
    assert_eq!(numbers(&root.path().join("voc")), numbers(&bccd.join("voc")));

    // The original label files, six digits and no origin.json, give the original pixels too.
    let (plain, _) = Annotations::read(&DatasetDescription::read(&file).unwrap()).unwrap();
    export(&plain, Format::Voc, &root.path().join("again"), Link::None).unwrap();
    let (again, original) = (numbers(&root.path().join("again")), numbers(&bccd.join("voc")));
    let edges = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("m"))
            .filter(|line| line.starts_with("<x") || line.starts_with("<y"))
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut differing = 0;
    for (name, lines) in &again {
        let (mut a, mut b) = (edges(lines), edges(&original[name]));
        a.sort();
        b.sort();
        differing += usize::from(a != b);
    }
    assert_eq!(differing, 2, "but for the two files with boxes without area");
}

#[test]
fn coco128_has_the_boxes_of_its_labels_and_keeps_ids() {
    let Some(shared) = common::shared() else { return };
    let coco = shared.join("data/coco128");
    let source = coco.join("instances_train2017.json");
    let options = at(&coco.join("images/train2017"));
    let (set, findings) = import(Format::Coco, &source, &options).unwrap();
    assert_eq!((set.images.len(), set.objects(), set.names.len()), (128, 929, 80));
    assert_eq!(findings.iter().filter(|finding| finding.check.id() == "import-crowd").count(), 10);
    assert_same(&labels(&coco.join("dataset.yaml"), SplitName::Train), &boxes(&set), 1e-4);
    let count = |crowds: Crowds| {
        import(Format::Coco, &source, &ImportOptions { crowds, ..options.clone() }).unwrap().0.objects()
    };
    assert_eq!((count(Crowds::Keep), count(Crowds::Drop)), (939, 929));

    // Through label files and back: every annotation with its ids, segments and numbers, crowds too.
    let root = folder();
    let made =
        set.write(&root.path().join("yolo"), WriteOptions { link: Link::Symbolic, ..WriteOptions::default() }).unwrap();
    let (read, _) = Annotations::read(&DatasetDescription::read(&made).unwrap()).unwrap();
    export(&read, Format::Coco, &root.path().join("coco"), Link::None).unwrap();
    let load = |path: &Path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let (back, original) = (load(&root.path().join("coco/annotations/instances_train.json")), load(&source));
    for key in ["images", "annotations", "categories", "licenses", "info"] {
        let sorted = |document: &Value| {
            let mut list = document[key].as_array().cloned().unwrap_or_else(|| vec![document[key].clone()]);
            list.sort_by_key(|entry| entry["id"].as_u64());
            list
        };
        let (back, original) = (sorted(&back), sorted(&original));
        assert_eq!(back.len(), original.len(), "{key}");
        for (back, original) in back.iter().zip(&original) {
            assert_eq!(back, original);
        }
    }
}

/// What a format is given that is not one of its files, and what it says.
#[test]
fn hostile_files_are_refused_with_their_line() {
    let root = folder();
    let root = root.path();
    common::picture(&root.join("a.png"), 40, 30, [9; 3]);
    let bomb = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE x [\n<!ENTITY a \"{}\">\n<!ENTITY b \"&a;&a;&a;&a;\">\n]>\n<annotation>&b;</annotation>",
        "x".repeat(99)
    );
    let voc = |body: &str| {
        format!(
            "<annotation>\n<filename>a.png</filename>\n<size><width>40</width><height>30</height></size>\n{body}\n</annotation>"
        )
    };
    let object = |xmin: &str| {
        format!(
            "<object><name>x</name><bndbox>\n<xmin>{xmin}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
        )
    };
    let coco = |image: &str, annotation: &str| {
        format!(
            "{{\"images\": [\n{image}],\n\"annotations\": [\n{annotation}],\n\"categories\": [{{\"id\": 1, \"name\": \"x\"}}]}}"
        )
    };
    let image = "{\"id\": 1, \"file_name\": \"a.png\", \"width\": 40, \"height\": 30}";
    let csv = |row: &str| format!("filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,30,x,1,1,9,9\n{row}\n");
    let labelme = |path: &str, points: &str| {
        format!(
            "{{\"imagePath\": \"{path}\", \"imageHeight\": 30, \"imageWidth\": 40,\n\"shapes\": [\n{{\"label\": \"x\", \"shape_type\": \"rectangle\", \"points\": {points}}}]}}"
        )
    };
    let deep = "<a>".repeat(5000);
    let cases: Vec<(Format, &str, String, usize, &str)> = vec![
        (Format::Voc, "xml", bomb.clone(), 2, "a document type (<!DOCTYPE …>) is not read"),
        (Format::Cvat, "xml", bomb, 2, "a document type"),
        (
            Format::Voc,
            "xml",
            "<annotation>\n<filename>&bomb;</filename></annotation>".into(),
            2,
            "the entity `&bomb;` is not known",
        ),
        (Format::Voc, "xml", voc("<object><name>x</name>"), 5, "this is not XML"),
        (Format::Voc, "xml", "<annotation>\n<filename>a.png".into(), 2, "the file ends inside <annotation><filename>"),
        (Format::Voc, "xml", deep, 1, "more than 64 elements inside each other"),
        (Format::Voc, "xml", String::new(), 1, "no XML element"),
        (Format::Voc, "xml", "<html/>".into(), 1, "<html> where <annotation> is expected"),
        (
            Format::Voc,
            "xml",
            voc("").replace("a.png", "../../etc/passwd"),
            2,
            "the name \"../../etc/passwd.jpg\" leads out of its folder",
        ),
        (
            Format::Voc,
            "xml",
            voc("").replace("a.png", "/etc/passwd"),
            2,
            "the name \"/etc/passwd.jpg\" is an absolute path",
        ),
        (Format::Voc, "xml", voc(&object("1e300")), 5, "1e300 is no coordinate in pixels"),
        (Format::Voc, "xml", voc(&object("NaN")), 5, "NaN is no coordinate in pixels"),
        (Format::Voc, "xml", voc(&object("wide")), 5, "`wide` is not a number"),
        (Format::Voc, "xml", voc("<object><bndbox/></object>"), 4, "an object without <name>"),
        (Format::Voc, "xml", voc("<object><name>x</name></object>"), 4, "an object without <bndbox>"),
        (Format::Voc, "xml", voc("").replace("40", "4.5"), 3, "4.5 is no side of a picture"),
        (Format::Coco, "json", "{\"images\": [\n".into(), 2, "this is not COCO's JSON: EOF while parsing"),
        (Format::Coco, "json", "[]".into(), 1, "this is not COCO's JSON: "),
        (Format::Coco, "json", "[".repeat(100_000), 1, "this is not COCO's JSON: "),
        (Format::Coco, "json", coco("{\"id\": 1}", ""), 2, "an image cannot be read: missing field `file_name`"),
        (Format::Coco, "json", coco(&image.replace("a.png", "..\\\\x.png"), ""), 2, "leads out of its folder"),
        (Format::Coco, "json", coco(&format!("{image},\n{image}"), ""), 3, "two images have the id 1"),
        (
            Format::Coco,
            "json",
            coco(image, "{\"image_id\": 2, \"category_id\": 1, \"bbox\": [1, 1, 2, 2]}"),
            4,
            "no image has the id 2",
        ),
        (
            Format::Coco,
            "json",
            coco(image, "{\"image_id\": 1, \"category_id\": 7, \"bbox\": [1, 1, 2, 2]}"),
            4,
            "no category has the id 7",
        ),
        (
            Format::Coco,
            "json",
            coco(image, "{\"image_id\": 1, \"category_id\": 1, \"bbox\": [1, 1, 2]}"),
            4,
            "bbox has 3 numbers instead of 4",
        ),
        (
            Format::Coco,
            "json",
            coco(image, "{\"image_id\": 1, \"category_id\": 1, \"bbox\": [1e99, 1, 2, 2]}"),
            4,
            "1e99 is no coordinate in pixels",
        ),
        (
            Format::Coco,
            "json",
            coco(image, "{\"image_id\": 1,\n\"category_id\": 1, \"bbox\": \"x\"}"),
            5,
            "an annotation cannot be read: invalid type",
        ),
        (Format::Labelme, "json", "{}".into(), 1, "this is not Labelme's JSON: missing field `shapes`"),
        (Format::Labelme, "json", labelme("../a.png", "[]"), 1, "the name \"../a.png\" leads out of its folder"),
        (Format::Labelme, "json", labelme("a.png", "[[1, 2], [1e30, 4]]"), 3, "1e30 is no coordinate in pixels"),
        (Format::Labelme, "json", labelme("a.png", "[[1, 2], 3]"), 3, "a shape cannot be read: "),
        (Format::Cvat, "xml", "<annotations>\n<image name=\"/a.png\"/></annotations>".into(), 2, "is an absolute path"),
        (
            Format::Cvat,
            "xml",
            "<annotations>\n<image name=\"a.png\">\n<box label=\"x\" xtl=\"1\"/></image></annotations>".into(),
            3,
            "a box without ytl",
        ),
        (
            Format::Cvat,
            "xml",
            "<annotations>\n<image name=\"a.png\">\n<polygon label=\"x\" points=\"1;2\"/></image></annotations>".into(),
            3,
            "a point without a comma",
        ),
        (
            Format::Cvat,
            "xml",
            "<annotations>\n<track/></annotations>".into(),
            2,
            "a <track>: this is CVAT's form for video",
        ),
        (Format::Csv, "csv", "a,b\n1,2\n".into(), 1, "no column `filename`"),
        (Format::Csv, "csv", csv("a.png,40,30,x,1,1,9"), 3, "7 columns where the first line has 8"),
        (Format::Csv, "csv", csv("a.png,40,30,x,1,1,9,1e400"), 3, "inf is no coordinate in pixels"),
        (Format::Csv, "csv", csv("../a.png,40,30,x,1,1,9,9"), 3, "leads out of its folder"),
        (Format::Csv, "csv", csv("\"a\nb.png\",40,30,x,1,1,9,9"), 3, "cannot be that of a file"),
        (
            Format::Csv,
            "csv",
            "filename,width,height,class,xmin,ymin,xmax,ymax\n\n\u{fffd}\n".replace('\u{fffd}', "\u{1}"),
            3,
            "1 columns where",
        ),
    ];
    for (format, extension, text, line, message) in cases {
        let file = root.join(format!("case.{extension}"));
        write(&file, &text);
        let shown: String = text.chars().take(200).collect();
        match import(format, &file, &ImportOptions::default()) {
            Err(Error::Malformed { file: named, line: at, message: said, hint }) => {
                assert_eq!((named.as_path(), at), (file.as_path(), Some(line)), "{said}\n{shown}");
                assert!(said.contains(message) && !hint.is_empty(), "{said}\nexpected {message}\n{shown}");
            }
            other => panic!("{other:?}\nexpected {message}\n{shown}"),
        }
    }
    write(&root.join("case.csv"), b"filename\n\xff\xfe");
    let error = import(Format::Csv, &root.join("case.csv"), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("case.csv:2: this is not UTF-8 text"), "{error}");
}

#[test]
fn what_is_missing_or_odd_is_told_and_the_rest_comes_in() {
    let root = folder();
    let root = root.path();
    for name in ["train/a.png", "other/b.png", "twice/b.png"] {
        common::picture(&root.join(name), 40, 30, [9; 3]);
    }
    write(
        &root.join("train/_annotations.csv"),
        "filename,class,xmin,ymin,xmax,ymax,width,height\na.png,cat,-9,1,20,20,40,30\na.png,cat,5,5,5,9,40,30\n\
         a.png,dog,1,1,8,8,40,30\nb.png,dog,1,1,8,8,40,30\ngone.png,dog,1,1,8,8,40,30\n",
    );
    let (set, findings) = import(Format::Csv, root, &ImportOptions::default()).unwrap();
    let texts: Vec<String> = findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.check.id(), finding.line.unwrap(), finding.message))
        .collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert_eq!(
        texts[0],
        "import-outside 2: the box [-9.0, 1.0, 20.0, 20.0] reaches out of its picture of 40 × 30; cut off"
    );
    assert!(texts[1].starts_with("import-no-area 3: "), "{texts:?}");
    assert!(texts[2].starts_with("import-picture 5: `b.png` may be "), "{texts:?}");
    assert_eq!(texts[3], "import-picture 6: no picture `gone.png`; its annotations are left out");
    assert_eq!((set.names.clone(), set.objects()), (vec!["cat".to_string(), "dog".into()], 2));
    assert_eq!(set.images[0].split, SplitName::Train);

    let target = root.join("new");
    set.write(&target, WriteOptions::default()).unwrap();
    assert_eq!(
        fs::read_to_string(target.join("labels/train/a.txt")).unwrap(),
        "0 0.25 0.35 0.5 0.63333333\n1 0.1125 0.15 0.175 0.23333333\n"
    );
    let again = set.write(&target, WriteOptions::default()).unwrap_err().to_string();
    assert_eq!(
        again,
        format!("{} exists and is not empty\nhint: name a new folder; nothing is written over", target.display())
    );
    let empty = import(Format::Voc, &root.join("train"), &ImportOptions::default()).unwrap_err().to_string();
    assert!(empty.contains("no .xml file found here"), "{empty}");
    let none = ImportOptions { images: vec![target.clone()], ..ImportOptions::default() };
    write(&root.join("only.csv"), "filename,class,xmin,ymin,xmax,ymax\nz.png,x,1,1,2,2\n");
    let none = import(Format::Csv, &root.join("only.csv"), &none).unwrap_err().to_string();
    assert!(
        none.starts_with("none of the 1 annotated pictures is there; ") && none.contains("--images FOLDER"),
        "{none}"
    );
}

/// A set of small pictures with random objects. Ids are there or not; names hold what formats must escape.
fn any_set(pictures: &Path) -> impl Strategy<Value = Annotations> {
    let sizes = [[30usize, 40usize], [64, 48], [17, 99]];
    let names = ["cat & dog", "<b>", "naïve \"猫\"", "x,y;z"];
    for (number, [height, width]) in sizes.iter().enumerate() {
        for split in SplitName::ALL {
            common::picture(&pictures.join(format!("{split}/pic {number}.png")), *width as u32, *height as u32, [9; 3]);
        }
    }
    let pictures = pictures.to_path_buf();
    let object =
        (0usize..4, 0.0..0.9f64, 0.0..0.9f64, 0.02..1.0f64, 0.02..1.0f64, proptest::option::of(1u64..1_000_000));
    let image = (0usize..3, 0usize..3, proptest::collection::vec(object, 0..6));
    proptest::collection::vec(image, 1..6).prop_map(move |images| {
        let mut seen = std::collections::BTreeSet::new();
        let mut used_ids = std::collections::BTreeSet::new();
        let mut set = Annotations { names: names.map(str::to_string).to_vec(), ..Annotations::default() };
        for (split, number, objects) in images {
            if !seen.insert((split, number)) {
                continue;
            }
            let (split, size) = (SplitName::ALL[split], sizes[number]);
            let name = format!("pic {number}.png");
            let source = Some(pictures.join(split.to_string()).join(&name));
            let mut image =
                AnnotatedImage { split, name, source, renew: false, size, objects: Vec::new(), extra: Extra::new() };
            for (class, x, y, w, h, id) in objects {
                let [height, width] = size.map(|side| side as f64);
                let bbox = [x * width, y * height, (x + w).min(1.0) * width, (y + h).min(1.0) * height];
                // Half of the sets have whole pixels, as most tools write them.
                let bbox = if class % 2 == 0 {
                    bbox
                } else {
                    [bbox[0].floor(), bbox[1].floor(), bbox[2].ceil(), bbox[3].ceil()]
                };
                let mut object = Object::new(class, bbox);
                if let Some(id) = id.filter(|id| used_ids.insert(*id)) {
                    object.extra.insert("id".into(), json!(id));
                }
                image.objects.push(object);
            }
            set.images.push(image);
        }
        set.images.sort_by(|a, b| (a.split, &a.name).cmp(&(b.split, &b.name)));
        set
    })
}

/// Classes, pixels and ids by picture, in order.
type Exact = BTreeMap<String, Vec<(String, [f64; 4], Option<Value>)>>;

fn exact(set: &Annotations) -> Exact {
    let of_image = |image: &AnnotatedImage| {
        let row = |object: &Object| (set.names[object.class].clone(), object.bbox, object.extra.get("id").cloned());
        (format!("{}/{}", image.split, image.name), image.objects.iter().map(row).collect())
    };
    set.images.iter().map(of_image).collect()
}

#[test]
fn sets_come_back_from_every_format_as_they_went() {
    let pictures = folder();
    let strategy = any_set(pictures.path());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    runner
        .run(&strategy, |set| {
            for (word, format) in Format::ALL {
                let root = folder();
                let (out, yolo) = (root.path().join("out"), root.path().join("yolo"));
                export(&set, format, &out, Link::Hard).unwrap();
                let (read, findings) = import(format, &out, &ImportOptions::default()).unwrap();
                prop_assert!(findings.is_empty(), "{word}: {findings:?}");
                // Label files of the import are those of the original.
                read.write(&yolo, WriteOptions::default()).unwrap();
                let (again, _) = Annotations::read(&DatasetDescription::find(&yolo).unwrap()).unwrap();
                for (through, what) in [(&read, "read"), (&again, "written and read")] {
                    let (before, after) = (exact(&set), exact(through));
                    if format == Format::Voc {
                        // One folder of pictures: those of the same name have others.
                        prop_assert_eq!(boxes_only(&before), boxes_only(&after));
                        continue;
                    }
                    prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
                    for (name, rows) in &before {
                        prop_assert_eq!(rows.len(), after[name].len(), "{} {} {}", word, what, name);
                        for ((class, bbox, id), (class_after, after, id_after)) in rows.iter().zip(&after[name]) {
                            prop_assert_eq!(class, class_after);
                            for (a, b) in bbox.iter().zip(after) {
                                // Label files have eight digits of shares, and numbers within 1e-3 of whole ones are those.
                                let tolerance = if a.fract() == 0.0 { 1e-5 } else { 1.1e-3 };
                                prop_assert!((a - b).abs() <= tolerance, "{word} {what}: {bbox:?} {after:?}");
                            }
                            if matches!(format, Format::Coco | Format::Csv) && id.is_some() {
                                prop_assert_eq!(id, id_after, "{}", word);
                            }
                        }
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Classes with pixels to 1/100, over all pictures, sorted.
fn boxes_only(set: &Exact) -> Vec<(String, [i64; 4])> {
    let row = |(class, bbox, _): &(String, [f64; 4], Option<Value>)| {
        (class.clone(), bbox.map(|side| (side * 50.0).round() as i64))
    };
    let mut all: Vec<_> = set.values().flatten().map(row).collect();
    all.sort();
    all
}

#[test]
fn shapes_become_boxes_and_are_shapes_again_on_the_way_back() {
    let root = folder();
    let root = root.path();
    common::picture(&root.join("in/a.png"), 100, 80, [9; 3]);
    write(
        &root.join("in/annotations.xml"),
        "<annotations><meta><task><labels><label><name>x</name></label></labels></task></meta>\n\
         <image id=\"7\" name=\"a.png\" width=\"100\" height=\"80\">\n\
         <polygon label=\"x\" source=\"manual\" points=\"10,10;30,20;15,40\"/>\n\
         <box label=\"x\" xtl=\"40\" ytl=\"30\" xbr=\"60\" ybr=\"40\" rotation=\"90\"/>\n\
         <ellipse label=\"x\" cx=\"70\" cy=\"60\" rx=\"5\" ry=\"8\"/>\n\
         <points label=\"x\" points=\"1,2\"/>\n\
         <box label=\"x\" xtl=\"1\" ytl=\"2\" xbr=\"3\" ybr=\"4\" occluded=\"1\"><attribute name=\"colour\">red &amp; blue</attribute></box>\n\
         </image></annotations>",
    );
    let (set, findings) = import(Format::Cvat, &root.join("in"), &ImportOptions::default()).unwrap();
    let lines: Vec<_> = findings.iter().map(|finding| (finding.check.id(), finding.line.unwrap())).collect();
    assert_eq!(lines, [3, 4, 5, 6].map(|line| ("import-shape", line)));
    let boxes: Vec<[f64; 4]> =
        set.images[0].objects.iter().map(|object| object.bbox.map(|side| (side * 1e6).round() / 1e6)).collect();
    assert_eq!(
        boxes,
        [[10.0, 10.0, 30.0, 40.0], [45.0, 25.0, 55.0, 45.0], [65.0, 52.0, 75.0, 68.0], [1.0, 2.0, 3.0, 4.0]]
    );
    let made = set.write(&root.join("yolo"), WriteOptions::default()).unwrap();
    let (read, _) = Annotations::read(&DatasetDescription::read(made).unwrap()).unwrap();
    export(&read, Format::Cvat, &root.join("back"), Link::Copy).unwrap();
    let text = fs::read_to_string(root.join("back/annotations.xml")).unwrap();
    for part in [
        "<image id=\"7\" name=\"a.png\" subset=\"train\" width=\"100\" height=\"80\"",
        "<polygon label=\"x\" points=\"10,10;30,20;15,40\" source=\"manual\"",
        "<box label=\"x\" rotation=\"90\" xbr=\"60\" xtl=\"40\" ybr=\"40\" ytl=\"30\"",
        "<ellipse label=\"x\" cx=\"70\" cy=\"60\" rx=\"5\" ry=\"8\"",
        "<attribute name=\"colour\">red &amp; blue</attribute>",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    common::picture(&root.join("labelme/b.png"), 100, 80, [9; 3]);
    write(
        &root.join("labelme/b.json"),
        r#"{"version": "4.5", "flags": {"night": true}, "imagePath": "b.png", "imageData": "AAAA", "imageHeight": 80, "imageWidth": 100,
          "shapes": [{"label": "x", "points": [[10.5, 10], [30, 20], [15, 40]], "shape_type": "polygon", "group_id": 3},
            {"label": "y", "points": [[50, 40], [50, 50]], "shape_type": "circle"}, {"label": "y", "points": [[1, 1]], "shape_type": "point"}]}"#,
    );
    let (set, findings) = import(Format::Labelme, &root.join("labelme"), &ImportOptions::default()).unwrap();
    assert_eq!(findings.len(), 3);
    assert_eq!(set.images[0].objects[1].bbox, [40.0, 30.0, 60.0, 50.0]);
    export(&set, Format::Labelme, &root.join("labelme-back"), Link::None).unwrap();
    let back: Value =
        serde_json::from_str(&fs::read_to_string(root.join("labelme-back/train/b.json")).unwrap()).unwrap();
    assert_eq!(back["shapes"][0]["points"], json!([[10.5, 10.0], [30.0, 20.0], [15.0, 40.0]]));
    assert_eq!((&back["shapes"][0]["group_id"], &back["shapes"][1]["shape_type"]), (&json!(3), &json!("circle")));
    assert_eq!(
        (&back["version"], &back["flags"]["night"], &back["imageData"]),
        (&json!("4.5"), &json!(true), &Value::Null)
    );
}
