"""The commands as functions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_type_hints

from . import _native
from ._flags import ChangeFlags, PlanFlags, RunFlags, SweepFlags
from ._host import FOR_A_PROGRAM, OracleError, printed, refused, warn
from ._table import Table
from ._words import python_of, words

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: A configuration: its file, or its keys.
Config = Union[str, "PathLike[str]", Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is over."""

    summary: dict[str, Any]  #: What `summary.json` holds: verdict, requests, latency, throughput, GPUs, links …
    requests: Table  #: A row a request: its times, lengths, engine and how it ended.
    timeseries: Table  #: A row an interval and an engine: queue, batch, KV cache, MFU, MBU.
    folder: Path | None  #: Where its files are, if any were written.

    def __repr__(self) -> str:
        return f"<llmperforacle.Run of {len(self.requests)} requests>"


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep whose points are over."""

    points: list[dict[str, Any]]  #: Every point: its settings and all its metrics.
    results: Table | None  #: The same as a table, a column a setting and a metric; `None` for a shard.
    intervals: Table | None  #: Means and 95 % confidence intervals over seeds, if there are `seeds`.
    folder: Path | None  #: Where its files are, if `output` said where.

    def __repr__(self) -> str:
        return f"<llmperforacle.Sweep of {len(self.points)} points>"


@dataclass(frozen=True, eq=False)
class Plan:
    """What to deploy."""

    answers: list[dict[str, Any]]  #: The best deployment of each model, device and load; with `max_rate`, rates.
    document: dict[str, Any]  #: All that the plan came to: answers, candidates, what was not tried and why, prices.

    @property
    def is_met(self) -> bool:
        """Whether anything meets the SLO."""
        return any(answer["slo_met"] for answer in self.answers)

    def __repr__(self) -> str:
        met = sum(bool(answer["slo_met"]) for answer in self.answers)
        return f"<llmperforacle.Plan of {len(self.answers)} answers, of which {met} meet the SLO>"


@dataclass(frozen=True)
class Validation:
    """What was found in a configuration."""

    valid: bool  #: Whether it can be run.
    found: list[dict[str, Any]]  #: Errors and warnings: file, line, key, message and the way out.


def _plainly(value: Any) -> Any:
    """What `json` does not know, as it does."""
    plain = python_of(value)
    if plain is not value:
        return plain
    if isinstance(value, PathLike):
        return str(value)
    raise TypeError(f"{value!r} is no value of a configuration: give text, a number, a list or a mapping")


@contextmanager
def _named(config: Config | None) -> Iterator[list[str]]:
    """The words that name a configuration; one that is in no file is in one for the time, which messages do not name."""
    if config is None:
        yield []
    elif isinstance(config, Mapping):
        with tempfile.TemporaryDirectory(prefix="llmperforacle-") as folder:
            path = Path(folder) / "config.json"
            path.write_text(json.dumps(config, default=_plainly), encoding="utf-8")
            try:
                yield ["--", str(path)]
            except OracleError as error:
                raise type(error)(str(error).replace(str(path), "config")) from None
    else:
        yield ["--", str(config)]


def run(config: Config | None = None, **flags: Unpack[RunFlags]) -> Run:
    """Simulates a deployment under a load.

    Args:
        config: A configuration file, YAML or JSON, or its keys as a mapping. Without one the load and the deployment are
            said by keywords: `model` and `device`, and `trace`, `workload`, or `prompt_tokens` and `output_tokens`.
        **flags: Keywords of `RunFlags`, those of the command `run`. `set={"frameworks_to_test[*].replicas": 4}` changes
            any key of the configuration.

    Returns:
        The summary, and the requests and the time series as Arrow tables that stay in memory. Files are written if
        `output` names a folder.

    Raises:
        BadInput: The configuration, a keyword or the trace is wrong; the message says what, where and the way out.
        RunFailed: The run stopped short, or its files could not be written.
        KeyboardInterrupt: Ctrl-C stopped it.
    """
    with _named(config) as named:
        given = words(flags, get_type_hints(RunFlags))
        folder = flags.get("output")
        place = [] if folder else ["--output=none"]
        ended, tables = _native.run(["run", *FOR_A_PROGRAM, *place, *given, *named])
    code, text, told = ended
    if code != 0 or tables is None:
        refused(ended)
    warn(told)
    requests, timeseries = tables
    return Run(json.loads(text), Table(requests), Table(timeseries), Path(folder) if folder else None)


def sweep(config: Config | None = None, **flags: Unpack[SweepFlags]) -> Sweep:
    """Simulates every point of a grid, on all cores.

    Args:
        config: A configuration file, or its keys as a mapping; or none, as of `run`.
        **flags: Keywords of `SweepFlags`: those of `run`, of which each may be a list, as may the values of `set`. What is
            a list is swept: `sweep("c.yaml", set={"frameworks_to_test[*].replicas": [1, 2, 4]}, rate_scale=[1, 2])` has
            six points. With `output` the sweep can be interrupted and goes on where it was.

    Returns:
        The points, and their table. Points that cannot run are rows with a status, and a warning.

    Raises:
        BadInput: No point can be simulated, or the grid is wrong.
        RunFailed: Files could not be written.
        KeyboardInterrupt: Ctrl-C stopped it; with `output`, what was finished is kept.
    """
    with _named(config) as named, tempfile.TemporaryDirectory(prefix="llmperforacle-") as scratch:
        given = words(flags, get_type_hints(SweepFlags), are_lists_swept=True)
        folder = flags.get("output")
        place = [] if folder else [f"--output={scratch}/sweep"]
        command = ["sweep", *FOR_A_PROGRAM, *place, *given, *named]
        text = printed(command, has_parts_that_fail=True)
        return swept(json.loads(text), Path(folder) if folder else Path(scratch) / "sweep", is_kept=bool(folder))


def swept(points: list[dict[str, Any]], folder: Path, *, is_kept: bool) -> Sweep:
    """The sweep of a folder."""

    def table(name: str) -> Table | None:
        path = folder / name
        return Table(_native.read_parquet(path)) if path.exists() else None

    return Sweep(points, table("results.parquet"), table("intervals.parquet"), folder if is_kept else None)


def plan(config: Config | None = None, **flags: Unpack[PlanFlags]) -> Plan:
    """Finds the fewest GPUs (or the cheapest, or the most frugal) that serve a load within an SLO.

    Args:
        config: A file of the plan's flags, or a configuration, as of the command `plan`; or none.
        **flags: Keywords of `PlanFlags`, those of the command. What may be deployed is given by lists:
            `plan(workload="chat", rate=40, model="Llama3.1-8B", device=["H100", "L40S"], slo={"ttft_p99": "300ms"})`.

    Returns:
        The answers. If nothing meets the SLO they hold the nearest misses, `is_met` is false, and there is a warning.

    Raises:
        BadInput: The question is wrong.
        KeyboardInterrupt: Ctrl-C stopped it.
    """
    with _named(config) as named:
        given = words(flags, get_type_hints(PlanFlags))
        document = json.loads(printed(["plan", *FOR_A_PROGRAM, *given, *named]))
    return Plan(document["max_rates" if "max_rates" in document else "answers"], document)


def validate(config: Config, **flags: Unpack[ChangeFlags]) -> Validation:
    """Checks a configuration.

    Args:
        config: A configuration file, or its keys as a mapping.
        **flags: Keywords of `ChangeFlags`.

    Returns:
        Everything that is wrong with it or has no effect.
    """
    with _named(config) as named:
        given = words(flags, get_type_hints(ChangeFlags))
        document = json.loads(printed(["validate", "--format=json", *given, *named]))
    if isinstance(config, Mapping):
        document["found"] = [found | {"file": "config"} for found in document["found"]]
    return Validation(document["valid"], document["found"])


def models() -> list[dict[str, Any]]:
    """The models of the catalog."""
    listed: list[dict[str, Any]] = json.loads(printed(["models", "--format=json"]))
    return listed


def devices() -> list[dict[str, Any]]:
    """The devices of the catalog."""
    listed: list[dict[str, Any]] = json.loads(printed(["devices", "--format=json"]))
    return listed
