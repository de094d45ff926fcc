"""The keywords of the functions: flags of the commands of the same names.

A time is text with its unit (`"500ms"`, `"1s"`), tokens of a prompt or an answer a number or a distribution
(`"lognormal:512:300"`: mean and standard deviation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict, TypeVar, Union

T = TypeVar("T")
File = Union[str, "PathLike[str]"]
OneOrMore = Union[T, Sequence[T]]


class LoadFlags(TypedDict, total=False):
    """How much load there is and what it asks for, without a configuration."""

    rate: float | str  #: Requests (of conversations: sessions) a second; "inf": all at once.
    burstiness: float  #: Shape of gamma gaps between requests: 1 is Poisson's, less is burstier.
    concurrency: int  #: Closed loop: so many requests at a time.
    users: int  #: Closed loop of so many users, each of whom pauses for `think_time` between sessions.
    think_time: float | str  #: Seconds between a user's sessions: a number, or a distribution.
    max_in_flight: int  #: The client holds requests back rather than have more than this in flight.
    requests: int  #: Requests, follow-up turns included.
    duration: float  #: Seconds after which no request is sent any more.
    prompt_tokens: int | str  #: Tokens of a prompt: a number, or a distribution.
    output_tokens: int | str  #: Tokens of an answer, likewise.
    workload: str  #: What is asked for, by name: chat, code, summarization, reasoning, agent, rag, batch or mixed.


class TraceFlags(TypedDict, total=False):
    """How a trace is read and shaped."""

    trace: File  #: The trace that is replayed: CSV, JSON or Parquet.
    trace_format: str  #: Its layout, if it is not told by its fields.
    trace_columns: Mapping[str, str]  #: Columns of a table of no known format: arrival, prompt, output …
    trace_block_size: int  #: Tokens of a block that a hash of the trace names.
    trace_time_unit: Literal["ms", "s"]  #: Unit of Mooncake's timestamps where they could be either.
    image_tokens: int  #: Tokens that an image adds to its prompt.
    encoder_tokens: int  #: Tokens of an image in the vision encoder.
    chars_per_token: float  #: Estimate lengths of texts without token counts.
    skip_bad_rows: bool  #: Count and leave out rows that are no requests.
    window: str  #: A part of it: "peak:10m", "60s:10m".
    sample: float  #: A share of its sessions.
    prompt_scale: float  #: Prompts so many times as long.
    output_scale: float  #: Answers so many times as long.
    max_requests: int  #: No more requests than this.


class ChangeFlags(TypedDict, total=False):
    """What is changed in the configuration."""

    seed: int  #: Seed of every random draw.
    set: Mapping[str, Any]  #: Any key of the configuration and its value; [*] means all.
    mfu: float  #: Model FLOPs utilisation of compute-bound kernels.
    mbu: float  #: Memory bandwidth utilisation of memory-bound kernels.
    force: bool  #: Simulate what vLLM refuses all the same.
    efficiency_table: Mapping[str, Any]  #: Kernels priced by your own measurements: gemm=FILE …


class RunFlags(LoadFlags, TraceFlags, ChangeFlags, total=False):
    """Keywords of `run`."""

    shuffle: bool  #: Draw the trace's sessions in random order.
    repeat: int  #: Replay the trace so many times.
    repeat_prefixes: Literal["renamed", "kept"]  #: Whether repetitions share their prefixes.
    rate_scale: float  #: The trace so many times as fast.
    time_scale: float  #: The trace's times multiplied by this.
    model: str  #: A catalog name (see `models`), or a Hugging Face config.json.
    assume: str  #: The family (`model_type`) that a config.json is read as, whatever it says.
    device: str  #: A catalog name (see `devices`).
    replicas: int  #: Data-parallel replicas.
    tensor_parallel: int  #: Tensor-parallel ranks of a replica.
    pipeline_parallel: int  #: Pipeline stages of a replica.
    quantization: str  #: How weights are stored: "fp8", "nvfp4", "awq" …
    max_num_batched_tokens: int  #: Token budget of a step.
    max_num_seqs: int  #: Seats of an engine.
    router: str  #: Policy of the router.
    slo: Mapping[str, str]  #: What clients expect of an answer: {"ttft": "500ms", "tpot": "50ms"}.
    output: File  #: Folder to write the run's files to; without it none are written.
    overwrite: bool  #: Replace the files of a run of another configuration.
    name: str  #: Name of the run.
    no_csv: bool  #: Do not write requests.csv.
    trace_window: str  #: Write a part of the run as trace.json for ui.perfetto.dev: "10:20" (s), with `output`.


class SweepFlags(RunFlags, total=False):
    """Keywords of `sweep`: those of `run`, each with one value or a list of them, and these."""

    zip: Mapping[str, Sequence[Any]]  #: Keys (or flags: "--rate") that go through their values together.
    grid: File  #: Grid of keys and flags in YAML.
    seeds: int  #: Repeat every setting with so many seeds.
    shard: str  #: Run this part alone: "2/8".
    save_requests: bool  #: Keep the requests of every point.


class PlanFlags(LoadFlags, TraceFlags, ChangeFlags, total=False):
    """Keywords of `plan`."""

    model: OneOrMore[str]  #: Models to deploy.
    assume: str  #: The family (`model_type`) that each model's config.json is read as, whatever it says.
    device: OneOrMore[str]  #: Devices to try.
    tensor_parallel: OneOrMore[int]  #: Ranks of a replica to try.
    pipeline_parallel: OneOrMore[int]  #: Stages of a replica to try.
    slo: Mapping[str, str]  #: What every answer keeps to: {"ttft_p99": "1s", "tpot_p99": "50ms"}.
    attainment: float  #: Share of the requests that keeps to objectives without a statistic.
    rate_scale: OneOrMore[float]  #: Times the load's rate: an answer for each.
    quantization: OneOrMore[str]  #: Element types of the weights to try.
    max_num_batched_tokens: OneOrMore[int]  #: Token budgets of a step to try.
    max_num_seqs: OneOrMore[int]  #: Seats of an engine to try.
    router: OneOrMore[str]  #: Policies of the router to try.
    over: Mapping[str, Sequence[Any]]  #: Any other key and the values to try.
    disaggregate: bool  #: Try prefill and decode on replicas of their own, too.
    max_gpus: int  #: No deployment has more.
    objective: Literal["gpus", "cost", "energy"]  #: What there is to be least of.
    price: Mapping[str, float]  #: Dollars an hour of a device.
    prices: File  #: File of prices.
    repeat: int  #: Run each answer with so many seeds, for intervals.
    save: File  #: Folder for each answer's configuration, command line and Kubernetes manifest.
    max_rate: bool  #: Ask for the highest rate of a deployment instead.
    replicas: OneOrMore[int]  #: Replicas of `max_rate`.
