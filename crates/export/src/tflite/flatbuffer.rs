//! The wire format of FlatBuffers, as far as writing needs it. A buffer is built from its end to its start, so that every object lies
//! after those that refer to it.
//!
//! Source: <https://flatbuffers.dev/internals/>.

/// Where an object begins: bytes before the end of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// A field of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Byte(u8),
    Word(u32),
    Place(Place),
}

/// A buffer under construction, its last byte first.
#[derive(Default)]
pub(super) struct Builder(Vec<u8>);

impl Builder {
    /// Zeros, so that what takes `length` bytes then begins at a multiple of `alignment`.
    fn align(&mut self, length: usize, alignment: usize) {
        let end = (self.0.len() + length).next_multiple_of(alignment) - length;
        self.0.resize(end, 0);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().rev());
    }

    fn place(&self) -> Place {
        Place(self.0.len())
    }

    /// Where `to` lies, seen from a word that is written now.
    fn distance(&self, to: Place) -> u32 {
        (self.0.len() + 4 - to.0) as u32
    }

    /// A vector of `count` elements of these bytes, the first at a multiple of `alignment`.
    pub fn vector(&mut self, content: &[u8], count: usize, alignment: usize) -> Place {
        self.align(content.len(), alignment.max(4));
        self.put(content);
        self.put(&(count as u32).to_le_bytes());
        self.place()
    }

    /// A vector of 32-bit integers.
    pub fn integers(&mut self, values: &[i32]) -> Place {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.vector(&bytes, values.len(), 4)
    }

    /// A text, with a zero after it.
    pub fn text(&mut self, text: &str) -> Place {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.vector(&bytes, text.len(), 1)
    }

    /// A vector of objects.
    pub fn places(&mut self, places: &[Place]) -> Place {
        self.align(4 * places.len(), 4);
        for &place in places.iter().rev() {
            let distance = self.distance(place);
            self.put(&distance.to_le_bytes());
        }
        self.put(&(places.len() as u32).to_le_bytes());
        self.place()
    }

    /// A table of fields, each with its number.
    pub fn table(&mut self, fields: &[(usize, Field)]) -> Place {
        self.align(0, 4);
        let end = self.0.len();
        let mut places = vec![0; fields.iter().map(|(number, _)| number + 1).max().unwrap_or(0)];
        for (number, field) in fields {
            match *field {
                Field::Byte(value) => {
                    self.align(4, 4);
                    self.put(&[value, 0, 0, 0]);
                }
                Field::Word(value) => self.put(&value.to_le_bytes()),
                Field::Place(place) => {
                    let distance = self.distance(place);
                    self.put(&distance.to_le_bytes());
                }
            }
            places[*number] = self.0.len();
        }
        // The table begins with the way back to the list of its fields, which lies before it.
        let list = 2 * (places.len() + 2);
        self.put(&(list.next_multiple_of(4) as u32).to_le_bytes());
        let table = self.0.len();
        self.align(list, 4);
        for place in places.iter().rev() {
            let offset = if *place == 0 { 0 } else { table - place };
            self.put(&(offset as u16).to_le_bytes());
        }
        self.put(&((table - end) as u16).to_le_bytes());
        self.put(&(list as u16).to_le_bytes());
        Place(table)
    }

    /// The finished buffer; it is as long as a multiple of `alignment`, by which everything in it is aligned.
    pub fn finish(mut self, root: Place, identifier: &str, alignment: usize) -> Vec<u8> {
        self.align(8, alignment);
        self.put(identifier.as_bytes());
        let distance = self.distance(root);
        self.put(&distance.to_le_bytes());
        self.0.reverse();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_laid_out_as_the_format_describes() {
        let mut builder = Builder::default();
        let data = builder.vector(&[7, 8, 9], 3, 4);
        let root = builder.table(&[(0, Field::Word(5)), (2, Field::Place(data)), (3, Field::Byte(1))]);
        let bytes = builder.finish(root, "TEST", 8);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let half = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
        assert_eq!(&bytes[4..8], b"TEST");
        let table = word(0);
        let list = table - word(table);
        assert_eq!([half(list), half(list + 2)], [12, 16]);
        assert_eq!(half(list + 6), 0, "field 1 is absent");
        assert_eq!(word(table + half(list + 4)), 5);
        assert_eq!(bytes[table + half(list + 10)], 1);
        let place = table + half(list + 8);
        let vector = place + word(place);
        assert_eq!(word(vector), 3);
        assert_eq!(bytes[vector + 4..vector + 7], [7, 8, 9]);
        assert!(bytes.len().is_multiple_of(8));
    }
}
