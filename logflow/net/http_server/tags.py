"""Tags of what comes over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from logflow.net.tags import FALLBACK, Tags

_MAX_TAG = 512
_MOST_KNOWN = 1000
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_NOT_IN_TAGS = re.compile(r"[^\w:@/+=-]+")
_MOST_VALUE = 100
_NOTHING = "_"


def check_tag(tag: str) -> str:
    """Check a tag that came from outside: printable parts without blanks, none of them empty."""
    if not tag or len(tag) > _MAX_TAG or not tag.isprintable() or " " in tag or not all(tag.split(".")):
        raise ValueError("a tag is parts joined by dots, of printable characters and no blanks")
    return tag


def check_tag_template(text: str) -> str:
    """Check a tag with placeholders in braces.

    Raises:
        ValueError: the text is not a template of tags.
    """
    check_tag(_PLACEHOLDER.sub("x", text))
    return text


TagTemplate = Annotated[str, AfterValidator(check_tag_template)]
"""A tag with placeholders, as users write it."""


class TagNames:
    """Tags from a template, of values that strangers chose.

    Values are cut, and what no tag may hold becomes ``_``, as does a value that is missing.
    """

    def __init__(self, template: str, tags: Tags) -> None:
        """Make tags, of which ``tags`` admits so many."""
        self._template = template
        self._names = _PLACEHOLDER.findall(template)
        self._tags = tags
        self._known: dict[tuple[str, ...], str] = {}

    def tag(self, values: Mapping[str, object]) -> tuple[str, Mapping[str, str]]:
        """Return the tag of an event with these values, and fields that it gets because of it."""
        key = tuple([_clean(values.get(name)) for name in self._names])
        tag = self._known.get(key)
        if tag is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            made = iter(key)
            tag = self._known[key] = _PLACEHOLDER.sub(lambda _: next(made), self._template)
        return (tag, {}) if self._tags.admits(tag, 1) else (FALLBACK, {"tag": tag})


def _clean(value: object) -> str:
    if value is None:
        return _NOTHING
    return _NOT_IN_TAGS.sub("_", str(value)[:_MOST_VALUE]) or _NOTHING
