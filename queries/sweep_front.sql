-- The Pareto front of a sweep: points that keep up and that no other beats in both output tokens a second and GPU, and P99 of TTFT.
--
-- sweep  folder of the sweep
-- ttft_p99_ms is in ms. Each seed is a point of its own.
WITH points AS (
    SELECT *, output_tokens_per_s / gpus AS output_tokens_per_s_and_gpu
    FROM read_parquet(getvariable('sweep') || '/results.parquet')
    WHERE status = 'ok' AND keeps_up IS DISTINCT FROM false AND ttft_p99_ms IS NOT NULL
)
SELECT point, output_tokens_per_s_and_gpu, * EXCLUDE (point, output_tokens_per_s_and_gpu)
FROM points AS one
WHERE NOT EXISTS (
    FROM points AS better
    WHERE better.output_tokens_per_s_and_gpu >= one.output_tokens_per_s_and_gpu AND better.ttft_p99_ms <= one.ttft_p99_ms
      AND (better.output_tokens_per_s_and_gpu > one.output_tokens_per_s_and_gpu OR better.ttft_p99_ms < one.ttft_p99_ms)
)
ORDER BY ttft_p99_ms, point;
