-- What the prefix cache saves, by turn of the conversation: hits, and tokens that were found instead of computed.
--
-- run  folder of the run
-- Requests that arrived after the warm-up; TTFT in ms, of those that succeeded.
WITH summary AS (
    SELECT (content ->> '$.simulation.warm_up_duration_s')::DOUBLE AS warm_up_s
    FROM read_text(getvariable('run') || '/summary.json')
)
SELECT turn, count(*) AS requests,
       count(*) FILTER (WHERE cached_prefix_length > 0) / count(*) AS hit_share,
       sum(cached_prefix_length)::BIGINT AS cached_tokens,
       sum(cached_prefix_length) / nullif(sum(prompt_tokens), 0) AS cached_share,
       quantile_cont(ttft_ms, 0.50) FILTER (WHERE status = 'SUCCESS' AND cached_prefix_length > 0) AS ttft_p50_of_hits_ms,
       quantile_cont(ttft_ms, 0.50) FILTER (WHERE status = 'SUCCESS' AND cached_prefix_length = 0) AS ttft_p50_of_misses_ms
FROM read_parquet(getvariable('run') || '/requests.parquet'), summary
WHERE arrival_time >= warm_up_s
GROUP BY turn
ORDER BY turn;
