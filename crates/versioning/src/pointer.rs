//! A `.dvc` file: which data stands beside it, by content.

use std::path::{Path, PathBuf};

use crate::scalar::scalar;
use crate::tree::{self, Tree};
use crate::{Error, Result};

/// One file or folder that a `.dvc` file or `dvc.lock` tracks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Where it stands, relative to the file that tracks it.
    pub path: String,
    /// 32 hexadecimal digits, with `.dir` at the end for a folder; nothing before the first add.
    pub md5: Option<String>,
    /// Bytes, over all files.
    pub size: Option<u64>,
    /// Files of a folder.
    pub files: Option<u64>,
    /// Whether a single file may be executed.
    pub executable: bool,
    /// Whether the id is of DVC 2, which stands in the old layout of the cache and of text counts no carriage returns.
    pub is_legacy: bool,
    /// Whether the content goes into the cache.
    pub is_cached: bool,
    /// Whether `push` sends it.
    pub is_pushed: bool,
}

impl Output {
    /// Whether the id is a folder's.
    pub fn is_directory(&self) -> bool {
        self.md5.as_ref().is_some_and(|md5| md5.ends_with(".dir"))
    }

    /// The keys that follow from the content, in DVC's order, each as its line.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(md5) = &self.md5 {
            lines.push(("md5", format!("md5:{}", scalar(md5, 6))));
        }
        if let Some(size) = self.size {
            lines.push(("size", format!("size: {size}")));
        }
        if let Some(files) = self.files {
            lines.push(("nfiles", format!("nfiles: {files}")));
        }
        if self.executable {
            lines.push(("isexec", "isexec: true".to_owned()));
        }
        if !self.is_legacy {
            lines.push(("hash", "hash: md5".to_owned()));
        }
        lines
    }
}

/// A `.dvc` file.
#[derive(Clone, Debug, PartialEq)]
pub struct Pointer {
    /// Where it stands.
    pub file: PathBuf,
    /// What it tracks.
    pub outputs: Vec<Output>,
    /// The folder that the outputs' paths are relative to, itself relative to the file's.
    pub working_folder: Option<String>,
    /// Whether the data came from elsewhere by an import.
    pub is_import: bool,
    text: String,
}

/// Keys that [`Pointer::render`] writes anew.
const WRITTEN: [&str; 5] = ["md5", "size", "nfiles", "isexec", "hash"];

impl Pointer {
    /// A new file for one output.
    pub fn new(file: PathBuf, output: Output) -> Pointer {
        let text = format!("outs:\n- path:{}\n", scalar(&output.path, 7));
        Pointer { file, outputs: vec![output], working_folder: None, is_import: false, text }
    }

    /// Reads the text of a `.dvc` file. Fails where it is no YAML or an entry has no path.
    pub fn parse(text: &str, file: &Path) -> Result<Pointer> {
        let tree = tree::parse(text, file)?;
        let outputs = tree.get("outs").map_or(&[][..], Tree::items);
        let outputs = outputs.iter().map(|tree| output(tree, file)).collect::<Result<_>>()?;
        Ok(Pointer {
            file: file.to_owned(),
            outputs,
            working_folder: tree.get("wdir").and_then(Tree::text).map(str::to_owned),
            is_import: tree.get("deps").is_some(),
            text: text.to_owned(),
        })
    }

    /// The text of the file. Keys and notes that are not about the content stay as they were.
    pub fn render(&self) -> String {
        let is_new = self.text.starts_with("outs:\n- path:");
        let mut result = String::new();
        let mut lines = self.text.split_inclusive('\n').peekable();
        let mut outputs = self.outputs.iter();
        let mut in_outputs = false;
        while let Some(line) = lines.next() {
            if !line.starts_with(['-', ' ', '#', '\n']) {
                in_outputs = line.trim_end() == "outs:";
            }
            let Some(first) = line.strip_prefix("- ").filter(|_| in_outputs) else {
                result.push_str(line);
                continue;
            };
            let mut entry = vec![first.to_owned()];
            while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                entry.push(line[2..].to_owned());
            }
            if let Some(output) = outputs.next() {
                entry = updated(entry, output, is_new);
            }
            for (index, line) in entry.iter().enumerate() {
                result.push_str(if index == 0 { "- " } else { "  " });
                result.push_str(line);
            }
        }
        result
    }
}

/// An entry's lines with the content's keys replaced in place; those that are new come last, in a new entry first.
fn updated(mut entry: Vec<String>, output: &Output, is_new: bool) -> Vec<String> {
    if let Some(last) = entry.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push('\n');
    }
    let lines = output.lines();
    let key_of =
        |line: &str| WRITTEN.into_iter().find(|key| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let mut result = Vec::new();
    let mut seen = Vec::new();
    for line in entry {
        match key_of(&line) {
            None => result.push(line),
            Some(key) => {
                seen.push(key);
                result.extend(lines.iter().filter(|(name, _)| *name == key).map(|(_, line)| format!("{line}\n")));
            }
        }
    }
    let fresh = lines.iter().filter(|(key, _)| !seen.contains(key)).map(|(_, line)| format!("{line}\n"));
    if is_new { fresh.chain(result).collect() } else { result.into_iter().chain(fresh).collect() }
}

/// An entry of `outs`, as `.dvc` files and `dvc.lock` have it.
pub(crate) fn output(tree: &Tree, file: &Path) -> Result<Output> {
    let malformed = |message: String| Error::Malformed {
        path: file.to_owned(),
        line: None,
        message,
        hint: "restore the file, for example with `git checkout`, or add its data anew",
    };
    let Some(path) = tree.get("path").and_then(Tree::text) else {
        return Err(malformed("an entry of `outs` has no path".to_owned()));
    };
    let number = |key: &str| match tree.get(key).and_then(Tree::text) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| malformed(format!("`{key}` is `{text}`, no number"))),
    };
    let md5 = tree.get("md5").and_then(Tree::text).map(str::to_owned);
    if let Some(md5) = &md5
        && !is_id(md5)
    {
        return Err(malformed(format!("`{md5}` is no md5")));
    }
    Ok(Output {
        path: path.to_owned(),
        is_legacy: md5.is_some() && tree.get("hash").is_none(),
        md5,
        size: number("size")?,
        files: number("nfiles")?,
        executable: tree.is_true("isexec") == Some(true),
        is_cached: tree.is_true("cache") != Some(false),
        is_pushed: tree.is_true("push") != Some(false),
    })
}

/// 32 lower-case hexadecimal digits, with or without `.dir`.
pub(crate) fn is_id(text: &str) -> bool {
    let digits = text.strip_suffix(".dir").unwrap_or(text);
    digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Output {
        Output {
            path: "data".into(),
            md5: Some("946c619627dc5a1a5cd12147b7d56a57.dir".into()),
            size: Some(4),
            files: Some(2),
            is_cached: true,
            is_pushed: true,
            ..Output::default()
        }
    }

    #[test]
    fn a_new_file_is_byte_for_byte_dvcs() {
        let text =
            "outs:\n- md5: 946c619627dc5a1a5cd12147b7d56a57.dir\n  size: 4\n  nfiles: 2\n  hash: md5\n  path: data\n";
        let pointer = Pointer::new("data.dvc".into(), sample());
        assert_eq!(pointer.render(), text);
        let read = Pointer::parse(text, "data.dvc".as_ref()).unwrap();
        assert_eq!((&read.outputs, read.render().as_str()), (&vec![sample()], text));
        let digits = Output { md5: Some("1".repeat(32)), ..sample() };
        let expected = text.replace("946c619627dc5a1a5cd12147b7d56a57.dir", &format!("'{}'", "1".repeat(32)));
        assert_eq!(Pointer::new("data.dvc".into(), digits).render(), expected);
    }

    #[test]
    fn notes_and_other_keys_survive_an_update() {
        let text = "# mine\ndesc: x\nouts:\n- md5: 946c619627dc5a1a5cd12147b7d56a57.dir\n  size: 4\n  hash: md5\n  path: data\n  desc: y\nmeta:\n  a: 1\n";
        let mut pointer = Pointer::parse(text, "data.dvc".as_ref()).unwrap();
        pointer.outputs[0].size = Some(7);
        assert_eq!(pointer.render(), text.replace("size: 4", "size: 7"));
    }

    #[test]
    fn faults_are_named() {
        let error = Pointer::parse("outs:\n- md5: abc\n  path: a\n", "a.dvc".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("`a.dvc`: `abc` is no md5\nhint: restore the file"), "{error}");
    }
}
