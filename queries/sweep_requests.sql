-- All requests of a sweep (`sweep --save-requests`), by setting: the seeds of a setting pooled, so that a tail has more to rest on.
--
-- sweep      folder of the sweep
-- warm_up_s  warm-up of its runs in s, which does not count; 0 if it is not set
-- Latencies in ms, of requests that succeeded.
SET VARIABLE settings = (
    SELECT list(substr(decode(key), 6))
    FROM parquet_kv_metadata(getvariable('sweep') || '/results.parquet')
    WHERE decode(key) LIKE 'kind:%' AND decode(value) = 'setting' AND decode(key) <> 'kind:seed'
);
SELECT COLUMNS(lambda name: list_contains(getvariable('settings'), name)), count(*) AS requests,
       count(*) FILTER (WHERE status = 'SUCCESS') AS successful,
       quantile_cont(ttft_ms, 0.50) FILTER (WHERE status = 'SUCCESS') AS ttft_p50_ms,
       quantile_cont(ttft_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS ttft_p99_ms,
       quantile_cont(tpot_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS tpot_p99_ms,
       quantile_cont(e2e_latency_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS e2e_p99_ms
FROM read_parquet(getvariable('sweep') || '/requests/**/*.parquet', hive_partitioning = true, union_by_name = true)
WHERE arrival_time >= coalesce(getvariable('warm_up_s'), 0)
GROUP BY ALL
ORDER BY ALL;
