//! MLflow's language for filters and orders.
//!
//! A filter is a list of comparisons joined by `and`: ``metrics.mAP50 > 0.5 and params.lr = '0.001' and tags.`a.b` like '%train%'``.
//! What stands before the first dot says what is compared; without a dot it is an attribute. Names with other letters than a word's stand
//! between backticks or double quotes. An order is such a name, then `ASC` or `DESC`.

mod reader;

use std::cmp::Ordering;

use crate::error::ApiError;
pub use reader::{parse, parse_order};

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
