"""How much longer a training takes whose tracking server dies three times, the last time for longer than the training.

YOLO11_PYTHON=$(.ci/peers requirements.txt) sh -c '"$YOLO11_PYTHON" crates/tracking/examples/outage.py target/release/yolo11'

The training has one thread, and the server runs only where a core has nothing else to do (SCHED_IDLE), so that what the server's own start
costs does not count. The kinds take turns, every other turn in the opposite order, so that a machine that gets slower favours none. Prints
the training's own seconds (results.csv), those of its process on a core, what its log says tracking took of its thread, and the ratios of
the kinds' sums.
EPOCHS (12), TURNS (2) and KINDS (all three, by commas) say how much of it.
"""

import csv
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = os.path.abspath(sys.argv[1])
EPOCHS = int(os.environ.get("EPOCHS", "12"))


def start_server(home, port):
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", f"{home}/artifacts"]
    return subprocess.Popen(
        command,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)),
    )


def wait_for_server(port):
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
        except OSError:
            time.sleep(0.2)


def stop(server):
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def epochs(run):
    try:
        return list(csv.DictReader((run / "results.csv").open()))
    except OSError:
        return []


def share(home):
    """The last such line of the log, without its time; nothing where the training was not tracked."""
    lines = pathlib.Path(home, "logs", "training.log").read_text().splitlines()
    told = [line.split("tracking   ")[1] for line in lines if "tracking   took" in line]
    return told[-1] if told else ""


def training(home, name, port, outages):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    command = [PROGRAM, "train", "data=demo", "imgsz=160", "batch=8", "threads=1", "workers=1", f"epochs={EPOCHS}"]
    command += ["plots=false", "tracking_wait=1", f"name={name}", f"tracking={'off' if outages is None else 'on'}"]
    server = start_server(home, port)
    wait_for_server(port)
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = pathlib.Path(home, "runs", name)
    kills = [EPOCHS // 6, EPOCHS // 2, EPOCHS * 5 // 6] if outages else []
    for number, at in enumerate(kills):
        while len(epochs(run)) < at:
            time.sleep(0.05)
        stop(server)
        if number < 2:
            # Down for an epoch.
            while len(epochs(run)) < at + 1:
                time.sleep(0.05)
            server = start_server(home, port)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    if not outages:
        stop(server)
    return float(epochs(run)[-1]["time"]), usage.ru_utime + usage.ru_stime


with tempfile.TemporaryDirectory() as home:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    outages = {"untracked": None, "undisturbed": False, "three outages": True}
    kinds = os.environ.get("KINDS", ",".join(outages)).split(",")
    found = {kind: [] for kind in kinds}
    for turn in range(int(os.environ.get("TURNS", "2"))):
        for kind in kinds if turn % 2 == 0 else kinds[::-1]:
            wall, core = training(home, f"{kind}{turn}".replace(" ", "-"), port, outages[kind])
            found[kind].append((wall, core))
            print(f"{kind}: {wall:.2f} s, {core:.2f} s of a core", share(home) if outages[kind] is not None else "", flush=True)
    for one, other in zip(kinds[1:], kinds):
        wall, core = (sum(a) / sum(b) for a, b in zip(zip(*found[one]), zip(*found[other])))
        print(f"{one} / {other}: {wall:.4f}, of a core {core:.4f}")
