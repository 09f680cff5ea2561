"""docs/expressions.md is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from logflow.expressions import Event, compile_expression
from logflow.expressions.reference import refreshed

PAGE = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()
RECIPES = re.findall(
    r"^\| ([^|]+) \| `([^|]+)` \| `([^|]+)` \| `([^|]+)` \|$", PAGE.partition("## Recipes")[2], re.MULTILINE
)


def test_the_table_of_functions_is_fresh() -> None:
    assert refreshed(PAGE) == PAGE, "run make docs"


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 25


@pytest.mark.parametrize(("task", "text", "record", "gives"), RECIPES)
def test_every_recipe_gives_what_it_says(task: str, text: str, record: str, gives: str) -> None:
    assert compile_expression(text).evaluate(Event(json.loads(record))) == json.loads(gives)
