//! Looks a whole data set over. The scan of a split finds what is wrong with single pictures and rows; what shows only when
//! everything is seen together is found here: pictures that are there twice, splits that share pictures, classes without
//! examples, files that contradict each other.

mod cache;
mod classes;
mod duplicates;
mod fix;
mod folders;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::decode::decode;
use crate::fingerprint::{View, digest};
use crate::{Check, DatasetDescription, Error, Finding, ScanOptions, Split, SplitName};
use cache::{FactCache, Facts};

pub use cache::default_folder as default_cache_folder;
pub use fix::{Corrected, correct};

/// So many bytes at the end of compressed pictures hardly ever agree by chance.
const END: u64 = 4096;

/// How a data set is looked over.
#[derive(Clone, Debug, Default)]
pub struct ExamineOptions {
    /// Side of the network's input, to name objects that will be tiny in it.
    pub imgsz: Option<usize>,
    /// Decode every picture: finds damage inside, pictures of one colour, and pictures that look alike. What is known from
    /// an earlier time is taken from the cache.
    pub thorough: bool,
    /// Folder where what was found out about pictures is kept, by their path, length and time; None keeps nothing.
    pub cache: Option<PathBuf>,
}

/// A data set looked over.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The splits that the description names, with what is usable of them.
    pub splits: Vec<Split>,
    /// Everything found: the serious first, each kind together, in order of the files.
    pub findings: Vec<Finding>,
}

impl DatasetDescription {
    /// Looks over every split that the description names.
    pub fn examine(&self, options: &ExamineOptions) -> Examination {
        let mut findings = Vec::new();
        let mut splits = Vec::new();
        let scan = ScanOptions { imgsz: options.imgsz, ..ScanOptions::default() };
        for name in SplitName::ALL {
            // Training needs the first two.
            if !self.has(name) && name == SplitName::Test {
                continue;
            }
            match self.look_through(name, &scan) {
                Ok((split, found)) => {
                    findings.extend(found);
                    splits.push(split);
                }
                Err(error) => findings.push(as_finding(self, error)),
            }
        }
        findings.extend(self.compare(&splits.iter().collect::<Vec<_>>(), options));
        sort(&mut findings);
        Examination { splits, findings }
    }

    /// What shows only when all splits are seen together; beyond what [`DatasetDescription::scan`] finds in each.
    pub fn compare(&self, splits: &[&Split], options: &ExamineOptions) -> Vec<Finding> {
        let mut findings = Vec::new();
        folders::check(self, splits, &mut findings);
        classes::check(self, splits, &mut findings);
        let mut cache = FactCache::open(options.cache.as_deref(), &self.file);
        let facts = gather(splits, options.thorough, &mut cache, &mut findings);
        if let Err(finding) = cache.save() {
            findings.push(*finding);
        }
        duplicates::check(self, splits, &facts, &mut findings);
        sort(&mut findings);
        findings
    }
}

/// What an error of a split says, as a finding.
fn as_finding(description: &DatasetDescription, error: Error) -> Finding {
    match error {
        Error::Description { file, line, message, hint } => {
            Finding::new(Check::Description, file, format!("{message} ({hint})")).at(line)
        }
        Error::Read { path, source } => Finding::new(Check::Description, path, format!("cannot be read: {source}")),
        other => Finding::new(Check::Description, &description.file, other.to_string().replace("\nhint: ", "; ")),
    }
}

/// So many, in words.
fn objects(count: usize) -> String {
    if count == 1 { "1 object".into() } else { format!("{count} objects") }
}

/// The serious first, each kind together, then by place.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.check.severity(), finding.check);
        key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file)).then_with(|| a.line.cmp(&b.line))
    });
}

/// Facts of every picture of every split, in their order.
fn gather(splits: &[&Split], thorough: bool, cache: &mut FactCache, findings: &mut Vec<Finding>) -> Vec<Vec<Facts>> {
    let paths: Vec<&Path> =
        splits.iter().flat_map(|split| split.images.iter().map(|image| image.path.as_path())).collect();
    let known: Vec<Facts> = paths.par_iter().map(|path| cache.lookup(path)).collect();
    let wanted: Vec<bool> = match thorough {
        true => known.iter().map(|facts| facts.view.is_none()).collect(),
        false => likely_twins(&paths, &known),
    };
    let looked: Vec<(Facts, Option<Finding>)> = paths
        .par_iter()
        .zip(known)
        .zip(wanted)
        .map(|((path, facts), wanted)| if wanted { read(path, facts, thorough) } else { (facts, None) })
        .collect();
    let mut all = Vec::with_capacity(looked.len());
    for (path, (facts, finding)) in paths.iter().zip(looked) {
        if facts.view.is_some_and(|view| view.flat) {
            let message = "every pixel has nearly the same colour";
            findings.push(Finding::new(Check::PictureBlank, *path, message).shown_on(path, Vec::new()));
        }
        cache.keep(path, &facts);
        all.push(facts);
        findings.extend(finding);
    }
    let mut rest = all.into_iter();
    splits.iter().map(|split| rest.by_ref().take(split.images.len()).collect()).collect()
}

/// Which files must be read to tell whether they are equal to another: of those of one length only such that end alike.
fn likely_twins(paths: &[&Path], known: &[Facts]) -> Vec<bool> {
    let mut of_length: HashMap<u64, (usize, bool)> = HashMap::new();
    for facts in known {
        let group = of_length.entry(facts.length).or_default();
        *group = (group.0 + 1, group.1 || facts.digest.is_none());
    }
    let ends: Vec<Option<(u64, u128)>> = paths
        .par_iter()
        .zip(known)
        .map(|(path, facts)| {
            let (count, any_unknown) = of_length[&facts.length];
            if count > 1 && any_unknown { Some((facts.length, end_of(path)?)) } else { None }
        })
        .collect();
    let mut alike: HashMap<(u64, u128), usize> = HashMap::new();
    ends.iter().flatten().for_each(|end| *alike.entry(*end).or_default() += 1);
    let is_twin = |end: &Option<(u64, u128)>| end.is_some_and(|end| alike[&end] > 1);
    ends.iter().zip(known).map(|(end, facts)| is_twin(end) && facts.digest.is_none()).collect()
}

/// Digest of a file's last bytes.
fn end_of(path: &Path) -> Option<u128> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut end = Vec::with_capacity(END as usize);
    file.read_to_end(&mut end).ok()?;
    Some(digest(&end))
}

fn read(path: &Path, facts: Facts, thorough: bool) -> (Facts, Option<Finding>) {
    let broken = |message: String| Finding::new(Check::PictureUnreadable, path, message).shown_on(path, Vec::new());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return (facts, Some(broken(format!("cannot be read: {error}")))),
    };
    let facts = Facts { digest: Some(digest(&bytes)), ..facts };
    if !thorough {
        return (facts, None);
    }
    match decode(&bytes) {
        Ok(picture) => (Facts { view: Some(View::of(&picture)), ..facts }, None),
        Err(message) => (facts, Some(broken(message))),
    }
}
