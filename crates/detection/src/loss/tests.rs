use super::*;

/// Repeatable numbers between -1 and 1.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn targets() -> Vec<Target> {
    let target = |image, class, bbox| Target { image, class, bbox };
    vec![
        target(0, 1, [0.45, 0.5, 0.6, 0.7]),
        target(0, 0, [0.5, 0.45, 0.5, 0.6]),
        target(1, 2, [0.3, 0.3, 0.05, 0.08]),
        target(1, 2, [0.7, 0.6, 0.4, 0.3]),
    ]
}

const SIZE: [usize; 2] = [64, 96];
const ANCHORS: usize = 96 + 24 + 6;

/// Random logits whose boxes are about as large as the targets.
fn logits() -> (Vec<f32>, Vec<f32>) {
    let mut boxes = noise(2 * ANCHORS * 64, 7);
    for row in boxes.chunks_mut(16) {
        for (bin, logit) in row.iter_mut().enumerate() {
            *logit += 1.5 - 0.3 * bin as f32;
        }
    }
    (boxes, noise(2 * ANCHORS * 3, 9))
}

fn heads<'a>(boxes: &'a [f32], scores: &'a [f32]) -> Heads<'a> {
    Heads { boxes, scores, images: 2, classes: 3, size: SIZE }
}

#[test]
fn gradients_equal_differences() {
    // Differences of the same loss in f64, with assignment and alphas held constant as the gradient holds them.
    let (boxes, scores) = logits();
    let mut workspace = LossWorkspace::new();
    let loss = workspace.compute(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap();
    assert!(loss.foreground > 20, "{loss:?}");
    let (box_gradient, score_gradient) = workspace.gradients();
    let (box_gradient, score_gradient) = (box_gradient.to_vec(), score_gradient.to_vec());

    let reference = |boxes: &[f64], scores: &[f64], alphas: Option<&[f64]>, seen: &mut Vec<f64>| -> f64 {
        fixed_assignment_loss(&workspace.images, boxes, scores, alphas, seen)
    };
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let (mut boxes, mut scores) = (wide(&boxes), wide(&scores));
    let mut alphas = Vec::new();
    let total = reference(&boxes, &scores, None, &mut alphas);
    assert!((total - f64::from(loss.total)).abs() < 1e-5 * total, "{total} {}", loss.total);

    let norm = |gradient: &[f32]| gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    let (box_norm, score_norm) = (norm(&box_gradient), norm(&score_gradient));
    let step = 1e-5;
    let mut unused = Vec::new();
    let mut checked = 0;
    for index in 0..boxes.len() {
        // Rows without a target are zero on both sides; a few of them are differenced all the same.
        if box_gradient[index] == 0.0 && index % 97 != 0 {
            continue;
        }
        let kept = boxes[index];
        boxes[index] = kept + step;
        let up = reference(&boxes, &scores, Some(&alphas), &mut unused);
        boxes[index] = kept - step;
        let down = reference(&boxes, &scores, Some(&alphas), &mut unused);
        boxes[index] = kept;
        let expected = (up - down) / (2.0 * step);
        assert!((f64::from(box_gradient[index]) - expected).abs() < 1e-6 * box_norm, "box {index}");
        checked += 1;
    }
    assert!(checked > 1000);
    for index in 0..scores.len() {
        let kept = scores[index];
        scores[index] = kept + step;
        let up = reference(&boxes, &scores, Some(&alphas), &mut unused);
        scores[index] = kept - step;
        let down = reference(&boxes, &scores, Some(&alphas), &mut unused);
        scores[index] = kept;
        let expected = (up - down) / (2.0 * step);
        assert!((f64::from(score_gradient[index]) - expected).abs() < 1e-6 * score_norm, "score {index}");
    }
}

/// The loss in f64, straight from its formulas, with assignment and (where given) alphas held constant.
fn fixed_assignment_loss(
    images: &[ImageAssignment],
    boxes: &[f64],
    scores: &[f64],
    alphas: Option<&[f64]>,
    seen: &mut Vec<f64>,
) -> f64 {
    seen.clear();
    let levels = Level::all(SIZE);
    let normaliser = images.iter().map(ImageAssignment::soft_target_sum).sum::<f64>().max(1.0);
    let mut class: f64 = scores.iter().map(|&x| x.exp().ln_1p()).sum();
    let (mut box_sum, mut dfl) = (0.0, 0.0);
    for (image, assignment) in images.iter().enumerate() {
        for entry in &assignment.foreground {
            let row = image * ANCHORS + entry.anchor;
            let target = &assignment.targets[entry.target];
            let weight = f64::from(entry.soft_target);
            class -= weight * scores[row * 3 + target.class];
            let place = crate::anchors::anchor(&levels, entry.anchor);
            let centre = place.centre.map(f64::from);
            let t = target.bbox.map(|value| f64::from(value / place.stride));
            let wanted = [centre[0] - t[0], centre[1] - t[1], t[2] - centre[0], t[3] - centre[1]];
            let mut p = [centre[0], centre[1], centre[0], centre[1]];
            for side in 0..4 {
                let logits = &boxes[row * 64 + side * 16..][..16];
                let total: f64 = logits.iter().map(|x| x.exp()).sum();
                let distance: f64 = logits.iter().enumerate().map(|(bin, x)| bin as f64 * x.exp() / total).sum();
                p[side] += if side < 2 { -distance } else { distance };
                let wanted = wanted[side].clamp(0.0, 14.99);
                let lower = wanted.floor() as usize;
                let share = wanted - wanted.floor();
                dfl += weight * (total.ln() - (1.0 - share) * logits[lower] - share * logits[lower + 1]) / 4.0;
            }
            let inter = (p[2].min(t[2]) - p[0].max(t[0])).max(0.0) * (p[3].min(t[3]) - p[1].max(t[1])).max(0.0);
            let iou = inter / ((p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - inter);
            let c = (p[2].max(t[2]) - p[0].min(t[0])).powi(2) + (p[3].max(t[3]) - p[1].min(t[1])).powi(2);
            let d = ((t[0] + t[2] - p[0] - p[2]).powi(2) + (t[1] + t[3] - p[1] - p[3]).powi(2)) / 4.0;
            let turn = ((t[2] - t[0]) / (t[3] - t[1])).atan() - ((p[2] - p[0]) / (p[3] - p[1])).atan();
            let v = 4.0 / std::f64::consts::PI.powi(2) * turn * turn;
            let alpha = alphas.map_or(v / (v - iou + 1.0), |alphas| alphas[seen.len()]);
            seen.push(alpha);
            box_sum += weight * (1.0 - (iou - d / c - alpha * v));
        }
    }
    (7.5 * box_sum + 0.5 * class + 1.5 * dfl) / normaliser * 2.0
}

#[test]
fn without_targets_only_the_class_loss_remains() {
    let (boxes, scores) = logits();
    let mut workspace = LossWorkspace::new();
    // First with targets: nothing of them may stay behind.
    workspace.compute(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap();
    let loss = workspace.compute(&heads(&boxes, &scores), &[], &Gains::default()).unwrap();
    let exact: f64 = scores.iter().map(|&x| f64::from(x).exp().ln_1p()).sum::<f64>() * 0.5;
    assert_eq!((loss.items[0], loss.items[2], loss.foreground), (0.0, 0.0, 0));
    assert!((f64::from(loss.items[1]) / exact - 1.0).abs() < 1e-6);
    assert!((f64::from(loss.total) / (2.0 * exact) - 1.0).abs() < 1e-6);
    let (box_gradient, score_gradient) = workspace.gradients();
    assert!(box_gradient.len() == boxes.len() && box_gradient.iter().all(|&g| g == 0.0));
    for (gradient, &logit) in score_gradient.iter().zip(&scores) {
        assert!((gradient - crate::decode::sigmoid(logit)).abs() < 1e-6);
    }
}

#[test]
fn heads_that_are_no_numbers_give_a_loss_that_is_not_finite() {
    let (boxes, scores) = logits();
    let mut workspace = LossWorkspace::new();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [0, boxes.len() / 3, boxes.len() - 1] {
            let mut boxes = boxes.clone();
            boxes[index] = bad;
            let loss = workspace.compute(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap();
            assert!(!loss.is_finite(), "box {index} {bad}");
        }
        for index in [0, scores.len() / 2, scores.len() - 1] {
            let mut scores = scores.clone();
            scores[index] = bad;
            let loss = workspace.compute(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap();
            assert!(!loss.is_finite(), "score {index} {bad}");
        }
        let (boxes, scores) = (vec![bad; boxes.len()], vec![bad; scores.len()]);
        assert!(!workspace.evaluate(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap().is_finite());
    }
    assert!(workspace.compute(&heads(&boxes, &scores), &targets(), &Gains::default()).unwrap().is_finite());
}

#[test]
fn targets_that_do_not_fit_are_named() {
    let (boxes, scores) = logits();
    let heads = heads(&boxes, &scores);
    let mut workspace = LossWorkspace::new();
    let good = targets()[0];
    let mut message = |target| {
        workspace.compute(&heads, &[good, target], &Gains::default()).map_err(|error| error.to_string()).unwrap_err()
    };
    assert_eq!(message(Target { image: 2, ..good }), "target 1 belongs to image 2, the batch has 2");
    assert_eq!(
        message(Target { class: 3, ..good }),
        "target 1 has class 3, the head has 3 (0 to 2)\nhint: make the number of classes that of the dataset's names"
    );
    assert!(message(Target { bbox: [0.5, f32::NAN, 0.1, 0.1], ..good }).starts_with("target 1 has the box [0.5, NaN"));
}

#[test]
fn the_number_of_threads_changes_no_bit_and_evaluation_equals_training() {
    // Large enough for several units of work.
    let size = [256, 256];
    let anchors = crate::anchors::anchor_count(size);
    let (boxes, scores) = (noise(3 * anchors * 64, 1), noise(3 * anchors * 20, 2));
    let heads = Heads { boxes: &boxes, scores: &scores, images: 3, classes: 20, size };
    let targets: Vec<Target> = (0..40)
        .map(|i| {
            let at = noise(4, i + 100);
            let bbox = [0.5 + at[0] * 0.4, 0.5 + at[1] * 0.4, 0.3 + at[2] * 0.25, 0.3 + at[3] * 0.25];
            Target { image: i as usize % 3, class: i as usize % 20, bbox }
        })
        .collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut workspace = LossWorkspace::new();
            let loss = workspace.compute(&heads, &targets, &Gains::default()).unwrap();
            assert_eq!(workspace.evaluate(&heads, &targets, &Gains::default()).unwrap(), loss);
            let (boxes, scores) = workspace.gradients();
            (loss, boxes.to_vec(), scores.to_vec())
        })
    };
    let one = run(1);
    assert!(one.0.is_finite() && one.0.foreground > 100);
    for threads in [2, 3, 5] {
        assert_eq!(run(threads), one);
    }
}

#[test]
fn targets_outside_or_without_area_do_no_harm() {
    let (boxes, scores) = logits();
    let mut workspace = LossWorkspace::new();
    let odd = [
        [0.5, 0.5, 0.0, 0.0],
        [5.0, 5.0, 0.1, 0.1],
        [-1.0, 0.5, 0.2, 0.2],
        [0.5, 0.5, 1e9, 1e9],
        [0.5, 0.5, -0.1, 0.1],
    ];
    for bbox in odd {
        let target = Target { image: 0, class: 0, bbox };
        let loss = workspace.compute(&heads(&boxes, &scores), &[target], &Gains::default()).unwrap();
        assert!(loss.is_finite(), "{bbox:?}: {loss:?}");
    }
}

#[test]
fn shares_of_a_batch_add_up_to_its_loss_and_gradients() {
    let size = [256, 256];
    let anchors = crate::anchors::anchor_count(size);
    let (boxes, scores) = (noise(3 * anchors * 64, 1), noise(3 * anchors * 4, 2));
    let targets: Vec<Target> = (0..40)
        .map(|i| {
            let at = noise(4, i + 100);
            let bbox = [0.5 + at[0] * 0.4, 0.5 + at[1] * 0.4, 0.3 + at[2] * 0.25, 0.3 + at[3] * 0.25];
            Target { image: i as usize / 14, class: i as usize % 4, bbox }
        })
        .collect();
    let heads = |from: usize, to: usize| Heads {
        boxes: &boxes[from * anchors * 64..to * anchors * 64],
        scores: &scores[from * anchors * 4..to * anchors * 4],
        images: to - from,
        classes: 4,
        size,
    };
    let mut workspace = LossWorkspace::new();
    let whole = workspace.compute(&heads(0, 3), &targets, &Gains::default()).unwrap();
    let gradients = workspace.gradients().0.to_vec();
    let within = |from: usize, to: usize| -> Vec<Target> {
        let own = targets.iter().filter(|target| (from..to).contains(&target.image));
        own.map(|target| Target { image: target.image - from, ..*target }).collect()
    };
    let parts = [(0, 1), (1, 3)];
    let mut soft_targets = 0.0;
    for (from, to) in parts {
        let own = within(from, to);
        workspace
            .compute_share(&heads(from, to), &own, &Gains::default(), 3, |sum| {
                soft_targets += sum;
                sum
            })
            .unwrap();
    }
    let mut items = [0f32; 3];
    let mut together = Vec::new();
    for (from, to) in parts {
        let own = within(from, to);
        let part = workspace.compute_share(&heads(from, to), &own, &Gains::default(), 3, |_| soft_targets).unwrap();
        items.iter_mut().zip(part.items).for_each(|(sum, item)| *sum += item);
        together.extend_from_slice(workspace.gradients().0);
    }
    for (sum, item) in items.iter().zip(whole.items) {
        assert!((sum / item - 1.0).abs() < 1e-6, "{items:?} {:?}", whole.items);
    }
    assert!(soft_targets > 1.0);
    let largest = gradients.iter().fold(0f32, |most, value| most.max(value.abs()));
    let difference = gradients.iter().zip(&together).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(largest > 1e-3 && difference < 1e-6 * largest, "{difference} of {largest}");
}
