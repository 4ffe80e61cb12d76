"""Runs a fuzz target: feeds its parsers what libFuzzer thinks of, and keeps what breaks one.

`python tests/fuzz/fuzz_names.py -max_total_time=60` fuzzes for a minute; a file in the place of
the options is tried once. Any exception that is not the parser's own refusal is a finding: its
input is written to `.fuzz/`, where each target also keeps the inputs that led somewhere new.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import atheris

KEPT = Path(__file__).parents[2] / ".fuzz"
TARGET = Path(sys.argv[0]).stem
LONGEST = 10  # seconds that one input may take

Parser = Callable[[bytes], object]


def instrumented() -> AbstractContextManager[object]:
    """Have libFuzzer see which lines run in what is imported within."""
    return atheris.instrument_imports(include=["acmeiot"])  # type: ignore[no-any-return]


def folder(name: str) -> Path:
    """Return a folder for what a target needs on the disk."""
    path = KEPT / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(*parsers: Parser, refusals: tuple[type[Exception], ...], seeds: Iterable[bytes]) -> None:
    """Give each input to all parsers; never returns. `refusals` is what they may raise."""

    def one(data: bytes) -> None:
        for parse in parsers:
            with suppress(*refusals):
                parse(data)

    given = sys.argv[1:]
    options = [f"-artifact_prefix={folder('found')}/{TARGET}-", f"-timeout={LONGEST}"]
    if all(argument.startswith("-") for argument in given):
        corpus = folder(TARGET)
        for seed in seeds:
            (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
        given = [*given, str(corpus)]
    atheris.Setup([sys.argv[0], *options, *given], one)
    atheris.Fuzz()
