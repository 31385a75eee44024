"""Everything of every run of an experiment, as MLflow's own client gives it: python read_back.py URI EXPERIMENT"""

import hashlib
import json
import os
import sys
import tempfile

import mlflow

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name(sys.argv[2])
runs = {}
for run in client.search_runs([experiment.experiment_id]):
    run_id = run.info.run_id
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        if client.list_artifacts(run_id):
            root = mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=folder)
            for place, _, names in os.walk(root):
                for name in names:
                    path = os.path.join(place, name)
                    files[os.path.relpath(path, root)] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    runs[run.info.run_name] = {
        "id": run_id,
        "status": run.info.status,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "artifact_uri": run.info.artifact_uri,
        "params": run.data.params,
        "tags": run.data.tags,
        "points": {
            key: [[point.step, point.timestamp, repr(point.value)] for point in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
        },
        "files": files,
        "inputs": [[entry.dataset.name, entry.dataset.digest, entry.tags[0].value] for entry in run.inputs.dataset_inputs],
        "models": [output.model_id for output in run.outputs.model_outputs] if run.outputs else [],
    }
print(json.dumps(runs))
