"""Opens exported files with the programs they are for. Reads jobs from stdin as JSON, prints what it found as JSON.

A job names a model, a file with pictures (bytes [image, height, width, 3]) and their shape; the outputs go beside the pictures.
"""

import json
import os
import sys

import numpy
import onnx
import onnxruntime

found = []
sessions = {}
for number, job in enumerate(json.load(sys.stdin)):
    path = job["model"]
    pictures = numpy.fromfile(job["pictures"], dtype=numpy.uint8).reshape(job["shape"])
    images = numpy.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(numpy.float32) / 255
    if job["reader"] == "torch":
        import torch

        if path not in sessions:
            sessions[path] = torch.jit.load(path), {}
        session, about = sessions[path]
        with torch.no_grad():
            outputs = session(torch.from_numpy(images))
        outputs = [output.numpy() for output in (outputs if isinstance(outputs, tuple) else [outputs])]
    elif path not in sessions:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        about = {
            "opset": model.opset_import[0].version,
            "metadata": session.get_modelmeta().custom_metadata_map,
            "inputs": [[value.name, value.type, value.shape] for value in session.get_inputs()],
            "outputs": [[value.name, value.type, value.shape] for value in session.get_outputs()],
            "weights": sorted({onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}),
        }
        sessions[path] = session, about
    session, about = sessions[path]
    if job["reader"] == "opencv":
        import cv2

        network = cv2.dnn.readNetFromONNX(path)
        network.setInput(images)
        outputs = [network.forward()]
    elif job["reader"] == "onnxruntime":
        outputs = session.run(None, {"images": images})
    files = []
    for place, output in enumerate(outputs):
        files.append(f"{job['pictures']}.{number}.{place}")
        output.astype(numpy.float32).tofile(files[-1])
    found.append({**about, "files": files, "shapes": [list(output.shape) for output in outputs]})
print(json.dumps(found))
