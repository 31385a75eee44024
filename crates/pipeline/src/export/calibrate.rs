//! What the network's convolutions meet on pictures of the data set: the ranges that 8 bits are spread over.

use std::collections::BTreeMap;
use std::sync::Arc;

use yolo11_config::Settings;
use yolo11_dataset::Split;
use yolo11_engine::InferenceSession;
use yolo11_export::{Calibration, ConvolutionRanges};
use yolo11_network::{Network, Operation};

use crate::weights::Loaded;
use crate::{Error, data};

/// Runs our engine on the share `fraction` of the pictures and gives the calibration with the number of pictures.
///
/// Of each picture the least and greatest value counts, and of all pictures the mean of these: a single odd picture then costs the
/// others little of their resolution.
pub(super) fn calibrate(settings: &Settings, loaded: &Loaded, split: &Split) -> Result<(Calibration, usize), Error> {
    let loader = data::validation_loader(Arc::new(share(split, settings.fraction)), settings, 1, true)?;
    let mut session = InferenceSession::plan(&loaded.model, 1, [settings.imgsz; 2])?;
    let mut sums: BTreeMap<usize, [f64; 4]> = BTreeMap::new();
    let mut pictures = 0;
    for batch in loader.epoch(0) {
        let batch = batch?;
        for met in session.observe(&batch.images)? {
            let sum = sums.entry(met.weight).or_default();
            let ends = [met.input[0], met.input[1], met.sum[0], met.sum[1]];
            sum.iter_mut().zip(ends).for_each(|(sum, end)| *sum += f64::from(end));
        }
        pictures += 1;
        loader.recycle(batch);
    }
    let sensitive = sensitive(loaded.model.network());
    let ranges = sums.into_iter().filter(|(weight, _)| !sensitive.contains(weight)).map(|(weight, sums)| {
        let [input_least, input_most, sum_least, sum_most] = sums.map(|sum| (sum / f64::from(pictures.max(1))) as f32);
        let sum = [sum_least.max(LEAST_SUM), sum_most];
        (weight, ConvolutionRanges { input: [input_least, input_most], sum })
    });
    Ok((Calibration::new(ranges), pictures as usize))
}

/// Below this SiLU is practically zero (−0.0027): the bits are better spent above.
const LEAST_SUM: f32 = -8.0;

/// Convolutions that stay in float32, because 8 bits there cost mAP: the last ones, whose sums are the logits of boxes and scores.
fn sensitive(network: &Network) -> Vec<usize> {
    let outputs: Vec<_> = network.head.iter().flat_map(|level| [level.boxes, level.scores]).collect();
    (network.nodes.iter())
        .filter(|node| outputs.contains(&node.output))
        .filter_map(|node| match node.operation {
            Operation::Convolution(convolution) => Some(convolution.weight),
            _ => None,
        })
        .collect()
}

/// Pictures at even distances: the share `fraction` of them, at least one.
fn share(split: &Split, fraction: f64) -> Split {
    let count = ((split.images.len() as f64 * fraction).round() as usize).clamp(1, split.images.len().max(1));
    let images = (0..count.min(split.images.len()))
        .map(|place| split.images[place * split.images.len() / count].clone())
        .collect();
    Split { images, ..split.clone() }
}
