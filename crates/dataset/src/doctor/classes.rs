//! Classes: their names, and whether there is enough of each to learn and to measure.

use super::objects;
use crate::{Check, DatasetDescription, Finding, Split, SplitName};

/// Examples below which a class has few.
const FEW: usize = 10;
/// So many times as frequent as the rarest is out of balance.
const IMBALANCE: usize = 20;

pub(super) fn check(description: &DatasetDescription, splits: &[&Split], findings: &mut Vec<Finding>) {
    check_names(description, findings);
    // With `single_cls` the names are others.
    let splits: Vec<&&Split> = splits.iter().filter(|split| split.names == description.names).collect();
    let Some(train) = splits.iter().find(|split| split.name == SplitName::Train) else { return };
    let count = |split: &Split| {
        let mut counts = vec![0usize; description.names.len()];
        split.images.iter().flat_map(|image| &image.labels).for_each(|label| counts[label.class] += 1);
        counts
    };
    let trained = count(train);
    // Without any labels there is nothing to say about single classes.
    if trained.iter().all(|&count| count == 0) {
        return;
    }
    let measured: Vec<(SplitName, Vec<usize>)> =
        splits.iter().filter(|split| split.name != SplitName::Train).map(|split| (split.name, count(split))).collect();
    let most = (0..trained.len()).max_by_key(|&class| (trained[class], std::cmp::Reverse(class))).unwrap_or(0);
    for (class, name) in description.names.iter().enumerate() {
        let mut add = |check, message: String| {
            findings
                .push(Finding::new(check, &description.file, message).at(description.name_lines.get(class).copied()));
        };
        let examples = trained[class];
        let elsewhere = measured.iter().find(|(_, counts)| counts[class] > 0);
        match (examples, elsewhere) {
            (0, Some((split, counts))) => {
                add(Check::ClassUnseen, format!("`{name}` has {} in {split}, none in train", objects(counts[class])));
            }
            (0, None) => add(Check::ClassUnused, format!("`{name}` has no examples in any split")),
            _ => {}
        }
        if examples == 0 {
            continue;
        }
        let val = measured.iter().find(|(split, _)| *split == SplitName::Val);
        if let Some((_, counts)) = val
            && counts[class] == 0
            && counts.iter().any(|&count| count > 0)
        {
            add(Check::ClassUntested, format!("`{name}` has {} in train, none in val", objects(examples)));
        }
        if examples < FEW {
            add(Check::ClassFew, format!("`{name}` has {} in train", objects(examples)));
        } else if examples * IMBALANCE <= trained[most] {
            let (other, times) = (&description.names[most], trained[most] / examples);
            add(Check::ClassImbalance, format!("`{other}` has {times} times as many objects as `{name}`"));
        }
    }
}

/// Names that a person would take for one.
fn check_names(description: &DatasetDescription, findings: &mut Vec<Finding>) {
    let plain = |name: &String| name.to_lowercase().replace(['-', '_', ' '], "");
    let names: Vec<String> = description.names.iter().map(plain).collect();
    for (class, name) in names.iter().enumerate() {
        if let Some(first) = names[..class].iter().position(|other| other == name) {
            let message = format!(
                "class {class} `{}` and class {first} `{}` differ in writing only",
                description.names[class], description.names[first]
            );
            let finding = Finding::new(Check::ClassNamesAlike, &description.file, message);
            findings.push(finding.at(description.name_lines.get(class).copied()));
        }
    }
}
