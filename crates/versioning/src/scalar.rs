//! One YAML scalar as DVC's writer puts it after `key:`: plain where that reads back as the same text, else quoted; plain text folds at 80 columns.

use std::sync::LazyLock;

use regex_automata::meta::Regex;

/// The column after which a line is folded.
const WIDTH: usize = 80;
/// Spaces before a folded line, two more than a key of a list's map.
const CONTINUATION: usize = 4;

/// Plain text that YAML 1.2 readers take for a number, a truth value, null, a date, `=` or `<<`.
#[allow(clippy::expect_used)]
static NOT_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:true|True|TRUE|false|False|FALSE|~|null|Null|NULL|=|<<",
        // Whole numbers: binary, octal, decimal, hexadecimal, with underscores between the digits.
        r"|[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+][0-9_]+|[0-9][0-9_]*|[-+]?0x[0-9a-fA-F_]+",
        // Decimal fractions and powers.
        r"|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+",
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        // Days and moments.
        r"|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}",
        r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$",
    ))
    .expect("the pattern is fixed")
});

/// The scalar with the space before it, where `column` characters stand on the line already.
pub(crate) fn scalar(text: &str, column: usize) -> String {
    if is_plain(text) {
        plain(text, column + 1)
    } else if !text.contains('\'') && !text.chars().any(is_special) {
        single_quoted(text, column + 1)
    } else {
        double_quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    let space = |character: Option<char>| character.is_none_or(|character| matches!(character, ' ' | '\t'));
    let mut characters = text.chars();
    let (first, second) = (characters.next(), characters.next());
    let starts_well = match first {
        None => false,
        Some('?' | ':' | '-') => !space(second),
        Some(first) => !"#,[]{}&*!|>'\"%@` ".contains(first),
    };
    starts_well
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(is_special)
        && !NOT_TEXT.is_match(text)
}

/// Characters that only double quotes can hold on one line.
fn is_special(character: char) -> bool {
    match character {
        ' '..='~' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' => true,
        character => character < '\u{a0}' || matches!(character, '\u{fffe}' | '\u{ffff}'),
    }
}

/// Words that do not fit go to the next line; the space before them stays at the end of the line unless the line is full already.
fn plain(text: &str, mut column: usize) -> String {
    let indent = format!("\n{:CONTINUATION$}", "");
    let mut result = String::from(" ");
    let mut rest = text;
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        if spaces == 1 && column >= WIDTH {
            result.push_str(&indent);
            column = CONTINUATION;
        } else {
            result.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        }
        rest = &rest[spaces..];
        let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let length = word.chars().count();
        if column + length > WIDTH && column > CONTINUATION {
            result.push_str(&indent);
            column = CONTINUATION;
        }
        result.push_str(word);
        column += length;
        rest = after;
    }
    result
}

/// Folds at a single space once the line is over full, never at the first or last character.
fn single_quoted(text: &str, column: usize) -> String {
    let mut result = String::from(" '");
    let mut column = column + 1;
    let mut rest = text;
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let at_edge = rest.len() == text.len() || rest.len() == spaces;
        if spaces == 1 && column > WIDTH && !at_edge {
            result.push_str(&format!("\n{:CONTINUATION$}", ""));
            column = CONTINUATION;
        } else {
            result.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        }
        rest = &rest[spaces..];
        let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        result.push_str(word);
        column += word.chars().count();
        rest = after;
    }
    result.push('\'');
    result
}

fn double_quoted(text: &str) -> String {
    let mut result = String::from(" \"");
    for character in text.chars() {
        match character {
            '"' | '\\' => result.extend(['\\', character]),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            '\r' => result.push_str("\\r"),
            '\u{0}' => result.push_str("\\0"),
            '\u{7}' => result.push_str("\\a"),
            '\u{8}' => result.push_str("\\b"),
            '\u{b}' => result.push_str("\\v"),
            '\u{c}' => result.push_str("\\f"),
            '\u{1b}' => result.push_str("\\e"),
            '\u{85}' => result.push_str("\\N"),
            '\u{2028}' => result.push_str("\\L"),
            '\u{2029}' => result.push_str("\\P"),
            character if !is_special(character) => result.push(character),
            character if (character as u32) < 0x100 => result.push_str(&format!("\\x{:02X}", character as u32)),
            character => result.push_str(&format!("\\u{:04X}", character as u32)),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::scalar;

    #[test]
    fn texts_are_quoted_where_dvc_quotes_them() {
        let quoted = [
            "0b1",
            "0o17",
            "017",
            "089",
            "1_000",
            "2001-12-14",
            "2001-12-14 10:11:12",
            ".5",
            "+1",
            "=",
            "<<",
            "~",
            "null",
            "true",
            "TRUE",
            "1.",
            "1e5",
            "1e+5",
            "1.e5",
            "-.INF",
            "0x1F",
            "1_",
            "-",
            "?",
            "? a",
            ":",
            "a:",
            "a #b",
            "%a",
            "@a",
            "`a",
            "!a",
            "&a",
            "*a",
            "|",
            "[a",
            "{",
            "---",
            "--- a",
            "...",
            "a ",
            "0.1_",
            "._5",
            "+_1",
            "\"q",
        ];
        for text in quoted {
            assert_eq!(scalar(text, 7), format!(" '{text}'"), "{text}");
        }
        let plain = [
            "yes",
            "off",
            "1:30",
            "0x",
            "_1",
            "+",
            "-a",
            "?a",
            "a:b",
            ":a",
            "a#b",
            "q'",
            "é",
            "😀",
            "\u{200b}",
            "a,b",
            "a]",
            "1e5_",
            "+.5e3",
            "0o8",
            "0b2",
            "1.5e",
            "_",
            "946c619627dc5a1a5cd12147b7d56a57.dir",
        ];
        for text in plain {
            assert_eq!(scalar(text, 7), format!(" {text}"), "{text}");
        }
        assert_eq!(scalar("'q", 7), " \"'q\"");
        assert_eq!(scalar("a\tb", 7), " \"a\\tb\"");
        assert_eq!(scalar("\u{feff}x\u{7f}", 7), " \"\\uFEFFx\\x7F\"");
    }

    #[test]
    fn long_texts_fold_where_dvc_folds_them() {
        let words = format!("{}end", "word ".repeat(20));
        let expected = format!(" {}\n    {}end", "word ".repeat(14), "word ".repeat(6));
        assert_eq!(scalar(&words, 7), expected);
        let long = format!("{} b", "x".repeat(100));
        assert_eq!(scalar(&long, 7), format!(" \n    {}\n    b", "x".repeat(100)));
    }
}
