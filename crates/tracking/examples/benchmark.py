"""The same with the official client, at its best: log_batch of 1000 points, log_artifacts of a folder. `benchmark.rs` calls it.

STEPS=300 MLFLOW_TRACKING_URI=... python crates/tracking/examples/benchmark.py: log_metrics once a step as well, as callbacks do it.
"""

import os
import pathlib
import tempfile
import time

import mlflow
from mlflow.entities import Metric

KEYS = ["step/box_loss", "step/cls_loss", "step/dfl_loss", "step/lr", "step/gradient_norm"]

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for number in range(500):
        (folder / f"picture{number}.bin").write_bytes(bytes([number % 256]) * 100_000)
    begun = time.time()
    mlflow.set_experiment("benchmark")
    client = mlflow.MlflowClient()
    with mlflow.start_run(run_name="official") as run:
        points = [Metric(key, 1.0 / (step + 1), int(time.time() * 1000), step) for step in range(20_000) for key in KEYS]
        for start in range(0, len(points), 1000):
            client.log_batch(run.info.run_id, metrics=points[start : start + 1000])
        metrics = time.time() - begun
        mlflow.log_artifacts(str(folder), "pictures")
        print(f"shipped: {time.time() - begun:.2f} s, of it metrics {metrics:.2f} s")
    steps = int(os.environ.get("STEPS", "0"))
    if steps:
        begun = time.time()
        with mlflow.start_run(run_name="official, a call a step"):
            for step in range(steps):
                mlflow.log_metrics({key: 1.0 / (step + 1) for key in KEYS}, step=step)
            each = (time.time() - begun) / steps
            print(f"log_metrics a step: {each * 1000:.2f} ms a step, {each * 20_000:.0f} s for 20,000 steps")
