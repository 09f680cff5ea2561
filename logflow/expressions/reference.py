"""The tables of operators and functions, from the definitions that `check` uses.

``python -m logflow.expressions.reference`` prints docs/expressions.md anew: its text, with fresh tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from logflow.expressions.operations import FUNCTIONS

START, END = "<!-- functions -->", "<!-- /functions -->"


def functions() -> Iterator[str]:
    """The table of functions, line by line."""
    yield "| function | gives |"
    yield "|---|---|"
    for name in sorted(FUNCTIONS):
        spec = FUNCTIONS[name]
        yield f"| `{spec.signature}` | {spec.text} |"


def refreshed(page: str) -> str:
    """A page with the table of functions written anew between its marks."""
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    return "\n".join([before + START, *functions(), END + after])


if __name__ == "__main__":
    sys.stdout.write(refreshed(Path(sys.argv[1]).read_text()))
