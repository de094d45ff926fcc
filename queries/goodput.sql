-- Goodput and attainment under an SLO, also one that the run was not asked for.
--
-- run      folder of the run
-- ttft_ms  most time to first token, tpot_ms time per output token, itl_ms longest gap between two tokens, e2e_ms end-to-end
--          latency, all in ms; what is not set is not asked for
-- Attainment is of requests that arrived after the warm-up and ended. Goodput is in requests a second: those within the SLO
-- that were completed between the warm-up and the end of the load, over that time. A request that failed or timed out keeps to nothing.
WITH summary AS (
    SELECT (content ->> '$.simulation.warm_up_duration_s')::DOUBLE AS warm_up_s,
           (content ->> '$.load.offered_until_s')::DOUBLE AS until_s,
           (content ->> '$.throughput.duration_s')::DOUBLE AS duration_s
    FROM read_text(getvariable('run') || '/summary.json')
),
judged AS (
    SELECT *, status = 'SUCCESS'
              AND coalesce(ttft_ms, 0) <= coalesce(getvariable('ttft_ms'), 'inf'::DOUBLE)
              AND coalesce(tpot_ms, 0) <= coalesce(getvariable('tpot_ms'), 'inf'::DOUBLE)
              AND coalesce(max_itl_ms, 0) <= coalesce(getvariable('itl_ms'), 'inf'::DOUBLE)
              AND e2e_latency_ms <= coalesce(getvariable('e2e_ms'), 'inf'::DOUBLE) AS good
    FROM read_parquet(getvariable('run') || '/requests.parquet'), summary
    WHERE status <> 'INCOMPLETE'
)
SELECT count(*) FILTER (WHERE good AND arrival_time >= warm_up_s) AS met,
       count(*) FILTER (WHERE NOT good AND arrival_time >= warm_up_s) AS missed,
       met / nullif(met + missed, 0) AS attainment,
       count(*) FILTER (WHERE good AND completion_time BETWEEN warm_up_s AND until_s) / nullif(any_value(duration_s), 0)
           AS goodput_requests_per_s
FROM judged;
