//! Python literals, as metadata of YOLO files hold them: `{0: 'person', 1: 'bicycle'}`, `['a', 'b']`, `[640, 640]`.

use std::iter::Peekable;
use std::str::Chars;

/// Most names: beyond it lies damage, of which no list is made.
const MOST_NAMES: usize = 1 << 16;

/// The class names of a dictionary by number or of a list; none where the text is neither. Numbers that are missing below the
/// greatest are named by themselves.
pub(super) fn names(text: &str) -> Option<Vec<String>> {
    let mut reader = Reader(text.chars().peekable());
    let mut names: Vec<(usize, String)> = Vec::new();
    let closing = match reader.next()? {
        '{' => '}',
        '[' => ']',
        '(' => ')',
        _ => return None,
    };
    loop {
        if reader.peek()? == closing {
            break;
        }
        let number = if closing == '}' {
            let key = reader.key()?;
            (reader.next()? == ':').then_some(key)?
        } else {
            names.len()
        };
        if names.len() == MOST_NAMES {
            return None;
        }
        names.push((number, reader.text()?));
        match reader.next()? {
            ',' => {}
            other if other == closing => break,
            _ => return None,
        }
    }
    // A number far beyond the count is damage, and must not make a list of that length.
    let length = names.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
    if length > 2 * names.len() + 1000 {
        return None;
    }
    let mut list: Vec<String> = (0..length).map(|number| number.to_string()).collect();
    names.into_iter().for_each(|(number, name)| list[number] = name);
    Some(list)
}

/// Height and width of `[height, width]`, or of one number for both.
pub(super) fn size(text: &str) -> Option<[usize; 2]> {
    let inner = text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let sides: Vec<usize> = inner.split(',').map(|side| side.trim().parse().ok()).collect::<Option<_>>()?;
    match sides[..] {
        [side] => Some([side; 2]),
        [height, width] => Some([height, width]),
        _ => None,
    }
}

struct Reader<'a>(Peekable<Chars<'a>>);

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.0.next_if(|letter| letter.is_whitespace()).is_some() {}
        self.0.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        self.peek()?;
        self.0.next()
    }

    /// A whole number, with or without quotes.
    fn key(&mut self) -> Option<usize> {
        if matches!(self.peek()?, '\'' | '"') {
            return self.text()?.parse().ok();
        }
        let mut digits = String::new();
        while let Some(digit) = self.0.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().ok()
    }

    fn text(&mut self) -> Option<String> {
        let quote = self.next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let mut text = String::new();
        loop {
            match self.0.next()? {
                letter if letter == quote => return Some(text),
                '\\' => text.push(self.escape()?),
                letter => text.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let digits = match self.0.next()? {
            'n' => return Some('\n'),
            't' => return Some('\t'),
            'r' => return Some('\r'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            letter => return Some(letter),
        };
        let number: String = (0..digits).map(|_| self.0.next()).collect::<Option<_>>()?;
        char::from_u32(u32::from_str_radix(&number, 16).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_dictionaries_and_lists() {
        let read = |text| names(text).map(|names| names.join("|"));
        assert_eq!(read(r"{0: 'person', 1: 'driver\'s cab', 2: 'a\\b'}").unwrap(), r"person|driver's cab|a\b");
        assert_eq!(read(r#"{1: "it's", 0: 'K\xfcrbis',}"#).unwrap(), "Kürbis|it's");
        assert_eq!(read(r#"{"0": "a", "2": "zwei\u000aZeilen"}"#).unwrap(), "a|1|zwei\nZeilen");
        assert_eq!(read("['a', 'b']").unwrap(), "a|b");
        assert_eq!(read("{}").unwrap(), "");
        for text in ["", "person", "{0: 'person'", "{0 'person'}", "{-1: 'a'}", "{4000000000: 'a'}", "['a' 'b']"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_from_lists_and_numbers() {
        assert_eq!(size("[640, 480]"), Some([640, 480]));
        assert_eq!(size("640"), Some([640, 640]));
        assert_eq!(size("[640, 480, 3]"), None);
        assert_eq!(size("[-640, 480]"), None);
    }
}
