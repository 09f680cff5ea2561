"""Events that are none: what can be seen of them later."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings

from logflow.batch import Batch
from logflow.engine.api import MAX_REFUSED, Engine
from logflow.forward.refused import refused_events
from tools.strategies import foreign_entries

NOW_NS = 1_700_000_000_000_000_000


def letter(engine: Engine, data: bytes):
    """The records made of what is refused of some data."""
    normal = engine.normalize(data, NOW_NS)
    made = refused_events(engine, data, normal, Batch("app", b"", 0), NOW_NS)
    return None if made is None else [record for _, record in made.events()]


def test_each_is_there_as_it_was_sent(engine: Engine) -> None:
    """With the reason."""
    data = b"".join(map(msgpack.packb, [[5, {}], ["12:00", {"a": 1}], [5, None]]))
    assert letter(engine, data) == [
        {"refused": "bad_time", "event": ["12:00", {"a": 1}]},
        {"refused": "bad_record", "event": [5, None]},
    ]


def test_what_nests_too_deep_is_there_as_bytes(engine: Engine) -> None:
    """No record may nest so deep."""
    deep = b"\x92\x05\x81\xa1a" + b"\x91" * 200 + b"\xc0"
    assert letter(engine, deep) == [{"refused": "too_deep", "event": deep}]


@pytest.mark.parametrize("bad", [b"\x92\xa1x\x80", b"\x92\xa1x\xda\xff\xff" + bytes(65_535)])
def test_there_are_only_so_many_and_they_take_only_so_much(engine: Engine, bad: bytes) -> None:
    """They are samples."""
    made = letter(engine, bad * 1000)
    assert made is not None
    assert 0 < len(made) <= min(MAX_REFUSED, (256 << 10) // len(bad))


def test_one_that_is_too_large_is_not_kept(engine: Engine) -> None:
    """It is counted, and no more."""
    assert letter(engine, msgpack.packb(["x", bytes(300_000)])) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(foreign_entries())
def test_whatever_comes_gives_events_that_can_be_written(engine: Engine, data: bytes) -> None:
    """Each can be decoded and is as good as any other."""
    normal = engine.normalize(data, NOW_NS)
    made = refused_events(engine, data, normal, Batch("app", b"", 0), NOW_NS)
    if made is not None:
        assert engine.count(made.entries) == made.count == len(list(made.events()))
