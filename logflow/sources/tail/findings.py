"""What a search of the paths found that its user should know."""

from __future__ import annotations

import logging
from typing import NamedTuple

from logflow.sources.tail.discovery import Search
from logflow.sources.tail.tags import shown


class Told(NamedTuple):
    """What was said, so that it is not said again as long as it is so."""

    nothing: bool
    dangling: bool
    outside: bool
    incomplete: bool


def tell(log: logging.Logger, search: Search, before: Told | None) -> Told:
    """Say when nothing is found, or links lead nowhere: once, until that has changed."""
    told = Told(not search.files, bool(search.dangling), bool(search.outside), search.incomplete)
    if told == before:
        return told
    if search.incomplete:
        log.warning("The paths lead to too many names; not all of them are looked at. Make them narrower.")
    if search.dangling:
        log.warning(
            "%d links that the paths name lead nowhere, such as %s: is what they lead to mounted?",
            len(search.dangling), shown(search.dangling[0]),
        )  # fmt: skip
    if search.outside:
        log.warning(
            "%d links lead outside of where files may lie, such as %s; they are left out, because of "
            "follow_links: within.", len(search.outside), shown(search.outside[0]),
        )  # fmt: skip
    if search.files:
        log.info("Files that match the paths: %d.", len(search.files))
    else:
        log.warning("No file matches the paths. They are searched for again.")
    return told
