//! A folder's object: the list of its files, as JSON in one exact spelling, whose md5 is the folder's id.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::hash::md5_of;
use crate::pointer::is_id;
use crate::{Error, Result};

/// One file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where, below the folder, with `/` between the parts.
    pub path: String,
    /// 32 hexadecimal digits.
    pub md5: String,
}

/// The files of a folder, in code-point order of their paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    /// The files.
    pub entries: Vec<Entry>,
}

impl Directory {
    /// Puts files into order.
    pub fn new(mut entries: Vec<Entry>) -> Directory {
        entries.sort();
        Directory { entries }
    }

    /// The bytes of the object.
    pub fn render(&self) -> String {
        let mut text = String::from("[");
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            text.push_str("{\"md5\": \"");
            text.push_str(&entry.md5);
            text.push_str("\", \"relpath\": \"");
            escape(&entry.path, &mut text);
            text.push_str("\"}");
        }
        text.push(']');
        text
    }

    /// The folder's id: the md5 of the object and `.dir`.
    pub fn id(&self) -> String {
        format!("{}.dir", md5_of(self.render().as_bytes()))
    }

    /// Reads an object. Refuses paths that lead out of the folder.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<Directory> {
        let malformed = |message: String| Error::Malformed {
            path: file.to_owned(),
            line: None,
            message,
            hint: "the object is damaged: delete it and fetch it again",
        };
        let value: Value = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        let list = value.as_array().ok_or_else(|| malformed("no list of files".to_owned()))?;
        let mut entries = Vec::with_capacity(list.len());
        for item in list {
            let field = |key: &str| item.get(key).and_then(Value::as_str);
            let (Some(md5), Some(path)) = (field("md5"), field("relpath")) else {
                return Err(malformed("an entry without md5 and relpath".to_owned()));
            };
            let inside = path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0');
            if !inside {
                return Err(malformed(format!("the path `{path}` leads out of the folder")));
            }
            if !is_id(md5) || md5.ends_with(".dir") {
                return Err(malformed(format!("`{md5}` of `{path}` is no md5")));
            }
            entries.push(Entry { path: path.to_owned(), md5: md5.to_owned() });
        }
        Ok(Directory::new(entries))
    }
}

/// A text in JSON, as Python's `json` writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    escape(text, &mut result);
    result.push('"');
    result
}

/// JSON's escapes as Python's `json` writes them: everything outside ASCII as UTF-16 units.
fn escape(path: &str, text: &mut String) {
    for character in path.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='\u{7f}' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> Directory {
        Directory::new(
            files.iter().map(|(path, text)| Entry { path: (*path).into(), md5: md5_of(text.as_bytes()) }).collect(),
        )
    }

    #[test]
    fn ids_are_dvcs() {
        assert_eq!(directory(&[("foo", "foo"), ("bar", "bar")]).id(), "5ea40360f5b4ec688df672a4db9c17d1.dir");
        assert_eq!(directory(&[("bar", "bar\n"), ("baz", "baz\n")]).id(), "1f69c66028c35037e8bf67e5bc4ceb6a.dir");
    }

    #[test]
    fn paths_are_spelled_as_python_spells_them() {
        let directory = directory(&[("ü/😀 \"\\\n\u{1}\u{7f}", "")]);
        let expected = "[{\"md5\": \"d41d8cd98f00b204e9800998ecf8427e\", \"relpath\": \"\\u00fc/\\ud83d\\ude00 \\\"\\\\\\n\\u0001\u{7f}\"}]";
        assert_eq!(directory.render(), expected);
        assert_eq!(Directory::parse(expected.as_bytes(), "x".as_ref()).unwrap(), directory);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["../a", "/a", "a/../../b", "a//b"] {
            let text = format!("[{{\"md5\": \"d41d8cd98f00b204e9800998ecf8427e\", \"relpath\": \"{path}\"}}]");
            let error = Directory::parse(text.as_bytes(), "x.dir".as_ref()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{path}` leads out of the folder")), "{error}");
        }
    }
}
