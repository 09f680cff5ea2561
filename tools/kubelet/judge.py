"""What became of the events: exact texts are compared, so that nothing can be split or joined unseen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tools.kubelet.node import Written

_MARK = re.compile(r"<web-\d+/std(?:out|err) \d+>")
_EXAMPLES = 5


@dataclass
class Verdict:
    """Counts of events.

    Attributes:
        written: all of them.
        arrived: those that arrived as they were said.
        lost: those that did not, although their files are still there.
        deleted: those that did not, and of which a file was removed.
        deleted_bytes: what these take in the files.
        doubled: texts that arrived more often than once.
        broken: texts that nobody said: parts of events, or several joined to one.
        examples: some of what is wrong.
    """

    written: int = 0
    arrived: int = 0
    lost: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    doubled: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether nothing was lost whose files exist, and nothing doubled, split or joined."""
        return not (self.lost or self.doubled or self.broken)

    def __str__(self) -> str:
        counts = (
            f"{self.arrived} of {self.written} events arrived as they were said; {self.lost} lost, "
            f"{self.doubled} doubled, {self.broken} split or joined wrongly, {self.deleted} "
            f"({self.deleted_bytes} bytes) deleted unread"
        )
        return "\n".join([counts, *self.examples])


def judge(written: Iterable[Written], texts: Iterable[str]) -> Verdict:
    """Compare what was written with what arrived."""
    arrived = Counter(texts)
    verdict, known, torn = Verdict(), set[str](), dict[str, str]()
    for each in written:
        text = each.event.text
        known.add(text)
        verdict.written += 1
        if arrived[text]:
            verdict.arrived += 1
        elif each.gone:
            verdict.deleted += 1
            verdict.deleted_bytes += each.size
            torn[each.event.mark] = text
        else:
            verdict.lost += 1
            _note(verdict, "lost", text)
        if arrived[text] > 1:
            verdict.doubled += 1
            _note(verdict, "doubled", text)
    for text in arrived.keys() - known:
        # What is left of an event whose file was removed in part arrives as it is.
        if not _is_left_of(text, torn):
            verdict.broken += 1
            _note(verdict, "nobody said", text)
    return verdict


def _is_left_of(text: str, torn: Mapping[str, str]) -> bool:
    """Whether a text is of events, by their marks, of which something was removed."""
    if marks := _MARK.findall(text):
        return all(mark in torn for mark in marks)
    return any(text in whole for whole in torn.values())


def _note(verdict: Verdict, what: str, text: str) -> None:
    if len(verdict.examples) < _EXAMPLES:
        verdict.examples.append(f"{what}: {text[:200]!r}")
