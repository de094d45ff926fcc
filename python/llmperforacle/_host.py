"""Calls commands and turns how they end into what Python does: values, warnings, exceptions."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

from . import _native


#: Flags with which a command prints its findings for a program, and tells warnings alone.
FOR_A_PROGRAM = ["--log-level=warning", "--quiet", "--format=json"]
#: Exit code of what cannot be done as asked.
BAD_INPUT = 2


class OracleError(Exception):
    """A command did not do what was asked."""


class BadInput(OracleError, ValueError):
    """It cannot be done as asked: the message names the file, the key and the way out. Nothing was simulated."""


class RunFailed(OracleError, RuntimeError):
    """It was tried and failed: a file could not be written, or what was replayed ended early."""


class OracleWarning(UserWarning):
    """What has no effect, or perhaps not the one that was meant."""


def refused(ended: _native.Ended) -> NoReturn:
    """Raises what a command that did not succeed has told."""
    code, _, told = ended
    message = "\n".join(told).removeprefix("error: ")
    raise (BadInput if code == BAD_INPUT else RunFailed)(message)


def warn(told: list[str]) -> None:
    """Passes on what a command told besides."""
    for message in told:
        warnings.warn(message.removeprefix("warning: "), OracleWarning, stacklevel=4)


def printed(words: list[str], *, has_parts_that_fail: bool = False) -> str:
    """What a command prints. One that has figures for a part alone prints these, and the rest is a warning."""
    ended = _native.call(words)
    code, text, told = ended
    if code != 0 and not (text and (code == BAD_INPUT or has_parts_that_fail)):
        refused(ended)
    warn(told)
    return text


def main() -> NoReturn:
    """The command line."""
    sys.exit(_native.main(["llmperforacle", *sys.argv[1:]]))
