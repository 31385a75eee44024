//! From the head's logits to what the file gives out. All of it in float32.

use yolo11_network::{BINS, Network};

use super::graph::{Attribute, Dimension, Element, Graph, Name, tensor};
use crate::{ExportOptions, Head, Suppression};

/// What the modules of this file are called in the graph.
const SCOPE: &str = "head";

/// Writes decoding and suppression, as far as the options ask for them, and declares the outputs.
pub(super) fn write(graph: &mut Graph, network: &Network, options: &ExportOptions, values: &[Name]) {
    let batch = if options.dynamic { Dimension::Any("batch") } else { Dimension::Fixed(options.batch) };
    match options.head {
        Head::Raw => raw(graph, network, options, values, batch),
        Head::Decoded => {
            let Corners { near, far, strides } = corners(graph, network, options, values);
            let sum = graph.node(SCOPE, "Add", &[&near, &far], &[]);
            let half = graph.float("head/half", &[], &[0.5]);
            let centre = graph.node(SCOPE, "Mul", &[&sum, &half], &[]);
            let size = graph.node(SCOPE, "Sub", &[&far, &near], &[]);
            let boxes = graph.concat(SCOPE, &[&centre, &size], 1);
            let boxes = graph.node(SCOPE, "Mul", &[&boxes, &strides], &[]);
            let scores = scores(graph, network, values);
            let output = graph.concat(SCOPE, &[&boxes, &scores], 1);
            let anchors = match options.dynamic {
                true => Dimension::Any("anchors"),
                false => Dimension::Fixed(network.anchors(options.size)),
            };
            graph.output("output0", &output, [batch, Dimension::Fixed(4 + network.classes), anchors]);
        }
        Head::Suppressed(suppression) => {
            let Corners { near, far, strides } = corners(graph, network, options, values);
            let boxes = graph.concat(SCOPE, &[&near, &far], 1);
            let boxes = graph.node(SCOPE, "Mul", &[&boxes, &strides], &[]);
            let boxes = graph.transpose(SCOPE, &boxes, &[0, 2, 1]);
            let scores = scores(graph, network, values);
            let output = suppressed(graph, &boxes, &scores, &suppression);
            let rows = Dimension::Fixed(suppression.max_detections);
            graph.output("output0", &output, [batch, rows, Dimension::Fixed(6)]);
        }
    }
}

fn raw(graph: &mut Graph, network: &Network, options: &ExportOptions, values: &[Name], batch: Dimension) {
    const SIDES: [[&str; 2]; 3] = [["rows0", "columns0"], ["rows1", "columns1"], ["rows2", "columns2"]];
    for (index, level) in network.head.iter().enumerate() {
        let output = graph.concat(SCOPE, &[&values[level.boxes], &values[level.scores]], 1);
        let output = graph.widen(SCOPE, &output);
        let side = |axis: usize| match options.dynamic {
            true => Dimension::Any(SIDES[index.min(2)][axis]),
            false => Dimension::Fixed(options.size[axis] / level.stride),
        };
        let channels = Dimension::Fixed(4 * BINS + network.classes);
        graph.output(&format!("output{index}"), &output, [batch, channels, side(0), side(1)]);
    }
}

/// The levels' logits side by side: `[batch, channels, anchor]` in float32.
fn joined(graph: &mut Graph, levels: &[&str], channels: usize) -> Name {
    let flat: Vec<Name> = levels.iter().map(|level| graph.reshape(SCOPE, level, &[0, channels as i64, -1])).collect();
    let flat: Vec<&str> = flat.iter().map(String::as_str).collect();
    let joined = graph.concat(SCOPE, &flat, 2);
    graph.widen(SCOPE, &joined)
}

/// Probabilities `[batch, class, anchor]`.
fn scores(graph: &mut Graph, network: &Network, values: &[Name]) -> Name {
    let levels: Vec<&str> = network.head.iter().map(|level| values[level.scores].as_str()).collect();
    let logits = joined(graph, &levels, network.classes);
    graph.node(SCOPE, "Sigmoid", &[&logits], &[])
}

/// Corners `[batch, 2, anchor]` in units of the stride, and strides `[1, 1, anchor]` in pixels.
struct Corners {
    near: Name,
    far: Name,
    strides: Name,
}

fn corners(graph: &mut Graph, network: &Network, options: &ExportOptions, values: &[Name]) -> Corners {
    let levels: Vec<&str> = network.head.iter().map(|level| values[level.boxes].as_str()).collect();
    let logits = joined(graph, &levels, 4 * BINS);
    // Expectation of each side's distribution, as a convolution over the bins.
    let bins = graph.reshape(SCOPE, &logits, &[0, 4, BINS as i64, -1]);
    let bins = graph.transpose(SCOPE, &bins, &[0, 2, 1, 3]);
    let shares = graph.node(SCOPE, "Softmax", &[&bins], &[("axis", Attribute::Int(1))]);
    let distances: Vec<f32> = (0..BINS).map(|bin| bin as f32).collect();
    let distances = graph.float("head/bins", &[1, BINS, 1, 1], &distances);
    let kernel = [("kernel_shape", Attribute::Ints(&[1, 1]))];
    let sides = graph.node(SCOPE, "Conv", &[&shares, &distances], &kernel);
    let sides = graph.reshape(SCOPE, &sides, &[0, 4, -1]);
    let before = graph.slice(SCOPE, &sides, 1, 0, 2);
    let after = graph.slice(SCOPE, &sides, 1, 2, 4);
    let (anchors, strides) = match options.dynamic {
        true => computed_anchors(graph, network, values),
        false => constant_anchors(graph, network, options.size),
    };
    Corners {
        near: graph.node(SCOPE, "Sub", &[&anchors, &before], &[]),
        far: graph.node(SCOPE, "Add", &[&anchors, &after], &[]),
        strides,
    }
}

/// Centres `[1, 2, anchor]` (x, y) in units of the stride and strides `[1, 1, anchor]`, of a fixed input size.
fn constant_anchors(graph: &mut Graph, network: &Network, [height, width]: [usize; 2]) -> (Name, Name) {
    let count = network.anchors([height, width]);
    let (mut centres, mut strides) = (vec![0.0; 2 * count], Vec::with_capacity(count));
    for level in &network.head {
        for row in 0..height / level.stride {
            for column in 0..width / level.stride {
                centres[strides.len()] = column as f32 + 0.5;
                centres[count + strides.len()] = row as f32 + 0.5;
                strides.push(level.stride as f32);
            }
        }
    }
    (graph.float("head/anchors", &[1, 2, count], &centres), graph.float("head/strides", &[1, 1, count], &strides))
}

/// The same for whatever size comes in.
fn computed_anchors(graph: &mut Graph, network: &Network, values: &[Name]) -> (Name, Name) {
    let half = graph.float("head/half", &[], &[0.5]);
    let one = graph.float("head/one", &[], &[1.0]);
    let (mut centres, mut strides) = (Vec::new(), Vec::new());
    for level in &network.head {
        let shape = graph.node(SCOPE, "Shape", &[&values[level.boxes]], &[]);
        let grid = graph.slice(SCOPE, &shape, 0, 2, 4);
        // 0.5, 1.5 … for each row and column, then spread over the grid.
        let axes: [Name; 2] = [(3, [1, 1, 1, -1]), (2, [1, 1, -1, 1])].map(|(axis, spread)| {
            let size = graph.slice(SCOPE, &shape, 0, axis, axis + 1);
            let scalar = graph.integers(&[]);
            let size = graph.node(SCOPE, "Reshape", &[&size, &scalar], &[]);
            let size = graph.cast(SCOPE, &size, Element::Float32);
            let limit = graph.node(SCOPE, "Add", &[&size, &half], &[]);
            let steps = graph.node(SCOPE, "Range", &[&half, &limit, &one], &[]);
            let steps = graph.reshape(SCOPE, &steps, &spread);
            let ones = graph.integers(&[1, 1]);
            let full = graph.concat(SCOPE, &[&ones, &grid], 0);
            let axis = graph.node(SCOPE, "Expand", &[&steps, &full], &[]);
            graph.reshape(SCOPE, &axis, &[1, 1, -1])
        });
        // As many strides as centres: their x with nothing left of it.
        let nothing = graph.float("head/zero", &[], &[0.0]);
        let stride = graph.float("head/stride", &[], &[level.stride as f32]);
        let zeros = graph.node(SCOPE, "Mul", &[&axes[0], &nothing], &[]);
        strides.push(graph.node(SCOPE, "Add", &[&zeros, &stride], &[]));
        centres.push(graph.concat(SCOPE, &[&axes[0], &axes[1]], 1));
    }
    let [centres, strides] = [centres, strides].map(|levels| {
        let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
        graph.concat(SCOPE, &levels, 2)
    });
    (centres, strides)
}

/// Rows `[batch, detections, 6]` from boxes `[batch, anchor, 4]` and probabilities `[batch, class, anchor]`.
fn suppressed(graph: &mut Graph, boxes: &str, scores: &str, suppression: &Suppression) -> Name {
    let most = suppression.max_detections;
    let one = graph.integers(&[1]);
    let [best, class]: [Name; 2] = graph.node_with(SCOPE, "TopK", &[scores, &one], &[("axis", Attribute::Int(1))]);
    let candidates = if suppression.agnostic {
        best.clone()
    } else {
        let is_best = graph.node(SCOPE, "Equal", &[scores, &best], &[]);
        let zero = graph.float("head/zero", &[], &[0.0]);
        graph.node(SCOPE, "Where", &[&is_best, scores, &zero], &[])
    };
    let most_name = graph.integers(&[most as i64]);
    let iou = graph.float("head/iou", &[1], &[suppression.iou]);
    let confidence = graph.float("head/confidence", &[1], &[suppression.confidence]);
    // Rows of image, class, anchor.
    let kept = graph.node(SCOPE, "NonMaxSuppression", &[boxes, &candidates, &most_name, &iou, &confidence], &[]);

    // Scores `[batch, anchor]`, zero but for what was kept.
    let columns = graph.integers(&[0, 2]);
    let places = graph.node(SCOPE, "Gather", &[&kept, &columns], &[("axis", Attribute::Int(1))]);
    let count = graph.node(SCOPE, "Shape", &[&kept], &[]);
    let count = graph.slice(SCOPE, &count, 0, 0, 1);
    let fill = |value: f32| [("value", Attribute::Tensor(tensor(Element::Float32, &[1], &[value])))];
    let ones = graph.node(SCOPE, "ConstantOfShape", &[&count], &fill(1.0));
    let best_flat = graph.reshape(SCOPE, &best, &[0, -1]);
    let shape = graph.node(SCOPE, "Shape", &[&best_flat], &[]);
    let nothing = graph.node(SCOPE, "ConstantOfShape", &[&shape], &fill(0.0));
    let is_kept = graph.node(SCOPE, "ScatterND", &[&nothing, &places, &ones], &[]);
    let kept_scores = graph.node(SCOPE, "Mul", &[&is_kept, &best_flat], &[]);

    // Rows of all anchors, zero but for what was kept, with enough rows of zeros below them.
    let best_column = graph.transpose(SCOPE, &best, &[0, 2, 1]);
    let class = graph.cast(SCOPE, &class, Element::Float32);
    let class_column = graph.transpose(SCOPE, &class, &[0, 2, 1]);
    let rows = graph.concat(SCOPE, &[boxes, &best_column, &class_column], 2);
    let kept_column = graph.reshape(SCOPE, &is_kept, &[0, -1, 1]);
    let rows = graph.node(SCOPE, "Mul", &[&rows, &kept_column], &[]);
    let below = graph.integers(&[0, 0, 0, 0, most as i64, 0]);
    let rows = graph.node(SCOPE, "Pad", &[&rows, &below], &[]);
    let after = graph.integers(&[0, 0, 0, most as i64]);
    let kept_scores = graph.node(SCOPE, "Pad", &[&kept_scores, &after], &[]);
    let [_, order]: [Name; 2] =
        graph.node_with(SCOPE, "TopK", &[&kept_scores, &most_name], &[("axis", Attribute::Int(1))]);
    let order = graph.reshape(SCOPE, &order, &[0, -1, 1]);
    graph.node(SCOPE, "GatherND", &[&rows, &order], &[("batch_dims", Attribute::Int(1))])
}
