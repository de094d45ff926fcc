-- Who has the tail: latencies, failures and attainment by client profile and priority.
--
-- run  folder of the run
-- Requests that arrived after the warm-up; latencies in ms, of those that succeeded. attainment is null where nothing is expected.
WITH summary AS (
    SELECT (content ->> '$.simulation.warm_up_duration_s')::DOUBLE AS warm_up_s
    FROM read_text(getvariable('run') || '/summary.json')
)
SELECT profile, priority, count(*) AS requests,
       count(*) FILTER (WHERE status IN ('FAILED', 'TIMEOUT')) / count(*) AS lost_share,
       quantile_cont(queue_time_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS queue_p99_ms,
       quantile_cont(ttft_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS ttft_p99_ms,
       quantile_cont(tpot_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS tpot_p99_ms,
       quantile_cont(e2e_latency_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS e2e_p99_ms,
       count(*) FILTER (WHERE slo_met) / nullif(count(slo_met), 0) AS attainment
FROM read_parquet(getvariable('run') || '/requests.parquet'), summary
WHERE arrival_time >= warm_up_s
GROUP BY profile, priority
ORDER BY profile, priority;
