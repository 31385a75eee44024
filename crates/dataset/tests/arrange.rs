//! New sets from old ones: divided, joined, filtered, with other classes, smaller.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::{folder, write};
use yolo11_dataset::annotations::{Filter, Grouping, Link, Parts, Share, WriteOptions};
use yolo11_dataset::{Annotations, DatasetDescription, SplitName};

fn read(path: &std::path::Path) -> Annotations {
    Annotations::read(&DatasetDescription::find(path).unwrap()).unwrap().0
}

fn rectangles(count: usize) -> (tempfile::TempDir, Annotations) {
    let root = folder();
    let file = common::rectangles(root.path(), count);
    write(&file, "train: images/train\nnames: [red, blue]\n");
    let set = read(root.path());
    (root, set)
}

fn names(set: &Annotations, split: SplitName) -> Vec<&str> {
    set.images.iter().filter(|image| image.split == split).map(|image| image.name.as_str()).collect()
}

#[test]
fn a_division_is_fair_repeatable_and_keeps_groups() {
    let Some(shared) = common::shared() else { return };
    let root = folder();
    let yaml = format!(
        "path: {}\ntrain: train/images\nval: valid/images\ntest: test/images\nnames: [RBC, WBC, Platelets]\n",
        shared.join("data/bccd").display()
    );
    write(&root.path().join("dataset.yaml"), yaml);
    let bccd = read(root.path());
    let parts = Parts { shares: [0.7, 0.2, 0.1], seed: 3, stratify: true };
    let mut set = bccd.clone();
    set.divide(&parts, None).unwrap();
    let total: BTreeMap<usize, f64> = count(&bccd, None);
    for (split, share) in SplitName::ALL.into_iter().zip(parts.shares) {
        for (class, found) in count(&set, Some(split)) {
            let part = found / total[&class];
            assert!((part - share).abs() < 0.02, "{split} has {part} of class {class}");
        }
    }
    let mut again = bccd.clone();
    again.divide(&parts, None).unwrap();
    assert_eq!(again, set);
    again.divide(&Parts { seed: 4, ..parts }, None).unwrap();
    assert_ne!(again, set);

    // Ten pictures with one beginning stay together.
    let grouping = Grouping::from_word("^BloodImage_(\\d{4})").unwrap();
    let mut grouped = bccd.clone();
    grouped.divide(&parts, Some(&grouping)).unwrap();
    let mut splits: BTreeMap<String, BTreeSet<SplitName>> = BTreeMap::new();
    for image in &grouped.images {
        splits.entry(image.name[..15].to_string()).or_default().insert(image.split);
    }
    assert!(splits.len() > 30 && splits.values().all(|splits| splits.len() == 1));

    // Pictures that look alike, as the doctor sees them, too.
    let mut alike = bccd.clone();
    alike.divide(&parts, Some(&Grouping::Alike)).unwrap();
    let split = |name: &str| alike.images.iter().find(|image| image.name == name).unwrap().split;
    assert_eq!(split("BloodImage_00037.jpg"), split("BloodImage_00038.jpg"));
    let wrong = bccd.clone().divide(&Parts { shares: [0.5, 0.2, 0.2], ..parts }, None).unwrap_err().to_string();
    assert!(wrong.starts_with("train, val and test are 0.5, 0.2, 0.2, which sum to "), "{wrong}");
    assert!(Grouping::from_word("(").unwrap_err().to_string().starts_with("`(` is no pattern: "));
}

fn count(set: &Annotations, split: Option<SplitName>) -> BTreeMap<usize, f64> {
    let mut counts = BTreeMap::new();
    for image in set.images.iter().filter(|image| split.is_none_or(|split| image.split == split)) {
        image.objects.iter().for_each(|object| *counts.entry(object.class).or_default() += 1.0);
    }
    counts
}

#[test]
fn classes_are_joined_dropped_and_renumbered() {
    let (_root, set) = rectangles(4);
    let pair = |old: &str, new: &str| (old.to_string(), new.to_string());
    let classes = |set: &Annotations| {
        (set.names.clone(), set.images[0].objects.iter().map(|object| object.class).collect::<Vec<_>>())
    };
    let mut joined = set.clone();
    joined.remap(&vec![pair("red", "colour"), pair("1", "colour")]).unwrap();
    assert_eq!(classes(&joined), (vec!["colour".to_string()], vec![0, 0]));
    let mut dropped = set.clone();
    dropped.remap(&vec![pair("red", "")]).unwrap();
    assert_eq!(classes(&dropped), (vec!["blue".to_string()], vec![0]));
    let mut swapped = set.clone();
    swapped.filter(&Filter { classes: vec!["blue".into(), "red".into()], ..Filter::default() }).unwrap();
    assert_eq!(classes(&swapped), (vec!["blue".to_string(), "red".into()], vec![1, 0]));
    let unknown = set.clone().remap(&vec![pair("green", "x")]).unwrap_err().to_string();
    assert_eq!(unknown, "no class `green`\nhint: the set has red, blue; a number from 0 serves too");
    let twice = set.clone().remap(&vec![pair("red", "x"), pair("0", "y")]).unwrap_err().to_string();
    assert!(twice.starts_with("`0` is mapped twice"), "{twice}");
    assert!(
        set.clone()
            .remap(&vec![pair("red", ""), pair("blue", "")])
            .unwrap_err()
            .to_string()
            .starts_with("every class is dropped")
    );
}

#[test]
fn filters_keep_sizes_and_splits() {
    let (_root, set) = rectangles(8);
    let mut large = set.clone();
    large.filter(&Filter { min_side: 22.0, no_backgrounds: true, ..Filter::default() }).unwrap();
    assert!(large.objects() > 0 && large.objects() < set.objects());
    assert!(large.images.iter().flat_map(|image| &image.objects).all(|object| object.bbox[2] - object.bbox[0] >= 22.0));
    let none =
        set.clone().filter(&Filter { splits: vec![SplitName::Val], ..Filter::default() }).unwrap_err().to_string();
    assert!(none.starts_with("no picture passes the filter"), "{none}");
}

#[test]
fn samples_have_their_number_and_merged_sets_all_their_pictures() {
    let (root, set) = rectangles(20);
    let mut part = set.clone();
    part.sample(Share::Count(7), 1).unwrap();
    assert_eq!(part.images.len(), 7);
    let mut share = set.clone();
    share.sample(Share::Fraction(0.25), 1).unwrap();
    assert_eq!(share.images.len(), 5);
    let mut same = set.clone();
    same.sample(Share::Count(7), 1).unwrap();
    assert_eq!(same, part);
    assert!(
        set.clone()
            .sample(Share::Fraction(1.5), 0)
            .unwrap_err()
            .to_string()
            .starts_with("fraction=1.5 is out of range")
    );

    let mut other = part.clone();
    other.remap(&vec![("red".into(), "green".into())]).unwrap();
    let merged = Annotations::merge(vec![part.clone(), other]);
    assert_eq!(
        (merged.names.clone(), merged.images.len()),
        (vec!["red".to_string(), "blue".into(), "green".into()], 14)
    );
    let unique: BTreeSet<&str> = names(&merged, SplitName::Train).into_iter().collect();
    assert_eq!(unique.len(), 14);
    let file = merged
        .write(&root.path().join("merged"), WriteOptions { link: Link::Hard, ..WriteOptions::default() })
        .unwrap();
    let again = read(&file);
    assert_eq!((again.images.len(), again.objects()), (14, merged.objects()));
    // A hard link is the same file; the original has lost nothing.
    assert_eq!(fs::read_dir(root.path().join("images/train")).unwrap().count(), 20);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |path: &std::path::Path| fs::metadata(path).unwrap().ino();
        let name = names(&part, SplitName::Train)[0].to_string();
        assert_eq!(
            inode(&root.path().join("images/train").join(&name)),
            inode(&root.path().join("merged/images/train").join(&name))
        );
    }
}
