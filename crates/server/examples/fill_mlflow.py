"""Fills MLflow's own SQLite database with the runs that `load` searches: over its REST interface that takes most of an hour.

python fill_mlflow.py DATABASE [RUNS]: prints the experiment's id, which `load` takes as at_real=ID. The server may run meanwhile.
"""

import sqlite3
import sys
import uuid

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def main():
    path, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    # Makes the tables as this version of MLflow wants them.
    experiment = SqlAlchemyStore(f"sqlite:///{path}", "mlflow-artifacts:/").create_experiment(f"search {uuid.uuid4().hex}")
    database = sqlite3.connect(path, timeout=60)
    with database:
        for number in range(runs):
            run = uuid.uuid4().hex
            database.execute(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
                "VALUES (?, ?, 'UNKNOWN', '', '', '', 'RUNNING', ?, '', 'active', ?, ?)",
                (run, f"run {number}", 1_700_000_000_000 + number, f"mlflow-artifacts:/{experiment}/{run}/artifacts", int(experiment)))
            metrics = [(f"metric_{key}", (number * 7919 + key * 104_729) % 10_007 / 10_007, 1_700_000_000_000, run, 1, False) for key in range(8)]
            for table in ("metrics", "latest_metrics"):
                database.executemany(f"INSERT INTO {table} (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", metrics)
            pairs = lambda what, count: [(f"{what}_{key}", str((number + key) % 10), run) for key in range(count)]
            database.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", pairs("param", 20))
            database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", [*pairs("tag", 5), ("mlflow.runName", f"run {number}", run)])
    print(experiment)


main()
