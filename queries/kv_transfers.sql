-- Prefill and decode pools: where the time to first token goes, by pair of engines. Runs without pools lack these columns.
--
-- run  folder of the run
-- Means in ms over requests that succeeded, the warm-up too. decode_queue_ms is from the KV cache's arrival to the first token. The parts
-- add up to ttft_ms.
WITH parts AS (
    SELECT *, (prefill_end_time - scheduled_time) * 1000 AS prefill_ms,
           ttft_ms - ingress_time_ms - queue_time_ms - prefill_ms - kv_wait_time_ms - kv_transfer_time_ms AS decode_queue_ms
    FROM read_parquet(getvariable('run') || '/requests.parquet')
    WHERE status = 'SUCCESS' AND prefill_framework IS NOT NULL
)
SELECT prefill_framework, framework, count(*) AS requests, avg(ttft_ms) AS ttft_ms, avg(ingress_time_ms) AS network_in_ms,
       avg(queue_time_ms) AS queue_ms, avg(prefill_ms) AS prefill_ms, avg(kv_wait_time_ms) AS kv_wait_ms,
       avg(kv_transfer_time_ms) AS kv_transfer_ms, avg(decode_queue_ms) AS decode_queue_ms,
       quantile_cont(kv_transfer_time_ms, 0.99) AS kv_transfer_p99_ms
FROM parts
GROUP BY prefill_framework, framework
ORDER BY prefill_framework, framework;
