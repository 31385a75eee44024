-- What a search looks at first: the runs of an experiment, the youngest first, without a look at the runs themselves.
CREATE INDEX runs_listed ON runs (experiment, lifecycle_stage, start_time DESC, run_id);
DROP INDEX runs_by_experiment;
