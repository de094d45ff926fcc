-- Time to first token by length of the prompt: what long prompts pay, and what short ones pay for them.
--
-- run  folder of the run
-- Buckets double: 512 is 512 to 1023 tokens. Requests that succeeded, the warm-up too; times in ms.
SELECT (2 ^ floor(log2(greatest(prompt_tokens, 1))))::BIGINT AS prompt_tokens_from,
       count(*) AS requests,
       avg(cached_prefix_length) AS cached_tokens_mean,
       avg(queue_time_ms) AS queue_mean_ms,
       quantile_cont(ttft_ms, 0.50) AS ttft_p50_ms,
       quantile_cont(ttft_ms, 0.99) AS ttft_p99_ms,
       avg(1000 * ttft_ms / prompt_tokens) AS ttft_us_per_prompt_token
FROM read_parquet(getvariable('run') || '/requests.parquet')
WHERE status = 'SUCCESS'
GROUP BY prompt_tokens_from
ORDER BY prompt_tokens_from;
