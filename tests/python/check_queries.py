#!/usr/bin/env python3
"""Runs every query of queries/ on real runs and holds what it says against what the program says, and against pandas.

    python check_queries.py QUERIES FOLDER

FOLDER holds the runs `run` and `other` (one load, two deployments), `pools`, `empty` and `lost` (nothing came, nothing was served), and the
sweeps `sweep`, `closed` (loops) and `unanswered` (nothing was served). Exits with 1 if a figure is off, if a query fails on a run without requests, or if a query is not checked here.
"""

import json
import math
import sys
from pathlib import Path

import duckdb
import pandas


def near(ours, theirs):
    """To the nanosecond of ms, which is what the summary has."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(float(ours), float(theirs), rel_tol=1e-9, abs_tol=1e-6)


class Folder:
    """The runs, and how queries are run on them."""

    def __init__(self, queries, folder):
        self.queries, self.folder = queries, folder
        self.failures, self.compared, self.query = [], 0, ""

    def ask(self, run="run", **parameters):
        """What a query says, as pandas has it."""
        connection = duckdb.connect()
        names = {"run": self.folder / run, "other": self.folder / "other", "sweep": self.folder / "sweep"}
        for name, value in {**names, **parameters}.items():
            value = str(value) if isinstance(value, Path) else value
            connection.execute(f"SET VARIABLE {name} = {value!r}")
        frame = connection.execute((self.queries / self.query).read_text()).df()
        return frame.astype(object).where(frame.notna(), None)

    def summary(self, run="run"):
        return json.loads((self.folder / run / "summary.json").read_text())

    def requests(self, run="run", counted=False):
        frame = pandas.read_parquet(self.folder / run / "requests.parquet")
        return frame[frame.arrival_time >= self.summary(run)["simulation"]["warm_up_duration_s"]] if counted else frame

    def results(self):
        return pandas.read_parquet(self.folder / "sweep" / "results.parquet")

    def same(self, what, ours, theirs):
        self.compared += 1
        if not (ours == theirs if isinstance(theirs, (str, bool)) else near(ours, theirs)):
            self.failures.append(f"{self.query}: {what} is {ours}, not {theirs}")

    def holds(self, what, is_true):
        self.compared += 1
        if not is_true:
            self.failures.append(f"{self.query}: {what}")


def served(frame):
    return frame[frame.status == "SUCCESS"]


def percentiles(folder):
    latency = folder.summary()["latency"]
    keys = {"ttft_ms": "time_to_first_token_ms", "tpot_ms": "time_per_output_token_ms"}
    keys |= {"e2e_latency_ms": "end_to_end_latency_ms", "queue_time_ms": "queue_time_ms"}
    found = folder.ask().set_index("metric")
    folder.same("metrics", len(found), len(keys))
    for metric, key in keys.items():
        row = found.loc[metric]
        for name, told in latency[key].items():
            folder.same(f"{name} of {metric}", row["requests" if name == "count" else name], told)


def goodput(folder):
    slo = folder.summary()["slo"]
    bounds = {key: metric["objective_ms"] for key, metric in slo["by_metric"].items()}
    [row] = folder.ask(**bounds).to_dict("records")
    for name, key in {"met": "met", "missed": "missed", "attainment": "attainment"}.items():
        folder.same(name, row[name], slo[key])
    folder.same("goodput", row["goodput_requests_per_s"], slo["goodput_requests_per_second"])
    for key, bound in bounds.items():
        [row] = folder.ask(**{key: bound}).to_dict("records")
        folder.same(f"attainment of {key}", row["attainment"], slo["by_metric"][key]["attainment"])
    [row] = folder.ask(run="lost", ttft_ms=1e9).to_dict("records")
    folder.same("attainment of what was refused", row["attainment"], 0)


def latency_over_time(folder):
    requests = folder.requests()
    for window_s, parameters in [(10, {}), (7, {"window_s": 7})]:
        found = folder.ask(**parameters)
        groups = requests.groupby(requests.arrival_time // window_s * window_s)
        folder.same("windows", len(found), len(groups))
        for row in found.to_dict("records"):
            group = groups.get_group(row["from_s"])
            folder.same("arrived", row["arrived"], len(group))
            folder.same("not served", row["not_served"], (group.status != "SUCCESS").sum())
            for name in ("ttft", "tpot"):
                folder.same(f"{name} p99", row[f"{name}_p99_ms"], served(group)[f"{name}_ms"].quantile(0.99))


def slowest(folder):
    requests = served(folder.requests()).sort_values("e2e_latency_ms", ascending=False)
    found = folder.ask(most=7)
    folder.holds("the slowest come first", list(found.request_id) == list(requests.request_id[:7]))
    parts = found[["network_in_ms", "queue_ms", "prefill_ms", "decode_ms", "network_out_ms"]].sum(axis=1)
    for total, e2e in zip(parts, found.e2e_latency_ms):
        folder.holds(f"parts add up to {total}, not {e2e}", abs(total - e2e) < 1e-5)
    folder.same("rows without a number", len(folder.ask()), 20)


def ttft_by_prompt_length(folder):
    requests = served(folder.requests())
    found = folder.ask()
    folder.same("requests", found.requests.sum(), len(requests))
    for row in found.to_dict("records"):
        least = row["prompt_tokens_from"]
        bucket = requests[(requests.prompt_tokens >= least) & (requests.prompt_tokens < 2 * least)]
        folder.same(f"requests from {least} tokens", row["requests"], len(bucket))
        folder.same(f"p99 from {least} tokens", row["ttft_p99_ms"], bucket.ttft_ms.quantile(0.99))


def replicas(folder):
    for run in ("run", "pools"):
        summary, found = folder.summary(run), folder.ask(run).set_index("framework")
        folder.same("engines", len(found), len(summary["engines"]))
        folder.same("requests", found.requests.sum(), len(folder.requests(run)))
        for name, told in summary["engines"].items():
            for ours, theirs in [("busy", "busy"), ("steps", "steps"), ("preemptions", "preemptions")]:
                folder.same(f"{ours} of {name}", found.loc[name][ours], told[theirs])
        folder.same("shares", found.over_equal_share.mean(), 1)


def tail_by_class(folder):
    summary, found = folder.summary(), folder.ask()
    folder.same("requests", found.requests.sum(), summary["requests"]["total"])
    for profile, told in summary["per_profile"].items():
        rows = found[found.profile == profile]
        folder.same(f"classes of {profile}", len(rows), 1)
        folder.same(f"attainment of {profile}", rows.attainment.iloc[0], told["slo"]["attainment"])
        requests = folder.requests(counted=True)
        p99 = served(requests[requests.profile == profile]).ttft_ms.quantile(0.99)
        folder.same(f"p99 of {profile}", rows.ttft_p99_ms.iloc[0], p99)
    [row] = folder.ask("lost").to_dict("records")
    folder.same("lost", row["lost_share"], 1)


def cost(folder):
    summary = folder.summary()
    [row] = folder.ask().to_dict("records")
    folder.same("usd", row["usd"], summary["cost"]["usd"])
    folder.same("a million", row["usd_per_million_output_tokens"], summary["cost"]["usd_per_million_output_tokens"])
    folder.same("joules", row["joules_per_output_token"], summary["energy"]["joules_per_output_token"])
    [row] = folder.ask("pools").to_dict("records")
    folder.holds("no price, no cost", row["usd"] is None and row["output_tokens"] > 0)


def utilisation(folder):
    summary, found = folder.summary(), folder.ask()
    for kind, figures in [("gpu", ["busy", "mfu", "mbu", "bytes"]), ("link", ["busy", "bytes"])]:
        rows = found[found.kind == kind].set_index("name")
        told = {name: link for name, link in summary[f"{kind}s"].items() if link["bytes"] > 0}
        folder.same(f"{kind}s", len(rows), len(told))
        for name, figure in [(name, figure) for name in told for figure in figures]:
            folder.same(f"{figure} of {name}", rows.loc[name][figure], told[name][figure])


def cache_hits(folder):
    summary, found = folder.summary()["prefix_caching"], folder.ask()
    folder.same("tokens", found.cached_tokens.sum(), summary["total_tokens_saved"])
    hits = (folder.requests(counted=True).cached_prefix_length > 0).sum()
    folder.same("hits", (found.hit_share * found.requests).sum(), hits)


def kv_transfers(folder):
    requests = served(folder.requests("pools"))
    found = folder.ask("pools")
    folder.same("pairs", len(found), 3)
    folder.same("requests", found.requests.sum(), len(requests))
    total = (found.kv_transfer_ms * found.requests).sum()
    folder.same("transfers", total / len(requests), requests.kv_transfer_time_ms.mean())
    folder.holds("no part is below zero", (found.drop(columns=["prefill_framework", "framework"]) >= 0).all(axis=None))


def compare(folder):
    one, other = folder.requests().set_index("request_id"), folder.requests("other").set_index("request_id")
    both = one.join(other, rsuffix="_b", how="inner")
    same = both[
        (both.prompt_tokens == both.prompt_tokens_b) & (both.session_id == both.session_id_b) & (both.turn == both.turn_b)
    ]
    found = folder.ask().set_index("metric")
    folder.same("requests", found.requests.iloc[0], len(both))
    folder.same("the same", found.same_request.iloc[0], len(same))
    difference = same.ttft_ms_b - same.ttft_ms
    folder.same("mean", found.loc["ttft_ms"]["mean"], difference.mean())
    folder.same("p99", found.loc["ttft_ms"]["p99"], difference.quantile(0.99))
    folder.same("faster", found.loc["ttft_ms"]["faster_in_other"], (difference < 0).mean())
    itself = folder.ask(other=folder.folder / "run")
    folder.holds("a run differs from itself", (itself["mean"] == 0).all() and (itself.requests == itself.same_request).all())


def sweep_front(folder):
    results = folder.results()
    points = results[(results.status == "ok") & (results.keeps_up != False)]  # noqa: E712
    speed, latency = points.output_tokens_per_s / points.gpus, points.ttft_p99_ms
    front = [
        point.point
        for index, point in points.iterrows()
        if not ((speed >= speed[index]) & (latency <= latency[index]) & ((speed > speed[index]) | (latency < latency[index]))).any()
    ]
    found = folder.ask()
    folder.holds("the front is another", sorted(found.point) == sorted(front))
    folder.holds("the front is all or nothing", 0 < len(front) < len(results))
    folder.same("of closed loops", len(folder.ask(sweep=folder.folder / "closed")) > 0, True)
    folder.same("of no answers", len(folder.ask(sweep=folder.folder / "unanswered")), 0)


def sweep_knee(folder):
    results, found = folder.results(), folder.ask().set_index("others")
    folder.same("lines", len(found), results.tensor_parallel.nunique())
    for ranks, points in results.groupby("tensor_parallel"):
        good = points[(points.keeps_up != False) & (points.slo_attainment >= 0.99)]  # noqa: E712
        is_good = points.groupby("rate").point.count() == good.groupby("rate").point.count().reindex(points.rate.unique(), fill_value=0)
        bad = [rate for rate, fine in is_good.sort_index().items() if not fine]
        row = found.loc[f"tensor_parallel={ranks}"]
        folder.same(f"knee of {ranks}", row.first_bad, bad[0])
        below = [rate for rate in points.rate.unique() if rate < bad[0]]
        folder.same(f"good of {ranks}", row.last_good, max(below) if below else None)
    other = folder.ask(key="tensor_parallel", attainment=0)
    folder.same("lines over ranks", len(other), results.rate.nunique())


def sweep_requests(folder):
    results, found = folder.results(), folder.ask()
    folder.same("settings", len(found), len(results) // results.seed.nunique())
    folder.same("requests", found.requests.sum(), results.requests_total.sum())
    files = sorted((folder.folder / "sweep" / "requests").glob("tensor_parallel=1/rate=8/*/requests.parquet"))
    pooled = served(pandas.concat([pandas.read_parquet(file) for file in files]))
    [row] = found[(found.tensor_parallel == 1) & (found.rate == 8)].to_dict("records")
    folder.same("p99", row["ttft_p99_ms"], pooled.ttft_ms.quantile(0.99))


def sweep_seeds(folder):
    results, found = folder.results(), folder.ask(metric="e2e_p99_ms", bound=1.0)
    means = results.groupby(["tensor_parallel", "rate"]).e2e_p99_ms.mean()
    folder.same("settings", len(found), len(means))
    for row in found.to_dict("records"):
        folder.same("mean", row["mean"], means[(row["tensor_parallel"], row["rate"])])
        folder.holds("the interval holds its mean", row["ci95_low"] < row["mean"] < row["ci95_high"])
        folder.same("is open", row["is_open"], row["ci95_low"] <= 1 <= row["ci95_high"])


CHECKS = [percentiles, goodput, latency_over_time, slowest, ttft_by_prompt_length, replicas, tail_by_class, cost, utilisation, cache_hits]
CHECKS += [kv_transfers, compare, sweep_front, sweep_knee, sweep_requests, sweep_seeds]


def main(queries, folder):
    folder = Folder(Path(queries), Path(folder))
    checks = {f"{check.__name__}.sql": check for check in CHECKS}
    there = {path.name for path in folder.queries.iterdir()}
    for name in sorted(there ^ set(checks)):
        folder.failures.append(f"{name}: {'no check' if name in there else 'no such file'}")
    for name in sorted(there & set(checks)):
        folder.query = name
        text = (folder.queries / name).read_text()
        folder.holds("no header", text.startswith("-- ") and "\n--\n-- " in text)
        checks[name](folder)
        if name.startswith("sweep") and name != "sweep_seeds.sql":
            folder.ask(sweep=folder.folder / "closed"), folder.ask(sweep=folder.folder / "unanswered")
        elif name not in ("sweep_seeds.sql", "kv_transfers.sql"):
            folder.ask("empty"), folder.ask("lost")
    print("\n".join(folder.failures) or f"{folder.compared} figures of {len(checks)} queries agree")
    return 1 if folder.failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
