-- What chance does to a metric of a sweep: mean and 95 % confidence interval over seeds, and whether a bound lies within.
--
-- sweep   folder of the sweep, which has several seeds
-- metric  a metric of results.parquet; 'ttft_p99_ms' if it is not set
-- bound   a bound on it, in its unit; is_open says that the interval holds it, so that these seeds do not decide
SELECT * EXCLUDE (metric, unit, seeds, mean, ci95_low, ci95_high), unit, seeds, mean, ci95_low, ci95_high,
       getvariable('bound') BETWEEN ci95_low AND ci95_high AS is_open
FROM read_parquet(getvariable('sweep') || '/intervals.parquet')
WHERE metric = coalesce(getvariable('metric'), 'ttft_p99_ms')
ORDER BY ALL;
