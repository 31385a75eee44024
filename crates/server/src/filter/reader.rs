//! Reads the text of filters and orders.

use super::{Clause, Entity, Key, Operand, Operator};
use crate::error::ApiError;

/// The longest filter that is read.
const LONGEST: usize = 64 * 1024;

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

#[cfg(test)]
mod tests {
    use super::*;

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
        let name = |text: &str| parse(text).unwrap().remove(0).key.name;
        assert_eq!(name("tags.mlflow.source.name = 'x'"), "mlflow.source.name");
        assert_eq!(name("metrics.\"val/box_loss\" = 1"), "val/box_loss");
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
}
