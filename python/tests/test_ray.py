"""A sweep over Ray's local cluster; skipped where Ray is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import llmperforacle as oracle

ray = pytest.importorskip("ray")

GRID = {
    "rate": [1, 2, 4],
    "requests": 100,
    "workload": "chat",
    "model": "Llama3.1-8B",
    "device": "H100",
    "seeds": 3,
}
TABLES = ("results.parquet", "intervals.parquet")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


def test_a_sweep_over_ray_is_that_of_one_machine(tmp_path: Path) -> None:
    from llmperforacle.ray import sweep

    here, there = tmp_path / "here", tmp_path / "there"
    alone = oracle.sweep(**GRID, output=here, save_requests=True)
    over_ray = sweep(**GRID, output=there, save_requests=True, shards=4)
    assert over_ray.points == alone.points and len(over_ray.points) == 9
    files = [*TABLES, *(path.relative_to(here) for path in (here / "requests").rglob("*.parquet"))]
    assert len(files) == 2 + 9
    for name in files:
        assert (there / name).read_bytes() == (here / name).read_bytes(), name


def test_a_sweep_over_ray_goes_on_where_it_was(tmp_path: Path) -> None:
    from llmperforacle.ray import sweep

    oracle.sweep(**GRID, output=tmp_path / "sweep", shard="1/4")
    begun = (tmp_path / "sweep" / "points" / "1-of-4.jsonl").read_bytes()
    # Divided otherwise than it was begun.
    swept = sweep(**GRID, output=tmp_path / "sweep", shards=3)
    assert len(swept.points) == 9 and swept.results is not None
    assert (tmp_path / "sweep" / "points" / "1-of-4.jsonl").read_bytes() == begun
    alone = oracle.sweep(**GRID)
    assert swept.points == alone.points


def test_what_is_wrong_comes_back(tmp_path: Path) -> None:
    from llmperforacle.ray import sweep

    with pytest.raises(oracle.BadInput, match="Llama3.1-8B"):
        sweep(**GRID | {"model": "Llama3.1-9B"}, output=tmp_path / "sweep", shards=2)
    sweep(**GRID, output=tmp_path / "sweep", shards=2)
    with pytest.raises(oracle.BadInput, match=f"{tmp_path}/sweep holds another sweep"):
        sweep(**GRID | {"requests": 50}, output=tmp_path / "sweep", shards=2)
    again = sweep(**GRID | {"requests": 50}, output=tmp_path / "sweep", shards=2, overwrite=True)
    assert len(again.points) == 9
    with pytest.raises(TypeError, match="output"):
        sweep(**GRID)
