-- How evenly the engines are loaded: requests, tokens, how busy, queue and tail of each, and its share over an equal one.
--
-- run  folder of the run
-- The whole run, the warm-up too. busy is the share of time with a step running, latencies are in ms; of pools, an engine that
-- prefills for others ends no requests.
WITH summary AS (
    SELECT (content ->> '$.simulation.total_duration_s')::DOUBLE AS run_s
    FROM read_text(getvariable('run') || '/summary.json')
),
ended AS (
    SELECT framework, count(*) AS requests, sum(output_tokens)::BIGINT AS output_tokens, sum(prompt_tokens)::BIGINT AS prompt_tokens,
           quantile_cont(ttft_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS ttft_p99_ms,
           quantile_cont(tpot_ms, 0.99) FILTER (WHERE status = 'SUCCESS') AS tpot_p99_ms
    FROM read_parquet(getvariable('run') || '/requests.parquet')
    GROUP BY framework
),
engines AS (
    SELECT name AS framework, sum(busy * duration) / any_value(run_s) AS busy,
           sum(running * duration) / any_value(run_s) AS running_mean, sum(waiting * duration) / any_value(run_s) AS waiting_mean,
           max(kv_use) AS kv_use_peak, sum(steps) AS steps, sum(preemptions) AS preemptions
    FROM read_parquet(getvariable('run') || '/timeseries.parquet'), summary
    WHERE kind = 'engine'
    GROUP BY name
)
SELECT framework, coalesce(requests, 0) AS requests,
       coalesce(requests, 0) * count(*) OVER () / nullif(sum(requests) OVER (), 0) AS over_equal_share,
       prompt_tokens, output_tokens, busy, running_mean, waiting_mean, kv_use_peak, steps, preemptions, ttft_p99_ms, tpot_p99_ms
FROM engines LEFT JOIN ended USING (framework)
ORDER BY framework;
