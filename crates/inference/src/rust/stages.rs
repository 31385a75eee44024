//! A graph cut at its suppressions.
//!
//! The reader's own NonMaxSuppression compares boxes of different pictures and classes. So a graph that holds one is cut there: what comes
//! before is a graph of its own, then the suppression is done here as the operator's page says, and what comes after is the next
//! graph. The cut is made in the file's own bytes: nodes and weights are copied as they stand.
//!
//! Source: <https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>.

use std::collections::{HashMap, HashSet};

use crate::onnx::file::Refused;
use crate::onnx::wire::Fields;

/// A piece of the graph, and the suppression after it.
pub(super) struct Stage {
    /// An ONNX file of its own.
    pub file: Vec<u8>,
    /// Values that it takes from the pictures and from stages before.
    pub inputs: Vec<String>,
    /// Values that it gives to stages after it, to the suppression or as results.
    pub outputs: Vec<String>,
    /// What is done with them then.
    pub suppression: Option<Suppression>,
}

/// A NonMaxSuppression node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suppression {
    /// Boxes, scores, and where given the most boxes of a class, the overlap and the least score. Empty names stand for none.
    pub inputs: Vec<String>,
    /// The rows image, class, box.
    pub output: String,
    /// Whether boxes are centre and size, and not two corners.
    pub centres: bool,
}

#[derive(Clone, Copy)]
struct Node<'a> {
    message: &'a [u8],
    is_suppression: bool,
}

/// The stages of a checked file; none where it holds no suppression.
pub(super) fn stages(file: &[u8], graph_outputs: &[String]) -> Result<Vec<Stage>, Refused> {
    let (mut graph, mut head) = (&[][..], Vec::new());
    for field in Fields(file) {
        match field? {
            (7, value) => graph = value.bytes()?,
            // The version of the format and of the operators.
            (1, value) => int(&mut head, 1, value.int()? as u64),
            (8, value) => bytes(&mut head, 8, value.bytes()?),
            _ => {}
        }
    }
    let (mut nodes, mut constants) = (Vec::new(), HashMap::new());
    for field in Fields(graph) {
        match field? {
            (1, value) => nodes.push(node(value.bytes()?)?),
            (5, value) => drop(constants.insert(text(value.bytes()?, 8)?, value.bytes()?)),
            _ => {}
        }
    }
    if !nodes.iter().any(|node| node.is_suppression) {
        return Ok(Vec::new());
    }
    let mut stages = Vec::new();
    let mut rest = nodes;
    loop {
        let cut = rest.iter().position(|node| node.is_suppression);
        let suppression = cut.map(|place| suppression(rest.remove(place))).transpose()?;
        let (mine, later) = match &suppression {
            Some(suppression) => before(rest, suppression)?,
            None => (rest, Vec::new()),
        };
        let mut wanted: HashSet<&str> = graph_outputs.iter().map(String::as_str).collect();
        for node in &later {
            wanted.extend(texts(node.message, 1)?);
        }
        wanted.extend(suppression.iter().flat_map(|suppression| &suppression.inputs).map(String::as_str));
        stages.push(stage(&head, &mine, &constants, &wanted, suppression.clone())?);
        // What several suppressions read is copied for each of them.
        if stages.iter().map(|stage: &Stage| stage.file.len()).sum::<usize>() > 2 * file.len() {
            return Err(Refused("too many suppressions read the same values".into()));
        }
        if suppression.is_none() {
            return Ok(stages);
        }
        rest = later;
    }
}

/// Cuts nodes into those that a suppression waits for, and the others.
fn before<'a>(nodes: Vec<Node<'a>>, suppression: &Suppression) -> Result<(Vec<Node<'a>>, Vec<Node<'a>>), Refused> {
    let mut needed: HashSet<&str> = suppression.inputs.iter().map(String::as_str).collect();
    let mut is_mine = vec![false; nodes.len()];
    // Nodes come in an order in which each stands after those it reads from.
    for (place, node) in nodes.iter().enumerate().rev() {
        if texts(node.message, 2)?.iter().any(|output| needed.contains(output)) {
            is_mine[place] = true;
            needed.extend(texts(node.message, 1)?);
        }
    }
    let (mut mine, mut later) = (Vec::new(), Vec::new());
    for (node, is_mine) in nodes.into_iter().zip(is_mine) {
        if is_mine { mine.push(node) } else { later.push(node) }
    }
    Ok((mine, later))
}

/// A graph of these nodes with the constants they read; it takes what it does not make, and gives what is wanted of it.
fn stage(
    head: &[u8],
    nodes: &[Node],
    constants: &HashMap<&str, &[u8]>,
    wanted: &HashSet<&str>,
    suppression: Option<Suppression>,
) -> Result<Stage, Refused> {
    let mut graph = Vec::new();
    let (mut made, mut read, mut inputs, mut outputs) = (HashSet::new(), HashSet::new(), Vec::new(), Vec::new());
    for node in nodes {
        bytes(&mut graph, 1, node.message);
        for output in texts(node.message, 2)? {
            made.insert(output);
            if wanted.contains(output) {
                outputs.push(output.to_owned());
            }
        }
    }
    bytes(&mut graph, 2, b"stage");
    let mine = suppression.iter().flat_map(|suppression| &suppression.inputs).map(String::as_str);
    for node in nodes {
        for name in texts(node.message, 1)? {
            if name.is_empty() || made.contains(name) || !read.insert(name) {
                continue;
            }
            match constants.get(name) {
                Some(constant) => bytes(&mut graph, 5, constant),
                None => inputs.push(name.to_owned()),
            }
        }
    }
    // Settings of the suppression are constants: they go through as they are.
    for name in mine {
        if let Some(constant) = constants.get(name) {
            if read.insert(name) {
                bytes(&mut graph, 5, constant);
            }
            outputs.push(name.to_owned());
        }
    }
    for (field, names) in [(11, &inputs), (12, &outputs)] {
        for name in names {
            let mut value = Vec::new();
            bytes(&mut value, 1, name.as_bytes());
            bytes(&mut graph, field, &value);
        }
    }
    let mut file = head.to_vec();
    bytes(&mut file, 7, &graph);
    Ok(Stage { file, inputs, outputs, suppression })
}

fn node(message: &[u8]) -> Result<Node<'_>, Refused> {
    Ok(Node { message, is_suppression: text(message, 4)? == "NonMaxSuppression" })
}

fn suppression(node: Node) -> Result<Suppression, Refused> {
    let mut centres = false;
    for field in Fields(node.message) {
        if let (5, attribute) = field? {
            let attribute = attribute.bytes()?;
            if text(attribute, 1)? == "center_point_box" {
                for field in Fields(attribute) {
                    if let (3, value) = field? {
                        centres = value.int()? != 0;
                    }
                }
            }
        }
    }
    let inputs: Vec<String> = texts(node.message, 1)?.into_iter().map(str::to_owned).collect();
    let output = texts(node.message, 2)?.first().map(|name| (*name).to_owned());
    match output {
        Some(output) if inputs.len() >= 2 => Ok(Suppression { inputs, output, centres }),
        _ => Err(Refused("its NonMaxSuppression lacks inputs or an output".into())),
    }
}

/// The last text under a field's number.
fn text(message: &[u8], number: u32) -> Result<&str, Refused> {
    let mut last = "";
    for field in Fields(message) {
        let (field, value) = field?;
        if field == number {
            last = value.text()?;
        }
    }
    Ok(last)
}

/// Every one.
fn texts(message: &[u8], number: u32) -> Result<Vec<&str>, Refused> {
    let mut found = Vec::new();
    for field in Fields(message) {
        let (field, value) = field?;
        if field == number {
            found.push(value.text()?);
        }
    }
    Ok(found)
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn int(to: &mut Vec<u8>, field: u32, value: u64) {
    varint(to, u64::from(field << 3));
    varint(to, value);
}

fn bytes(to: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(to, u64::from(field << 3 | 2));
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

/// Settings of a suppression, as its inputs give them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Boxes of a class of a picture at most.
    pub most: usize,
    /// Overlap above which the lower score goes.
    pub iou: f32,
    /// Scores must be above this.
    pub score: f32,
}

/// Rows image, class, box: of each picture, of each class, the boxes that no better one overlaps, best first. `boxes` is
/// `[image, box, 4]`, `scores` `[image, class, box]`.
pub(super) fn suppress(
    boxes: &[f32],
    scores: &[f32],
    [images, classes, count]: [usize; 3],
    limits: Limits,
    centres: bool,
) -> Vec<[i32; 3]> {
    let corners = |b: &[f32; 4]| {
        let [p, q, r, s] = *b;
        if centres {
            [p - r / 2.0, q - s / 2.0, p + r / 2.0, q + s / 2.0]
        } else {
            [p.min(r), q.min(s), p.max(r), q.max(s)]
        }
    };
    let mut rows = Vec::new();
    for image in 0..images {
        let boxes = boxes[image * count * 4..][..count * 4].as_chunks::<4>().0;
        for class in 0..classes {
            let scores = &scores[(image * classes + class) * count..][..count];
            let mut candidates: Vec<usize> = (0..count).filter(|&place| scores[place] > limits.score).collect();
            candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            let mut kept: Vec<[f32; 4]> = Vec::new();
            for place in candidates {
                if kept.len() >= limits.most {
                    break;
                }
                let this = corners(&boxes[place]);
                if kept.iter().all(|other| yolo11_detection::geometry::iou(this, *other) <= limits.iou) {
                    kept.push(this);
                    rows.push([image, class, place].map(|index| index as i32));
                }
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppression_keeps_pictures_and_classes_apart() {
        // Two pictures, two classes, three boxes: the second overlaps the first, the third lies apart.
        let one = [0.0, 0.0, 10.0, 10.0, 1.0, 1.0, 10.0, 10.0, 20.0, 20.0, 30.0, 30.0];
        let boxes: Vec<f32> = one.iter().chain(&one).copied().collect();
        let scores = [0.5, 0.9, 0.4, 0.0, 0.3, 0.0, 0.8, 0.1, 0.7, 0.0, 0.0, 0.2];
        let limits = Limits { most: 10, iou: 0.5, score: 0.15 };
        let rows = suppress(&boxes, &scores, [2, 2, 3], limits, false);
        assert_eq!(rows, [[0, 0, 1], [0, 0, 2], [0, 1, 1], [1, 0, 0], [1, 0, 2], [1, 1, 2]]);
        assert_eq!(suppress(&boxes, &scores, [2, 2, 3], Limits { most: 1, ..limits }, false).len(), 4);
        // As centres and sizes, the first two overlap as well.
        assert_eq!(suppress(&boxes[..8], &scores[..2], [1, 1, 2], limits, true), [[0, 0, 1]]);
    }
}
