-- The knee of a sweep: how far a swept number goes, all other settings as they are, until a point fails its SLO.
--
-- sweep       folder of the sweep
-- key         the column of the swept number; 'rate' if it is not set
-- attainment  least share of requests within the SLO; 0.99 if it is not set, and of no effect on runs without an SLO
-- last_good is the highest value below which, and at which, all seeds of all values keep up with the load and to the SLO; null if the
-- first one does not. first_bad is the next value; null where the sweep ends before the knee.
SET VARIABLE others = (
    SELECT list(substr(decode(key), 6) ORDER BY decode(key))
    FROM parquet_kv_metadata(getvariable('sweep') || '/results.parquet')
    WHERE decode(key) LIKE 'kind:%' AND decode(value) = 'setting'
      AND substr(decode(key), 6) NOT IN ('seed', coalesce(getvariable('key'), 'rate'))
);
WITH points AS (
    SELECT (row ->> coalesce(getvariable('key'), 'rate'))::DOUBLE AS value,
           array_to_string([other || '=' || coalesce(row ->> other, '') FOR other IN coalesce(getvariable('others'), [])], ', ') AS others,
           row ->> 'status' = 'ok' AND coalesce((row ->> 'keeps_up')::BOOLEAN, true)
               AND coalesce((row ->> 'slo_attainment')::DOUBLE, 1) >= coalesce(getvariable('attainment'), 0.99) AS good
    FROM (SELECT to_json(results) AS row FROM read_parquet(getvariable('sweep') || '/results.parquet') AS results)
),
steps AS (SELECT others, value, bool_and(good) AS good FROM points GROUP BY others, value),
knees AS (SELECT others, min(value) FILTER (WHERE NOT good) AS first_bad FROM steps GROUP BY others)
SELECT others, max(value) FILTER (WHERE first_bad IS NULL OR value < first_bad) AS last_good, first_bad
FROM steps JOIN knees USING (others)
GROUP BY others, first_bad
ORDER BY others;
