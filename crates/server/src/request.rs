//! What a call was given: the fields of a JSON body, or of a query.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The most results in an answer that a caller may ask for.
const MOST_RESULTS: i64 = 50_000;

/// The fields of a request, or of an object within it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    fields: Map<String, Value>,
}

impl Request {
    /// From a JSON object; an empty body counts as one without fields.
    ///
    /// # Errors
    /// It is no JSON object, or holds the letter U+0000, which databases refuse.
    pub fn from_json(body: &[u8]) -> Result<Request, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Request::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => {
                if fields.iter().any(|(name, value)| name.contains('\0') || has_null_letter(value)) {
                    return Err(null_letter());
                }
                Ok(Request { fields })
            }
            Ok(_) => Err(ApiError::invalid("the body is not a JSON object")),
            Err(error) => Err(ApiError::invalid(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// From the query of an address; a name that stands several times makes a list.
    ///
    /// # Errors
    /// It holds the letter U+0000.
    pub fn from_query(query: &str) -> Result<Request, ApiError> {
        let mut fields = Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name), decoded(value));
            if name.contains('\0') || value.contains('\0') {
                return Err(null_letter());
            }
            match fields.get_mut(&name) {
                None => {
                    fields.insert(name, Value::String(value));
                }
                Some(Value::Array(values)) => values.push(Value::String(value)),
                Some(single) => *single = Value::Array(vec![single.take(), Value::String(value)]),
            }
        }
        Ok(Request { fields })
    }

    /// Adds a field that stood elsewhere, such as in the path.
    pub fn with(mut self, name: &str, value: &str) -> Request {
        self.fields.insert(name.to_owned(), Value::String(value.to_owned()));
        self
    }

    /// A field's text, if there is one. Numbers and switches are taken as they are written.
    ///
    /// # Errors
    /// It is a list or an object.
    pub fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(switch)) => Ok(Some(switch.to_string())),
            Some(_) => Err(ApiError::invalid(format!("`{name}` is not text"))),
        }
    }

    /// A field's text; an empty one counts as none.
    ///
    /// # Errors
    /// It is a list or an object.
    pub fn filled(&self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// The text of a field that must be there and not be empty.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&self, name: &str) -> Result<String, ApiError> {
        self.filled(name)?.ok_or_else(|| ApiError::invalid(format!("the required parameter `{name}` is missing")))
    }

    /// A run's id, under either of its names.
    ///
    /// # Errors
    /// It is missing.
    pub fn run_id(&self) -> Result<String, ApiError> {
        match self.filled("run_id")? {
            Some(id) => Ok(id),
            None => {
                self.filled("run_uuid")?.ok_or_else(|| ApiError::invalid("the required parameter `run_id` is missing"))
            }
        }
    }

    /// A whole number, if there is one; text that holds one counts.
    ///
    /// # Errors
    /// It is none.
    pub fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let bad = || ApiError::invalid(format!("`{name}` is not a whole number"));
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| bad()),
            Some(Value::Number(number)) => {
                let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 9.0e15).then_some(value as i64);
                number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Some).ok_or_else(bad)
            }
            Some(_) => Err(bad()),
        }
    }

    /// How many results are asked for.
    ///
    /// # Errors
    /// Less than none, or more than there may be.
    pub fn max_results(&self, default: i64) -> Result<usize, ApiError> {
        match self.int("max_results")? {
            None => Ok(default as usize),
            Some(count) if (0..=MOST_RESULTS).contains(&count) => Ok(if count == 0 { default } else { count } as usize),
            Some(count) => {
                Err(ApiError::invalid(format!("`max_results` is {count}; it must be between 1 and {MOST_RESULTS}")))
            }
        }
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        match self.fields.get(name) {
            Some(Value::Bool(switch)) => *switch,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    /// A list of texts; a single one counts as a list.
    ///
    /// # Errors
    /// It holds something else.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let bad = || ApiError::invalid(format!("`{name}` is not a list of texts"));
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(bad()),
        };
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(text).collect(),
            Some(single) => Ok(vec![text(single)?]),
        }
    }

    /// A list of objects.
    ///
    /// # Errors
    /// It holds something else.
    pub fn objects(&self, name: &str) -> Result<Vec<Request>, ApiError> {
        let object = |value: &Value| match value {
            Value::Object(fields) => Ok(Request { fields: fields.clone() }),
            _ => Err(ApiError::invalid(format!("`{name}` is not a list of objects"))),
        };
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(object).collect(),
            Some(single) => Ok(vec![object(single)?]),
        }
    }

    /// An object, if there is one.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&self, name: &str) -> Result<Option<Request>, ApiError> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Request { fields: fields.clone() })),
            Some(_) => Err(ApiError::invalid(format!("`{name}` is not an object"))),
        }
    }

    /// Key and value of each object of a list.
    ///
    /// # Errors
    /// It holds something else, or a key is missing.
    pub fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, ApiError> {
        let pair = |object: Request| Ok((object.required("key")?, object.text("value")?.unwrap_or_default()));
        self.objects(name)?.into_iter().map(pair).collect()
    }
}

/// Text of an address: `+` is a space, `%41` a byte.
pub(crate) fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn null_letter() -> ApiError {
    ApiError::invalid("text may not hold the letter U+0000")
}

fn has_null_letter(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_null_letter),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_null_letter(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_bodies_read_alike() {
        let query = Request::from_query("run_ids=a&run_ids=b&max_results=5&name=x+y%2Fz&empty=").unwrap();
        let body =
            Request::from_json(br#"{"run_ids": ["a", "b"], "max_results": 5, "name": "x y/z", "empty": ""}"#).unwrap();
        for request in [query, body] {
            assert_eq!(request.texts("run_ids").unwrap(), ["a", "b"]);
            assert_eq!(request.int("max_results").unwrap(), Some(5));
            assert_eq!(request.required("name").unwrap(), "x y/z");
            assert_eq!(request.filled("empty").unwrap(), None);
            assert_eq!(request.required("none").unwrap_err().message, "the required parameter `none` is missing");
        }
        assert!(Request::from_json(b"[1]").is_err() && Request::from_json(b"{\"a\": \"\\u0000\"}").is_err());
        assert!(Request::from_json(b"{\"n\": 1.5}").unwrap().int("n").is_err());
        assert_eq!(Request::from_json(b"{\"n\": \"12\"}").unwrap().int("n").unwrap(), Some(12));
    }
}
