//! A checkpoint, and the same as ONNX, as a logged and registered model; and who is champion.

use serde_json::{Value, json};

use crate::Error;
use crate::artifacts::Source;
use crate::client::{Client, ModelVersion};
use crate::record::ModelRecord;
use crate::shipper::{Shipper, put_texts};

/// The alias of the best version of a registered model.
pub const CHAMPION: &str = "champion";

/// The metric that decides.
pub const FITNESS: &str = "metrics/mAP50-95B";

/// Tag that finds a logged model again.
const MODEL_TAG: &str = "yolo11.run_id";

/// Where the ONNX file lies among a model's files, as MLflow names it.
const ONNX: &str = "model.onnx";

/// What Python loads: it hands pictures to the program.
const LOADER: &str = include_str!("model/yolo11_model.py");

impl Shipper {
    /// Logs a model; each part can be repeated without doubling anything.
    pub(crate) fn ship_model(&mut self, model: &ModelRecord) -> Result<(), Error> {
        let (client, run_id) = self.run_client()?;
        let file = self.file(&model.file);
        let file_name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let onnx = model.onnx.as_deref().map(|onnx| self.file(onnx));
        // Before anything is created on the server.
        for file in [Some(&file), onnx.as_ref()].into_iter().flatten() {
            std::fs::metadata(file).map_err(|source| Error::read(file, source))?;
        }
        let experiment_id = self.state.experiment_id.clone().unwrap_or_default();
        let mark = format!("model:{}:{}", model.name, model.timestamp);
        let tag = (MODEL_TAG.to_owned(), format!("{run_id}/{}/{}", model.name, model.timestamp));
        let known = match self.state.begun.contains(&mark) {
            true => client.find_logged_model(&experiment_id, &tag.0, &tag.1)?,
            false => {
                self.state.begun.insert(mark.clone());
                self.state.save(&self.folder, true)?;
                None
            }
        };
        let logged = match known {
            Some(logged) => logged,
            None => client.create_logged_model(&experiment_id, &run_id, &model.name, &[tag])?,
        };
        let store = self.store_at(&logged.artifact_uri)?;
        store.put(&format!("data/{file_name}"), Source::File(&file))?;
        if let Some(onnx) = &onnx {
            store.put(ONNX, Source::File(onnx))?;
        }
        let description = description(model, &logged.id, &run_id, &logged.artifact_uri, &file_name);
        put_texts(&*store, &[("code/yolo11_model.py", LOADER.to_owned()), ("MLmodel", description)])?;
        client.log_outputs(&run_id, &[(logged.id.clone(), 0)])?;
        client.finalize_logged_model(&logged.id)?;
        if let Some(name) = &model.register {
            register(&client, name, &run_id, &logged.id, model.fitness)?;
        }
        self.state.models.insert(model.name.clone(), logged.id);
        self.state.begun.remove(&mark);
        self.state.save(&self.folder, true)
    }
}

/// Makes a version of the registered model and lets `champion` stand for it where it is better than the present one.
fn register(client: &Client, name: &str, run_id: &str, model_id: &str, fitness: Option<f64>) -> Result<(), Error> {
    client.ensure_registered_model(name)?;
    let source = format!("models:/{model_id}");
    let version = match client.find_model_version(name, run_id, &source)? {
        Some(version) => version,
        None => {
            let tags: Vec<_> = fitness.map(|fitness| (FITNESS.to_owned(), fitness.to_string())).into_iter().collect();
            client.create_model_version(name, &source, run_id, model_id, &tags)?
        }
    };
    let better = match client.version_by_alias(name, CHAMPION)? {
        None => true,
        Some(champion) if champion.version == version.version => false,
        Some(champion) => match (fitness, fitness_of(client, &champion)?) {
            (Some(own), Some(its)) => own > its,
            (Some(_), None) => true,
            (None, _) => false,
        },
    };
    if better { client.set_alias(name, CHAMPION, &version.version) } else { Ok(()) }
}

/// What a version achieved: its own tag, or the best of its run.
fn fitness_of(client: &Client, version: &ModelVersion) -> Result<Option<f64>, Error> {
    let own = version.tags.iter().find(|(key, _)| key == FITNESS).and_then(|(_, value)| value.parse::<f64>().ok());
    if own.is_some() || version.run_id.is_empty() {
        return Ok(own);
    }
    let points = match client.metric_history(&version.run_id, FITNESS) {
        Err(error) if error.is_missing() => return Ok(None),
        points => points?,
    };
    Ok(points.into_iter().map(|(_, _, value)| value).filter(|value| value.is_finite()).reduce(f64::max))
}

/// The `MLmodel` file. JSON texts are YAML texts.
fn description(model: &ModelRecord, model_id: &str, run_id: &str, artifact_uri: &str, file_name: &str) -> String {
    let text = |value: &str| json!(value).to_string();
    let mut lines = vec![
        format!("artifact_path: {}", text(artifact_uri)),
        "flavors:".to_owned(),
        "  python_function:".to_owned(),
        "    code: code".to_owned(),
        "    data: data".to_owned(),
        "    loader_module: yolo11_model".to_owned(),
    ];
    if model.onnx.is_some() {
        lines.extend(["  onnx:".to_owned(), format!("    data: {ONNX}")]);
    }
    lines.push("  yolo11:".to_owned());
    lines.push(format!("    checkpoint: {}", text(&format!("data/{file_name}"))));
    lines.push(format!("    version: {}", text(env!("CARGO_PKG_VERSION"))));
    if let Value::Object(entries) = &model.metadata {
        lines.extend(entries.iter().map(|(name, value)| format!("    {}: {value}", text(name))));
    }
    lines.push(format!("model_id: {}", text(model_id)));
    lines.push(format!("model_uuid: {}", text(model_id)));
    lines.push(format!("run_id: {}", text(run_id)));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_its_files() {
        let model = ModelRecord { metadata: json!({"imgsz": 640, "names": ["a\"b"]}), ..ModelRecord::default() };
        let text = description(&model, "m-1", "r", "mlflow-artifacts:/1/models/m-1/artifacts", "best.pt");
        assert!(text.contains("    checkpoint: \"data/best.pt\"\n"), "{text}");
        assert!(text.contains("    \"names\": [\"a\\\"b\"]\n"), "{text}");
        assert!(!text.contains("onnx"), "{text}");
        let both = ModelRecord { onnx: Some("x.onnx".into()), ..model };
        let both = description(&both, "m-1", "r", "mlflow-artifacts:/1/models/m-1/artifacts", "best.pt");
        assert_eq!(both, text.replace("  yolo11:\n", "  onnx:\n    data: model.onnx\n  yolo11:\n"));
        assert!(text.ends_with("model_id: \"m-1\"\nmodel_uuid: \"m-1\"\nrun_id: \"r\"\n"), "{text}");
    }
}
