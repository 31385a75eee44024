//! The wire format of Protocol Buffers, as far as reading needs it: fields are slices of the file, nothing is copied.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A whole number.
    Int(u64),
    /// Four or eight bytes, a text, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes; none of a whole number.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Int(_) => Err(Malformed("a number stands where bytes belong")),
        }
    }

    /// The text.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// The signed whole number.
    pub fn int(self) -> Result<i64, Malformed> {
        match self {
            Value::Int(value) => Ok(value as i64),
            Value::Bytes(_) => Err(Malformed("bytes stand where a number belongs")),
        }
    }

    /// The whole numbers of a repeated field's entry: one, or several packed.
    pub fn ints(self) -> impl Iterator<Item = Result<i64, Malformed>> + 'a {
        let (one, mut packed) = match self {
            Value::Int(value) => (Some(Ok(value as i64)), &[][..]),
            Value::Bytes(bytes) => (None, bytes),
        };
        one.into_iter().chain(std::iter::from_fn(move || {
            if packed.is_empty() {
                return None;
            }
            let value = varint(&mut packed).map(|value| value as i64);
            if value.is_err() {
                packed = &[];
            }
            Some(value)
        }))
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// The fields of a message in their order, with their numbers.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), Malformed> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_| Malformed("a field's number is too large"))?;
    let value = match key & 7 {
        0 => Value::Int(varint(bytes)?),
        1 => Value::Bytes(take(bytes, 8)?),
        2 => {
            let length = varint(bytes)?;
            Value::Bytes(take(bytes, usize::try_from(length).map_err(|_| CUT_SHORT)?)?)
        }
        5 => Value::Bytes(take(bytes, 4)?),
        _ => return Err(Malformed("a field's type does not exist")),
    };
    Ok((number, value))
}

const CUT_SHORT: Malformed = Malformed("it is cut short");

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CUT_SHORT)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(CUT_SHORT)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed("a number takes more than ten bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_examples_are_read() {
        let fields: Vec<_> = Fields(b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01").map(Result::unwrap).collect();
        assert_eq!(fields[0], (1, Value::Int(150)));
        assert_eq!(fields[1].1.text(), Ok("testing"));
        assert_eq!(Fields(fields[2].1.bytes().unwrap()).next(), Some(Ok((1, Value::Int(150)))));
        let packed: Vec<_> = Value::Bytes(&[3, 0x8e, 2, 0x9e, 0xa7, 5]).ints().map(Result::unwrap).collect();
        assert_eq!(packed, [3, 270, 86942]);
    }

    #[test]
    fn what_is_cut_or_wrong_ends_with_the_reason() {
        for (bytes, reason) in [
            (&b"\x12\x07test"[..], "it is cut short"),
            (b"\x08\x96", "it is cut short"),
            (b"\x0f", "a field's type does not exist"),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "a number takes more than ten bytes"),
        ] {
            let fields: Vec<_> = Fields(bytes).collect();
            assert_eq!(fields, [Err(Malformed(reason))]);
        }
    }
}
