"""Loads a YOLO11 checkpoint for mlflow.pyfunc: predictions are made by the program `yolo11`, which must be on the PATH."""

import json
import pathlib
import subprocess
import tempfile


class Yolo11Model:
    """Detects objects in pictures given by their paths."""

    def __init__(self, checkpoint):
        self.checkpoint = str(checkpoint)

    def predict(self, model_input, params=None):
        """Takes paths (a list, or the first column of a table), gives what `yolo11 predict --json` prints.

        Entries of `params` are settings of that command, such as {"conf": 0.5}. It leaves no files behind, unless they say so by "save" and
        "project".
        """
        if hasattr(model_input, "iloc"):
            model_input = model_input.iloc[:, 0].tolist()
        pictures = [model_input] if isinstance(model_input, str) else [str(path) for path in model_input]
        with tempfile.TemporaryDirectory() as folder:
            settings = {"save": "false", "project": folder, **(params or {})}
            command = ["yolo11", "predict", "--json", f"model={self.checkpoint}", f"source={json.dumps(pictures)}"]
            command += [f"{key}={value}" for key, value in settings.items()]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)


def _load_pyfunc(path):
    folder = pathlib.Path(path)
    checkpoints = sorted(folder.glob("*.pt")) + sorted(folder.glob("*.safetensors"))
    if not checkpoints:
        raise FileNotFoundError(f"{folder}: no checkpoint")
    return Yolo11Model(checkpoints[0])
