"""What is on a server, with names where ids may differ: python look.py URI"""

import hashlib
import json
import os
import sys
import tempfile

import mlflow
from mlflow.entities import ViewType

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
OWN = "yolo11.import."
names = {}
found = {"experiments": {}, "ids": {}, "registry": {}}


def files(uri):
    digests = {}
    with tempfile.TemporaryDirectory() as folder:
        root = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        for place, _, entries in os.walk(root):
            for entry in entries:
                path = os.path.join(place, entry)
                digests[os.path.relpath(path, root)] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    return digests


def tags(entries):
    kept = {key: value for key, value in entries.items() if not key.startswith(OWN)}
    if "mlflow.parentRunId" in kept:
        kept["mlflow.parentRunId"] = names[kept["mlflow.parentRunId"]]
    return kept


experiments = client.search_experiments(view_type=ViewType.ALL)
for experiment in experiments:
    # The client sees runs of deleted experiments only when asked for by their ids.
    for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL):
        names[run.info.run_id] = run.info.run_name
for experiment in experiments:
    runs = {}
    for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL):
        run_id = run.info.run_id
        found["ids"][run.info.run_name] = run_id
        models = [client.get_logged_model(output.model_id) for output in (run.outputs.model_outputs if run.outputs else [])]
        runs[run.info.run_name] = {
            "status": run.info.status,
            "stage": run.info.lifecycle_stage,
            "times": [run.info.start_time, run.info.end_time],
            "user": run.info.user_id,
            "params": run.data.params,
            "tags": tags(run.data.tags),
            "points": {
                key: sorted([point.step, point.timestamp, repr(point.value)] for point in client.get_metric_history(run_id, key))
                for key in run.data.metrics
            },
            "inputs": [
                [entry.dataset.name, entry.dataset.digest, entry.dataset.source, entry.dataset.schema, [[tag.key, tag.value] for tag in entry.tags]]
                for entry in run.inputs.dataset_inputs
            ],
            "files": files(run.info.artifact_uri) if client.list_artifacts(run_id) else {},
            "models": [[model.name, str(model.status), names[model.source_run_id], files(model.artifact_location)] for model in models],
        }
    found["experiments"][experiment.name] = {"stage": experiment.lifecycle_stage, "tags": tags(experiment.tags), "runs": runs}
for model in client.search_registered_models():
    model = client.get_registered_model(model.name)
    versions = {}
    for version in client.search_model_versions(f"name = '{model.name}'"):
        loaded = mlflow.pyfunc.load_model(f"models:/{model.name}/{version.version}")
        versions[str(version.version)] = [version.description, tags(version.tags), names[version.run_id], loaded.predict([1, 2])]
    found["registry"][model.name] = {
        "tags": tags(model.tags),
        "aliases": {alias: str(version) for alias, version in model.aliases.items()},
        "versions": versions,
    }
print(json.dumps(found))
