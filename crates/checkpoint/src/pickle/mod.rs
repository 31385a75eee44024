//! Pickles as data: a small machine that builds a tree of values and executes nothing.

mod globals;
mod machine;
mod rebuild;
mod tree;
mod writer;

pub(crate) use machine::read;
pub(crate) use tree::{Node, NodeId, Tree};
pub(crate) use writer::Writer;
