//! The pickle machine (Python's `pickletools` documents its instructions). It builds a [`Tree`] and nothing else.

use std::collections::BTreeMap;

use super::globals::is_expected;
use super::rebuild;
use super::tree::{EMPTY_TUPLE, FALSE, Instance, NONE, Node, NodeId, TRUE, Tree};
use crate::error::{Problem, shown};

/// Reads one pickle of protocol 2 to 5. `budget` bounds the memory of the tree in bytes.
pub(crate) fn read(bytes: &[u8], budget: usize) -> Result<Tree<'_>, Problem> {
    let mut machine = Machine {
        bytes,
        at: 0,
        tree: Tree::new(budget),
        stack: Vec::new(),
        deepest: 0,
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    machine.run()?;
    let root = machine.pop()?;
    machine.tree.root = root;
    Ok(machine.tree)
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    tree: Tree<'a>,
    stack: Vec<NodeId>,
    deepest: usize,
    marks: Vec<usize>,
    memo: BTreeMap<u32, NodeId>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<(), Problem> {
        loop {
            let operation = self.byte()?;
            if operation == b'.' {
                return Ok(());
            }
            self.step(operation)?;
        }
    }

    fn step(&mut self, operation: u8) -> Result<(), Problem> {
        match operation {
            0x80 => self.protocol(),
            0x95 => self.take(8).map(drop), // FRAME: a hint for streaming readers
            b'N' => self.push(NONE),
            0x88 => self.push(TRUE),
            0x89 => self.push(FALSE),
            b'K' => self.byte().and_then(|value| self.add(Node::Int(value.into()))),
            b'M' => self.array().and_then(|bytes| self.add(Node::Int(u16::from_le_bytes(bytes).into()))),
            b'J' => self.array().and_then(|bytes| self.add(Node::Int(i32::from_le_bytes(bytes).into()))),
            0x8a => self.byte().and_then(|length| self.long(length.into())),
            0x8b => self.length_4().and_then(|length| self.long(length)),
            b'G' => self.array().and_then(|bytes| self.add(Node::Float(f64::from_be_bytes(bytes)))),
            0x8c => self.byte().and_then(|length| self.text(length.into())),
            b'X' => self.length_4().and_then(|length| self.text(length)),
            0x8d => self.length_8().and_then(|length| self.text(length)),
            // Strings of Python 2 and bytes; 0x96 is a bytearray.
            b'U' | b'C' => self.byte().and_then(|length| self.blob(length.into())),
            b'T' | b'B' => self.length_4().and_then(|length| self.blob(length)),
            0x8e | 0x96 => self.length_8().and_then(|length| self.blob(length)),
            b')' => self.push(EMPTY_TUPLE),
            b']' | 0x8f => self.add(Node::List(Vec::new())),
            b'}' => self.add(Node::Dict(Vec::new())),
            0x85..=0x87 => self.tuple_of(usize::from(operation - 0x84)),
            b't' => self.pop_mark().and_then(|values| self.tuple(values)),
            b'l' | 0x91 => self.pop_mark().and_then(|values| self.list(values)),
            b'd' => self.pop_mark().and_then(|values| self.dict(values)),
            b'(' => self.mark(),
            b'0' => self.pop().map(drop),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.top().and_then(|top| self.push(top)),
            b'a' => self.pop().and_then(|value| self.append(vec![value])),
            b'e' | 0x90 => self.pop_mark().and_then(|values| self.append(values)),
            b's' => self.set_item(),
            b'u' => self.pop_mark().and_then(|values| self.set_items(values)),
            b'q' => self.byte().and_then(|key| self.remember(key.into())),
            b'r' => self.array().and_then(|bytes| self.remember(u32::from_le_bytes(bytes))),
            0x94 => self.remember(self.memo.len() as u32),
            b'h' => self.byte().and_then(|key| self.recall(key.into())),
            b'j' => self.array().and_then(|bytes| self.recall(u32::from_le_bytes(bytes))),
            b'c' => self.global_lines(),
            0x93 => self.global_stacked(),
            b'R' => self.reduce(),
            0x81 => self.new_object(false),
            0x92 => self.new_object(true),
            b'b' => self.build(),
            b'Q' => self.persistent(),
            b'i' => self.old_instance(),
            other => Err(self.problem(&format!("instruction 0x{other:02x} is not one of protocols 2 to 5"))),
        }
    }

    fn problem(&self, problem: &str) -> Problem {
        Problem::damaged("data.pkl", format!("{problem} (byte {})", self.at))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let taken = self.at.checked_add(length).and_then(|stop| self.bytes.get(self.at..stop));
        let taken = taken.ok_or_else(|| self.problem("it ends in the middle of an instruction"))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], Problem> {
        let mut array = [0; SIZE];
        array.copy_from_slice(self.take(SIZE)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        self.array().map(|[byte]| byte)
    }

    fn length_4(&mut self) -> Result<usize, Problem> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length_8(&mut self) -> Result<usize, Problem> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.problem("a length is larger than the file"))
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Problem> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| self.problem("it ends in the middle of a name"))?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| self.problem("a name is not UTF-8"))
    }

    fn push(&mut self, id: NodeId) -> Result<(), Problem> {
        if self.stack.len() == self.deepest {
            self.deepest += 1;
            self.tree.charge(2 * size_of::<NodeId>())?;
        }
        self.stack.push(id);
        Ok(())
    }

    fn add(&mut self, node: Node<'a>) -> Result<(), Problem> {
        let id = self.tree.push(node)?;
        self.push(id)
    }

    fn pop(&mut self) -> Result<NodeId, Problem> {
        self.stack.pop().ok_or_else(|| self.problem("it takes a value that is not there"))
    }

    fn top(&self) -> Result<NodeId, Problem> {
        self.stack.last().copied().ok_or_else(|| self.problem("it takes a value that is not there"))
    }

    fn mark(&mut self) -> Result<(), Problem> {
        self.tree.charge(2 * size_of::<usize>())?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// All values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<NodeId>, Problem> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        let mark = mark.ok_or_else(|| self.problem("it refers to a mark that is not there"))?;
        self.tree.charge((self.stack.len() - mark) * size_of::<NodeId>())?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        match self.byte()? {
            2..=5 => Ok(()),
            other => Err(self.problem(&format!("pickle protocol {other} is unknown"))),
        }
    }

    fn long(&mut self, length: usize) -> Result<(), Problem> {
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            return self.add(Node::Opaque);
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.add(Node::Int(i64::from_le_bytes(wide)))
    }

    fn text(&mut self, length: usize) -> Result<(), Problem> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| self.problem("a text is not UTF-8"))?;
        self.add(Node::Text(text))
    }

    fn blob(&mut self, length: usize) -> Result<(), Problem> {
        let bytes = self.take(length)?;
        self.add(Node::Bytes(bytes))
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), Problem> {
        let start = self.stack.len().checked_sub(count);
        let start = start.ok_or_else(|| self.problem("it takes a value that is not there"))?;
        self.tree.charge(count * size_of::<NodeId>())?;
        let values = self.stack.drain(start..).collect();
        self.tuple(values)
    }

    fn tuple(&mut self, values: Vec<NodeId>) -> Result<(), Problem> {
        if values.is_empty() { self.push(EMPTY_TUPLE) } else { self.add(Node::Tuple(values)) }
    }

    fn list(&mut self, values: Vec<NodeId>) -> Result<(), Problem> {
        self.add(Node::List(values))
    }

    fn dict(&mut self, values: Vec<NodeId>) -> Result<(), Problem> {
        self.add(Node::Dict(Vec::new()))?;
        self.set_items(values)
    }

    fn append(&mut self, values: Vec<NodeId>) -> Result<(), Problem> {
        let list = self.top()?;
        self.tree.charge(2 * values.len() * size_of::<NodeId>())?;
        match self.tree.get_mut(list) {
            Node::List(list) => list.extend(values),
            // Objects that extend a list: their elements are nothing a reader of weights asks for.
            Node::Instance(_) | Node::Opaque => {}
            _ => return Err(self.problem("it appends to something that is no list")),
        }
        Ok(())
    }

    fn set_item(&mut self) -> Result<(), Problem> {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(vec![key, value])
    }

    fn set_items(&mut self, values: Vec<NodeId>) -> Result<(), Problem> {
        let dict = self.top()?;
        let (pairs, rest) = values.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.problem("a dictionary has a key without a value"));
        }
        self.tree.charge(2 * size_of_val(pairs))?;
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        match self.tree.get_mut(dict) {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Instance(instance) => instance.items.extend(pairs),
            Node::Opaque => {}
            _ => return Err(self.problem("it sets a key of something that is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), Problem> {
        let top = self.top()?;
        if !self.memo.contains_key(&key) {
            self.tree.charge(4 * size_of::<(u32, NodeId)>())?;
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Problem> {
        let found = self.memo.get(&key).copied();
        let found = found.ok_or_else(|| self.problem("it refers to a value that it never stored"))?;
        self.push(found)
    }

    fn global_lines(&mut self) -> Result<(), Problem> {
        let module = self.line()?;
        let name = self.line()?;
        self.global(module, name)
    }

    fn global_stacked(&mut self) -> Result<(), Problem> {
        let name = self.pop()?;
        let module = self.pop()?;
        match (self.tree.text(module), self.tree.text(name)) {
            (Some(module), Some(name)) => self.global(module, name),
            _ => Err(self.problem("a global's name is no text")),
        }
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Problem> {
        if !is_expected(module, name) {
            return Err(refused(module, name));
        }
        self.add(Node::Global { module, name })
    }

    /// INST, of protocol 0: names a callable like GLOBAL does, so it is refused by that name.
    fn old_instance(&mut self) -> Result<(), Problem> {
        let module = self.line()?;
        let name = self.line()?;
        if !is_expected(module, name) {
            return Err(refused(module, name));
        }
        Err(self.problem("instruction INST is not one of protocols 2 to 5"))
    }

    fn reduce(&mut self) -> Result<(), Problem> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let made = rebuild::call(&mut self.tree, callable, arguments)?;
        self.push(made)
    }

    fn new_object(&mut self, with_keywords: bool) -> Result<(), Problem> {
        if with_keywords {
            self.pop()?;
        }
        let arguments = self.pop()?;
        let class = self.pop()?;
        // A subclass of dict made this way is filled by SETITEMS like any instance.
        let made = rebuild::instance(&mut self.tree, class, arguments)?;
        self.push(made)
    }

    fn build(&mut self) -> Result<(), Problem> {
        let state = self.pop()?;
        let object = self.top()?;
        if let Node::Instance(instance) = self.tree.get_mut(object) {
            instance.state = Some(state);
        }
        Ok(())
    }

    fn persistent(&mut self) -> Result<(), Problem> {
        let id = self.pop()?;
        let storage =
            rebuild::storage(&self.tree, id).ok_or_else(|| self.problem("a persistent id is no tensor storage"))?;
        self.add(storage)
    }
}

fn refused(module: &str, name: &str) -> Problem {
    Problem::Refused { global: shown(&format!("{module}.{name}")) }
}

/// An object that is kept, not made.
pub(super) fn inert(class: NodeId, arguments: NodeId) -> Instance {
    Instance { class, arguments, state: None, items: Vec::new() }
}
