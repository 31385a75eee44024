//! Ten steps of SGD and of AdamW against the recorded losses of the reference.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use yolo11_detection::{Gains, Heads, LossWorkspace, Target};
use yolo11_engine::{Gradients, Images, Optimiser, OptimiserKind, OptimiserSettings, Rates, TrainingSession};
use yolo11_network::{Model, Network, Scale, TensorKind};

/// Values of a tensor of a safetensors file, with its shape.
fn tensor(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    assert!(matches!(view.dtype(), Dtype::F32 | Dtype::I64), "{name}");
    let values = match view.dtype() {
        Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        _ => view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f32).collect(),
    };
    (view.shape().to_vec(), values)
}

/// The recorded network, batch and targets.
fn recorded(prefix: &Path, classes: usize) -> (Model, Vec<f32>, [usize; 2], Vec<Target>) {
    let name = |ending: &str| format!("{}{ending}", prefix.display());
    let network = Network::yolo11(Scale::Nano, classes);
    let mut model = Model::initialise(&network, 0);
    let bytes = std::fs::read(name("_weights.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    for (index, spec) in network.tensors().iter().enumerate() {
        model.tensor_mut(index).copy_from_slice(&tensor(&weights, &spec.name).1);
    }
    let bytes = std::fs::read(name("_step.safetensors")).unwrap();
    let step = SafeTensors::deserialize(&bytes).unwrap();
    let (shape, planes) = tensor(&step, "images");
    let [images, channels, height, width] = shape[..] else { panic!("{shape:?}") };
    let mut pixels = vec![0.0; planes.len()];
    for image in 0..images {
        for channel in 0..channels {
            for pixel in 0..height * width {
                pixels[(image * height * width + pixel) * channels + channel] =
                    planes[(image * channels + channel) * height * width + pixel];
            }
        }
    }
    let (_, rows) = tensor(&step, "targets");
    let targets = rows.as_chunks::<6>().0.iter();
    let targets = targets.map(|&[image, class, cx, cy, w, h]| Target {
        image: image as usize,
        class: class as usize,
        bbox: [cx, cy, w, h],
    });
    (model, pixels, [height, width], targets.collect())
}

fn follow(classes: usize, kind: OptimiserKind, rates: Rates) {
    let Some(shared) = std::env::var_os("YOLO11_SHARED") else {
        eprintln!("skipped: YOLO11_SHARED is not set");
        return;
    };
    let prefix = Path::new(&shared).join(format!("oracle/yolo11n_nc{classes}_s0"));
    let text = std::fs::read_to_string(format!("{}_trajectory.json", prefix.display())).unwrap();
    let trajectory: serde_json::Value = serde_json::from_str(&text).unwrap();
    let trajectory = &trajectory[kind.name().to_lowercase()];
    let (mut model, pixels, size, targets) = recorded(&prefix, classes);
    let network = model.network().clone();

    let images = pixels.len() / (size[0] * size[1] * 3);
    let mut session = TrainingSession::plan(&network, images, size).unwrap();
    let mut workspace = LossWorkspace::new();
    let mut gradients = Gradients::zeros(&network);
    let mut optimiser = Optimiser::new(kind, &network, OptimiserSettings::default(), |_| false);
    let recorded_losses = trajectory["loss_items_box_cls_dfl"].as_array().unwrap();
    let recorded_norms = trajectory["grad_norm_before_clip"].as_array().unwrap();
    assert_eq!(recorded_losses.len(), 10);
    for (step, (recorded, norm)) in recorded_losses.iter().zip(recorded_norms).enumerate() {
        let heads = session.forward(&mut model, Images::Values(&pixels)).unwrap();
        let heads = Heads { boxes: heads.boxes, scores: heads.scores, images: heads.images, classes, size };
        let loss = workspace.compute(&heads, &targets, &Gains::default()).unwrap();
        let (boxes, scores) = workspace.gradients();
        gradients.clear();
        session.backward(&model, boxes, scores, &mut gradients).unwrap();
        let report = optimiser.step(&mut model, &gradients, &rates);
        for (part, (given, wanted)) in loss.items.iter().zip(recorded.as_array().unwrap()).enumerate() {
            let wanted = wanted.as_f64().unwrap();
            let off = (f64::from(*given) / wanted - 1.0).abs();
            eprintln!("{} {classes} step {step} part {part}: {given} {wanted} off {off:.2e}", kind.name());
            assert!(off < 0.01, "{} step {step} part {part}: {given} where {wanted} was recorded", kind.name());
        }
        let off = (report.gradient_norm / norm.as_f64().unwrap() - 1.0).abs();
        let allowed = if step == 0 { 1e-3 } else { 0.05 };
        assert!(off < allowed, "{} step {step}: norm {} where {norm} was recorded", kind.name(), report.gradient_norm);
    }
    let digests = trajectory["final"].as_object().unwrap();
    for (index, spec) in network.tensors().iter().enumerate().filter(|(_, spec)| spec.kind == TensorKind::ConvWeight) {
        let wanted = digests[&spec.name]["abs_sum"].as_f64().unwrap();
        let given: f64 = model.tensor(index).iter().map(|value| f64::from(value.abs())).sum();
        assert!((given / wanted - 1.0).abs() < 0.01, "{} {}: {given} where {wanted}", kind.name(), spec.name);
    }
}

const SGD: Rates = Rates { weights: 0.01, norms: 0.01, biases: 0.01, momentum: 0.937 };
const ADAMW: Rates = Rates { weights: 0.001, norms: 0.001, biases: 0.001, momentum: 0.937 };

#[test]
fn sgd_follows_the_reference_with_80_classes() {
    follow(80, OptimiserKind::Sgd, SGD);
}

#[test]
fn sgd_follows_the_reference_with_3_classes() {
    follow(3, OptimiserKind::Sgd, SGD);
}

#[test]
fn adamw_follows_the_reference_with_80_classes() {
    follow(80, OptimiserKind::AdamW, ADAMW);
}

#[test]
fn adamw_follows_the_reference_with_3_classes() {
    follow(3, OptimiserKind::AdamW, ADAMW);
}
