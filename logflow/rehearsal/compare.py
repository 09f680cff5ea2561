"""How what came out differs from what was expected, in lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from logflow.errors import counted
from logflow.rehearsal.cases import Case
from logflow.rehearsal.rehearsal import Outcome

_SHOWN_CHARACTERS = 300
_OURS = ("@timestamp", "@tag")


def differences(case: Case, outcome: Outcome) -> list[str]:
    """Say what is not as the test expects it; nothing if all is."""
    found = [f"filters failed for {counted(outcome.failed, 'event')}"] if outcome.failed else []
    for output, expected in case.expect.items():
        lines = _of_output(expected, outcome.outputs[output], exact=case.exact)
        found += [f"{output}: {line}" for line in lines]
    if case.dropped is not None and dict(outcome.dropped) != case.dropped:
        found.append(f"dropped: expected {_show(case.dropped)}, got {_show(dict(outcome.dropped))}")
    return found


def _of_output(
    expected: Sequence[dict[str, Any]], actual: Sequence[dict[str, Any]], *, exact: bool
) -> list[str]:
    found = []
    for number, (wanted, came) in enumerate(zip(expected, actual, strict=False), start=1):
        if exact:
            came = {key: value for key, value in came.items() if key not in _OURS or key in wanted}  # noqa: PLW2901
        if lines := _of_values(wanted, came, "", exact=exact):
            found.append(f"event {number} of {len(expected)} is {_show(came)}")
            found += [f"  {line}" for line in lines]
    if len(actual) != len(expected):
        found.append(f"expected {_events(len(expected))}, got {_events(len(actual))}")
        found += [f"  missing: {_show(record)}" for record in expected[len(actual) :]]
        found += [f"  not expected: {_show(record)}" for record in actual[len(expected) :]]
    return found


def _of_values(wanted: Any, came: Any, path: str, *, exact: bool) -> list[str]:
    if isinstance(wanted, Mapping) and isinstance(came, Mapping):
        found = [
            line
            for key, value in wanted.items()
            for line in (
                _of_values(value, came[key], _below(path, key), exact=exact)
                if key in came
                else [f"{_below(path, key)}: expected {_show(value)}, but the field is missing"]
            )
        ]
        if exact:
            found += [f"{_below(path, key)}: not expected" for key in came if key not in wanted]
        return found
    if type(wanted) is type(came) and wanted == came:
        return []
    if {type(wanted), type(came)} == {int, float} and wanted == came:
        return []
    return [f"{path}: expected {_show(wanted)}, got {_show(came)}"]


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _events(count: int) -> str:
    return counted(count, "event") if count else "no events"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
