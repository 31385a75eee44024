//! Pictures that are there twice, in one split or in two; exactly, or nearly so.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Facts, objects};
use crate::fingerprint::{NEAR_BITS, View};
use crate::labels::{Label, label_path};
use crate::{Check, DatasetDescription, Finding, Split};

/// Two boxes are the same if no side is further apart, as a share of the picture.
const SAME: f32 = 1e-3;

/// One picture of one split.
#[derive(Clone, Copy)]
struct Item<'a> {
    split: usize,
    path: &'a Path,
    labels: &'a [Label],
    facts: &'a Facts,
}

pub(super) fn check(
    description: &DatasetDescription,
    splits: &[&Split],
    facts: &[Vec<Facts>],
    findings: &mut Vec<Finding>,
) {
    let mut items = Vec::new();
    let mut files: HashMap<PathBuf, usize> = HashMap::new();
    let mut folders = HashMap::new();
    // How many pictures a split shares with an earlier one.
    let mut shared: HashMap<(usize, usize), Vec<&Path>> = HashMap::new();
    for (position, split) in splits.iter().enumerate() {
        for (image, facts) in split.images.iter().zip(&facts[position]) {
            let whole = whole(&image.path, &mut folders);
            match files.get(&whole) {
                Some(&first) if first != position => shared.entry((first, position)).or_default().push(&image.path),
                Some(_) => {}
                None => {
                    files.insert(whole, position);
                    items.push(Item { split: position, path: &image.path, labels: &image.labels, facts });
                }
            }
        }
    }
    let mut pairs: Vec<_> = shared.into_iter().collect();
    pairs.sort();
    for ((first, second), paths) in pairs {
        let (one, other) = (splits[first].name, splits[second].name);
        if paths.len() == splits[second].images.len() {
            let message = format!("all {} pictures of {other} are pictures of {one}", paths.len());
            let finding = Finding::new(Check::LeakageFile, &description.file, message);
            findings.push(finding.at(description.line(other)));
            continue;
        }
        for path in paths {
            let message = format!("the file belongs to {one} and to {other}");
            findings.push(Finding::new(Check::LeakageFile, path, message).shown_on(path, Vec::new()));
        }
    }
    let same = exact(splits, &items, findings);
    near(splits, &items, &same, findings);
}

/// The path without detours; each folder is looked up once.
fn whole<'a>(path: &'a Path, folders: &mut HashMap<&'a Path, PathBuf>) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let known =
        folders.entry(folder).or_insert_with(|| fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf()));
    known.join(path.file_name().unwrap_or_default())
}

/// Groups of equal files; gives the pictures that are copies of an earlier one.
fn exact(splits: &[&Split], items: &[Item<'_>], findings: &mut Vec<Finding>) -> HashSet<usize> {
    let mut groups: HashMap<u128, Vec<usize>> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(digest) = item.facts.digest {
            groups.entry(digest).or_default().push(index);
        }
    }
    let mut copies = HashSet::new();
    for group in groups.into_values() {
        let first = items[group[0]];
        for &index in &group[1..] {
            copies.insert(index);
            let copy = items[index];
            let (check, message) = if copy.split == first.split {
                (Check::PictureTwice, format!("the same picture as {}", first.path.display()))
            } else {
                let (one, other) = (splits[first.split].name, splits[copy.split].name);
                (Check::LeakageExact, format!("in {other}, and as {} in {one}", first.path.display()))
            };
            findings.push(Finding::new(check, copy.path, message).shown_on(copy.path, Vec::new()).beside(first.path));
            if !same_labels(first.labels, copy.labels) {
                let message = format!(
                    "{} here, {} in {}, of the same picture",
                    objects(copy.labels.len()),
                    objects(first.labels.len()),
                    label_path(first.path).display()
                );
                let boxes = copy.labels.iter().map(|label| label.bbox).collect();
                let finding = Finding::new(Check::LabelsContradict, label_path(copy.path), message);
                findings.push(finding.shown_on(copy.path, boxes).beside(first.path));
            }
        }
    }
    copies
}

/// Whether each object of one has its like in the other.
fn same_labels(one: &[Label], other: &[Label]) -> bool {
    let like =
        |a: &Label, b: &Label| a.class == b.class && a.bbox.iter().zip(b.bbox).all(|(a, b)| (a - b).abs() <= SAME);
    one.len() == other.len() && one.iter().all(|label| other.iter().any(|twin| like(label, twin)))
}

/// Pairs that look alike. Pictures whose hashes differ in at most `NEAR_BITS` bits agree in one of `NEAR_BITS + 1` parts of the
/// hash: only such are compared.
fn near(splits: &[&Split], items: &[Item<'_>], copies: &HashSet<usize>, findings: &mut Vec<Finding>) {
    let views: Vec<(usize, View)> = items
        .iter()
        .enumerate()
        .filter(|(index, _)| !copies.contains(index))
        .filter_map(|(index, item)| Some((index, item.facts.view.filter(|view| !view.flat)?)))
        .collect();
    let parts = NEAR_BITS + 1;
    let part = |bits: u64, number: u32| {
        let (from, to) = (64 * number / parts, 64 * (number + 1) / parts);
        (number, bits << (64 - to) >> (64 - to + from))
    };
    let mut buckets: HashMap<(u32, u64), Vec<usize>> = HashMap::new();
    for (position, (_, view)) in views.iter().enumerate() {
        for number in 0..parts {
            buckets.entry(part(view.bits, number)).or_default().push(position);
        }
    }
    // Each picture with the earlier one it is nearest to: one word about each.
    let alike: Vec<Option<(usize, usize)>> = (0..views.len())
        .into_par_iter()
        .map(|position| {
            let (index, view) = views[position];
            let mut best: Option<(u32, usize)> = None;
            for number in 0..parts {
                let bucket = buckets.get(&part(view.bits, number)).map_or(&[][..], Vec::as_slice);
                for &other in bucket.iter().take_while(|&&other| other < position) {
                    let distance = (view.bits ^ views[other].1.bits).count_ones();
                    // A pair of two splits says more than one of the same.
                    let leaks = items[views[other].0].split != items[index].split;
                    let rank = distance + if leaks { 0 } else { 64 };
                    let is_better = best.is_none_or(|best| (rank, other) < best);
                    if is_better && view.resembles(&views[other].1) {
                        best = Some((rank, other));
                    }
                }
            }
            best.map(|(_, other)| (views[other].0, index))
        })
        .collect();
    for (first, second) in alike.into_iter().flatten() {
        let (first, second) = (items[first], items[second]);
        let (check, message) = if first.split == second.split {
            (Check::PictureNear, format!("looks like {}", first.path.display()))
        } else {
            let (one, other) = (splits[first.split].name, splits[second.split].name);
            (Check::LeakageNear, format!("in {other}, looks like {} in {one}", first.path.display()))
        };
        findings.push(Finding::new(check, second.path, message).shown_on(second.path, Vec::new()).beside(first.path));
    }
}
