"""The same work by `yolo11 data` and by `dvc`, one after the other, each in a repository of its own with data of its own.

    python3 beside_dvc.py --yolo11 target/release/yolo11 --dvc VENV/bin/dvc [--server target/release/s3-server]
        [--count 20000] [--size 50000] [--type copy] [--folder FOLDER] [--tools yolo11,dvc]

Prints seconds of wall time, start of the program included, and the most memory, one line a command. Nothing is deleted before the end
(for some minutes after many deletions ext4 makes files slowly: wait ten between two runs) unless --tidy is given, for sets that are too
large to stand there twice. On a virtual machine fill the memory with files first: `truncate -s SIZE hole; cat hole > /dev/null`.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--yolo11", required=True)
parser.add_argument("--dvc", required=True)
parser.add_argument("--server")
parser.add_argument("--count", type=int, default=20000)
parser.add_argument("--size", type=int, default=50000)
parser.add_argument("--type", default="copy")
parser.add_argument("--folder", default=None)
parser.add_argument("--tools", default="yolo11,dvc")
parser.add_argument("--tidy", action="store_true")
options = parser.parse_args()

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret-value"}
BUCKET = "artifacts"
place = pathlib.Path(tempfile.mkdtemp(dir=options.folder))
environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}


def make(folder):
    folder.mkdir(parents=True)
    for index in range(options.count):
        with open(folder / f"{index}.jpg", "wb") as file:
            for start in range(0, options.size, 1 << 20):
                file.write(os.urandom(min(1 << 20, options.size - start)))


def timed(tool, words, root):
    program = [str(pathlib.Path(options.dvc).absolute())] if tool == "dvc" else [str(pathlib.Path(options.yolo11).absolute()), "data"]
    os.sync()
    start = time.monotonic()
    with open(root.parent / f"{tool}.log", "a") as log:
        child = subprocess.Popen([*program, *words], cwd=root, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    taken = time.monotonic() - start
    if child.returncode:
        sys.exit(f"{tool} {words}: {child.returncode}, see {root.parent}/{tool}.log")
    return taken, usage


def line(tool, what, root, words):
    taken, usage = timed(tool, words, root)
    rest = f"{usage.ru_maxrss / 1000:5.0f} MB   {usage.ru_utime:6.2f} s user {usage.ru_stime:6.2f} s system"
    print(f"{tool:7} {what:9} {taken:8.2f} s {rest}", flush=True)
    results.setdefault(what, {})[tool] = taken


results = {}
server = None
if options.server:
    server = subprocess.Popen([options.server, str(place / "store")], stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip()
print(f"{options.count} files of {options.size} bytes, cache type {options.type}")
try:
    for tool in options.tools.split(","):
        make(place / "data" / tool)
    for tool in options.tools.split(","):
        root = place / tool
        root.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        timed(tool, ["init"], root)
        with open(root / ".dvc" / "config", "a") as config:
            config.write(f"[cache]\n    type = {options.type}\n")
            if server:
                config.write(f"[core]\n    remote = store\n['remote \"store\"']\n    url = s3://{BUCKET}/{tool}\n")
                config.write(f"    endpointurl = {address}\n    region = us-east-1\n")
        environment.update(KEYS)
        (place / "data" / tool).rename(root / "data")
        line(tool, "add", root, ["add", "data"])
        line(tool, "status", root, ["status"])
        (root / "data").rename(place / f"{tool}-old")
        line(tool, "checkout", root, ["checkout"])
        if options.tidy:
            shutil.rmtree(place / f"{tool}-old")
        if server:
            line(tool, "push", root, ["push"])
            (root / "data").rename(place / f"{tool}-older")
            (root / ".dvc" / "cache").rename(place / f"{tool}-cache")
            if options.tidy:
                shutil.rmtree(place / f"{tool}-older")
                shutil.rmtree(place / f"{tool}-cache")
            line(tool, "pull", root, ["pull"])
        if options.tidy:
            shutil.rmtree(root)
            shutil.rmtree(place / "store" / BUCKET / tool, ignore_errors=True)
    for what, taken in results.items():
        if len(taken) == 2:
            print(f"{what:9} {taken['dvc'] / taken['yolo11']:6.1f} x as fast")
finally:
    if server:
        server.terminate()
        server.wait()
    shutil.rmtree(place, ignore_errors=True)
