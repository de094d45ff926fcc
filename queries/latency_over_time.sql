-- Latency by time of arrival: where in the run it was bad.
--
-- run       folder of the run
-- window_s  length of a window in s; 10 if it is not set
-- All requests that arrived, the warm-up too; latencies in ms, of those that succeeded.
SELECT floor(arrival_time / coalesce(getvariable('window_s'), 10)) * coalesce(getvariable('window_s'), 10) AS from_s,
       count(*) AS arrived,
       count(*) FILTER (WHERE status <> 'SUCCESS') AS not_served,
       quantile_cont(ttft_ms, 0.50) FILTER (WHERE status = 'SUCCESS') AS ttft_p50_ms,
       quantile_cont(ttft_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS ttft_p99_ms,
       quantile_cont(tpot_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS tpot_p99_ms,
       quantile_cont(e2e_latency_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS e2e_p99_ms,
       max(queue_time_ms) AS queue_max_ms
FROM read_parquet(getvariable('run') || '/requests.parquet')
GROUP BY from_s
ORDER BY from_s;
