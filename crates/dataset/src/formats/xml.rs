//! XML as a tree of elements that know their lines. Entities beyond the five of XML itself are refused, so that no text grows by
//! being read, and so is a document type, which may name other files.

use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value};

use super::gather::Place;
use crate::Error;

/// Elements inside elements that are followed.
const DEEPEST: usize = 64;

/// One element.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub name: String,
    pub line: usize,
    pub attributes: Vec<(String, String)>,
    /// The text right inside, without spaces around it.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Every element of this name at any depth, in order.
    pub fn descendants<'a>(&'a self, name: &str, found: &mut Vec<&'a Element>) {
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            child.descendants(name, found);
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Its place in a file.
    pub fn place<'a>(&self, file: &'a Path) -> Place<'a> {
        Place { file, line: self.line }
    }

    /// Text, or children by name.
    pub fn to_value(&self) -> Value {
        if self.children.is_empty() {
            return Value::from(self.text.as_str());
        }
        Value::Object(self.children.iter().map(|child| (child.name.clone(), child.to_value())).collect::<Map<_, _>>())
    }
}

/// Reads a document; gives its outermost element.
pub(super) fn parse(text: &str, file: &Path) -> Result<Element, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut reader = Reader::from_str(text);
    let hint = "the file may be cut short or damaged: export it again";
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let start = reader.buffer_position() as usize;
        let event = reader.read_event();
        let line = lines.of(start);
        let place = Place { file, line };
        let event = event.map_err(|error| {
            let at = Place { file, line: lines.of(reader.error_position() as usize) };
            at.fault(format!("this is not XML: {error}"), hint)
        })?;
        let here = open.len() - 1;
        match event {
            Event::Start(tag) => {
                if open.len() > DEEPEST {
                    return Err(place.fault(format!("more than {DEEPEST} elements inside each other"), hint));
                }
                open.push(element(&tag, place)?);
            }
            Event::Empty(tag) => {
                let element = element(&tag, place)?;
                open[here].children.push(element);
            }
            Event::End(_) => {
                if let (Some(mut done), Some(parent)) = (open.pop(), open.last_mut()) {
                    done.text = done.text.trim().to_string();
                    parent.children.push(done);
                }
            }
            Event::Text(text) => open[here].text.push_str(&text.xml10_content()),
            Event::CData(text) => open[here].text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let letter = reference.resolve_char_ref().ok().flatten();
                let name = reference.xml10_content();
                let known = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("apos", '\''), ("quot", '"')];
                let letter =
                    letter.or_else(|| known.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter));
                let letter = letter.ok_or_else(|| {
                    place.fault(format!("the entity `&{name};` is not known"), "entities of a document are not read")
                })?;
                open[here].text.push(letter);
            }
            Event::DocType(_) => {
                let message = "a document type (<!DOCTYPE …>) is not read: it may name other files or grow without end";
                return Err(place.fault(message, "remove the line; annotations need none"));
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    let place = Place { file, line: lines.of(text.len()) };
    if open.len() > 1 {
        let names: Vec<&str> = open[1..].iter().map(|element| element.name.as_str()).collect();
        return Err(place.fault(format!("the file ends inside <{}>", names.join("><")), hint));
    }
    let root =
        open.pop().and_then(|mut root| if root.children.is_empty() { None } else { Some(root.children.remove(0)) });
    root.ok_or_else(|| place.fault("no XML element", hint))
}

fn element(tag: &BytesStart<'_>, place: Place<'_>) -> Result<Element, Error> {
    let mut element = Element { name: tag.name().0.to_string(), line: place.line, ..Element::default() };
    for attribute in tag.attributes() {
        let fault = |error: String| {
            place.fault(format!("an attribute of <{}> cannot be read: {error}", element.name), "correct it")
        };
        let attribute = attribute.map_err(|error| fault(error.to_string()))?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| fault(error.to_string()))?;
        element.attributes.push((attribute.key.0.to_string(), value.into_owned()));
    }
    Ok(element)
}

/// Counts lines as a reader goes on.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> usize {
        let bytes = self.text.as_bytes();
        let offset = offset.min(bytes.len());
        if offset > self.at {
            self.line += bytes[self.at..offset].iter().filter(|&&byte| byte == b'\n').count();
            self.at = offset;
        }
        self.line
    }
}

/// Text with what XML reserves written as entities.
pub(super) fn escape(text: &str) -> String {
    // Characters that XML 1.0 does not know at all are left out.
    let known = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    quick_xml::escape::escape(text.chars().filter(known).collect::<String>()).into_owned()
}
