"""Reads a Mooncake file of `workload generate` or `convert` with the code of the tools that replay such files: AIPerf's loader and
prompt generator, and the `timed_trace` data set of `vllm bench serve`. Says which of them is not there.

    check_load.py FILE BLOCK_TOKENS

vLLM's class is taken from the package, or, where that cannot be imported, from the file of its source that
$LLMPERFORACLE_VLLM_DATASETS names (vllm/benchmarks/datasets/datasets.py of the wheel).
"""

import ast
import json
import os
import sys
from types import SimpleNamespace

PATH, BLOCK_TOKENS = sys.argv[1], int(sys.argv[2])
ROWS = [json.loads(line) for line in open(PATH)]


def common(one, other):
    """Items that two lists begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def check(name, prompts):
    """Prompts are as long as the rows say, and begin alike as far as their ids do."""
    assert len(prompts) == len(ROWS), (name, len(prompts))
    for row, prompt in zip(ROWS, prompts):
        assert len(prompt) == row["input_length"], (name, row, len(prompt))
    shared = 0
    for row, prompt in zip(ROWS[:40], prompts):
        for other_row, other in zip(ROWS[:40], prompts):
            blocks = common(row["hash_ids"], other_row["hash_ids"])
            tokens = min(blocks * BLOCK_TOKENS, len(prompt), len(other))
            assert prompt[:tokens] == other[:tokens], (name, row, other_row)
            # Beyond, tokens are drawn: alike by chance, and never for long.
            assert common(prompt, other) < tokens + 8 or prompt == other, (name, row, other_row)
            shared += tokens if row is not other_row else 0
    assert shared > 0, "no two prompts share anything, so this shows little"
    print(f"{name}: {len(prompts)} prompts")


def aiperf():
    try:
        from aiperf.common.hash_id_random_generator import HashIdRandomGenerator
        from aiperf.dataset.generator.prompt import PromptGenerator
        from aiperf.dataset.loader.mooncake_trace import MooncakeTraceDatasetLoader
        from aiperf.dataset.loader.models import MooncakeTrace
    except ImportError as error:
        print(f"skipped: AIPerf ({error})")
        return
    generator = PromptGenerator.__new__(PromptGenerator)
    generator._cache = {}
    generator._tokenized_corpus = list(range(1_000_000))
    generator.tokenizer = SimpleNamespace(block_separation_token_id=None)
    generator._hash_id_corpus_rng = HashIdRandomGenerator(7, _internal=True)
    generator._hash_id_corpus_rng.set_trace_id("trace")
    prompts = []
    for row in ROWS:
        assert MooncakeTraceDatasetLoader.can_load(data=row), row
        trace = MooncakeTrace.model_validate(row)
        assert trace.timestamp == row["timestamp"] and trace.output_length == row["output_length"]
        prompts.append(generator._build_token_sequence(trace.input_length, trace.hash_ids, BLOCK_TOKENS))
    check("AIPerf", prompts)


def timed_trace():
    try:
        from vllm.benchmarks.datasets.datasets import TimedTrace

        return TimedTrace
    except ImportError as error:
        source = os.environ.get("LLMPERFORACLE_VLLM_DATASETS")
        if source is None:
            print(f"skipped: vLLM ({error}; or set LLMPERFORACLE_VLLM_DATASETS)")
            return None
    import random
    from typing import Any

    try:
        import numpy
    except ImportError as error:
        print(f"skipped: vLLM ({error})")
        return None

    class BenchmarkDataset:
        def __init__(self, dataset_path=None, random_seed=0, **_):
            self.dataset_path, self.random_seed = dataset_path, random_seed

    tree = ast.parse(open(source).read())
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TimedTrace"]
    scope = {
        "BenchmarkDataset": BenchmarkDataset,
        "SampleRequest": SimpleNamespace,
        "TokenizerLike": object,
        "Any": Any,
        "random": random,
        "np": numpy,
        "json": json,
    }
    exec(compile(ast.Module(found, []), source, "exec"), scope)
    return scope["TimedTrace"]


def vllm():
    data_set = timed_trace()
    if data_set is None:
        return
    trace = data_set(
        dataset_path=PATH,
        random_seed=0,
        timed_trace_chunk_hash_size=BLOCK_TOKENS,
        timed_trace_sec_multiplier=0.001,
        timed_trace_label_timestamp="timestamp",
        timed_trace_label_input_length="input_length",
        timed_trace_label_output_length="output_length",
        timed_trace_label_hash_ids="hash_ids",
    )
    tokenizer = SimpleNamespace(get_vocab=lambda: {str(i): i for i in range(100_000)}, all_special_ids=[0])
    samples = trace.sample(tokenizer, len(ROWS))
    for row, sample in zip(ROWS, samples):
        assert abs(sample.timestamp - row["timestamp"] / 1000) < 1e-9
        assert sample.expected_output_len == row["output_length"]
    check("vLLM", [sample.prompt for sample in samples])


aiperf()
vllm()
