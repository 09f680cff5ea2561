"""The option ``multiline``."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from logflow.config.multiline import MultilineConfig, rules_of
from logflow.multiline import custom, of_presets


def test_presets_and_patterns_become_rules() -> None:
    assert rules_of(None) is None
    config = MultilineConfig.model_validate(
        {"presets": ["python", "java"], "timeout": "1s", "max_bytes": "1KiB"}
    )
    assert rules_of(config) == of_presets(["java", "python"], timeout_ns=10**9, max_bytes=1024)
    config = MultilineConfig.model_validate({"start": "^a", "continue": "^b", "end": "c$", "max_lines": 9})
    assert rules_of(config) == custom("^a", "^b", "c$", max_lines=9)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "set presets, or one of start, continue and end"),
        ({"presets": ["java", "cobol"]}, "no preset 'cobol'; there are dotnet, go, java"),
        ({"presets": ["java"], "start": "x"}, "either presets, or start"),
        ({"start": "("}, "is not a regular expression"),
        ({"start": "a", "timeout": 0}, "greater than 0"),
        ({"begin": "a"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_explained(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        MultilineConfig.model_validate(options)
