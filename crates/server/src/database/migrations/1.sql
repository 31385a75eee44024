CREATE TABLE experiments (
    id {id},
    name {text} NOT NULL UNIQUE,
    artifact_location {text} NOT NULL,
    lifecycle_stage {text} NOT NULL,
    creation_time {int} NOT NULL,
    last_update_time {int} NOT NULL
);
CREATE TABLE experiment_tags (
    experiment {int} NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (experiment, name)
) {rowless};

CREATE TABLE runs (
    id {id},
    run_id {text} NOT NULL UNIQUE,
    experiment {int} NOT NULL REFERENCES experiments (id),
    name {text} NOT NULL,
    user_id {text} NOT NULL,
    status {int} NOT NULL,
    start_time {int} NOT NULL,
    end_time {int},
    artifact_uri {text} NOT NULL,
    lifecycle_stage {text} NOT NULL,
    deleted_time {int}
);
CREATE INDEX runs_by_experiment ON runs (experiment, start_time);
CREATE TABLE params (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (run, name)
) {rowless};
CREATE TABLE tags (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (run, name)
) {rowless};

-- The value of each metric at its last step, for tables of runs and for searching.
CREATE TABLE latest_metrics (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {real} NOT NULL,
    is_nan {int} NOT NULL,
    timestamp {int} NOT NULL,
    step {int} NOT NULL,
    PRIMARY KEY (run, name)
) {rowless};
-- The history of each metric: the points of a batch packed into one row. `number` grows with time.
CREATE TABLE metric_blocks (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    number {int} NOT NULL,
    points {blob} NOT NULL,
    PRIMARY KEY (run, name, number)
) {rowless};

CREATE TABLE datasets (
    id {id},
    experiment {int} NOT NULL REFERENCES experiments (id),
    name {text} NOT NULL,
    digest {text} NOT NULL,
    source_type {text} NOT NULL,
    source {text} NOT NULL,
    layout {text},
    profile {text},
    UNIQUE (experiment, name, digest)
);
-- `tags` is a JSON object.
CREATE TABLE run_datasets (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    dataset {int} NOT NULL REFERENCES datasets (id),
    tags {text} NOT NULL,
    PRIMARY KEY (run, dataset)
) {rowless};

CREATE TABLE logged_models (
    id {id},
    model_id {text} NOT NULL UNIQUE,
    experiment {int} NOT NULL REFERENCES experiments (id),
    name {text} NOT NULL,
    artifact_uri {text} NOT NULL,
    created {int} NOT NULL,
    updated {int} NOT NULL,
    status {int} NOT NULL,
    model_type {text},
    source_run_id {text},
    lifecycle_stage {text} NOT NULL
);
CREATE INDEX logged_models_by_experiment ON logged_models (experiment);
CREATE TABLE logged_model_params (
    model {int} NOT NULL REFERENCES logged_models (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model, name)
) {rowless};
CREATE TABLE logged_model_tags (
    model {int} NOT NULL REFERENCES logged_models (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model, name)
) {rowless};
CREATE TABLE logged_model_metrics (
    model {int} NOT NULL REFERENCES logged_models (id) ON DELETE CASCADE,
    run_id {text} NOT NULL,
    name {text} NOT NULL,
    timestamp {int} NOT NULL,
    step {int} NOT NULL,
    value {real} NOT NULL,
    is_nan {int} NOT NULL,
    dataset_name {text} NOT NULL,
    dataset_digest {text} NOT NULL,
    PRIMARY KEY (model, name, timestamp, step, run_id, dataset_name, dataset_digest)
) {rowless};
-- Models that a run used (`kind` 0) or made (`kind` 1).
CREATE TABLE run_models (
    run {int} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind {int} NOT NULL,
    model_id {text} NOT NULL,
    step {int} NOT NULL,
    PRIMARY KEY (run, kind, model_id)
) {rowless};

CREATE TABLE registered_models (
    id {id},
    name {text} NOT NULL UNIQUE,
    description {text} NOT NULL,
    created {int} NOT NULL,
    updated {int} NOT NULL,
    last_version {int} NOT NULL
);
CREATE TABLE registered_model_tags (
    model {int} NOT NULL REFERENCES registered_models (id) ON DELETE CASCADE,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model, name)
) {rowless};
CREATE TABLE registered_model_aliases (
    model {int} NOT NULL REFERENCES registered_models (id) ON DELETE CASCADE,
    alias {text} NOT NULL,
    version {int} NOT NULL,
    PRIMARY KEY (model, alias)
) {rowless};
CREATE TABLE model_versions (
    model {int} NOT NULL REFERENCES registered_models (id) ON DELETE CASCADE,
    version {int} NOT NULL,
    created {int} NOT NULL,
    updated {int} NOT NULL,
    user_id {text} NOT NULL,
    stage {text} NOT NULL,
    description {text} NOT NULL,
    source {text} NOT NULL,
    storage {text} NOT NULL,
    run_id {text} NOT NULL,
    run_link {text} NOT NULL,
    model_id {text} NOT NULL,
    status {text} NOT NULL,
    PRIMARY KEY (model, version)
) {rowless};
CREATE TABLE model_version_tags (
    model {int} NOT NULL,
    version {int} NOT NULL,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (model, version, name),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version) ON DELETE CASCADE
) {rowless};
