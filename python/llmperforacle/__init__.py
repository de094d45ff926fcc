"""Simulate LLM serving: latency, throughput and utilisation of a deployment, without a GPU.

    >>> import llmperforacle as oracle
    >>> run = oracle.run(rate=2, requests=200, workload="chat", model="Llama3.1-8B", device="H100")
    >>> run.summary["latency"]["time_to_first_token_ms"]["p99"]
    >>> run.requests.to_pandas()

`run` simulates one deployment, `sweep` every point of a grid, `plan` finds the smallest deployment for a load within an
SLO, `validate` says what is wrong with a configuration. Keywords are the flags of the commands of the same names, with
underscores, and mean the same; `llmperforacle run --help` tells all of them. The same seed gives the same figures.
"""

from ._commands import Plan, Run, Sweep, Validation, devices, models, plan, run, sweep, validate
from ._flags import PlanFlags, RunFlags, SweepFlags
from ._host import BadInput, OracleError, OracleWarning, RunFailed
from ._table import Table

__all__ = [
    "BadInput",
    "OracleError",
    "OracleWarning",
    "Plan",
    "PlanFlags",
    "Run",
    "RunFailed",
    "RunFlags",
    "Sweep",
    "SweepFlags",
    "Table",
    "Validation",
    "devices",
    "models",
    "plan",
    "run",
    "sweep",
    "validate",
]
