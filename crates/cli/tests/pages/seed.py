"""What the pages are tested with: runs, histories, pictures and models, logged over the REST interface as a training would."""

import json
import struct
import time
import urllib.error
import urllib.request
import zlib

NOTE = "# Aim\n\nFind **all** cells, see [the paper](https://example.org/paper).\n\n- small ones too\n\n<img src=x onerror=alert(1)> [bad](javascript:alert(1))"


class Server:
    def __init__(self, address):
        self.address = address.rstrip("/")

    def call(self, path, body=None, method=None, raw=None):
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        kind = "application/octet-stream" if raw is not None else "application/json"
        request = urllib.request.Request(f"{self.address}/api/2.0/{path}", data=data, method=method or ("POST" if data is not None else "GET"), headers={"Content-Type": kind})
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error
        return json.loads(text) if text.strip() else {}

    def experiment(self, name):
        return self.call("mlflow/experiments/create", {"name": name})["experiment_id"]

    def run(self, experiment, name, start, params=None, tags=None):
        tags = {"mlflow.user": "ada", **(tags or {})}
        run = self.call("mlflow/runs/create", {"experiment_id": experiment, "run_name": name, "start_time": start, "tags": pairs(tags)})["run"]
        run_id = run["info"]["run_id"]
        if params:
            self.log(run_id, params=params)
        return run_id

    def log(self, run_id, metrics=(), params=None):
        metrics = list(metrics)
        self.call("mlflow/runs/log-batch", {"run_id": run_id, "metrics": metrics[:800], "params": pairs(params or {})})
        for start in range(800, len(metrics), 1000):
            self.call("mlflow/runs/log-batch", {"run_id": run_id, "metrics": metrics[start:start + 1000]})

    def finish(self, run_id, status, end):
        self.call("mlflow/runs/update", {"run_id": run_id, "status": status, "end_time": end})

    def put(self, path, data):
        self.call(f"mlflow-artifacts/artifacts/{path}", raw=data, method="PUT")

    def delete(self, run_id):
        self.call("mlflow/runs/delete", {"run_id": run_id})


def pairs(values):
    return [{"key": key, "value": str(value)} for key, value in values.items()]


def metric(key, value, step, at):
    return {"key": key, "value": value, "step": step, "timestamp": at}


def png(red, green, blue, width=96, height=64):
    """A picture of one colour: tests read the colour back."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    row = b"\0" + bytes((red, green, blue)) * width
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")


def epoch_metrics(epoch, at, gain):
    values = {"train/box_loss": 4 / (1 + epoch), "train/cls_loss": 3 / (1 + epoch), "train/dfl_loss": 2 / (1 + epoch),
              "val/box_loss": 5 / (1 + epoch), "val/cls_loss": 4 / (1 + epoch), "val/dfl_loss": 3 / (1 + epoch),
              "metrics/mAP50-95B": gain * epoch / 40, "metrics/mAP50B": gain * epoch / 25, "metrics/precisionB": gain * epoch / 22,
              "metrics/recallB": gain * epoch / 24, "lr/pg0": 0.01 / epoch, "lr/pg1": 0.01 / epoch, "lr/pg2": 0.1 / epoch, "seconds": 10 * epoch}
    return [metric(key, value, epoch, at) for key, value in values.items()]


def dataset(digest, pictures, context):
    profile = {"pictures": pictures, "objects": 488, "objects_per_class": [193, 133, 162], "backgrounds": 0}
    return {"tags": [{"key": "mlflow.data.context", "value": context}],
            "dataset": {"name": "cells", "digest": digest, "source_type": "local", "source": json.dumps({"uri": "/data/cells/dataset.yaml"}),
                        "schema": json.dumps({"classes": ["bottle", "coin", "leaf"]}), "profile": json.dumps(profile)}}


LOG = "".join(f"2026-11-26T14:{minute:02}:00Z INFO    epoch {minute + 1}/20  box {4 / (2 + minute):.4f}\n" for minute in range(20))
PARAMS = {"model": "yolo11n", "epochs": 20, "batch": 8, "imgsz": 320, "optimizer": "SGD", "lr0": 0.01, "momentum": 0.937, "seed": 0, "data": "cells"}


def training(server, experiment, name, start, params, gain, colour, epochs=20, tags=None, digest="16274fe3607e47fc8b4377c341c1edc3"):
    """A run as `yolo11 train` logs it."""
    run = server.run(experiment, name, start, params, tags)
    metrics = []
    for epoch in range(1, epochs + 1):
        metrics += epoch_metrics(epoch, start + epoch * 10_000, gain)
    for step in range(1, epochs * 15 + 1):
        metrics += [metric("step/box_loss", 4 / (1 + step / 15) + (step % 7) * 0.05, step, start + step * 666), metric("step/lr", 0.01 / step, step, start + step * 666)]
    for sample in range(6):
        metrics += [metric("system/cpu_utilization_percentage", 40 + sample * 10, sample, start + sample * 10_000),
                    metric("system/system_memory_usage_megabytes", 900 + sample, sample, start + sample * 10_000)]
    server.log(run, metrics)
    server.call("mlflow/runs/log-inputs", {"run_id": run, "datasets": [dataset(digest, 120, "training"), dataset("363dbf02fc34095126f77feb761f09d9", 60, "validation")]})
    place = f"{experiment}/{run}/artifacts"
    for step in (5, 10, 20):
        if step <= epochs:
            stem = f"images/val_batch0_pred+step+{step}+timestamp+{start + step}+0b5e3f8a-1111-4222-8333-{step:012}"
            server.put(f"{place}/{stem}.png", png(colour, step * 10, 40))
            server.put(f"{place}/{stem}+compressed.webp", png(colour, step * 10, 40))
    return run


def seed(server, now):
    """Everything but the volumes; gives the ids by name."""
    hour = 3_600_000
    cells = server.experiment("cells")
    other = server.experiment("other")
    ids = {"cells": cells, "other": other}
    ids["alpha"] = training(server, cells, "alpha", now - 5 * hour, PARAMS, 0.9, 200, tags={
        "mlflow.note.content": NOTE, "team": "vision", "yolo11.model": "yolo11n, 3 classes", "mlflow.source.git.commit": "0123456789abcdef0123", "mlflow.source.git.branch": "main"})
    ids["beta"] = training(server, cells, "beta", now - 4 * hour, {**PARAMS, "imgsz": 640, "lr0": 0.02, "optimizer": "AdamW"}, 1.0, 100, digest="99999999607e47fc8b4377c341c1edc3")
    ids["gamma"] = training(server, cells, "gamma <b>bold</b>", now - 3 * hour, {**PARAMS, "seed": 7}, 0.5, 50, epochs=6, tags={"error": "runs/gamma: no space left on the disk"})
    server.finish(ids["alpha"], "FINISHED", now - 5 * hour + 200_000)
    server.finish(ids["beta"], "FINISHED", now - 4 * hour + 210_000)
    server.finish(ids["gamma"], "FAILED", now - 3 * hour + 60_000)
    for name, value, later in (("delta", 0.11, 0), ("epsilon", 0.22, 1000)):
        ids[name] = server.run(other, name, now - 2 * hour + later, {"depth": 3 if name == "delta" else 5})
        server.log(ids[name], [metric("score", value, 1, now - 2 * hour + 1000)])
        server.finish(ids[name], "FINISHED" if name == "delta" else "KILLED", now - 2 * hour + 5000)
    place = f"{cells}/{ids['alpha']}/artifacts"
    for name in ("confusion_matrix.png", "BoxPR_curve.png", "results.png"):
        server.put(f"{place}/{name}", png(30, 60, 200))
    server.put(f"{place}/results.csv", b"epoch,box_loss,note\n1,2.0,\"a, b\"\n2,1.3333,c\n")
    server.put(f"{place}/data_statistics.json", json.dumps({"classes": ["bottle", "coin", "leaf"]}).encode())
    server.put(f"{place}/page.html", b"<script>alert('ran')</script><h1>page</h1>")
    server.put(f"{place}/drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert('ran')</script></svg>")
    server.put(f"{place}/weights/best.pt", b"PK\x03\x04" + bytes(range(256)) * 40)
    server.put(f"{place}/training.log", LOG.encode())
    server.put(f"{cells}/{ids['beta']}/artifacts/confusion_matrix.png", png(60, 90, 100))
    models(server, ids)
    return ids


def models(server, ids):
    server.call("mlflow/registered-models/create", {"name": "cell detector", "description": "Finds **cells**."})
    for name in ("alpha", "beta"):
        model = server.call("mlflow/logged-models", {"experiment_id": ids["cells"], "name": "best", "source_run_id": ids[name]})["model"]
        place = model["info"]["artifact_uri"].split("mlflow-artifacts:/", 1)[1].lstrip("/")
        server.put(f"{place}/MLmodel", b"flavors:\n  yolo11:\n    checkpoint: data/best.pt\n")
        server.put(f"{place}/data/best.pt", b"weights of " + name.encode())
        server.call(f"mlflow/logged-models/{model['info']['model_id']}", {"model_id": model["info"]["model_id"], "status": "LOGGED_MODEL_READY"}, method="PATCH")
        server.call("mlflow/runs/outputs", {"run_id": ids[name], "models": [{"model_id": model["info"]["model_id"], "step": 0}]})
        value = 0.45 if name == "alpha" else 0.5
        server.call("mlflow/model-versions/create", {"name": "cell detector", "source": f"models:/{model['info']['model_id']}", "run_id": ids[name], "model_id": model['info']['model_id'], "tags": pairs({"metrics/mAP50-95B": value})})
    server.call("mlflow/registered-models/alias", {"name": "cell detector", "alias": "champion", "version": "1"})


def live(server, experiment, now):
    """A training at its third of ten epochs."""
    run = server.run(experiment, "live", now - 31_000, {**PARAMS, "epochs": 10}, {"mlflow.source.name": "yolo11 train"})
    for epoch in (1, 2, 3):
        server.log(run, epoch_metrics(epoch, now - 30_000 + epoch * 10_000, 0.7))
    server.put(f"{experiment}/{run}/artifacts/training.log", "".join(LOG.splitlines(True)[:3]).encode())
    return run


def volume(server, runs, points):
    """Many runs, and one with a long history."""
    experiment = server.experiment("volume")
    start = int(time.time() * 1000) - 90 * 86_400_000
    for index in range(runs):
        run = server.run(experiment, f"sweep-{index:04}", start + index * 60_000, {**PARAMS, "lr0": 0.001 * (index % 50 + 1), "seed": index})
        server.log(run, epoch_metrics(20, start + index * 60_000 + 200_000, (index * 37 % 1000) / 1000))
        server.finish(run, "FINISHED", start + index * 60_000 + 210_000)
    long = server.run(experiment, "long", start, {**PARAMS, "epochs": 1000})
    server.log(long, (metric("step/box_loss", 10 / (1 + step / 500) + (50.0 if step == points // 2 else 0.0), step, start + step * 100) for step in range(points)))
    server.finish(long, "FINISHED", start + points * 100)
    return experiment, long
