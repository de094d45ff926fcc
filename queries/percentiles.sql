-- The latencies of a run: how many requests have each, its mean, spread and percentiles. They are those of summary.json.
--
-- run  folder of the run
-- All latencies in ms, of requests that succeeded and arrived after the warm-up. TPOT needs two tokens.
WITH summary AS (SELECT content::JSON AS json FROM read_text(getvariable('run') || '/summary.json')),
counted AS (
    SELECT ttft_ms, tpot_ms, e2e_latency_ms, queue_time_ms
    FROM read_parquet(getvariable('run') || '/requests.parquet'), summary
    WHERE status = 'SUCCESS' AND arrival_time >= (json ->> '$.simulation.warm_up_duration_s')::DOUBLE
)
SELECT metric, count(*) AS requests, avg(value) AS mean, stddev_pop(value) AS std, min(value) AS "min",
       quantile_cont(value, 0.50) AS p50, quantile_cont(value, 0.90) AS p90, quantile_cont(value, 0.95) AS p95,
       quantile_cont(value, 0.99) AS p99, max(value) AS "max"
FROM (UNPIVOT counted ON ttft_ms, tpot_ms, e2e_latency_ms, queue_time_ms INTO NAME metric VALUE value)
GROUP BY metric
ORDER BY metric;
