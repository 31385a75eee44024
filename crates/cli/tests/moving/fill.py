"""Fills a server with some of everything: python fill.py URI"""

import os
import sys
import tempfile

import mlflow
import numpy
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


mlflow.set_experiment("cells")
mlflow.set_experiment_tag("team", "vision")
with mlflow.start_run(run_name="sweep") as parent:
    mlflow.set_tag("mlflow.note.content", "a parent")
    for number in range(3):
        with mlflow.start_run(run_name=f"child{number}", nested=True) as run:
            mlflow.log_params({f"param{index}": index * number for index in range(120)})
            points = [Metric("loss", 1 / (step + 1), 1700000000000 + step, step) for step in range(1500)]
            points += [Metric("odd", value, 1700000000000 + step, step) for step, value in enumerate([float("nan"), -1e-300, 0.1, 0.1])]
            for start in range(0, len(points), 1000):
                client.log_batch(run.info.run_id, metrics=points[start : start + 1000])
            mlflow.log_text("ü" * 1000, "deep/er/a b+c%.txt")
            mlflow.log_image(numpy.full((8, 8, 3), number, numpy.uint8), key="picture", step=number)
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "weights.bin")
                with open(path, "wb") as file:
                    file.write(bytes([number]) * 2_000_000)
                mlflow.log_artifact(path, "weights")
            mlflow.log_input(mlflow.data.from_numpy(numpy.arange(6.0)), context="training")
            mlflow.pyfunc.log_model(name="echo", python_model=Echo(), registered_model_name="echo")
client.delete_model_version("echo", "2")
client.set_registered_model_alias("echo", "champion", "3")
client.set_registered_model_tag("echo", "kind", "toy")
client.update_model_version("echo", "1", "the first of them")
client.set_model_version_tag("echo", "3", "metrics/mAP50-95B", "0.5")
deleted = client.create_run(parent.info.experiment_id, run_name="deleted")
client.log_text(deleted.info.run_id, "gone", "gone.txt")
client.delete_run(deleted.info.run_id)
under_way = client.create_run(parent.info.experiment_id, run_name="under way", start_time=1700000000000)
client.log_batch(under_way.info.run_id, metrics=[Metric("loss", 1.0, 1, 0)], params=[Param("a", "x" * 6000)], tags=[RunTag("t", "y")])
old = client.create_experiment("old")
client.create_run(old, run_name="of an old experiment")
client.delete_experiment(old)
print("null")
