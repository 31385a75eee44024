"""A registered model's champion, loaded in both ways: python load_model.py URI NAME PICTURE"""

import hashlib
import json
import sys

import mlflow
import numpy
import onnxruntime

mlflow.set_tracking_uri(sys.argv[1])
address = f"models:/{sys.argv[2]}@champion"
network = mlflow.onnx.load_model(address)
session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
shapes = [
    list(session.run(None, {"images": numpy.zeros((batch, 3, height, width), numpy.float32)})[0].shape)
    for batch, height, width in [(1, 64, 64), (2, 96, 160)]
]
checkpoint = mlflow.pyfunc.load_model(address)
version = mlflow.MlflowClient().get_model_version_by_alias(sys.argv[2], "champion")
path = checkpoint._model_impl.checkpoint
print(json.dumps({
    "version": str(version.version),
    "run": version.run_id,
    "shapes": shapes,
    "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
    "predictions": checkpoint.predict([sys.argv[3]], params={"imgsz": 64}),
}))
