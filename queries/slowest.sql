-- The slowest requests, and what their time went into. The parts add up to e2e_latency_ms.
--
-- run   folder of the run
-- most  how many; 20 if it is not set
-- Times in ms. With pools, prefill_ms holds all between the first step of the prompt and the first token, the transfer of the
-- KV cache too, which kv_transfers.sql takes apart.
SELECT request_id, profile, framework, prompt_tokens, cached_prefix_length, output_tokens, preemptions, e2e_latency_ms,
       ingress_time_ms AS network_in_ms,
       queue_time_ms AS queue_ms,
       (first_token_time - scheduled_time) * 1000 AS prefill_ms,
       (last_token_time - first_token_time) * 1000 AS decode_ms,
       (completion_time - last_token_time) * 1000 AS network_out_ms
FROM read_parquet(getvariable('run') || '/requests.parquet')
WHERE status = 'SUCCESS'
ORDER BY e2e_latency_ms DESC, request_id
LIMIT coalesce(getvariable('most'), 20);
