"""Runs an exported file with the program it is for, on pictures that come in on stdin.

Arguments: format, path, height, width. Says on stdout, a line of JSON, what runs it. Then, for each batch: a line with the number of
pictures and their bytes [picture, height, width, 3] come in; for each output a line with its shape and its float32 values go out.
Leaves with 3 where the program is not installed.
"""

import json
import os
import sys

format, path, height, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
# What libraries print goes to stderr.
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

try:
    import numpy

    if format == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = "ONNX Runtime " + onnxruntime.__version__
        run = lambda images: session.run(None, {"images": images})
    elif format == "torchscript":
        import torch

        module = torch.jit.load(path)
        name = "PyTorch " + torch.__version__

        def run(images):
            with torch.no_grad():
                outputs = module(torch.from_numpy(images))
            return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else [outputs])]

    elif format == "openvino":
        import openvino

        file = next(os.path.join(path, file) for file in os.listdir(path) if file.endswith(".xml"))
        # Otherwise the CPU plug-in computes in bfloat16 where the processor has it.
        model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        name = "OpenVINO " + openvino.__version__.split("-")[0]
        run = lambda images: [output.copy() for output in model(images).values()]
    elif format == "ncnn":
        import ncnn

        network = ncnn.Net()
        if network.load_param(os.path.join(path, "model.ncnn.param")) or network.load_model(
            os.path.join(path, "model.ncnn.bin")
        ):
            sys.exit("ncnn cannot read the model")
        outputs = network.output_names()
        name = "ncnn " + ncnn.__version__

        def run(images):
            found = [[] for _ in outputs]
            for image in images:
                extractor = network.create_extractor()
                extractor.input("in0", ncnn.Mat(image))
                for values, output in zip(found, outputs):
                    values.append(numpy.array(extractor.extract(output)[1]))
            return [numpy.stack(values) for values in found]

    elif format == "tflite":
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter
        from importlib.metadata import version

        interpreter = Interpreter(path)
        interpreter.allocate_tensors()
        name = "LiteRT " + version("ai-edge-litert")
        taken = interpreter.get_input_details()[0]
        given = sorted(interpreter.get_output_details(), key=lambda output: output["name"])

        def run(images):
            interpreter.set_tensor(taken["index"], numpy.ascontiguousarray(images.transpose(0, 2, 3, 1)))
            interpreter.invoke()
            outputs = [interpreter.get_tensor(output["index"]).copy() for output in given]
            if len(outputs) == 1:
                outputs[0][:, :4] *= numpy.float32([width, height, width, height]).reshape(1, 4, 1)
            return outputs

except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

out.write(json.dumps({"runtime": name}).encode() + b"\n")
out.flush()
while line := sys.stdin.buffer.readline():
    pictures = numpy.frombuffer(sys.stdin.buffer.read(int(line) * height * width * 3), numpy.uint8)
    pictures = pictures.reshape(-1, height, width, 3).transpose(0, 3, 1, 2)
    outputs = run(numpy.ascontiguousarray(pictures).astype(numpy.float32) / 255)
    out.write(json.dumps([list(output.shape) for output in outputs]).encode() + b"\n")
    for output in outputs:
        out.write(numpy.ascontiguousarray(output, numpy.float32).tobytes())
    out.flush()
