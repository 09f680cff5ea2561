"""Tag patterns: ``*`` is one part of a tag, ``**`` any number of parts (none too), ``{a,b}`` a choice.

``app.*.error`` matches ``app.web.error``; ``app.**`` matches ``app`` and ``app.web.error``;
``{app,db}.*`` matches ``db.slow``. Within a part ``*`` stands for any text: ``web-*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_MAX_ALTERNATIVES = 256
_BRACES = re.compile(r"\{([^{}]*)\}")
_ANY_PARTS = "**"


def compile_pattern(text: str) -> Callable[[str], bool]:
    """Compile a tag pattern into a function that says whether a tag matches.

    Raises:
        ValueError: the pattern cannot be used; the text says why.
    """
    if not text or text != text.strip():
        raise ValueError("a pattern must not be empty or begin or end with blanks")
    alternatives = [_compile_parts(alternative) for alternative in _expand(text)]

    def matches(tag: str) -> bool:
        parts = tag.split(".")
        return any(_match_parts(alternative, parts) for alternative in alternatives)

    return matches


def _expand(text: str) -> list[str]:
    """Replace every ``{a,b}`` by its choices, innermost first."""
    pending, done = [text], []
    while pending:
        candidate = pending.pop()
        braces = _BRACES.search(candidate)
        if braces is None:
            if "{" in candidate or "}" in candidate:
                raise ValueError(f"unbalanced braces in {text!r}")
            done.append(candidate)
            continue
        before, after = candidate[: braces.start()], candidate[braces.end() :]
        pending += [f"{before}{choice.strip()}{after}" for choice in braces[1].split(",")]
        if len(pending) + len(done) > _MAX_ALTERNATIVES:
            raise ValueError(f"{text!r} stands for more than {_MAX_ALTERNATIVES} alternatives")
    return done


def _compile_parts(text: str) -> list[re.Pattern[str] | None]:
    """One element per part; ``None`` stands for ``**``."""
    parts: list[re.Pattern[str] | None] = []
    for part in text.split("."):
        if part == _ANY_PARTS:
            if not parts or parts[-1] is not None:
                parts.append(None)
        elif _ANY_PARTS in part:
            raise ValueError(f"'**' must be a whole part of the pattern, not {part!r}")
        else:
            parts.append(re.compile(".*".join(re.escape(piece) for piece in part.split("*")), re.DOTALL))
    return parts


def _match_parts(pattern: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Match part by part; on a mismatch the latest ``**`` swallows one part more.

    The time is at most the product of both lengths.
    """
    position = index = 0
    retry_index = retry_position = -1
    while position < len(parts):
        if index < len(pattern) and (element := pattern[index]) is None:
            index += 1
            retry_index, retry_position = index, position
        elif index < len(pattern) and element is not None and element.fullmatch(parts[position]):
            index += 1
            position += 1
        elif retry_index >= 0:
            retry_position += 1
            index, position = retry_index, retry_position
        else:
            return False
    return all(element is None for element in pattern[index:])
