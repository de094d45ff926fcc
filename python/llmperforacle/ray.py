"""Sweeps over the machines of a Ray cluster (`pip install ray`).

A sweep is divided into shards, each a task of one CPU. What a shard has finished comes back to the folder of the sweep as
soon as it is over, so a sweep that was interrupted goes on from there; a task that is lost with its machine is run again
by Ray. The figures are those of `llmperforacle.sweep`, to the byte, however many shards and machines there are.

    >>> import ray, llmperforacle.ray
    >>> ray.init("auto")
    >>> llmperforacle.ray.sweep("deployment.yaml", seeds=1000, output="capacity")

Files that are named (the configuration, a trace) are read by every machine under the same name: put them on a shared disk,
or into the `working_dir` of Ray's runtime environment. A configuration that is a mapping travels by itself. The package
must be installed on every machine, in the same version.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import ray

from . import _native
from ._commands import Config, Sweep, _named, swept
from ._flags import SweepFlags
from ._host import FOR_A_PROGRAM, BadInput, printed, refused
from ._words import words

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Shards a CPU of the cluster: some end earlier than others, and what is lost with a machine is a shard.
SHARDS_A_CPU = 4

#: Files by their names in the folder of a sweep.
Files = dict[str, bytes]

#: What a sweep leaves in its folder.
_DESCRIPTION, _JOURNALS, _REQUESTS, _TABLES = "sweep.json", "points", "requests", ("results.parquet", "intervals.parquet")


def sweep(config: Config | None = None, *, shards: int | None = None, **flags: Unpack[SweepFlags]) -> Sweep:
    """Simulates every point of a grid on the machines of a Ray cluster, the local one if none is connected to.

    Args:
        config: As of `llmperforacle.sweep`.
        shards: Into how many tasks the sweep is divided; without it, four a CPU of the cluster.
        **flags: As of `llmperforacle.sweep`; `output` names the folder, which this process alone writes.

    Returns:
        The sweep, its table with all points.

    Raises:
        BadInput: No point can be simulated, the grid is wrong, or `output` is missing.
        RunFailed: Files could not be written.
    """
    if "output" not in flags:
        raise TypeError("a sweep over machines needs output=FOLDER, where shards that are over are kept")
    if "shard" in flags:
        raise TypeError("the shards are divided here: say how many with shards=N")
    folder = Path(flags.pop("output"))
    overwrite = flags.pop("overwrite", False)
    given = words(flags, get_type_hints(SweepFlags), are_lists_swept=True)
    if not ray.is_initialized():
        ray.init()
    cpus: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    count = shards or max(1, SHARDS_A_CPU * int(cpus.get("CPU", 1)))
    if overwrite:
        _clear(folder)
    begun = ray.put(_files_of(folder))
    tasks = [_shard.remote(config, given, f"{number}/{count}", begun, str(folder)) for number in range(1, count + 1)]
    try:
        while tasks:
            over, tasks = ray.wait(tasks)
            for files in ray.get(over):
                _put(folder, files)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        for task in tasks:
            ray.cancel(task)
    points = printed(["merge", *FOR_A_PROGRAM, str(folder)], has_parts_that_fail=True)
    return swept(json.loads(points), folder, is_kept=True)


@ray.remote(num_cpus=1)
def _shard(config: Config | None, given: list[str], shard: str, begun: Files, name: str) -> Files:
    """Runs what is not finished of a shard of the sweep in the folder of this name, and gives the files that it adds."""
    with _named(config) as named, tempfile.TemporaryDirectory(prefix="llmperforacle-") as scratch:
        folder = Path(scratch)
        _put(folder, begun)
        place = ["--threads=1", f"--shard={shard}", f"--output={folder}"]
        ended = _native.call(["sweep", *FOR_A_PROGRAM, *place, *given, *named])
        code, text, _ = ended
        # Points that cannot run are rows, and told when the shards are joined.
        if code != 0 and not text:
            try:
                refused(ended)
            except BadInput as error:
                raise BadInput(str(error).replace(scratch, name)) from None
        return {file: content for file, content in _files_of(folder).items() if begun.get(file) != content}


def _files_of(folder: Path) -> Files:
    """What a shard goes on from."""
    parts = (folder / _JOURNALS).glob("*.jsonl"), (folder / _REQUESTS).rglob("*.parquet"), folder.glob(_DESCRIPTION)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for part in parts for path in part}


def _put(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        partial.replace(path)


def _clear(folder: Path) -> None:
    for name in (_JOURNALS, _REQUESTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (*_TABLES, _DESCRIPTION):
        (folder / name).unlink(missing_ok=True)
