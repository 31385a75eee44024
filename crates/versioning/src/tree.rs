//! Reading YAML into lists, maps and text, as far as DVC's files need it.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::{Error, Result};

/// Nesting beyond this is no DVC file.
const DEEPEST: usize = 32;

/// A YAML value. Text keeps its spelling: numbers and truth values are read by whoever asks for them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }

    pub fn items(&self) -> &[Tree] {
        if let Tree::List(items) = self { items } else { &[] }
    }

    pub fn entries(&self) -> &[(String, Tree)] {
        if let Tree::Map(entries) = self { entries } else { &[] }
    }

    pub fn is_true(&self, key: &str) -> Option<bool> {
        self.get(key)?.text().map(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// Reads the one document of a file's text.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Tree> {
    let mut reader = Reader { parser: Parser::new_from_str(text), path };
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(Tree::Null),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => return reader.value(event, 0),
        }
    }
}

struct Reader<'text> {
    parser: Parser<'text, saphyr_parser::StrInput<'text>>,
    path: &'text Path,
}

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<Event<'text>> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(self.malformed(Some(error.marker().line().max(1)), error.info().to_owned())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'text>, depth: usize) -> Result<Tree> {
        if depth > DEEPEST {
            return Err(self.malformed(None, format!("nested deeper than {DEEPEST} levels")));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                Ok(if is_null { Tree::Null } else { Tree::Text(text.into_owned()) })
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Tree::List(items)),
                        event => items.push(self.value(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let key = match self.next()? {
                        Event::MappingEnd => return Ok(Tree::Map(entries)),
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return Err(self.malformed(None, "a key that is no word".to_owned())),
                    };
                    let event = self.next()?;
                    entries.push((key, self.value(event, depth + 1)?));
                }
            }
            _ => Err(self.malformed(None, "an alias, or an end too early".to_owned())),
        }
    }

    fn malformed(&self, line: Option<usize>, message: String) -> Error {
        let hint = "restore the file, for example with `git checkout`, or add its data anew";
        Error::Malformed { path: self.path.to_owned(), line, message, hint }
    }
}
