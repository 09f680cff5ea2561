"""JSON objects in the frames of bulk interfaces."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.engine.stores import Wrapping
from logflow.errors import MalformedData
from logflow.packing import pack_entries
from tools.strategies import canonical_entries

ENTRIES = pack_entries([1_500_000_000, 2_000_000_001, 3_000_000_000], [{"a": 1}, {}, {"@tag": "own"}])


def test_each_object_stands_in_its_frame(engine: Engine) -> None:
    wrapping = Wrapping([b"A", b"B"], b":", b";\n", which=[1, 0, 1], insert=range(7, 10))
    assert engine.to_wrapped(ENTRIES, "t", wrapping, None, "@tag") == (
        b'B7:{"@tag":"t","a":1};\nA8:{"@tag":"t"};\nB9:{"@tag":"own"};\n'
    )


def test_numbers_may_be_listed_and_times_are_exact(engine: Engine) -> None:
    assert engine.to_wrapped(ENTRIES, "t", Wrapping([b""], b" ", b"\n", insert=[5, 70, 6]), None, None) == (
        b'5 {"a":1}\n70 {}\n6 {"@tag":"own"}\n'
    )
    seconds = engine.to_wrapped(ENTRIES, "t", Wrapping([b""], b"", b"\n", insert="seconds"), None, None)
    assert seconds.startswith(b'1.500000000{"a":1}\n2.000000001{}')
    assert engine.to_wrapped(b"", "t", Wrapping([b"x"], b"", b"")) == b""


@pytest.mark.parametrize(
    "wrapping", [Wrapping([b"A"], b"", b"", which=[0, 0]), Wrapping([b"A"], b"", b"", which=[0, 1, 0]),
              Wrapping([b"A"], b"", b"", insert=[1, 2]), Wrapping([], b"", b"")],
)  # fmt: skip
def test_too_few_frames_or_numbers_are_an_error(engine: Engine, wrapping: Wrapping) -> None:
    with pytest.raises(MalformedData, match="fewer"):
        engine.to_wrapped(ENTRIES, "t", wrapping)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_both_engines_give_the_same(data) -> None:
    entries = data.draw(canonical_entries())
    count = load_engine("python").count(entries)
    which = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=count, max_size=count))
    insert = data.draw(st.sampled_from([None, "seconds", range(5, 5 + count), list(range(count))[::-1]]))
    wrapping = Wrapping([b"A", b"{", b""], b"-", b"\n", which, insert)
    results = [load_engine(name).to_wrapped(entries, "t\n", wrapping) for name in ("python", "native")]
    assert results[0] == results[1]
