"""MLflow's own pages, served by the server at argv[1], clicked through in Chromium. Screenshots go to argv[2] where it is given.
Prints one JSON value: what was seen on each page."""
import json, os, sys, tempfile, time, urllib.request

from playwright.sync_api import sync_playwright

uri, pictures = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None


def post(path, body):
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def put(path, content):
    urllib.request.urlopen(urllib.request.Request(f"{uri}/api/2.0/mlflow-artifacts/artifacts/{path}", content, method="PUT"))


experiment = post("experiments/create", {"name": "vision"})["experiment_id"]
runs = []
for number in range(3):
    run = post("runs/create", {"experiment_id": experiment, "run_name": f"detector {number}", "start_time": int(time.time() * 1000), "user_id": "ann"})["run"]
    run_id = run["info"]["run_id"]
    metrics = [{"key": "mAP50", "value": (step + number) / 40, "timestamp": 1700000000000 + step * 1000, "step": step} for step in range(30)]
    post("runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": [{"key": "lr0", "value": f"0.0{number}"}], "tags": [{"key": "team", "value": "vision"}]})
    put(f"{experiment}/{run_id}/artifacts/notes/readme.txt", b"the artifact's own words")
    post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": int(time.time() * 1000)})
    runs.append(run_id)
post("registered-models/create", {"name": "finder", "description": "finds things"})
post("model-versions/create", {"name": "finder", "source": f"mlflow-artifacts:/{experiment}/{runs[2]}/artifacts/notes", "run_id": runs[2]})
post("registered-models/alias", {"name": "finder", "alias": "champion", "version": "1"})

seen, failed = {}, []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.on("response", lambda answer: failed.append(f"{answer.status} {answer.url.split('?')[0].replace(uri, '')}") if answer.status >= 500 else None)
    page.on("pageerror", lambda error: failed.append(str(error)[:200]))

    def visit(name, path, *texts):
        page.goto(f"{uri}/#{path}")
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=120_000)
        if pictures:
            page.wait_for_timeout(1500)
            page.screenshot(path=os.path.join(pictures, f"{name}.png"))
        seen[name] = list(texts)

    visit("experiments", "/experiments", "vision", "Default")
    visit("runs", f"/experiments/{experiment}/runs?workflowType=machine_learning", "detector 0", "detector 2")
    visit("run", f"/experiments/{experiment}/runs/{runs[1]}", "detector 1", "mAP50", "lr0", "0.01", "Finished")
    visit("charts", f"/experiments/{experiment}/runs/{runs[1]}/model-metrics", "mAP50")
    page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=120_000)
    seen["drawn"] = page.locator(".js-plotly-plot").count() > 0
    visit("artifacts", f"/experiments/{experiment}/runs/{runs[1]}/artifacts/notes/readme.txt", "readme.txt", "the artifact's own words")
    visit("compare", f"/compare-runs?runs={json.dumps(runs[:2])}&experiments={json.dumps([experiment])}", "detector 0", "detector 1")
    visit("models", "/models", "finder", "champion")
    visit("model", "/models/finder", "finds things", "Version 1")
    visit("version", "/models/finder/versions/1", "Version 1", "champion")
    browser.close()
seen["failed"] = sorted(set(failed))
print(json.dumps(seen))
