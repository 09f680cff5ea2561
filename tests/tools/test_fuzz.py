"""What is fuzzed: each target takes its seeds, and what once found something."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from logflow.expressions import compile_expression
from tools import fuzz
from tools.fuzz.__main__ import build_parser
from tools.fuzz.targets import TARGETS

SEEDS = Path(fuzz.__file__).parent / "seeds"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_no_fault_in_its_seeds_and_in_nothing(name: str) -> None:
    target = TARGETS[name]
    for data in (b"", *target.seeds, *(path.read_bytes() for path in (SEEDS / name).glob("*"))):
        target.feed(data)
        target.feed(data[: len(data) // 2])


def test_seeds_belong_to_a_target() -> None:
    assert {path.name for path in SEEDS.iterdir()} <= set(TARGETS)


def test_the_native_fuzzing_has_the_programs_of_the_expressions() -> None:
    for line in (Path(__file__).parents[2] / "native/tests/corpus/programs").read_text().splitlines():
        packed, _, text = line.partition(" ")
        assert msgpack.unpackb(bytes.fromhex(packed)) == compile_expression(text).program


def test_the_options_have_defaults() -> None:
    options = build_parser().parse_args([])
    assert (options.seconds, options.targets) == (60, None)
