//! New sets from old ones: divided anew, joined, filtered, with other classes, smaller.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use regex_lite::Regex;

use super::stratify::{Unit, divide};
use super::{AnnotatedImage, Annotations, Extra, distinct, stem};
use crate::decode::decode_file;
use crate::fingerprint::View;
use crate::{Error, SplitName};

/// How large the parts of a division are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    /// Shares of train, val and test; they sum to 1.
    pub shares: [f64; 3],
    /// Start of the random numbers.
    pub seed: u64,
    /// Whether each part gets its share of each class; else of the pictures alone.
    pub stratify: bool,
}

/// Which pictures stay together when a set is divided.
#[derive(Clone, Debug)]
pub enum Grouping {
    /// Those of a folder.
    Folder,
    /// Those in whose name a pattern matches the same: its first group, or all of it.
    Pattern(Regex),
    /// Those that look alike, such as frames of a film.
    Alike,
}

impl Grouping {
    /// `folder`, `alike`, or a regular expression.
    ///
    /// # Errors
    /// The expression is none.
    pub fn from_word(word: &str) -> Result<Self, Error> {
        match word {
            "folder" => Ok(Self::Folder),
            "alike" => Ok(Self::Alike),
            _ => Regex::new(word).map(Self::Pattern).map_err(|error| Error::Settings {
                message: format!("`{word}` is no pattern: {error}"),
                hint: "write folder, alike, or a regular expression such as '^(.*)_[0-9]+'".into(),
            }),
        }
    }
}

/// What stays of a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// These classes, by name or number, renumbered in this order; all where it is empty.
    pub classes: Vec<String>,
    /// These splits; all where it is empty.
    pub splits: Vec<SplitName>,
    /// Objects whose shorter side has at least so many pixels.
    pub min_side: f64,
    /// Objects whose longer side has at most so many pixels.
    pub max_side: Option<f64>,
    /// Pictures with objects only.
    pub no_backgrounds: bool,
}

/// Classes with other names: `old` to `new`, several to one to join them; an empty `new` drops the class.
pub type Remapping = Vec<(String, String)>;

/// How many pictures stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So many of each split, or all where it has fewer.
    Count(usize),
    /// This share of each split.
    Fraction(f64),
}

impl Annotations {
    /// Divides all pictures into train, val and test anew.
    ///
    /// # Errors
    /// Shares that do not sum to 1; with [`Grouping::Alike`], a picture that cannot be read.
    pub fn divide(&mut self, parts: &Parts, grouping: Option<&Grouping>) -> Result<(), Error> {
        let sum: f64 = parts.shares.iter().sum();
        if parts.shares.iter().any(|share| !(0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 1e-6 {
            return Err(Error::Settings {
                message: format!("train, val and test are {}, which sum to {sum}", shown(&parts.shares)),
                hint: "choose shares that sum to 1, such as 0.8, 0.1 and 0.1".into(),
            });
        }
        let groups = self.groups(grouping)?;
        let units: Vec<Unit> = groups.iter().map(|group| self.unit(group)).collect();
        let chosen = divide(&units, &parts.shares, parts.stratify, parts.seed);
        for (group, part) in groups.iter().zip(chosen) {
            for &image in group {
                self.images[image].split = SplitName::ALL[part];
            }
        }
        self.settle();
        Ok(())
    }

    fn unit(&self, group: &[usize]) -> Unit {
        let mut counts = vec![0; self.names.len() + 1];
        for &image in group {
            let mut objects = self.images[image].objects.iter().filter(|object| !object.apart).peekable();
            if objects.peek().is_none() {
                counts[self.names.len()] += 1;
            }
            objects.for_each(|object| counts[object.class] += 1);
        }
        Unit { pictures: group.len(), counts }
    }

    fn groups(&self, grouping: Option<&Grouping>) -> Result<Vec<Vec<usize>>, Error> {
        let folder = |image: &AnnotatedImage| {
            // Where all lie in one folder of a split, that of the file tells as little.
            image.name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_string())
        };
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        match grouping {
            None => return Ok((0..self.images.len()).map(|image| vec![image]).collect()),
            Some(Grouping::Alike) => return self.alike(),
            Some(Grouping::Folder) => {
                for (index, image) in self.images.iter().enumerate() {
                    groups.entry(folder(image)).or_default().push(index);
                }
            }
            Some(Grouping::Pattern(pattern)) => {
                for (index, image) in self.images.iter().enumerate() {
                    let found = pattern.captures(&image.name);
                    let found = found.as_ref().and_then(|found| found.get(1).or(found.get(0)));
                    // What the pattern does not match is a group of its own.
                    let key = found.map_or(format!("\0{}/{}", image.split, image.name), |found| found.as_str().into());
                    groups.entry(key).or_default().push(index);
                }
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Pictures joined with all that look like them.
    fn alike(&self) -> Result<Vec<Vec<usize>>, Error> {
        let views: Vec<Option<View>> = self
            .images
            .par_iter()
            .map(|image| {
                image.source.as_ref().map(|path| decode_file(path).map(|picture| View::of(&picture))).transpose()
            })
            .collect::<Result<_, _>>()?;
        let twins: Vec<Option<usize>> = (0..views.len())
            .into_par_iter()
            .map(|index| {
                let view = views[index]?;
                (0..index).find(|&other| views[other].is_some_and(|other| view.resembles(&other)))
            })
            .collect();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut group_of = vec![0; views.len()];
        for (index, twin) in twins.into_iter().enumerate() {
            group_of[index] = twin.map_or(groups.len(), |twin| group_of[twin]);
            match groups.get_mut(group_of[index]) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        Ok(groups)
    }

    /// Joins several sets: classes by their names, pictures of one name get names of their own.
    pub fn merge(sets: Vec<Annotations>) -> Annotations {
        let mut joined = Annotations::default();
        let mut taken = HashSet::new();
        for (number, mut set) in sets.into_iter().enumerate() {
            let classes: Vec<usize> = set.names.iter().map(|name| joined.class(name)).collect();
            for mut image in set.images.drain(..) {
                image.objects.iter_mut().for_each(|object| object.class = classes[object.class]);
                image.name = distinct(&image.name, |name| taken.insert((image.split, stem(name).to_lowercase())));
                if number > 0 {
                    // Ids of another set may be given already.
                    drop_ids(&mut image.extra);
                    image.objects.iter_mut().for_each(|object| drop_ids(&mut object.extra));
                }
                joined.images.push(image);
            }
            if number == 0 {
                joined.extra = set.extra;
            }
        }
        joined.settle();
        joined
    }

    /// Takes out what the filter does not keep.
    ///
    /// # Errors
    /// A class that the set does not have; no picture stays.
    pub fn filter(&mut self, filter: &Filter) -> Result<(), Error> {
        if !filter.classes.is_empty() {
            let kept = filter.classes.iter().map(|class| self.find_class(class)).collect::<Result<Vec<_>, _>>()?;
            let mut new = vec![None; self.names.len()];
            let mut names = Vec::new();
            for class in kept {
                if new[class].is_none() {
                    new[class] = Some(names.len());
                    names.push(self.names[class].clone());
                }
            }
            self.renumber(&new, names);
        }
        if !filter.splits.is_empty() {
            self.images.retain(|image| filter.splits.contains(&image.split));
        }
        for image in &mut self.images {
            image.objects.retain(|object| {
                let [x1, y1, x2, y2] = object.bbox;
                let (short, long) = ((x2 - x1).min(y2 - y1), (x2 - x1).max(y2 - y1));
                object.apart || (short >= filter.min_side && filter.max_side.is_none_or(|most| long <= most))
            });
        }
        if filter.no_backgrounds {
            self.images.retain(|image| image.objects.iter().any(|object| !object.apart));
        }
        if self.images.is_empty() {
            let hint = "`yolo11 data stats` shows what there is".to_string();
            return Err(Error::Settings { message: "no picture passes the filter".into(), hint });
        }
        Ok(())
    }

    /// Gives classes other names, joins and drops them.
    ///
    /// # Errors
    /// A class that the set does not have, or that is named twice; no class stays.
    pub fn remap(&mut self, remapping: &Remapping) -> Result<(), Error> {
        let mut targets: Vec<Option<&str>> = self.names.iter().map(|name| Some(name.as_str())).collect();
        let mut changed = HashSet::new();
        for (old, new) in remapping {
            let class = self.find_class(old)?;
            if !changed.insert(class) {
                let message = format!("`{old}` is mapped twice");
                return Err(Error::Settings { message, hint: "map each class once".into() });
            }
            targets[class] = (!new.is_empty()).then_some(new.as_str());
        }
        let mut names: Vec<String> = Vec::new();
        let mut new = Vec::new();
        for target in targets {
            new.push(target.map(|target| {
                names.iter().position(|name| name == target).unwrap_or_else(|| {
                    names.push(target.to_string());
                    names.len() - 1
                })
            }));
        }
        if names.is_empty() {
            let hint = "keep at least one".to_string();
            return Err(Error::Settings { message: "every class is dropped".into(), hint });
        }
        self.renumber(&new, names);
        Ok(())
    }

    /// Keeps a part of each split, chosen by the seed, with like shares of each class.
    ///
    /// # Errors
    /// A share that is out of range.
    pub fn sample(&mut self, share: Share, seed: u64) -> Result<(), Error> {
        let fault = |message: String, hint: &str| Err(Error::Settings { message, hint: hint.into() });
        match share {
            Share::Count(0) => return fault("count=0 keeps nothing".into(), "choose at least 1"),
            Share::Fraction(fraction) if !(fraction > 0.0 && fraction <= 1.0) => {
                return fault(format!("fraction={fraction} is out of range"), "choose above 0 and at most 1");
            }
            _ => {}
        }
        let mut kept = vec![false; self.images.len()];
        for split in SplitName::ALL {
            let members: Vec<usize> =
                (0..self.images.len()).filter(|&image| self.images[image].split == split).collect();
            let wanted = match share {
                Share::Count(count) => count.min(members.len()),
                Share::Fraction(fraction) => {
                    ((members.len() as f64 * fraction).round() as usize).max(usize::from(!members.is_empty()))
                }
            };
            let units: Vec<Unit> = members.iter().map(|&image| self.unit(&[image])).collect();
            let part = wanted as f64 / members.len().max(1) as f64;
            let chosen = divide(&units, &[part, 1.0 - part], true, seed);
            let (mut inside, mut outside): (Vec<usize>, Vec<usize>) =
                (0..members.len()).partition(|&member| chosen[member] == 0);
            // The shares of classes leave a picture or two to choose: the number is exact.
            while inside.len() > wanted {
                outside.extend(inside.pop());
            }
            while inside.len() < wanted {
                inside.extend(outside.pop());
            }
            inside.iter().for_each(|&member| kept[members[member]] = true);
        }
        let mut keep = kept.into_iter();
        self.images.retain(|_| keep.next() == Some(true));
        Ok(())
    }

    /// A class by its name or its number.
    fn find_class(&self, word: &str) -> Result<usize, Error> {
        let by_name = self.names.iter().position(|name| name == word);
        let by_number = || word.parse::<usize>().ok().filter(|&class| class < self.names.len());
        by_name.or_else(by_number).ok_or_else(|| {
            let known: Vec<&str> = self.names.iter().take(20).map(String::as_str).collect();
            let more = if self.names.len() > known.len() { " …" } else { "" };
            Error::Settings {
                message: format!("no class `{word}`"),
                hint: format!("the set has {}{more}; a number from 0 serves too", known.join(", ")),
            }
        })
    }

    /// Gives each class its new number, or takes its objects out.
    fn renumber(&mut self, new: &[Option<usize>], names: Vec<String>) {
        for image in &mut self.images {
            image.objects.retain_mut(|object| match new[object.class] {
                Some(class) => {
                    object.class = class;
                    true
                }
                None => false,
            });
        }
        self.names = names;
    }
}

fn drop_ids(extra: &mut Extra) {
    extra.remove("id");
}

fn shown(shares: &[f64]) -> String {
    shares.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}
