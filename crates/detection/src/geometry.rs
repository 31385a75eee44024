//! Boxes: conversions and overlap.
//!
//! Boxes are `[f32; 4]`, either corners `x1 y1 x2 y2` or centre and size `cx cy w h`; a function's name or text says which.

use std::f32::consts::PI;

/// Keeps the quotients of [`ciou`] defined for boxes without area.
const EPSILON: f32 = 1e-7;

/// Corners `x1 y1 x2 y2` of a box given by centre and size.
pub fn xywh_to_xyxy([cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

/// Centre and size `cx cy w h` of a box given by corners.
pub fn xyxy_to_xywh([x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

/// Intersection over union of two boxes given by corners, 0 to 1; 0 where both have no area.
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let inter = intersection(a, b);
    let union = area(a) + area(b) - inter;
    if union > 0.0 { inter / union } else { 0.0 }
}

/// Area of a box given by corners, in square units of its coordinates.
pub fn area([x1, y1, x2, y2]: [f32; 4]) -> f32 {
    (x2 - x1) * (y2 - y1)
}

/// Area that two boxes given by corners have in common.
pub fn intersection(a: [f32; 4], b: [f32; 4]) -> f32 {
    (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0)
}

/// Angle that CIoU compares shapes by: atan(width / height) of a box given by corners.
pub(crate) fn shape_angle([x1, y1, x2, y2]: [f32; 4]) -> f32 {
    ((x2 - x1) / (y2 - y1 + EPSILON)).atan()
}

/// Complete IoU (Zheng et al., 2020) of two boxes given by corners: IoU less the centres' distance and the difference of
/// shape; 1 for equal boxes, may go below -1 for far ones.
pub fn ciou(a: [f32; 4], b: [f32; 4]) -> f32 {
    ciou_with_angles(a, b, shape_angle(a), shape_angle(b))
}

/// [`ciou`] with both boxes' [`shape_angle`] computed beforehand: the arc tangents are most of its cost.
pub(crate) fn ciou_with_angles(a: [f32; 4], b: [f32; 4], angle_a: f32, angle_b: f32) -> f32 {
    let inter = intersection(a, b);
    let union = (a[2] - a[0]) * (a[3] - a[1] + EPSILON) + (b[2] - b[0]) * (b[3] - b[1] + EPSILON) - inter + EPSILON;
    let iou = inter / union;
    let (cw, ch) = (a[2].max(b[2]) - a[0].min(b[0]), a[3].max(b[3]) - a[1].min(b[1]));
    let diagonal = cw * cw + ch * ch + EPSILON;
    let (dx, dy) = (b[0] + b[2] - a[0] - a[2], b[1] + b[3] - a[1] - a[3]);
    let distance = (dx * dx + dy * dy) / 4.0;
    let turn = angle_b - angle_a;
    let v = 4.0 / (PI * PI) * turn * turn;
    let alpha = v / (v - iou + (1.0 + EPSILON));
    iou - (distance / diagonal + v * alpha)
}

/// [`ciou`] of a predicted box `a` and a target `b`, and its gradient by the four corners of `a`.
///
/// The trade-off factor alpha counts as a constant, as the CIoU paper does it.
pub fn ciou_with_gradient(a: [f32; 4], b: [f32; 4]) -> (f32, [f32; 4]) {
    let (w, h) = (a[2] - a[0], a[3] - a[1] + EPSILON);
    let (target_w, target_h) = (b[2] - b[0], b[3] - b[1] + EPSILON);
    let inter_w = a[2].min(b[2]) - a[0].max(b[0]);
    let inter_h = a[3].min(b[3]) - a[1].max(b[1]);
    let overlapping = inter_w > 0.0 && inter_h > 0.0;
    let inter = inter_w.max(0.0) * inter_h.max(0.0);
    let union = w * h + target_w * target_h - inter + EPSILON;
    let iou = inter / union;
    let (cw, ch) = (a[2].max(b[2]) - a[0].min(b[0]), a[3].max(b[3]) - a[1].min(b[1]));
    let diagonal = cw * cw + ch * ch + EPSILON;
    let (dx, dy) = (b[0] + b[2] - a[0] - a[2], b[1] + b[3] - a[1] - a[3]);
    let distance = (dx * dx + dy * dy) / 4.0;
    let turn = (target_w / target_h).atan() - (w / h).atan();
    let v = 4.0 / (PI * PI) * turn * turn;
    let alpha = v / (v - iou + (1.0 + EPSILON));
    let value = iou - (distance / diagonal + v * alpha);

    // By width and height of the intersection, the box and the enclosing box; then onto the corners that make them.
    let by_inter = (union + inter) / (union * union);
    let (by_inter_w, by_inter_h) = if overlapping { (by_inter * inter_h, by_inter * inter_w) } else { (0.0, 0.0) };
    let by_area = -inter / (union * union);
    let by_turn = alpha * 8.0 / (PI * PI) * turn / (w * w + h * h);
    let (by_w, by_h) = (by_area * h + by_turn * h, by_area * w - by_turn * w);
    let by_diagonal = distance / (diagonal * diagonal);
    let (by_cw, by_ch) = (by_diagonal * 2.0 * cw, by_diagonal * 2.0 * ch);
    let (by_x, by_y) = (dx / (2.0 * diagonal), dy / (2.0 * diagonal));
    let pick = |condition: bool, value: f32| if condition { value } else { 0.0 };
    let gradient = [
        by_x - by_w - pick(a[0] > b[0], by_inter_w) - pick(a[0] < b[0], by_cw),
        by_y - by_h - pick(a[1] > b[1], by_inter_h) - pick(a[1] < b[1], by_ch),
        by_x + by_w + pick(a[2] < b[2], by_inter_w) + pick(a[2] > b[2], by_cw),
        by_y + by_h + pick(a[3] < b[3], by_inter_h) + pick(a[3] > b[3], by_ch),
    ];
    (value, gradient)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn iou_and_ciou_of_known_boxes() {
        let (a, b) = ([0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0]);
        assert!((iou(a, b) - 1.0 / 3.0).abs() < 1e-6);
        // Same shape, centres 5 apart, enclosing box 15 x 10: 1/3 - 25/325.
        assert!((ciou(a, b) - (1.0 / 3.0 - 25.0 / 325.0)).abs() < 1e-6);
        assert!((ciou(a, a) - 1.0).abs() < 1e-6);
        assert_eq!(iou([1.0; 4], [1.0; 4]), 0.0);
        // Concentric 10 x 10 and 20 x 5 boxes: IoU 50/150, no distance, shapes pi/4 and atan 4.
        let wide = [-5.0, 2.5, 15.0, 7.5];
        let v = 4.0 / (PI * PI) * (4f32.atan() - PI / 4.0).powi(2);
        assert!((ciou(a, wide) - (1.0 / 3.0 - v * v / (v + 2.0 / 3.0))).abs() < 1e-6);
    }

    #[test]
    fn ciou_gradient_equals_differences_at_constant_alpha() {
        let target = [3.0f32, 2.0, 9.0, 11.0];
        for pred in [[2.0f32, 1.0, 8.0, 7.5], [4.0, 3.0, 7.0, 8.0], [10.5, 4.0, 14.0, 6.0], [1.0, 5.0, 12.0, 7.0]] {
            let (value, gradient) = ciou_with_gradient(pred, target);
            assert!((value - ciou(pred, target)).abs() < 1e-6);
            // In f64, with alpha held at its value at `pred`.
            let eval = |p: [f64; 4], fixed: Option<f64>| -> (f64, f64) {
                let t = target.map(f64::from);
                let inter = (p[2].min(t[2]) - p[0].max(t[0])).max(0.0) * (p[3].min(t[3]) - p[1].max(t[1])).max(0.0);
                let iou = inter / ((p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - inter);
                let c = (p[2].max(t[2]) - p[0].min(t[0])).powi(2) + (p[3].max(t[3]) - p[1].min(t[1])).powi(2);
                let d = ((t[0] + t[2] - p[0] - p[2]).powi(2) + (t[1] + t[3] - p[1] - p[3]).powi(2)) / 4.0;
                let turn = ((t[2] - t[0]) / (t[3] - t[1])).atan() - ((p[2] - p[0]) / (p[3] - p[1])).atan();
                let v = 4.0 / std::f64::consts::PI.powi(2) * turn * turn;
                let alpha = fixed.unwrap_or(v / (v - iou + 1.0));
                (iou - d / c - alpha * v, alpha)
            };
            let p = pred.map(f64::from);
            let alpha = eval(p, None).1;
            for i in 0..4 {
                let step = 1e-6;
                let (mut up, mut down) = (p, p);
                up[i] += step;
                down[i] -= step;
                let expected = (eval(up, Some(alpha)).0 - eval(down, Some(alpha)).0) / (2.0 * step);
                assert!((f64::from(gradient[i]) - expected).abs() < 2e-6, "{pred:?} {i}: {} {expected}", gradient[i]);
            }
        }
    }

    fn bbox() -> impl Strategy<Value = [f32; 4]> {
        (-500.0f32..500.0, -500.0f32..500.0, 1.0f32..400.0, 1.0f32..400.0).prop_map(|(x, y, w, h)| [x, y, x + w, y + h])
    }

    proptest! {
        #[test]
        fn overlap_is_symmetric_bounded_and_whole_for_the_box_itself(a in bbox(), b in bbox()) {
            let overlap = iou(a, b);
            prop_assert!((0.0..=1.0).contains(&overlap));
            prop_assert_eq!(overlap, iou(b, a));
            prop_assert!((iou(a, a) - 1.0).abs() < 1e-6);
            prop_assert!((ciou(a, b) - ciou(b, a)).abs() < 1e-5);
            prop_assert!(ciou(a, b) <= overlap + 1e-5 && ciou(a, b) > -2.0);
            prop_assert_eq!(ciou_with_gradient(a, b).0, ciou(a, b));
        }

        #[test]
        fn moving_both_boxes_moves_nothing_else(a in bbox(), b in bbox(), x in -100i16..100, y in -100i16..100) {
            let moved = |bbox: [f32; 4]| {
                let by = [f32::from(x), f32::from(y)];
                std::array::from_fn(|i| bbox[i] + by[i % 2])
            };
            prop_assert!((iou(moved(a), moved(b)) - iou(a, b)).abs() < 1e-3);
        }

        #[test]
        fn corners_and_centres_convert_back(a in bbox()) {
            for (back, kept) in xywh_to_xyxy(xyxy_to_xywh(a)).iter().zip(a) {
                prop_assert!((back - kept).abs() < 1e-3);
            }
        }
    }
}
