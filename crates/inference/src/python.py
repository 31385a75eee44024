"""Runs an exported file with the program it is for, on images that come in on stdin.

Arguments: format, path, threads. Says on stdout, a line of JSON, what runs it. Then, for each batch: a line of JSON with the shape
[batch, 3, height, width] and the float32 values come in; out go a line with the shapes of all outputs, the seconds it took and the most
bytes of memory this process has used, and then the outputs' float32 values.
Leaves with 3 where the program is not installed.
"""

import json
import os
import sys
import time

format, path = sys.argv[1:3]
threads = int(sys.argv[3])


def memory():
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# What libraries print goes to stderr.
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

try:
    import numpy

    if format == "torchscript":
        import torch

        torch.set_num_threads(threads)
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
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        model = openvino.Core().compile_model(file, "CPU", hints)
        name = "OpenVINO " + openvino.__version__.split("-")[0]
        run = lambda images: [output.copy() for output in model(images).values()]
    elif format == "ncnn":
        import ncnn

        network = ncnn.Net()
        network.opt.num_threads = threads
        if network.load_param(os.path.join(path, "model.ncnn.param")) or network.load_model(
            os.path.join(path, "model.ncnn.bin")
        ):
            sys.exit("ncnn cannot read the model")
        blobs = network.output_names()
        name = "ncnn " + ncnn.__version__

        def run(images):
            found = [[] for _ in blobs]
            for image in images:
                extractor = network.create_extractor()
                extractor.input("in0", ncnn.Mat(image))
                for values, blob in zip(found, blobs):
                    values.append(numpy.array(extractor.extract(blob)[1]))
            return [numpy.stack(values) for values in found]

    elif format == "tflite":
        from ai_edge_litert.interpreter import Interpreter
        from importlib.metadata import version

        interpreter = Interpreter(path, num_threads=threads)
        interpreter.allocate_tensors()
        name = "LiteRT " + version("ai-edge-litert")
        taken = interpreter.get_input_details()[0]
        given = sorted(interpreter.get_output_details(), key=lambda output: output["name"])

        def run(images):
            interpreter.set_tensor(taken["index"], numpy.ascontiguousarray(images.transpose(0, 2, 3, 1)))
            interpreter.invoke()
            outputs = [interpreter.get_tensor(output["index"]).copy() for output in given]
            if len(outputs) == 1:
                # Shares of the input's sides.
                height, width = images.shape[2:]
                outputs[0][:, :4] *= numpy.float32([width, height, width, height]).reshape(1, 4, 1)
            return outputs

except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

out.write(json.dumps({"runtime": name}).encode() + b"\n")
out.flush()
while line := sys.stdin.buffer.readline():
    shape = json.loads(line)
    images = numpy.frombuffer(sys.stdin.buffer.read(4 * int(numpy.prod(shape))), numpy.float32).reshape(shape).copy()
    begun = time.perf_counter()
    outputs = run(images)
    seconds = time.perf_counter() - begun
    about = {"shapes": [list(output.shape) for output in outputs], "seconds": seconds, "memory": memory()}
    out.write(json.dumps(about).encode() + b"\n")
    for output in outputs:
        out.write(numpy.ascontiguousarray(output, numpy.float32).tobytes())
    out.flush()
