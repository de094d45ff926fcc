-- How much of each GPU was used: busy, FLOPs over the peak's (MFU), bytes over the peak's (MBU). Of links: busy.
--
-- run  folder of the run
-- Means over the whole run; shares are of 1. The time series of a subject ends with the last of its work, so the length is the run's.
-- bytes are those of a GPU's memory, or that crossed the link.
WITH summary AS (
    SELECT (content ->> '$.simulation.total_duration_s')::DOUBLE AS run_s
    FROM read_text(getvariable('run') || '/summary.json')
)
SELECT kind, name, sum(busy * duration) / any_value(run_s) AS busy, sum(mfu * duration) / any_value(run_s) AS mfu,
       sum(mbu * duration) / any_value(run_s) AS mbu, sum(bytes) AS bytes
FROM read_parquet(getvariable('run') || '/timeseries.parquet'), summary
WHERE kind IN ('gpu', 'link')
GROUP BY kind, name
ORDER BY kind, name;
