"""The module against the command that it is."""

from __future__ import annotations

import inspect
import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_type_hints

import duckdb
import numpy
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

import llmperforacle as oracle
from llmperforacle import _native
from llmperforacle._words import words as words_of

LOAD = {"rate": 3, "requests": 400, "workload": "chat"}
DEPLOYMENT = {"model": "Llama3.1-8B", "device": "H100"}
COMMAND = Path(sys.executable).with_name("llmperforacle")
#: Flags about how a command prints, which a function does not.
OF_PRINTING = {"color", "format", "help", "log-level", "profile", "quiet", "threads", "version"}


def printed(*words: object) -> str:
    """What the installed command prints."""
    ended = subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def words(flags: dict[str, object]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]


@pytest.fixture(scope="module")
def run() -> oracle.Run:
    return oracle.run(**LOAD, **DEPLOYMENT)


def test_a_run_is_that_of_the_command(run: oracle.Run, tmp_path: Path) -> None:
    command = ["run", *words(LOAD | DEPLOYMENT), "--quiet", "--format=json", f"--output={tmp_path / 'by-command'}"]
    assert run.summary == json.loads(printed(*command))
    written = oracle.run(**LOAD, **DEPLOYMENT, output=tmp_path / "by-function")
    assert written.folder == tmp_path / "by-function"
    for name in ("requests.parquet", "requests.csv", "timeseries.parquet", "summary.json"):
        by_function, by_command = (tmp_path / folder / name for folder in ("by-function", "by-command"))
        assert by_function.read_bytes() == by_command.read_bytes(), name
    for name, table in (("requests", run.requests), ("timeseries", run.timeseries)):
        file = pyarrow.parquet.read_table(tmp_path / "by-command" / f"{name}.parquet")
        assert table.to_pyarrow().equals(file), name


def test_pandas_polars_and_duckdb_read_the_tables(run: oracle.Run) -> None:
    requests = run.requests
    p99 = run.summary["latency"]["time_to_first_token_ms"]["p99"]
    assert len(requests) == LOAD["requests"]
    frame = requests.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["ttft_ms"].quantile(0.99) == pytest.approx(p99, rel=1e-9)
    assert requests.to_polars().equals(polars.from_pandas(frame))
    row = duckdb.sql("SELECT quantile_cont(ttft_ms, 0.99) FROM requests").fetchone()
    assert row is not None and row[0] == pytest.approx(p99, rel=1e-9)
    assert requests.units["ttft_ms"] == "ms"
    assert set(requests.comments) <= set(requests.column_names)
    assert "ttft_ms" in repr(requests)


def test_a_table_is_not_copied(run: oracle.Run) -> None:
    def addresses() -> list[int]:
        chunks = run.requests.to_pyarrow().column("ttft_ms").chunks
        return [chunk.buffers()[1].address for chunk in chunks]

    assert addresses() == addresses()


def test_a_table_outlives_its_run() -> None:
    table = oracle.run(**LOAD, **DEPLOYMENT).requests.to_pyarrow()
    assert table.column("output_tokens").to_pylist() == oracle.run(**LOAD, **DEPLOYMENT).requests.to_pyarrow().column(
        "output_tokens"
    ).to_pylist()


def test_a_configuration_may_be_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    printed("generate-config", "--format=json", f"--output={file}")
    small = {"workload.total_requests_to_generate": 20}
    of_file = oracle.run(file, set=small)
    assert of_file.summary["requests"]["total"] <= 20 < oracle.run(file).summary["requests"]["total"]
    keys = json.loads(file.read_text())
    assert oracle.run(keys, set=small).requests.to_pyarrow().equals(of_file.requests.to_pyarrow())
    assert oracle.validate(keys).valid


def test_values_keep_their_types(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    printed("generate-config", "--format=json", f"--output={file}")
    with pytest.raises(oracle.BadInput, match="max_num_seqs"):
        oracle.run(file, set={"frameworks_to_test[*].config.max_num_seqs": "64"})
    lengths = {"type": "Constant", "value": 64}
    changed = {"workload.client_profiles[*].prompt_tokens_dist_config": lengths}
    oracle.run(file, set=changed, output=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    profiles = manifest["config"]["workload"]["client_profiles"]
    assert {profile["prompt_tokens_dist_config"]["value"] for profile in profiles} == {64}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rate": 2.5, "force": True, "no_csv": False, "trace": None}, ["--rate=2.5", "--force"]),
        ({"set": {"a.b": [1, 2], "c": "x, y"}}, ["--set=a.b=[1, 2]", '--set=c="x, y"']),
        ({"set": {"a": "true", "b": math.inf, "c": {"d": None}}}, ['--set=a="true"', "--set=b=.inf", '--set=c={"d": null}']),
        ({"slo": {"ttft": "1s", "tpot": "50ms"}}, ["--slo=ttft=1s,tpot=50ms"]),
    ],
)
def test_keywords_are_words(given: dict[str, object], expected: list[str]) -> None:
    assert words_of(given, given) == expected


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"set": {"a": numpy.int64(8), "b": [numpy.float64(0.5)]}, "rate": numpy.arange(1, 3), "force": numpy.bool_(True)}
    expected = ["--set=a=8", "--set=b=0.5", "--rate=1,2", "--force"]
    assert words_of(given, given, are_lists_swept=True) == expected
    with pytest.raises(oracle.BadInput, match="max_num_seqs"):
        oracle.run(**LOAD, **DEPLOYMENT, set={"frameworks_to_test[*].config.max_num_seqs": numpy.int64(0)})
    assert not oracle.validate({"simulation": {"random_seed": numpy.int64(3)}}).valid


def test_a_value_of_no_kind_is_refused() -> None:
    for given in ({"set": {"a": object()}}, {"rate": True}):
        with pytest.raises(TypeError, match="value"):
            words_of(given, given)
    with pytest.raises(TypeError, match="did you mean tensor_parallel"):
        oracle.run(**LOAD, **DEPLOYMENT, tp=2)  # type: ignore[call-arg]


def test_what_cannot_be_saved_is_raised(tmp_path: Path) -> None:
    asked = {"workload": "chat", "rate": 4, "requests": 100, **DEPLOYMENT, "slo": {"ttft_p99": "9s"}}
    oracle.plan(**asked, save=tmp_path / "saved")
    (name,) = (path for path in (tmp_path / "saved").glob("*.sh"))
    name.unlink()
    name.mkdir()
    with pytest.raises(oracle.OracleError, match=name.name):
        oracle.plan(**asked, save=tmp_path / "saved")


def test_what_comes_of_a_call_is_short_in_a_notebook(run: oracle.Run) -> None:
    assert repr(run) == "<llmperforacle.Run of 400 requests>"


def test_lists_are_swept() -> None:
    given = {"set": {"a": [1, [2, 3]], "b": ["x,y", "64"]}, "rate": [1, 2], "name": "n"}
    expected = ["--set=a=1,[2, 3]", '--set=b="x,y","64"', "--rate=1,2", "--name=n"]
    assert words_of(given, given, are_lists_swept=True) == expected


def test_what_is_wrong_is_raised(tmp_path: Path) -> None:
    with pytest.raises(oracle.BadInput, match="Llama3.1-8B"):
        oracle.run(**LOAD, model="Llama3.1-9B", device="H100")
    with pytest.raises(oracle.BadInput, match="nowhere.yaml"):
        oracle.run(tmp_path / "nowhere.yaml")
    with pytest.raises(TypeError, match="did you mean requests"):
        oracle.run(**DEPLOYMENT, request=3)  # type: ignore[call-arg]
    assert issubclass(oracle.BadInput, ValueError) and issubclass(oracle.RunFailed, RuntimeError)
    found = oracle.validate({"workload": {}})
    assert not found.valid and found.found[0]["severity"] == "error"


def test_a_sweep_is_that_of_the_command(tmp_path: Path) -> None:
    grid = {"rate": [1, 2, 4], "tensor_parallel": [1, 2]}
    swept = oracle.sweep(requests=100, workload="chat", **DEPLOYMENT, **grid, seeds=2)
    listed = ["--requests=100", "--workload=chat", *words(DEPLOYMENT), "--rate=1,2,4", "--tensor-parallel=1,2"]
    printed("sweep", *listed, "--seeds=2", "--quiet", f"--output={tmp_path / 'sweep'}")
    by_command = pyarrow.parquet.read_table(tmp_path / "sweep" / "results.parquet")
    assert swept.results is not None and swept.results.to_pyarrow().equals(by_command)
    assert len(swept.points) == 12 and swept.folder is None
    assert swept.intervals is not None and len(swept.intervals.to_polars().unique(["rate", "tensor_parallel"])) == 6


def test_a_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    printed("generate-config", "--format=json", f"--output={file}")
    keys = json.loads(file.read_text())
    asked = {
        "set": {"workload.total_requests_to_generate": 20, "frameworks_to_test[*].config.max_num_seqs": [8, 16]},
        "output": tmp_path / "sweep",
    }
    first = oracle.sweep(keys, **asked)
    journal = tmp_path / "sweep" / "points" / "1-of-1.jsonl"
    finished = journal.stat().st_mtime_ns
    assert oracle.sweep(keys, **asked).points == first.points
    assert journal.stat().st_mtime_ns >= finished and len(first.points) == 2


def test_a_point_that_cannot_run_is_a_row_and_a_warning() -> None:
    with pytest.warns(oracle.OracleWarning, match="1 of 2 points"):
        swept = oracle.sweep(**LOAD, device="H100", model=["Llama3.1-8B", "Llama3.1-9B"])
    assert swept.results is not None
    assert swept.results.to_polars()["status"].to_list().count("ok") == 1


def test_a_plan_is_that_of_the_command() -> None:
    asked = {"workload": "chat", "rate": 40, "requests": 500, "model": "Llama3.1-8B"}
    planned = oracle.plan(**asked, device=["H100", "H200"], slo={"ttft_p99": "300ms", "tpot_p99": "25ms"}, max_gpus=16)
    slo = "--slo=ttft_p99=300ms,tpot_p99=25ms"
    by_command = printed("plan", *words(asked), "--device=H100,H200", slo, "--max-gpus=16", "--format=json", "--quiet")
    assert planned.document == json.loads(by_command) and planned.is_met
    with pytest.warns(oracle.OracleWarning, match="nothing meets the SLO for Llama3.1-8B on L40S:"):
        assert oracle.plan(**asked, device=["H100", "L40S"], slo={"ttft_p99": "300ms"}, max_gpus=4).is_met
    with pytest.warns(oracle.OracleWarning, match="nothing meets the SLO"):
        assert not oracle.plan(**asked, device="L40S", slo={"ttft_p99": "1ms"}, max_gpus=2).is_met


def test_the_highest_rate_is_that_of_the_command() -> None:
    asked = {"workload": "chat", "rate": 20, "requests": 500, **DEPLOYMENT}
    knees = oracle.plan(**asked, slo={"ttft_p99": "300ms"}, max_rate=True, replicas=[1, 2])
    rest = ["--slo=ttft_p99=300ms", "--max-rate", "--replicas=1,2", "--format=json", "--quiet"]
    assert knees.document == json.loads(printed("plan", *words(asked), *rest)) and len(knees.answers) == 2


def test_the_catalog_is_listed() -> None:
    assert any(model["name"] == "Llama3.1-8B" for model in oracle.models())
    assert any(device["name"] == "H100-SXM-80GB" for device in oracle.devices())


@pytest.mark.parametrize(
    ("command", "flags"), [("run", oracle.RunFlags), ("sweep", oracle.SweepFlags), ("plan", oracle.PlanFlags)]
)
def test_keywords_are_the_flags(command: str, flags: type) -> None:
    told = _native.call([command, "--help"])[2][0]
    names = set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", told, flags=re.MULTILINE))
    # Of one run, though a sweep's points are runs.
    missing = {"no-csv", "trace-window"} if command == "sweep" else set()
    assert {name.replace("_", "-") for name in get_type_hints(flags)} - missing == names - OF_PRINTING


def test_everything_is_documented() -> None:
    for name in oracle.__all__:
        thing = getattr(oracle, name)
        assert inspect.getdoc(thing), name


def test_ctrl_c_stops_a_run() -> None:
    def interrupt() -> None:
        time.sleep(0.5)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        oracle.run(rate=5, requests=50_000_000, workload="chat", **DEPLOYMENT)
    assert time.monotonic() - started < 30


def test_types_are_right(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "-p", "llmperforacle"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
