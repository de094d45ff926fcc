-- The Pareto front of a sweep: points that keep up and that no other beats in both output tokens a second and GPU, and P99 of TTFT.
--
-- sweep  folder of the sweep
-- ttft_p99_ms is in ms. Each seed is a point of its own. Closed loops always keep up.
WITH points AS (
    -- By way of JSON, since a metric that no point has is no column.
    SELECT (row ->> 'output_tokens_per_s')::DOUBLE / (row ->> 'gpus')::DOUBLE AS output_tokens_per_s_and_gpu,
           (row ->> 'ttft_p99_ms')::DOUBLE AS ttft_p99_ms, * EXCLUDE (row)
    FROM (SELECT to_json(results) AS row, point FROM read_parquet(getvariable('sweep') || '/results.parquet') AS results)
    WHERE row ->> 'status' = 'ok' AND coalesce((row ->> 'keeps_up')::BOOLEAN, true)
),
front AS (
    FROM points AS one
    WHERE ttft_p99_ms IS NOT NULL AND NOT EXISTS (
        FROM points AS better
        WHERE better.output_tokens_per_s_and_gpu >= one.output_tokens_per_s_and_gpu AND better.ttft_p99_ms <= one.ttft_p99_ms
          AND (better.output_tokens_per_s_and_gpu > one.output_tokens_per_s_and_gpu OR better.ttft_p99_ms < one.ttft_p99_ms)
    )
)
SELECT front.*, results.* EXCLUDE (point)
FROM front JOIN read_parquet(getvariable('sweep') || '/results.parquet') AS results USING (point)
ORDER BY front.ttft_p99_ms, point;
