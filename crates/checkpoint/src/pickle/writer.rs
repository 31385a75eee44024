//! Writes pickles of protocol 2 with nothing in them but plain values and tensors, as `torch.load(weights_only=True)` accepts.

use crate::Value;

/// A pickle under way. Each method appends one value, or a bracket around the values that follow.
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { out: vec![0x80, 2] }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'.');
        self.out
    }

    /// Begins a dictionary; keys and values follow in turn, then [`Writer::end_dict`].
    pub fn begin_dict(&mut self) {
        self.out.extend(b"}(");
    }

    pub fn begin_ordered_dict(&mut self) {
        self.out.extend(b"ccollections\nOrderedDict\n)R(");
    }

    pub fn end_dict(&mut self) {
        self.out.push(b'u');
    }

    pub fn text(&mut self, text: &str) {
        self.out.push(b'X');
        self.out.extend((text.len() as u32).to_le_bytes());
        self.out.extend(text.as_bytes());
    }

    pub fn int(&mut self, value: i64) {
        match (u8::try_from(value), i32::try_from(value)) {
            (Ok(byte), _) => self.out.extend([b'K', byte]),
            (_, Ok(value)) => {
                self.out.push(b'J');
                self.out.extend(value.to_le_bytes());
            }
            _ => {
                self.out.extend([0x8a, 8]);
                self.out.extend(value.to_le_bytes());
            }
        }
    }

    pub fn float(&mut self, value: f64) {
        self.out.push(b'G');
        self.out.extend(value.to_be_bytes());
    }

    pub fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.out.push(b'N'),
            Value::Bool(true) => self.out.push(0x88),
            Value::Bool(false) => self.out.push(0x89),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => self.float(*value),
            Value::String(text) => self.text(text),
            Value::List(values) => {
                self.out.extend(b"](");
                values.iter().for_each(|value| self.value(value));
                self.out.push(b'e');
            }
            Value::Map(entries) => self.map(entries),
        }
    }

    pub fn map(&mut self, entries: &[(String, Value)]) {
        self.begin_dict();
        for (key, value) in entries {
            self.text(key);
            self.value(value);
        }
        self.end_dict();
    }

    /// A contiguous tensor that fills the storage of that number.
    pub fn tensor(&mut self, storage: usize, class: &str, shape: &[usize], strides: &[usize], elements: usize) {
        self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.out.extend(format!("ctorch\n{class}\n").as_bytes());
        self.text(&storage.to_string());
        self.text("cpu");
        self.int(elements as i64);
        self.out.extend(b"tQ");
        self.int(0);
        self.sizes(shape);
        self.sizes(strides);
        // No gradient, no hooks.
        self.out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.out.push(b'(');
        sizes.iter().for_each(|&size| self.int(size as i64));
        self.out.push(b't');
    }
}
