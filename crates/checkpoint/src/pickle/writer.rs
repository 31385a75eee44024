//! Writes pickles of protocol 2, with those instructions alone that `torch.load(weights_only=True)` knows too.

use std::collections::HashMap;

use crate::Value;

/// A pickle under way. Each method appends one value, or a bracket around the values that follow.
pub(crate) struct Writer {
    out: Vec<u8>,
    /// Texts and globals that were written before, by their instruction, and where Python keeps them.
    memo: HashMap<Vec<u8>, u32>,
    /// Values that Python keeps.
    kept: u32,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { out: vec![0x80, 2], memo: HashMap::new(), kept: 0 }
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
        self.ordered_dict();
        self.out.push(b'(');
    }

    pub fn end_dict(&mut self) {
        self.out.push(b'u');
    }

    /// Begins an object of a class by its name; its attributes follow as in a dictionary, then [`Writer::end_object`].
    pub fn begin_object(&mut self, module: &str, class: &str) {
        self.global(module, class);
        self.out.extend(b")\x81}(");
    }

    pub fn end_object(&mut self) {
        self.out.extend(b"ub");
    }

    /// An empty OrderedDict.
    pub fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.out.extend(b")R");
    }

    /// An empty set.
    pub fn set(&mut self) {
        self.global("__builtin__", "set");
        self.out.extend(b"]\x85R");
    }

    pub fn text(&mut self, text: &str) {
        let mut instruction = vec![b'X'];
        instruction.extend((text.len() as u32).to_le_bytes());
        instruction.extend(text.as_bytes());
        self.once(instruction);
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

    /// A key of a dictionary or an attribute of an object, and its value.
    pub fn entry(&mut self, key: &str, value: impl Into<Value>) {
        self.text(key);
        self.value(&value.into());
    }

    /// A contiguous tensor that fills the storage of that number.
    pub fn tensor(&mut self, storage: usize, class: &str, shape: &[usize], strides: &[usize], elements: usize) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.out.extend(b"((");
        self.text("storage");
        self.global("torch", class);
        self.text(&storage.to_string());
        self.text("cpu");
        self.int(elements as i64);
        self.out.extend(b"tQ");
        self.int(0);
        self.tuple(shape);
        self.tuple(strides);
        // No gradient, no hooks.
        self.out.push(0x89);
        self.ordered_dict();
        self.out.extend(b"tR");
    }

    /// Begins a parameter that is not trained, as finished checkpoints hold them; a tensor follows, then [`Writer::end_parameter`].
    pub fn begin_parameter(&mut self) {
        self.global("torch._utils", "_rebuild_parameter");
        self.out.push(b'(');
    }

    pub fn end_parameter(&mut self) {
        self.out.push(0x89);
        self.ordered_dict();
        self.out.extend(b"tR");
    }

    pub fn tuple(&mut self, values: &[usize]) {
        self.out.push(b'(');
        values.iter().for_each(|&value| self.int(value as i64));
        self.out.push(b't');
    }

    /// A class or a function by its name.
    fn global(&mut self, module: &str, name: &str) {
        self.once(format!("c{module}\n{name}\n").into_bytes());
    }

    /// An instruction the first time, afterwards what it left behind.
    fn once(&mut self, instruction: Vec<u8>) {
        if let Some(&place) = self.memo.get(&instruction) {
            return self.recall(place);
        }
        self.out.extend(&instruction);
        let place = self.remember();
        self.memo.insert(instruction, place);
    }

    /// Has Python keep the last value; the place is for [`Writer::recall`].
    pub fn remember(&mut self) -> u32 {
        let place = self.kept;
        self.kept += 1;
        self.numbered([b'q', b'r'], place);
        place
    }

    /// The very value that was kept: not an equal one.
    pub fn recall(&mut self, place: u32) {
        self.numbered([b'h', b'j'], place);
    }

    /// An instruction for a place, in its short or its long form.
    fn numbered(&mut self, [short, long]: [u8; 2], place: u32) {
        match u8::try_from(place) {
            Ok(place) => self.out.extend([short, place]),
            Err(_) => {
                self.out.push(long);
                self.out.extend(place.to_le_bytes());
            }
        }
    }
}
