"""The ordinary life of the official MLflow client against the server at argv[1]. Prints one JSON value: what it has seen."""
import json, math, os, sys, tempfile, urllib.request

import mlflow, numpy, onnx
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

uri = sys.argv[1]
mlflow.set_tracking_uri(uri)
client = MlflowClient()
seen = {}

mlflow.set_experiment("life")
experiment = client.get_experiment_by_name("life")
client.set_experiment_tag(experiment.experiment_id, "team", "vision")
seen["experiment tags"] = client.get_experiment(experiment.experiment_id).tags["team"]

with mlflow.start_run(run_name="first", tags={"kind": "train"}) as run:
    mlflow.log_param("lr", 0.001)
    mlflow.log_params({"epochs": 3, "name": "n" * 7000})
    mlflow.log_metric("loss", 0.5, step=0)
    for step in range(1, 20):
        mlflow.log_metrics({"loss": 0.5 / step, "metrics/mAP50": step / 20}, step=step)
    mlflow.log_metric("odd", float("nan"), step=1)
    mlflow.log_metric("huge", float("inf"), step=1)
    mlflow.set_tag("mlflow.note.content", "a note")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "plain text.txt")
        open(path, "w").write("hello")
        mlflow.log_artifact(path)
        os.mkdir(os.path.join(folder, "deep"))
        open(os.path.join(folder, "deep", "a+b ü.bin"), "wb").write(bytes(range(256)) * 5000)
        mlflow.log_artifacts(folder, "all")
    mlflow.log_dict({"a": [1, 2]}, "config/settings.json")
    mlflow.log_image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), key="batch", step=3)
    mlflow.log_table({"class": ["cat", "dog"], "map": [0.5, 0.75]}, "table.json")
    data = mlflow.data.from_numpy(numpy.arange(6), name="toy", digest="abc123")
    mlflow.log_input(data, context="training")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    info = mlflow.onnx.log_model(model, name="detector", registered_model_name="detectors", params={"imgsz": 640})
    mlflow.log_metric("mAP50", 0.9, step=1, model_id=info.model_id)
run_id = run.info.run_id

back = client.get_run(run_id)
seen["status"] = back.info.status
seen["params"] = {"lr": back.data.params["lr"], "epochs": back.data.params["epochs"], "cut": len(back.data.params["name"])}
seen["latest"] = [back.data.metrics["loss"], back.data.metrics["metrics/mAP50"], math.isnan(back.data.metrics["odd"]), back.data.metrics["huge"]]
seen["note"] = back.data.tags["mlflow.note.content"]
seen["input"] = [back.inputs.dataset_inputs[0].dataset.name, back.inputs.dataset_inputs[0].tags[0].value]
history = client.get_metric_history(run_id, "loss")
seen["history"] = [len(history), history[0].step, history[-1].step, history[-1].value]
seen["root"] = sorted((f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id) if not f.path.startswith("images"))
seen["images"] = len(client.list_artifacts(run_id, "images"))
with tempfile.TemporaryDirectory() as folder:
    fetched = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="all", dst_path=folder)
    seen["fetched"] = len(open(os.path.join(fetched, "deep", "a+b ü.bin"), "rb").read())
seen["table"] = mlflow.load_table("table.json", run_ids=[run_id]).to_dict("list")

# A changed param is refused, the same one again is not; a batch that is sent twice is kept once.
try:
    client.log_param(run_id, "lr", "0.01")
except MlflowException as error:
    seen["changed param"] = error.error_code
client.log_param(run_id, "lr", "0.001")
batch = [Metric("again", value / 7, 1700000000000 + value, value) for value in range(500)]
for _ in range(2):
    client.log_batch(run_id, metrics=batch, params=[Param("p", "1")], tags=[RunTag("t", "1")])
seen["again"] = len(client.get_metric_history(run_id, "again"))

others = []
for number in range(7):
    with mlflow.start_run(run_name=f"other {number}", nested=False):
        mlflow.log_param("lr", number)
        mlflow.log_metric("mAP50", number / 10)
        others.append(mlflow.active_run().info.run_id)
search = lambda text, **more: [r.info.run_name for r in client.search_runs([experiment.experiment_id], text, **more)]
seen["search"] = [
    search("metrics.mAP50 > 0.35 and params.lr != '5'", order_by=["metrics.mAP50 DESC"]),
    search("tags.kind = 'train' and attributes.status = 'FINISHED'"),
    search("attributes.run_name LIKE 'other%'", order_by=["params.lr ASC"], max_results=3),
    search("datasets.name = 'toy'"),
    search("tags.nothing IS NULL and run_name ILIKE 'OTHER 1'"),
    search(f"run_id IN ('{others[0]}', '{others[1]}')", order_by=["attributes.run_name"]),
]
page = client.search_runs([experiment.experiment_id], max_results=5, order_by=["attributes.start_time ASC"])
rest = client.search_runs([experiment.experiment_id], max_results=5, order_by=["attributes.start_time ASC"], page_token=page.token)
seen["pages"] = [len(page), len(rest), rest.token, len({r.info.run_id for r in page + rest})]
seen["frame"] = list(mlflow.search_runs(["%s" % experiment.experiment_id], "metrics.mAP50 > 0.55", order_by=["metrics.mAP50"])["metrics.mAP50"])
seen["experiments"] = [e.name for e in client.search_experiments(filter_string="name LIKE 'li%' and tags.team = 'vision'")]

client.delete_run(others[0])
seen["deleted"] = [len(search("run_name = 'other 0'")), len(search("run_name = 'other 0'", run_view_type=ViewType.DELETED_ONLY))]
try:
    client.log_metric(others[0], "x", 1)
except MlflowException as error:
    seen["write to deleted"] = error.error_code
client.restore_run(others[0])
seen["restored"] = len(search("run_name = 'other 0'"))
client.update_run(others[0], status="FAILED", name="renamed")
seen["renamed"] = [client.get_run(others[0]).info.run_name, client.get_run(others[0]).info.status]
client.delete_tag(run_id, "kind")
seen["tag gone"] = "kind" in client.get_run(run_id).data.tags

version = mlflow.register_model(f"models:/{info.model_id}", "detectors")
client.set_registered_model_alias("detectors", "champion", version.version)
client.set_registered_model_tag("detectors", "task", "detect")
client.set_model_version_tag("detectors", version.version, "checked", "yes")
client.update_model_version("detectors", version.version, "the best so far")
loaded = mlflow.onnx.load_model("models:/detectors@champion")
found = client.get_model_version_by_alias("detectors", "champion")
seen["registry"] = [str(found.version), found.description, dict(found.tags), found.run_id == run_id, list(found.aliases), loaded.graph.node[0].op_type,
                    {k: str(v) for k, v in client.get_registered_model("detectors").aliases.items()}, len(client.search_model_versions("name = 'detectors'")),
                    [m.name for m in client.search_registered_models("tags.task = 'detect'")]]
predicted = mlflow.pyfunc.load_model("models:/detectors@champion").predict(numpy.ones((1, 2), dtype=numpy.float32))
seen["predicted"] = predicted["y"].tolist()
logged = client.search_logged_models([experiment.experiment_id], filter_string="metrics.mAP50 > 0.5")
seen["logged model"] = [logged[0].name, str(logged[0].status), dict(logged[0].params), [(m.key, m.value) for m in logged[0].metrics]]
client.delete_registered_model_alias("detectors", "champion")
client.rename_registered_model("detectors", "finders")
client.delete_model_version("finders", "1")
seen["versions left"] = [str(v.version) for v in client.search_model_versions("name = 'finders'")]
try:
    client.get_model_version("finders", "1")
except MlflowException as error:
    seen["version gone"] = error.error_code
client.delete_registered_model("finders")

client.delete_experiment(experiment.experiment_id)
seen["experiment deleted"] = [client.get_experiment(experiment.experiment_id).lifecycle_stage, client.get_run(run_id).info.lifecycle_stage]
client.restore_experiment(experiment.experiment_id)
client.rename_experiment(experiment.experiment_id, "afterlife")
seen["experiment back"] = [client.get_experiment_by_name("afterlife").lifecycle_stage, client.get_run(run_id).info.lifecycle_stage]

# An upload in parts, and a range of what came of it.
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(6 << 20)
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 << 20)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "large.bin")
    content = b"".join(number.to_bytes(4, "little") for number in range((13 << 20) // 4))
    open(path, "wb").write(content)
    client.log_artifact(run_id, path, "large")
address = f"{uri}/get-artifact?run_uuid={run_id}&path=large/large.bin"
request = urllib.request.Request(address, headers={"Range": "bytes=8388608-8388615"})
answer = urllib.request.urlopen(request)
seen["range"] = [answer.status, answer.headers["Content-Range"], answer.read() == content[8388608:8388616]]
seen["large"] = urllib.request.urlopen(address).read() == content
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
get_artifact_repository(back.info.artifact_uri).delete_artifacts("large")
seen["large gone"] = [f.path for f in client.list_artifacts(run_id, "large")]
print(json.dumps(seen))
