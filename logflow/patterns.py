"""Tag patterns: ``*`` is one part of a tag, ``**`` any number of parts (none too), ``{a,b}`` a choice.

``app.*.error`` matches ``app.web.error``; ``app.**`` matches ``app`` and ``app.web.error``;
``{app,db}.*`` matches ``db.slow``. Within a part ``*`` stands for any text: ``web-*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

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


def covers(wide: str, narrow: str) -> bool:
    """Whether a pattern certainly matches every tag that another one matches.

    Raises:
        ValueError: one of them cannot be used.
    """
    return all(
        any(_covers(tuple(a.split(".")), tuple(b.split("."))) for a in _expand(wide)) for b in _expand(narrow)
    )


@lru_cache(maxsize=4096)
def _covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    if not wide or not narrow:
        return not narrow and all(part == _ANY_PARTS for part in wide)
    if wide[0] == _ANY_PARTS:
        return _covers(wide[1:], narrow) or _covers(wide, narrow[1:])
    if narrow[0] == _ANY_PARTS:
        return False
    same = wide[0] in {"*", narrow[0]} or ("*" not in narrow[0] and _part(wide[0]).fullmatch(narrow[0]))
    return bool(same) and _covers(wide[1:], narrow[1:])


def may_match(pattern: str, template: str) -> bool:
    """Whether a pattern can match a tag made of a template, whose ``{...}`` may stand for anything.

    Raises:
        ValueError: the pattern cannot be used.
    """
    fixed, brace, _ = template.partition("{")
    if not brace:
        return compile_pattern(pattern)(template)
    known = fixed.split(".")[:-1]  # the last part goes on in the braces
    return any(_may_begin(alternative.split("."), known) for alternative in _expand(pattern))


def _may_begin(parts: list[str], known: list[str]) -> bool:
    """Whether a pattern's parts can match a tag that begins with some parts and has at least one more."""
    for index, part in enumerate(parts):
        if part == _ANY_PARTS or index == len(known):
            return True
        if not _part(part).fullmatch(known[index]):
            return False
    return False


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
            parts.append(_part(part))
    return parts


def _part(text: str) -> re.Pattern[str]:
    """Compile one part, in which ``*`` stands for any text."""
    first, *rest = map(re.escape, text.split("*"))
    if not rest:
        return re.compile(first)
    *middle, last = rest
    # A piece is taken where it comes first and not looked for again, or hostile tags would take for ever.
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}", re.DOTALL)


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
