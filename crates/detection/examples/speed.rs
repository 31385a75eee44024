//! Times loss and suppression at training size (yolo11n, batch 4, 640 x 640 pixels, 80 classes) and the metrics of a large
//! validation set.

use std::time::Instant;

use yolo11_detection::anchors::anchor_count;
use yolo11_detection::detection_metrics::{DetectionMetrics, TrueBox};
use yolo11_detection::{Detection, Gains, Heads, LossWorkspace, NmsSettings, Target, detect};

/// Repeatable numbers between 0 and 1.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

fn time(name: &str, repeats: usize, mut work: impl FnMut() -> String) {
    let mut seconds = Vec::new();
    let mut note = work();
    for _ in 0..repeats {
        let start = Instant::now();
        note = work();
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{name}: median {:.2} ms, {:.2} to {:.2} ({note})",
        seconds[repeats / 2] * 1e3,
        seconds[0] * 1e3,
        seconds[repeats - 1] * 1e3
    );
}

fn main() {
    let (images, classes, size) = (4, 80, [640, 640]);
    let anchors = anchor_count(size);
    let mut boxes = noise(images * anchors * 64, 1);
    for side in boxes.chunks_mut(16) {
        for (bin, logit) in side.iter_mut().enumerate() {
            *logit = *logit * 4.0 - 0.4 * bin as f32;
        }
    }
    let random = noise(images * anchors * classes, 2);
    let scores: Vec<f32> = random.iter().map(|value| value * 6.0 - 12.0).collect();
    let heads = Heads { boxes: &boxes, scores: &scores, images, classes, size };
    for per_image in [8, 40] {
        let targets: Vec<Target> = (0..images * per_image)
            .map(|i| {
                let at = noise(6, i as u64 + 10);
                let [w, h] = [at[3], at[4]].map(|v| 0.02 + v * v * 0.6);
                Target { image: i % images, class: (at[5] * 79.0) as usize, bbox: [at[1], at[2], w, h] }
            })
            .collect();
        let mut workspace = LossWorkspace::new();
        let gains = Gains::default();
        time(&format!("loss and gradients, {per_image} targets an image"), 40, || {
            format!("{:?}", workspace.compute(&heads, &targets, &gains))
        });
        time(&format!("loss alone, {per_image} targets an image"), 40, || {
            format!("{:?}", workspace.evaluate(&heads, &targets, &gains))
        });
    }
    time("evaluation's suppression, an image, every class a candidate", 20, || {
        format!("{} kept", detect(&heads, 0, &NmsSettings::evaluation()).len())
    });
    // As after training: hardly any logit passes.
    let scores: Vec<f32> = random.iter().map(|value| value.powi(40) * 6.0 - 8.0).collect();
    let heads = Heads { scores: &scores, ..heads };
    let passing = scores[..anchors * classes].iter().filter(|&&logit| logit > -6.9).count();
    time(&format!("evaluation's suppression, an image, {passing} candidates"), 20, || {
        format!("{} kept", detect(&heads, 0, &NmsSettings::evaluation()).len())
    });
    // 5,000 images with 7 objects and 300 detections each.
    let mut metrics = DetectionMetrics::new(classes);
    let start = Instant::now();
    for image in 0..5000u64 {
        let at = noise(5 * 300, image + 1);
        let bbox = |i: usize| {
            let [x, y, w, h] = [at[5 * i], at[5 * i + 1], at[5 * i + 2], at[5 * i + 3]].map(|v| v * 300.0);
            [x, y, x + w, y + h]
        };
        let class = |i: usize| (at[5 * (i % 7)] * 79.0) as usize;
        let targets: Vec<TrueBox> = (0..7).map(|i| TrueBox { class: class(i), bbox: bbox(i) }).collect();
        let found: Vec<Detection> = (0..300)
            .map(|i| Detection {
                bbox: std::array::from_fn(|side| bbox(i % 7)[side] + at[5 * i + side] * 40.0),
                class: class(i),
                score: at[5 * i + 4],
            })
            .collect();
        metrics.add_image(&found, &targets).expect("classes are in range");
    }
    let added = start.elapsed().as_secs_f64();
    let summary = metrics.finish();
    println!(
        "metrics of 5000 images: {added:.2} s to add (with making them), {:.2} s to finish (mAP50-95 {:.4}, {})",
        start.elapsed().as_secs_f64() - added,
        summary.map50_95,
        summary.targets
    );
}
