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
WORDS += ["prefill_framework"]


def is_token_count(name):
    return name.endswith("tokens") or name in ("cached_prefix_length", "tokens_actually_prefilled")


def expected_kind(name):
    """What a column holds: word, count, number or flag."""
    if name in WORDS:
        return "word"
    if is_token_count(name) or name in COUNTS:
        return "count"
    return "flag" if name == "streaming" else "number"


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
    [(tokens,)] = rows(f"SELECT coalesce(sum(output_tokens), 0) {success}")
    duration = summary["simulation"]["effective_duration_s"]
    rate = float(tokens) / duration if duration > 0 else 0.0
    report.compare("duckdb", "output tokens a second", rate, summary["throughput"]["output_tokens_per_second"])
    [(cached,)] = rows(f"SELECT coalesce(sum(cached_prefix_length), 0) {counted}")
    saved = summary.get("prefix_caching", {}).get("total_tokens_saved", 0)
    report.compare("duckdb", "total_tokens_saved", int(cached), saved)
    for column, key in LATENCIES.items():
        check_latency_by_duckdb(report, column, key, success, summary["latency"][key])


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
