use proptest::prelude::*;

use super::*;
use crate::geometry::{iou, xyxy_to_xywh};

fn corners(boxes: &[[f32; 4]]) -> Vec<[f32; 4]> {
    boxes.iter().map(|&bbox| xyxy_to_xywh(bbox)).collect()
}

#[test]
fn the_better_of_two_overlapping_boxes_stays() {
    // IoU of the first two: 80 / 120.
    let boxes = corners(&[[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0], [50.0, 50.0, 60.0, 60.0]]);
    let scores = [0.6, 0.3, 0.8, 0.1, 0.05, 0.7];
    let settings = NmsSettings { iou: 0.6, ..Default::default() };
    let kept = |settings: &NmsSettings| -> Vec<(f32, usize)> {
        detect_decoded(&boxes, &scores, 2, settings).iter().map(|d| (d.score, d.class)).collect()
    };
    assert_eq!(kept(&settings), [(0.8, 0), (0.7, 1)]);
    assert_eq!(kept(&NmsSettings { iou: 0.7, ..settings.clone() }), [(0.8, 0), (0.7, 1), (0.6, 0)]);
    // With several labels the first box is also a candidate of class 1, which nothing suppresses there.
    let several = NmsSettings { multi_label: true, ..settings.clone() };
    assert_eq!(kept(&several), [(0.8, 0), (0.7, 1), (0.3, 1)]);
    assert_eq!(kept(&NmsSettings { agnostic: true, ..several.clone() }), [(0.8, 0), (0.7, 1)]);
    assert_eq!(kept(&NmsSettings { classes: Some(vec![1]), ..several.clone() }), [(0.7, 1), (0.3, 1)]);
    // The filter looks at the best label where only that counts.
    assert_eq!(kept(&NmsSettings { classes: Some(vec![1]), ..settings.clone() }), [(0.7, 1)]);
    assert_eq!(kept(&NmsSettings { max_detections: 1, ..several.clone() }), [(0.8, 0)]);
    assert_eq!(kept(&NmsSettings { max_candidates: 2, ..several.clone() }), [(0.8, 0), (0.7, 1)]);
    // The threshold itself does not pass.
    assert_eq!(kept(&NmsSettings { confidence: 0.7, ..several }), [(0.8, 0)]);
    assert_eq!(detect_decoded(&boxes, &scores, 2, &settings)[0].bbox, [2.0, 0.0, 12.0, 10.0]);
}

#[test]
fn undefined_scores_and_boxes_are_harmless() {
    let boxes = [[5.0, 5.0, 10.0, 10.0], [f32::NAN; 4], [5.0, 5.0, 10.0, 10.0]];
    let found = detect_decoded(&boxes, &[f32::NAN, 0.9, 0.5], 1, &NmsSettings::default());
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].score, found[1].score, found[1].bbox), (0.9, 0.5, [0.0, 0.0, 10.0, 10.0]));
    let heads = Heads { boxes: &[f32::NAN; 21 * 64], scores: &[f32::NAN; 21], images: 1, classes: 1, size: [32, 32] };
    assert_eq!(detect(&heads, 0, &NmsSettings::evaluation()), []);
}

#[test]
fn detections_from_the_head_equal_those_of_its_decoded_form() {
    let (images, classes, size) = (2, 5, [64, 96]);
    let anchors = crate::anchors::anchor_count(size);
    let wave = |i: usize, step: f32| (i as f32 * step).sin() * 3.0;
    let boxes: Vec<f32> = (0..images * anchors * 64).map(|i| wave(i, 0.37)).collect();
    let scores: Vec<f32> = (0..images * anchors * classes).map(|i| wave(i, 1.13) - 2.0).collect();
    let heads = Heads { boxes: &boxes, scores: &scores, images, classes, size };
    let decoded = crate::decode::decode(&heads).unwrap();
    for settings in [
        NmsSettings::default(),
        NmsSettings::evaluation(),
        NmsSettings { confidence: 0.0, ..NmsSettings::evaluation() },
    ] {
        for image in 0..images {
            let found = detect(&heads, image, &settings);
            let boxes = &decoded.boxes[image * anchors..][..anchors];
            let scores = &decoded.scores[image * anchors * classes..][..anchors * classes];
            assert!(found.len() > 5);
            assert_eq!(found, detect_decoded(boxes, scores, classes, &settings));
        }
    }
    assert_eq!(detect(&heads, 0, &NmsSettings { confidence: 1.0, ..Default::default() }), []);
}

fn predictions() -> impl Strategy<Value = Vec<([f32; 4], usize, f32)>> {
    let bbox = (0.0f32..600.0, 0.0f32..600.0, 2.0f32..200.0, 2.0f32..200.0);
    let one = (bbox, 0usize..4, 0.0f32..1.0).prop_map(|((x, y, w, h), class, score)| ([x, y, w, h], class, score));
    prop::collection::vec(one, 0..120)
}

fn run(predictions: &[([f32; 4], usize, f32)], settings: &NmsSettings) -> Vec<Detection> {
    let boxes: Vec<_> = predictions.iter().map(|p| p.0).collect();
    let mut scores = vec![0.0; predictions.len() * 4];
    for (index, &(_, class, score)) in predictions.iter().enumerate() {
        scores[index * 4 + class] = score;
    }
    detect_decoded(&boxes, &scores, 4, settings)
}

proptest! {
    #[test]
    fn kept_boxes_of_a_class_never_overlap_and_dropped_ones_do(
        predictions in predictions(), threshold in 0.1f32..0.9, agnostic: bool
    ) {
        let settings = NmsSettings { iou: threshold, confidence: 0.1, agnostic, ..Default::default() };
        let kept = run(&predictions, &settings);
        prop_assert!(kept.windows(2).all(|pair| pair[0].score >= pair[1].score));
        for (i, a) in kept.iter().enumerate() {
            for b in &kept[i + 1..] {
                prop_assert!((!agnostic && a.class != b.class) || iou(a.bbox, b.bbox) <= threshold);
            }
        }
        for &(bbox, class, score) in predictions.iter().filter(|p| p.2 > 0.1) {
            let bbox = xywh_to_xyxy(bbox);
            let accounted = kept.iter().any(|k| {
                (k.bbox == bbox && k.score == score)
                    || ((agnostic || k.class == class) && k.score >= score && iou(k.bbox, bbox) > threshold)
            });
            prop_assert!(accounted, "{bbox:?} {score} was dropped for nothing");
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(predictions in predictions(), seed: u64) {
        let mut scores: Vec<f32> = predictions.iter().map(|p| p.2).collect();
        scores.sort_by(f32::total_cmp);
        prop_assume!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        let settings = NmsSettings { confidence: 0.05, iou: 0.4, ..Default::default() };
        let mut shuffled = predictions.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        prop_assert_eq!(run(&predictions, &settings), run(&shuffled, &settings));
    }
}
