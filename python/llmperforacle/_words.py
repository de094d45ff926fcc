"""Keywords as the words of a command line."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Flags that are given once for each pair of a mapping, the value in YAML.
_A_PAIR_A_FLAG = {"set", "over", "zip", "efficiency_table"}
#: Flags that are given or not.
_SWITCHES = {"disaggregate", "force", "max_rate", "no_csv", "overwrite", "save_requests", "shuffle", "skip_bad_rows"}
#: Other spellings of the command line.
_ALIASES = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "num_prompts": "requests"}
#: Text that YAML reads as the text that it is and that no list or range is made of.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/-]*(\.[A-Za-z0-9_/-]+)*")
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def python_of(value: Any) -> Any:
    """A number or an array of NumPy or pandas as Python has it; anything else is what it is."""
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    return value


def _yaml(value: Any) -> str:
    """A value as YAML has it in a line."""
    value = python_of(value)
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    if isinstance(value, os.PathLike):
        return _yaml(os.fspath(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_yaml(item)}" for key, item in value.items()) + "}"
    if _is_list(value):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TypeError(f"{value!r} is no value of a configuration: give text, a number, a list or a mapping")


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | os.PathLike)


def _listed(value: Any) -> str:
    """One value, or several with commas between them."""
    return ",".join(map(_yaml, value)) if _is_list(value) else _yaml(value)


def _plain(value: Any) -> str:
    if _is_list(value):
        return ",".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_plain(item)}" for key, item in value.items())
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _of(name: str, value: Any, *, are_lists_swept: bool) -> list[str]:
    value = python_of(value)
    if isinstance(value, bool) and name not in _SWITCHES:
        raise TypeError(f"{name}={value!r}: it takes a value, not yes or no")
    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if name in _A_PAIR_A_FLAG and isinstance(value, Mapping):
        # Of what is swept or planned over a list is many values, of what is set it is one.
        text = _yaml if name in ("set", "efficiency_table") and not are_lists_swept else _listed
        return [f"{flag}={key}={text(item)}" for key, item in value.items()]
    if name in _A_PAIR_A_FLAG:
        return [f"{flag}={pair}" for pair in (value if _is_list(value) else [value])]
    if are_lists_swept and _is_list(value):
        return [f"{flag}={_listed(value)}"]
    return [f"{flag}={_plain(value)}"]


def words(flags: Mapping[str, Any], known: Iterable[str], *, are_lists_swept: bool = False) -> list[str]:
    """The words for keywords, of which only the `known` are."""
    known = list(known)
    found: list[str] = []
    for name, value in flags.items():
        if name not in known:
            alias = _ALIASES.get(name)
            nearest = [alias] if alias in known else difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else f"; there are {', '.join(sorted(known))}"
            raise TypeError(f"unexpected keyword {name!r}{hint}")
        found += _of(name, value, are_lists_swept=are_lists_swept)
    return found
