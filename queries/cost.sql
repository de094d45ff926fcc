-- What tokens cost, in money and energy: of all that were generated, and of those of requests that succeeded and kept to their SLO.
--
-- run  folder of the run
-- The whole run, from its start to its end. USD where every GPU has a price; joules are those of GPUs and the servers around them.
WITH spent AS (
    SELECT (content ->> '$.cost.usd')::DOUBLE AS usd, (content ->> '$.energy.server_energy_j')::DOUBLE AS joules
    FROM read_text(getvariable('run') || '/summary.json')
),
tokens AS (
    SELECT sum(output_tokens) AS output_tokens, sum(prompt_tokens) AS prompt_tokens,
           sum(output_tokens) FILTER (WHERE status = 'SUCCESS' AND coalesce(slo_met, true)) AS good_output_tokens
    FROM read_parquet(getvariable('run') || '/requests.parquet')
)
SELECT usd, output_tokens::BIGINT AS output_tokens,
       1e6 * usd / nullif(output_tokens, 0) AS usd_per_million_output_tokens,
       1e6 * usd / nullif(output_tokens + prompt_tokens, 0) AS usd_per_million_tokens,
       1e6 * usd / nullif(good_output_tokens, 0) AS usd_per_million_good_output_tokens,
       joules / nullif(output_tokens, 0) AS joules_per_output_token
FROM spent, tokens;
