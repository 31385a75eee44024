//! The command `info`: what a model consists of.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use yolo11_config::{ModelSource, Settings};
use yolo11_engine::{InferenceSession, TrainingSession};
use yolo11_network::{Model, Network, Operation};

use crate::weights::{grouped, network_scale};
use crate::{Error, compute};

/// Parameters' share of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// Number of the layer, `model.N`.
    pub layer: usize,
    /// Its convolutions.
    pub convolutions: usize,
    /// Its parameters.
    pub parameters: usize,
    /// Billions of operations of a forward pass on one picture.
    pub gflops: f64,
    /// Channels of its last value.
    pub channels: usize,
    /// `[height, width]` of its last value.
    pub size: [usize; 2],
}

/// What is known of a model before it runs.
#[derive(Clone, Debug)]
pub struct Info {
    /// Model name.
    pub name: String,
    /// Names of the classes; empty where the model is not from a file.
    pub names: Vec<String>,
    /// Number of classes.
    pub classes: usize,
    /// Input side in pixels.
    pub image_size: usize,
    /// Layers.
    pub layers: Vec<LayerRow>,
    /// Tensors of the state dictionary.
    pub tensors: usize,
    /// Parameters in all.
    pub parameters: usize,
    /// Billions of operations of a forward pass on one picture.
    pub gflops: f64,
    /// Pictures that the training's memory is planned for.
    pub batch: usize,
    /// Bytes planned for a training step of that batch.
    pub training_memory: usize,
    /// Bytes planned for inference on one picture.
    pub inference_memory: usize,
}

/// Describes the model of the settings: a name with `nc` classes, or a file.
pub fn info(settings: &Settings) -> Result<Info, Error> {
    let (model, names) = match &settings.model {
        ModelSource::Scale(scale) => {
            let network = Network::yolo11(network_scale(*scale), settings.nc);
            (Model::initialise(&network, settings.seed), Vec::new())
        }
        ModelSource::Weights(_) => {
            let loaded = crate::weights::load(settings)?;
            (loaded.model, loaded.names)
        }
    };
    let size = [settings.imgsz; 2];
    let network = model.network();
    let batch = match settings.batch {
        yolo11_config::Batch::Images(batch) => batch,
        yolo11_config::Batch::Automatic => compute::automatic_batch(network, size)?,
    };
    Ok(Info {
        name: network.scale.model_name(),
        names,
        classes: network.classes,
        image_size: settings.imgsz,
        layers: layers(network, size),
        tensors: network.tensors().len(),
        parameters: network.parameters(),
        gflops: network.gflops(size),
        batch,
        training_memory: TrainingSession::plan(network, batch, size)?.memory_bytes(),
        inference_memory: InferenceSession::plan(&model, 1, size)?.memory_bytes(),
    })
}

fn layers(network: &Network, size: [usize; 2]) -> Vec<LayerRow> {
    let mut parameters: BTreeMap<usize, usize> = BTreeMap::new();
    for spec in network.tensors().iter().filter(|spec| spec.kind.is_parameter()) {
        if let Some(layer) = spec.name.split('.').nth(1).and_then(|number| number.parse().ok()) {
            *parameters.entry(layer).or_default() += spec.elements();
        }
    }
    let row = |layer: usize| {
        let nodes = || network.nodes.iter().filter(move |node| node.layer == layer);
        let last = nodes().next_back().map(|node| &network.values[node.output]);
        LayerRow {
            layer,
            convolutions: nodes().filter(|node| matches!(node.operation, Operation::Convolution(_))).count(),
            parameters: parameters.get(&layer).copied().unwrap_or(0),
            gflops: nodes().map(|node| network.node_operations(node, size)).sum::<f64>() / 1e9,
            channels: last.map_or(0, |value| value.channels),
            size: last.map_or([0; 2], |value| size.map(|side| side / value.stride)),
        }
    };
    (0..network.layers()).map(row).collect()
}

impl Info {
    /// The table, ready to print.
    pub fn table(&self) -> String {
        let mut text =
            format!("{:>5}  {:>12}  {:>11}  {:>8}  {}\n", "layer", "convolutions", "parameters", "GFLOPs", "output");
        for row in &self.layers {
            let [height, width] = row.size;
            text += &format!(
                "{:>5}  {:>12}  {:>11}  {:>8.3}  {} × {height} × {width}\n",
                row.layer,
                row.convolutions,
                grouped(row.parameters),
                row.gflops,
                row.channels
            );
        }
        let megabytes = |bytes: usize| bytes as f64 / 1e6;
        text += &format!("{}, {} classes\n", self.name, self.classes);
        text += &format!("layers      {}\n", self.layers.len());
        text += &format!("parameters  {} in {} tensors\n", grouped(self.parameters), self.tensors);
        text += &format!("GFLOPs      {:.2} at {} px\n", self.gflops, self.image_size);
        text += &format!("memory      {:.0} MB to train with batch {}, ", megabytes(self.training_memory), self.batch);
        text += &format!("{:.0} MB to predict\n", megabytes(self.inference_memory));
        text
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|row| {
                json!({
                    "layer": row.layer,
                    "convolutions": row.convolutions,
                    "parameters": row.parameters,
                    "gflops": row.gflops,
                    "channels": row.channels,
                    "height": row.size[0],
                    "width": row.size[1],
                })
            })
            .collect();
        json!({
            "model": self.name,
            "classes": self.classes,
            "names": self.names,
            "imgsz": self.image_size,
            "layers": layers,
            "tensors": self.tensors,
            "parameters": self.parameters,
            "gflops": self.gflops,
            "batch": self.batch,
            "training_memory_bytes": self.training_memory,
            "inference_memory_bytes": self.inference_memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo11_network::Scale;

    #[test]
    fn the_layers_add_up_to_the_network() {
        let network = Network::yolo11(Scale::Nano, 80);
        let rows = layers(&network, [640, 640]);
        assert_eq!(rows.len(), 24);
        // The head's 16 constants belong to no layer's trained parameters.
        assert_eq!(rows.iter().map(|row| row.parameters).sum::<usize>() + 16, 2_624_080);
        assert_eq!((rows[0].convolutions, rows[0].parameters, rows[0].size), (1, 3 * 16 * 9 + 32, [320, 320]));
        assert_eq!(rows[12].parameters, 0);
    }
}
