-- Two runs of one load, request by request: who gained, who lost, and by how much.
--
-- run    folder of the one run
-- other  folder of the other: same load and seed, another deployment
-- Requests that both have, by request_id; differences in ms are other minus run, so below zero is faster in the other. In a closed
-- loop, or where turns follow answers, a number may be of two different requests: same_request counts those of one session, turn and
-- length, and only these are compared.
WITH joined AS (
    SELECT a.status AS status_a, b.status AS status_b,
           a.prompt_tokens = b.prompt_tokens AND a.session_id = b.session_id AND a.turn = b.turn AS same,
           b.ttft_ms - a.ttft_ms AS ttft_ms, b.tpot_ms - a.tpot_ms AS tpot_ms, b.e2e_latency_ms - a.e2e_latency_ms AS e2e_latency_ms,
           b.queue_time_ms - a.queue_time_ms AS queue_time_ms
    FROM read_parquet(getvariable('run') || '/requests.parquet') AS a
    JOIN read_parquet(getvariable('other') || '/requests.parquet') AS b USING (request_id)
),
counts AS (
    SELECT count(*) AS requests, count(*) FILTER (WHERE same) AS same_request,
           count(*) FILTER (WHERE status_a = 'SUCCESS' AND status_b <> 'SUCCESS') AS lost_in_other,
           count(*) FILTER (WHERE status_a <> 'SUCCESS' AND status_b = 'SUCCESS') AS won_in_other
    FROM joined
),
differences AS (
    SELECT ttft_ms, tpot_ms, e2e_latency_ms, queue_time_ms FROM joined WHERE same AND status_a = 'SUCCESS' AND status_b = 'SUCCESS'
)
SELECT metric, any_value(requests) AS requests, any_value(same_request) AS same_request, any_value(lost_in_other) AS lost_in_other,
       any_value(won_in_other) AS won_in_other, count(*) AS compared, avg(value) AS mean, quantile_cont(value, 0.01) AS p1, quantile_cont(value, 0.50) AS p50,
       quantile_cont(value, 0.99) AS p99, count(*) FILTER (WHERE value < 0) / count(*) AS faster_in_other
FROM (UNPIVOT differences ON ttft_ms, tpot_ms, e2e_latency_ms, queue_time_ms INTO NAME metric VALUE value), counts
GROUP BY metric
ORDER BY metric;
