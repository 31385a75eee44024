//! Suppression inside the file.

use super::graph::{Attribute, Element, Graph, Name, tensor};
use crate::Suppression;
use crate::lower::HEAD as SCOPE;

/// Rows `[batch, detections, 6]` from boxes `[batch, 4, anchor]` and probabilities `[batch, class, anchor]`.
pub(super) fn write(graph: &mut Graph, boxes: &str, scores: &str, suppression: &Suppression) -> Name {
    let boxes = &graph.transpose(SCOPE, boxes, &[0, 2, 1]);
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
