//! A YAML document as a tree whose every node knows its line and column.
//!
//! Scalars stay text here: only the setting that takes a value knows whether `1e-3`, `010` or `no` is a number, a name or a switch.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Deepest nesting that is read; a settings file needs four.
const DEEPEST: usize = 32;
/// Most nodes that are read, aliases written out; keeps a file of nested aliases from filling the memory.
const MOST_NODES: usize = 100_000;

/// A place in a text, both figures from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One value of a YAML document and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub at: Position,
    /// The value itself.
    pub data: Data,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// One plain or quoted value, as text.
    Scalar {
        /// The text without its quotes.
        text: String,
        /// Whether it stood in quotes, so that `"null"` is a word and `null` is nothing.
        quoted: bool,
    },
    /// `[a, b]` or lines with dashes.
    List(Vec<Node>),
    /// `{a: 1}` or lines with colons, in the order of the text.
    Map(Vec<Entry>),
}

/// One `key: value` of a [`Data::Map`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key begins.
    pub at: Position,
    /// The value.
    pub value: Node,
}

/// Why a text is not a YAML document that can be used as settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// Where reading stopped.
    pub at: Position,
    /// What is wrong there.
    pub message: String,
}

impl Node {
    /// A value typed on the command line: flow YAML where it begins with `[` or `{`, plain text otherwise.
    pub fn from_argument(text: &str) -> Result<Node, Malformed> {
        let trimmed = text.trim();
        if trimmed.starts_with(['[', '{']) {
            return parse(trimmed);
        }
        Ok(Node::scalar(trimmed))
    }

    /// A plain scalar without a place of its own.
    pub fn scalar(text: &str) -> Node {
        Node { at: Position { line: 1, column: 1 }, data: Data::Scalar { text: text.to_owned(), quoted: false } }
    }

    /// The scalar's text, or nothing for lists and maps.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether nothing stands here: an empty value, `~`, `null` or Python's `None`.
    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL" | "None"))
    }

    /// The value as a reader would write it on one line, shortened, for messages.
    pub fn summary(&self) -> String {
        let text = self.flow();
        if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text }
    }

    fn flow(&self) -> String {
        match &self.data {
            Data::Scalar { text, .. } => text.clone(),
            Data::List(items) => format!("[{}]", items.iter().map(Node::flow).collect::<Vec<_>>().join(", ")),
            Data::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|entry| format!("{}: {}", entry.key, entry.value.flow())).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// Reads the one document of `text`; an empty text is an empty map.
pub fn parse(text: &str) -> Result<Node, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if document.is_some() => {
                return Err(Malformed {
                    at: position(&span),
                    message: "a second document begins here; one file holds one".into(),
                });
            }
            event => document = Some(reader.node(event, span, 0)?),
        }
    }
    let empty = Node { at: Position { line: 1, column: 1 }, data: Data::Map(Vec::new()) };
    Ok(document.filter(|node| !node.is_null()).unwrap_or(empty))
}

struct Reader<'text> {
    parser: Parser<'text, saphyr_parser::StrInput<'text>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), Malformed> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(malformed(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, Malformed> {
        let at = position(&span);
        self.count(1, at)?;
        if depth > DEEPEST {
            return Err(Malformed { at, message: format!("nested deeper than {DEEPEST} levels") });
        }
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                (Data::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (Data::List(items), anchor)
            }
            Event::MappingStart(anchor, _) => (Data::Map(self.entries(depth)?), anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or(Malformed { at, message: "an alias stands before its anchor ends".into() })?;
                self.count(size(&node), at)?;
                return Ok(Node { at, ..node });
            }
            _ => return Err(Malformed { at, message: "the document ends unexpectedly".into() }),
        };
        let node = Node { at, data };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Malformed> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let at = position(&span);
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(Malformed { at, message: "a key must be a word, not a list or a map".into() }),
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("`{key}` is given twice; first on line {}", first.at.line);
                return Err(Malformed { at, message });
            }
            let (event, span) = self.next()?;
            entries.push(Entry { key, at, value: self.node(event, span, depth + 1)? });
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Malformed> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(Malformed { at, message: format!("more than {MOST_NODES} values") });
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::Scalar { .. } => 0,
        Data::List(items) => items.iter().map(size).sum(),
        Data::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn malformed(error: &ScanError) -> Malformed {
    let mark = error.marker();
    Malformed { at: Position { line: mark.line().max(1), column: mark.col() + 1 }, message: error.info().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let node = parse("# note\ntraining:\n  epochs: 100\n  lr: [1e-3, '7']\n").unwrap();
        let Data::Map(root) = &node.data else { panic!("a map") };
        assert_eq!((root[0].key.as_str(), root[0].at), ("training", at(2, 1)));
        let Data::Map(training) = &root[0].value.data else { panic!("a map") };
        assert_eq!((training[0].at, training[0].value.at), (at(3, 3), at(3, 11)));
        let Data::List(items) = &training[1].value.data else { panic!("a list") };
        assert_eq!(items[0].data, Data::Scalar { text: "1e-3".into(), quoted: false });
        assert_eq!(items[1], Node { at: at(4, 14), data: Data::Scalar { text: "7".into(), quoted: true } });
    }

    #[test]
    fn faults_name_their_line() {
        assert_eq!(
            parse("a: 1\nb: 2\na: 3\n").unwrap_err(),
            Malformed { at: at(3, 1), message: "`a` is given twice; first on line 1".into() }
        );
        assert_eq!(parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err().at.line, 3);
        assert_eq!(parse("a:\n\t- 1\n").unwrap_err().at.line, 2);
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap_err().at.line, 3);
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert_eq!(parse(&deep).unwrap_err().message, "nested deeper than 32 levels");
    }

    #[test]
    fn aliases_are_written_out_within_a_bound() {
        let node = parse("a: &x 5\nb: *x\n").unwrap();
        let Data::Map(root) = &node.data else { panic!("a map") };
        assert_eq!(root[1].value, Node { at: at(2, 4), ..Node::scalar("5") });
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            bomb += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert_eq!(parse(&bomb).unwrap_err().message, "more than 100000 values");
    }

    #[test]
    fn an_empty_text_is_an_empty_map() {
        for text in ["", "\u{feff}", "# only a note\n", "---\n", "null\n"] {
            assert_eq!(parse(text).unwrap().data, Data::Map(Vec::new()), "{text:?}");
        }
    }
}
