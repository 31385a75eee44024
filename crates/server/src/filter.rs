//! MLflow's language for filters and orders.
//!
//! A filter is a list of comparisons joined by `and`: ``metrics.mAP50 > 0.5 and params.lr = '0.001' and tags.`a.b` like '%train%'``.
//! What stands before the first dot says what is compared; without a dot it is an attribute. Names with other letters than a word's stand
//! between backticks or double quotes. An order is such a name, then `ASC` or `DESC`.

use std::cmp::Ordering;

use crate::error::ApiError;

/// The longest filter that is read.
const LONGEST: usize = 64 * 1024;

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entity {
    /// The latest value of a metric.
    Metric,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
    /// Something that every one has: a name, a time, a status.
    Attribute,
    /// A data set that was used: its name, digest or context.
    Dataset,
}

/// A name in a filter or an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// What kind.
    pub entity: Entity,
    /// Its name.
    pub name: String,
}

/// How things are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `like`: `%` stands for any letters, `_` for one.
    Like,
    /// `like` without regard to capital letters.
    ILike,
    /// `in ('a', 'b')`
    In,
    /// `not in ('a', 'b')`
    NotIn,
    /// `is null`: there is none.
    IsNull,
    /// `is not null`: there is one.
    IsNotNull,
}

/// With what things are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Nothing: `is null` needs none.
    None,
    /// A number.
    Number(f64),
    /// Text between quotes.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// What is compared.
    pub key: Key,
    /// How.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// Reads a filter; an empty one has no clauses.
///
/// # Errors
/// What is not understood, and where.
pub fn parse(text: &str) -> Result<Vec<Clause>, ApiError> {
    if text.len() > LONGEST {
        return Err(ApiError::invalid(format!("the filter is longer than {LONGEST} bytes")));
    }
    let mut reader = Reader { text, position: 0 };
    let mut clauses = Vec::new();
    reader.space();
    while !reader.is_at_end() {
        if !clauses.is_empty() {
            reader.keyword("and").ok_or_else(|| reader.wrong("`and`"))?;
        }
        clauses.push(reader.clause()?);
        reader.space();
    }
    Ok(clauses)
}

/// Reads one order: a key, and whether it ascends.
///
/// # Errors
/// What is not understood, and where.
pub fn parse_order(text: &str) -> Result<(Key, bool), ApiError> {
    if text.len() > LONGEST {
        return Err(ApiError::invalid(format!("the order is longer than {LONGEST} bytes")));
    }
    let mut reader = Reader { text, position: 0 };
    reader.space();
    let key = reader.key(true)?;
    let ascending = reader.keyword("asc").is_some() || reader.keyword("desc").is_none();
    reader.space();
    if !reader.is_at_end() {
        return Err(reader.wrong("`ASC` or `DESC` and no more"));
    }
    Ok((key, ascending))
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn is_at_end(&self) -> bool {
        self.position == self.text.len()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, expected: &str) -> ApiError {
        let rest: String = self.rest().chars().take(40).collect();
        let found = if rest.is_empty() { "it ends".to_owned() } else { format!("found `{rest}`") };
        ApiError::invalid(format!("invalid filter: expected {expected} at letter {}, {found}", self.position + 1))
    }

    /// Takes a sign or other text as it is.
    fn take(&mut self, text: &str) -> Option<()> {
        self.space();
        self.rest().starts_with(text).then(|| self.position += text.len())
    }

    /// Takes a word in letters of any size.
    fn keyword(&mut self, word: &str) -> Option<()> {
        self.space();
        let rest = self.rest();
        let found = rest.get(..word.len())?;
        let ends = !rest[word.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        (ends && found.eq_ignore_ascii_case(word)).then(|| self.position += word.len())
    }

    /// Takes text between two of `quote`; the quote itself is written twice.
    fn quoted(&mut self, quote: char) -> Result<String, ApiError> {
        let mut found = String::new();
        loop {
            let rest = &self.rest()[1..];
            let Some(end) = rest.find(quote) else { return Err(self.wrong(&format!("a closing {quote}"))) };
            found.push_str(&rest[..end]);
            self.position += end + 2;
            if !self.rest().starts_with(quote) {
                return Ok(found);
            }
            found.push(quote);
        }
    }

    /// Takes a name as far as letters of a word go, or between quotes. `whole`: dots belong to it.
    fn name(&mut self, whole: bool, spaced: bool) -> Result<String, ApiError> {
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|letter| matches!(letter, '`' | '"')) {
            return self.quoted(quote);
        }
        let belongs = |letter: char| {
            letter.is_alphanumeric()
                || "_-/:@".contains(letter)
                || (whole && letter == '.')
                || (spaced && letter == '(')
                || (spaced && letter == ')')
        };
        let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.wrong("a name"));
        }
        self.position += end;
        Ok(rest[..end].to_owned())
    }

    fn key(&mut self, ordering: bool) -> Result<Key, ApiError> {
        self.space();
        // The web pages of MLflow ask for these two names with their space.
        for name in ["run name", "run_name"] {
            if self.keyword(name).is_some() {
                return Ok(Key { entity: Entity::Attribute, name: "run_name".to_owned() });
            }
        }
        let start = self.position;
        let first = self.name(false, false)?;
        if self.take_dot().is_none() {
            return Ok(Key { entity: Entity::Attribute, name: first });
        }
        let entity = match first.as_str() {
            "metric" | "metrics" => Entity::Metric,
            "param" | "params" | "parameter" | "parameters" => Entity::Param,
            "tag" | "tags" => Entity::Tag,
            "attribute" | "attributes" | "attr" | "run" => Entity::Attribute,
            "dataset" | "datasets" => Entity::Dataset,
            _ => {
                self.position = start;
                return Err(self.wrong("metrics, params, tags, attributes or datasets before the dot"));
            }
        };
        Ok(Key { entity, name: self.name(true, ordering)? })
    }

    fn take_dot(&mut self) -> Option<()> {
        self.rest().starts_with('.').then(|| self.position += 1)
    }

    fn clause(&mut self) -> Result<Clause, ApiError> {
        let key = self.key(false)?;
        let operator = self.operator()?;
        let operand = match operator {
            Operator::IsNull | Operator::IsNotNull => Operand::None,
            Operator::In | Operator::NotIn => self.list()?,
            _ => self.operand()?,
        };
        Ok(Clause { key, operator, operand })
    }

    fn operator(&mut self) -> Result<Operator, ApiError> {
        const SIGNS: [(&str, Operator); 8] = [
            ("!=", Operator::Unequal),
            ("<>", Operator::Unequal),
            (">=", Operator::GreaterOrEqual),
            ("<=", Operator::LessOrEqual),
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            (">", Operator::Greater),
            ("<", Operator::Less),
        ];
        for (sign, operator) in SIGNS {
            if self.take(sign).is_some() {
                return Ok(operator);
            }
        }
        for (word, operator) in [("like", Operator::Like), ("ilike", Operator::ILike), ("in", Operator::In)] {
            if self.keyword(word).is_some() {
                return Ok(operator);
            }
        }
        let start = self.position;
        if self.keyword("not").is_some() && self.keyword("in").is_some() {
            return Ok(Operator::NotIn);
        }
        self.position = start;
        if self.keyword("is").is_some() {
            let not = self.keyword("not").is_some();
            if self.keyword("null").is_some() {
                return Ok(if not { Operator::IsNotNull } else { Operator::IsNull });
            }
        }
        self.position = start;
        Err(self.wrong("=, !=, <, <=, >, >=, like, ilike, in, not in, is null or is not null"))
    }

    fn text(&mut self) -> Result<Option<String>, ApiError> {
        self.space();
        match self.rest().chars().next().filter(|letter| matches!(letter, '\'' | '"')) {
            Some(quote) => self.quoted(quote).map(Some),
            None => Ok(None),
        }
    }

    fn operand(&mut self) -> Result<Operand, ApiError> {
        if let Some(text) = self.text()? {
            return Ok(Operand::Text(text));
        }
        let rest = self.rest();
        let belongs = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
        let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        let digits = rest[..end]
            .trim_start_matches(['+', '-'])
            .starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
        match rest[..end].parse::<f64>() {
            Ok(number) if digits && number.is_finite() => {
                self.position += end;
                Ok(Operand::Number(number))
            }
            _ => Err(self.wrong("a number, or text between '…'")),
        }
    }

    fn list(&mut self) -> Result<Operand, ApiError> {
        self.take("(").ok_or_else(|| self.wrong("( and a list of texts"))?;
        let mut texts = Vec::new();
        loop {
            texts.push(self.text()?.ok_or_else(|| self.wrong("text between '…'"))?);
            if self.take(",").is_none() {
                self.take(")").ok_or_else(|| self.wrong("a comma or )"))?;
                return Ok(Operand::List(texts));
            }
            // A comma at the end, as in a tuple of Python's with one text.
            if self.take(")").is_some() {
                return Ok(Operand::List(texts));
            }
        }
    }
}

/// What kinds of comparison a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, by `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Number,
    /// Text, by `=`, `!=`, `like`, `ilike`, `in`, `not in`.
    Text,
    /// Text that may be missing: `is null` and `is not null` too.
    OptionalText,
}

impl Clause {
    /// Checks that operator and operand go with the key.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, kind: Kind) -> Result<(), ApiError> {
        use Operator::{Greater, GreaterOrEqual, ILike, In, IsNotNull, IsNull, Less, LessOrEqual, Like, NotIn};
        let name = &self.key.name;
        let unfit = matches!(
            (kind, self.operator),
            (Kind::Number, Like | ILike | In | NotIn | IsNull | IsNotNull)
                | (Kind::Text, IsNull | IsNotNull)
                | (Kind::Text | Kind::OptionalText, Less | LessOrEqual | Greater | GreaterOrEqual)
        );
        if unfit {
            return Err(ApiError::invalid(format!("invalid filter: `{name}` cannot be compared in that way")));
        }
        match (kind, &self.operand) {
            (Kind::Number, Operand::Number(_)) | (_, Operand::None) => Ok(()),
            (Kind::Text | Kind::OptionalText, Operand::Text(_) | Operand::List(_)) => Ok(()),
            (Kind::Number, _) => Err(ApiError::invalid(format!("invalid filter: `{name}` is compared with a number"))),
            _ => Err(ApiError::invalid(format!("invalid filter: `{name}` is compared with text between '…'"))),
        }
    }

    /// Whether a text, or its absence, is as the clause asks. A missing text only ever matches `is null`.
    pub fn matches_text(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return self.operator == Operator::IsNull };
        match (self.operator, &self.operand) {
            (Operator::IsNotNull, _) => true,
            (Operator::Equal, Operand::Text(text)) => value == text,
            (Operator::Unequal, Operand::Text(text)) => value != text,
            (Operator::Like, Operand::Text(pattern)) => like(value, pattern),
            (Operator::ILike, Operand::Text(pattern)) => like(&value.to_lowercase(), &pattern.to_lowercase()),
            (Operator::In, Operand::List(texts)) => texts.iter().any(|text| text == value),
            (Operator::NotIn, Operand::List(texts)) => texts.iter().all(|text| text != value),
            _ => false,
        }
    }

    /// Whether a number is as the clause asks; a missing one never is.
    pub fn matches_number(&self, value: Option<f64>) -> bool {
        let (Some(value), Operand::Number(number)) = (value, &self.operand) else { return false };
        let order = value.partial_cmp(number);
        match self.operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::Unequal => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            _ => false,
        }
    }
}

/// SQL's `like`: the text as a whole, `%` for any letters, `_` for one.
fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut by) = (0, 0);
    // Where the last % stood, and how much of the text it has taken.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(by) {
            Some('%') => {
                retry = Some((by, at));
                by += 1;
            }
            Some(&letter) if letter == '_' || letter == text[at] => {
                at += 1;
                by += 1;
            }
            _ => match &mut retry {
                None => return false,
                Some((star, taken)) => {
                    *taken += 1;
                    (at, by) = (*taken, *star + 1);
                }
            },
        }
    }
    pattern[by..].iter().all(|&letter| letter == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Clause {
        let mut clauses = parse(text).unwrap();
        assert_eq!(clauses.len(), 1, "{text}");
        clauses.remove(0)
    }

    #[test]
    fn every_form_of_a_filter_is_read() {
        let clauses = parse(
            "metrics.mAP50 > 0.5 and params.lr = '0.001' AND tags.`a.b` like '%train%' and attributes.status != \"FINISHED\" \
             and run_id in ('a', 'b') and params.x is null and tag.y IS NOT NULL and datasets.name not in ('c',) \
             and metrics.`loss (val)`<=-1e-3 and run name = 'it''s' and start_time >= 17",
        )
        .unwrap();
        let found: Vec<String> = clauses
            .iter()
            .map(|clause| {
                format!("{:?} {} {:?} {:?}", clause.key.entity, clause.key.name, clause.operator, clause.operand)
            })
            .collect();
        assert_eq!(
            found,
            [
                "Metric mAP50 Greater Number(0.5)",
                "Param lr Equal Text(\"0.001\")",
                "Tag a.b Like Text(\"%train%\")",
                "Attribute status Unequal Text(\"FINISHED\")",
                "Attribute run_id In List([\"a\", \"b\"])",
                "Param x IsNull None",
                "Tag y IsNotNull None",
                "Dataset name NotIn List([\"c\"])",
                "Metric loss (val) LessOrEqual Number(-0.001)",
                "Attribute run_name Equal Text(\"it's\")",
                "Attribute start_time GreaterOrEqual Number(17.0)",
            ]
        );
        assert_eq!(parse("  ").unwrap(), []);
        assert_eq!(one("tags.mlflow.source.name = 'x'").key.name, "mlflow.source.name");
        assert_eq!(one("metrics.\"val/box_loss\" = 1").key.name, "val/box_loss");
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_place() {
        for (text, message) in [
            (
                "metrics.x",
                "invalid filter: expected =, !=, <, <=, >, >=, like, ilike, in, not in, is null or is not null at letter 10, it ends",
            ),
            ("metrics.x > 'a' or 1", "invalid filter: expected `and` at letter 17, found `or 1`"),
            ("metrics.x > abc", "invalid filter: expected a number, or text between '…' at letter 13, found `abc`"),
            (
                "foo.x = 1",
                "invalid filter: expected metrics, params, tags, attributes or datasets before the dot at letter 1, found `foo.x = 1`",
            ),
            ("params.x = 'a", "invalid filter: expected a closing ' at letter 12, found `'a`"),
            ("run_id in 'a'", "invalid filter: expected ( and a list of texts at letter 11, found `'a'`"),
        ] {
            assert_eq!(parse(text).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn orders_have_a_direction() {
        let read = |text: &str| parse_order(text).map(|(key, ascending)| (key.entity, key.name, ascending));
        assert_eq!(read("metrics.`a b` DESC").unwrap(), (Entity::Metric, "a b".to_owned(), false));
        assert_eq!(read("start_time").unwrap(), (Entity::Attribute, "start_time".to_owned(), true));
        assert_eq!(read("attributes.end_time asc").unwrap(), (Entity::Attribute, "end_time".to_owned(), true));
        assert_eq!(read("metrics.mAP50(B) DESC").unwrap(), (Entity::Metric, "mAP50(B)".to_owned(), false));
        assert!(read("metrics.x sideways").is_err());
    }

    #[test]
    fn patterns_and_comparisons() {
        for (text, pattern, expected) in [
            ("train", "tr%n", true),
            ("train", "tr_n", false),
            ("train", "%", true),
            ("", "%", true),
            ("", "_", false),
            ("aab", "%ab", true),
            ("Grün", "gr_n", false),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} {pattern}");
        }
        assert!(one("tags.x ilike 'GR%'").matches_text(Some("grün")));
        assert!(one("tags.x != 'a'").matches_text(Some("b")) && !one("tags.x != 'a'").matches_text(None));
        assert!(
            one("metrics.x != 1").matches_number(Some(f64::NAN))
                && !one("metrics.x < 1").matches_number(Some(f64::NAN))
        );
        assert!(
            one("metrics.x = 'a'").check(Kind::Number).is_err()
                && one("params.x > 1").check(Kind::OptionalText).is_err()
        );
    }
}
