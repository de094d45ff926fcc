#!/usr/bin/env python3
"""Checks a run's summary.json against its records, with the tools people use on them.

    python check_run.py RUN_FOLDER [made-up]

DuckDB and pandas read requests.parquet (and pandas requests.csv, polars the Parquet where it is installed) as they are,
without a cast, and compute what the summary says. Exits with 1 and a table if a figure is off by more than 0.1 %.
"""

import json
import sys
from pathlib import Path

import duckdb
import pandas

TOLERANCE = 1e-3
LATENCIES = {
    "ttft_ms": "time_to_first_token_ms",
    "tpot_ms": "time_per_output_token_ms",
    "e2e_latency_ms": "end_to_end_latency_ms",
    "queue_time_ms": "queue_time_ms",
}
COUNTS = ["turn", "priority", "preemptions"]
WORDS = ["request_id", "client_id", "session_id", "status", "prefix_cache_event", "framework", "profile", "reason"]
WORDS += ["prefill_framework", "prefix", "tail_key", "slo"]


def is_token_count(name):
    return name.endswith("tokens") or name in ("cached_prefix_length", "tokens_actually_prefilled")


def expected_kind(name):
    """What a column holds: word, count, number or flag."""
    if name in WORDS:
        return "word"
    if is_token_count(name) or name in COUNTS:
        return "count"
    return "flag" if name in ("streaming", "slo_met") else "number"


def duckdb_kind(type_name):
    return {"VARCHAR": "word", "BIGINT": "count", "DOUBLE": "number", "BOOLEAN": "flag"}.get(type_name, type_name)


def pandas_kind(dtype):
    types = pandas.api.types
    if types.is_bool_dtype(dtype):
        return "flag"
    if types.is_integer_dtype(dtype):
        return "count"
    if types.is_float_dtype(dtype):
        return "number"
    return "word" if types.is_string_dtype(dtype) or types.is_object_dtype(dtype) else str(dtype)


class Report:
    """Differences between what tools say and what the summary says."""

    def __init__(self):
        self.compared = 0
        self.differences = []

    def compare(self, tool, what, theirs, ours):
        self.compared += 1
        if theirs is None or ours is None:
            same = theirs is ours
        elif isinstance(ours, (int, float)) and not isinstance(ours, bool):
            same = abs(theirs - ours) <= TOLERANCE * max(abs(theirs), abs(ours), 1e-9)
        else:
            same = theirs == ours
        if not same:
            self.differences.append((tool, what, theirs, ours))

    def close(self):
        if not self.differences:
            print(f"{self.compared} figures and types agree")
            return 0
        print(f"{'tool':<14}{'what':<44}{'tool says':>22}{'run says':>22}")
        for tool, what, theirs, ours in self.differences:
            print(f"{tool:<14}{what:<44}{theirs!s:>22}{ours!s:>22}")
        return 1


def quantile_keys(latency):
    return {key: float(key[1:]) / 100 for key in latency if key.startswith("p") and key[1:2].isdigit()}


def rows(query):
    """All rows of a query, in any version of DuckDB."""
    return duckdb.sql(query).fetchall()


def check_duckdb(report, path, summary):
    source = f"read_parquet('{path}')"
    for name, type_name, *_ in rows(f"DESCRIBE SELECT * FROM {source}"):
        report.compare("duckdb", f"type of {name}", duckdb_kind(type_name), expected_kind(name))
    warm_up = summary["simulation"]["warm_up_duration_s"]
    counted = f"FROM {source} WHERE arrival_time >= {warm_up}"
    success = f"{counted} AND status = 'SUCCESS'"
    for status, key in [("SUCCESS", "successful"), ("FAILED", "failed"), ("TIMEOUT", "timeout"), ("INCOMPLETE", "incomplete")]:
        [(count,)] = rows(f"SELECT count(*) {counted} AND status = '{status}'")
        report.compare("duckdb", f"requests.{key}", count, summary["requests"][key])
    check_throughput(report, source, warm_up, summary)
    check_slo(report, source, summary)
    [(cached,)] = rows(f"SELECT coalesce(sum(cached_prefix_length), 0) {counted}")
    saved = summary.get("prefix_caching", {}).get("total_tokens_saved", 0)
    report.compare("duckdb", "total_tokens_saved", int(cached), saved)
    for column, key in LATENCIES.items():
        check_latency_by_duckdb(report, column, key, success, summary["latency"][key])


def check_throughput(report, source, warm_up, summary):
    """What was completed while the load was offered, and after it."""
    until = summary["load"]["offered_until_s"]
    duration = max(until - warm_up, 0)
    told = summary["throughput"]
    report.compare("duckdb", "throughput.duration_s", duration, told["duration_s"])
    sums = "count(*), coalesce(sum(output_tokens), 0), coalesce(sum(prompt_tokens), 0)"
    completed = f"SELECT {sums} FROM {source} WHERE status = 'SUCCESS' AND completion_time"
    [values] = rows(f"{completed} BETWEEN {warm_up} AND {until}")
    rates = [float(value) / duration if duration > 0 else 0.0 for value in values]
    for name, rate in zip(["requests", "output_tokens", "prompt_tokens"], rates):
        report.compare("duckdb", f"{name} a second", rate, told[f"{name}_per_second"])
    report.compare("duckdb", "tokens a second", rates[1] + rates[2], told["total_tokens_per_second"])
    report.compare("duckdb", "verdict.completed", rates[0], summary["verdict"]["completed_requests_per_s"])
    [(requests, tokens, _)] = rows(f"{completed} > {max(until, warm_up)}")
    drain = summary.get("drain", {"requests": 0, "output_tokens": 0})
    report.compare("duckdb", "drain.requests", requests, drain["requests"])
    report.compare("duckdb", "drain.output_tokens", int(tokens), drain["output_tokens"])
    query = f"SELECT count(*), count(*) FILTER (WHERE status = 'TIMEOUT') FROM {source} WHERE arrival_time >= {warm_up}"
    [(offered, gave_up)] = rows(query)
    report.compare("duckdb", "load.requests", offered, summary["load"]["requests"])
    rate = offered / duration if duration > 0 else 0.0
    report.compare("duckdb", "verdict.offered", rate, summary["verdict"]["offered_requests_per_s"])
    report.compare("duckdb", "verdict.gave_up", gave_up / offered if offered else 0.0, summary["verdict"]["gave_up"])


def check_slo(report, source, summary):
    """What kept to its objectives, by profile and metric, from nothing but times and status."""
    columns = {"ttft_ms": "ttft_ms", "tpot_ms": "tpot_ms", "itl_ms": "max_itl_ms", "e2e_ms": "e2e_latency_ms"}
    warm_up, until = summary["simulation"]["warm_up_duration_s"], summary["load"]["offered_until_s"]
    for profile, told in summary["per_profile"].items():
        slo = told.get("slo")
        of_profile = f"FROM {source} WHERE profile = '{profile.replace(chr(39), chr(39) * 2)}'"
        if slo is None:
            [(judged,)] = rows(f"SELECT count(slo_met) {of_profile}")
            report.compare("duckdb", f"judged of {profile}", judged, 0)
            continue
        counted = f"{of_profile} AND arrival_time >= {warm_up} AND status <> 'INCOMPLETE'"
        kept = {
            key: f"(status = 'SUCCESS' AND coalesce({columns[key]}, 0) <= {metric['objective_ms']!r})"
            for key, metric in slo["by_metric"].items()
        }
        for key, within in [("all", " AND ".join(kept.values())), *kept.items()]:
            ours = slo if key == "all" else slo["by_metric"][key]
            [(met, missed)] = rows(f"SELECT count(*) FILTER (WHERE {within}), count(*) FILTER (WHERE NOT ({within})) {counted}")
            report.compare("duckdb", f"{profile} within {key}", met, ours["met"])
            report.compare("duckdb", f"{profile} not within {key}", missed, ours["missed"])
        [(good,)] = rows(f"SELECT count(*) {of_profile} AND slo_met AND completion_time BETWEEN {warm_up} AND {until}")
        duration = summary["throughput"]["duration_s"]
        report.compare("duckdb", f"goodput of {profile}", good / duration if duration else 0.0, slo["goodput_requests_per_second"])


def check_backlog(report, frame, summary):
    """The number of requests in the system, and the tests on it, from nothing but arrivals and completions."""
    told = summary["verdict"].get("backlog")
    if told is None:
        return
    start, end = (round(told[key] * 1e9) for key in ("from_s", "to_s"))
    width, rest = divmod(end - start, told["intervals"])
    report.compare("pandas", "equal intervals", 0, rest)
    arrivals, completions = ((frame[name] * 1e9).round().astype("int64") for name in ("arrival_time", "completion_time"))
    edges = [start + width * number for number in range(told["intervals"] + 1)]
    counts = pandas.Series([int((arrivals < edge).sum() - (completions < edge).sum()) for edge in edges])
    report.compare("pandas", "backlog at the start", int(counts.iloc[0]), told["requests_at_start"])
    report.compare("pandas", "backlog at the end", int(counts.iloc[-1]), told["requests_at_end"])
    steps, before = counts.diff().dropna().reset_index(drop=True), counts[:-1]
    error = steps.sem()
    report.compare("pandas", "growth a second", steps.mean() / width * 1e9, told["growth_per_s"])
    report.compare("pandas", "its error", error / width * 1e9, told["growth_error_per_s"])
    if error > 0:
        report.compare("pandas", "growth_t", steps.mean() / error, told["growth_t"])
    variation = before.var(ddof=0) * len(before)
    if variation > 0:
        slope = ((before - before.mean()) * steps).sum() / variation
        rest = steps - steps.mean() - slope * (before - before.mean())
        slope_error = ((rest**2).sum() / (len(before) - 2) / variation) ** 0.5
        if slope_error > 0:
            report.compare("pandas", "return_t", slope / slope_error, told["return_t"])


def check_engine_time(report, summary):
    """Parts that make up a whole."""
    engines, told = pandas.DataFrame(summary["engines"].values()), summary["verdict"]["engine_time"]
    for kind in ("steps", "busy"):
        parts = sum(engines[phase].map(lambda steps: steps[kind]) for phase in ("prefill", "decode"))
        report.compare("pandas", f"{kind} of prefill and decode", float(parts.sum()), float(engines[kind].sum()))
    for hold in ("seats", "token_budget", "kv_cache"):
        report.compare("pandas", f"held by {hold}", engines[f"held_by_{hold}"].mean(), told[hold])
    report.compare("pandas", "idle", 1 - engines.busy.mean(), told["idle"])
    by_hold = told["idle"] + told["free"] + told["seats"] + told["token_budget"] + told["kv_cache"]
    by_bound = told["idle"] + told["compute"] + told["memory_bandwidth"] + told["host"] + told["latency"]
    report.compare("pandas", "engine time by what held the queue", 1.0, by_hold)
    report.compare("pandas", "engine time by what bound steps", 1.0, by_bound)


def check_latency_by_duckdb(report, column, key, success, latency):
    columns = f"count({column}), avg({column}), stddev_pop({column}), min({column}), max({column})"
    [values] = rows(f"SELECT {columns} {success}")
    for name, theirs in zip(["count", "mean", "std", "min", "max"], values):
        report.compare("duckdb", f"{key}.{name}", theirs, latency.get(name))
    for name, quantile in quantile_keys(latency).items():
        [(theirs,)] = rows(f"SELECT quantile_cont({column}, {quantile}) {success}")
        report.compare("duckdb", f"{key}.{name}", theirs, latency[name])


def check_pandas(report, tool, frame, summary):
    for name, dtype in frame.dtypes.items():
        kind = expected_kind(name)
        if kind == "flag" and frame[name].isna().any():
            # pandas has no type of its own for yes, no and neither.
            kind = "word"
        # A CSV column without a single value has no type of its own.
        if frame[name].notna().any():
            report.compare(tool, f"type of {name}", pandas_kind(dtype), kind)
    counted = frame[frame.arrival_time >= summary["simulation"]["warm_up_duration_s"]]
    success = counted[counted.status == "SUCCESS"]
    report.compare(tool, "requests.total", len(counted), summary["requests"]["total"])
    report.compare(tool, "requests.successful", len(success), summary["requests"]["successful"])
    for column, key in LATENCIES.items():
        values, latency = success[column].dropna(), summary["latency"][key]
        report.compare(tool, f"{key}.count", len(values), latency["count"])
        if len(values) == 0:
            continue
        report.compare(tool, f"{key}.mean", values.mean(), latency["mean"])
        report.compare(tool, f"{key}.std", values.std(ddof=0), latency["std"])
        for name, quantile in quantile_keys(latency).items():
            report.compare(tool, f"{key}.{name}", values.quantile(quantile), latency[name])


def check_energy_and_cost(report, frame, summary):
    """What follows from the whole run's tokens and time, and from the parts that are told."""
    end_s = summary["simulation"]["total_duration_s"]
    tokens = int(frame.output_tokens.sum())
    energy, cost = summary.get("energy"), summary.get("cost")
    if energy is not None:
        gpus = pandas.DataFrame(summary["gpus"].values())
        report.compare("pandas", "gpu_energy_j", gpus.energy_j.sum(), energy["gpu_energy_j"])
        server = energy["gpu_energy_j"] + energy["host_energy_j"]
        report.compare("pandas", "server_energy_j", server, energy["server_energy_j"])
        report.compare("pandas", "energy_kwh", server / 3.6e6, energy["energy_kwh"])
        report.compare("pandas", "mean_power_w", server / end_s if end_s > 0 else 0.0, energy["mean_power_w"])
        a_token = server / tokens if tokens > 0 else None
        report.compare("pandas", "joules_per_output_token", a_token, energy.get("joules_per_output_token"))
    if cost is not None:
        a_million = cost["usd"] / tokens * 1e6 if tokens > 0 else None
        report.compare("pandas", "usd_per_million_output_tokens", a_million, cost.get("usd_per_million_output_tokens"))


def check_series(report, path, summary):
    """What the rows of the time series add up to, for what had a row in every interval of the run."""
    end_s = summary["simulation"]["total_duration_s"]
    sums = "sum(duration), sum(power_w * duration), sum(busy * duration), sum(output_tokens), sum(bytes), sum(cost_usd)"
    for kind, name, covered_s, joules, busy_s, tokens, moved, usd in rows(
        f"SELECT kind, name, {sums} FROM read_parquet('{path}') GROUP BY kind, name"
    ):
        if kind == "profile":
            continue
        told = summary[f"{kind}s"][name]
        if kind == "engine":
            report.compare("duckdb", f"output tokens of {name}", tokens, told["output_tokens"])
        if kind == "gpu":
            report.compare("duckdb", f"bytes of {name}", moved, told["bytes"])
            report.compare("duckdb", f"busy share of {name}", busy_s / end_s, told["busy"])
        if kind == "gpu" and abs(covered_s - end_s) < 1e-6:
            report.compare("duckdb", f"energy_j of {name}", joules, told.get("energy_j"))
            if "cost" in summary:
                hours_usd = summary["cost"]["usd"] / summary["cost"]["gpu_hours"] * end_s / 3600
                report.compare("duckdb", f"cost of {name}", usd, hours_usd)


def check_polars(report, path, rows):
    try:
        import polars
    except ImportError:
        return
    frame = polars.read_parquet(path)
    kinds = {"String": "word", "Int64": "count", "Float64": "number", "Boolean": "flag"}
    report.compare("polars", "rows", frame.height, rows)
    for name, dtype in frame.schema.items():
        report.compare("polars", f"type of {name}", kinds.get(str(dtype), str(dtype)), expected_kind(name))


def check_csv(report, parquet_frame, path, summary):
    frame = pandas.read_csv(path)
    check_pandas(report, "pandas (csv)", frame, summary)
    for name in parquet_frame.columns:
        ours, theirs = parquet_frame[name], frame[name]
        if expected_kind(name) == "number":
            # The readers of some versions of pandas round the last digit.
            same = (ours - theirs).abs() <= 1e-12 * ours.abs()
        else:
            same = ours == theirs
        same |= ours.isna() & theirs.isna()
        report.compare("pandas (csv)", f"rows of {name} as in the Parquet", int(same.sum()), len(frame))


def main(folder, consistent):
    folder = Path(folder)
    summary = json.loads((folder / "summary.json").read_text())
    report = Report()
    parquet = folder / "requests.parquet"
    frame = pandas.read_parquet(parquet)
    check_duckdb(report, parquet, summary)
    check_pandas(report, "pandas", frame, summary)
    check_energy_and_cost(report, frame, summary)
    check_backlog(report, frame, summary)
    if consistent:
        check_engine_time(report, summary)
    check_polars(report, parquet, len(frame))
    if (folder / "requests.csv").exists():
        check_csv(report, frame, folder / "requests.csv", summary)
    timeseries = folder / "timeseries.parquet"
    # What was made up for a test has a series that adds up to nothing.
    if timeseries.exists() and consistent:
        check_series(report, timeseries, summary)
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], "made-up" not in sys.argv[2:]))
