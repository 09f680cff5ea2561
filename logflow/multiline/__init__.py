r"""Several lines that are one event, such as a stack trace: which line begins one, and which go on with it.

::

    state 0: no event is open          rule: (states, pattern, state)
    line ── a rule of state 0 matches ──▶ the line begins an event, which is in the rule's state
         ── a rule of the event's state matches ──▶ the line belongs to the event, which changes its state
         ── none does ──▶ the event ends before the line, which is looked at again in state 0

The first rule that matches counts. A rule may be for lines that its pattern does *not* match. After ``END``
the event is finished. In a state of ``held``, the event is only gone on with if a line follows that leaves
such states: a blank line between two traces that belong together. Else what was held stands for itself.

Events are kept apart by stream. The lines of an event are joined by ``\n`` and have the time of the first. An
event that would have more than ``max_lines`` or ``max_bytes`` is finished, and what follows is the next one.
It is finished too when any line of the container comes ``timeout`` after its last one, by the times of the
lines: so that the same lines always give the same events.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from logflow.multiline.presets import END, PRESETS, Rule

__all__ = ["END", "PRESETS", "Multiline", "Rule", "custom", "of_presets"]


@dataclass(frozen=True)
class Multiline:
    """How lines become events.

    Attributes:
        rules: tried in order.
        held: states in which lines may turn out not to belong to the event.
        timeout_ns: time after an event's last line in which it is gone on with.
        max_lines: most lines of an event.
        max_bytes: most bytes of an event, unless its first line is longer.
        hints: words of which one stands in every line that begins an event; none: any line may begin one.
        spares_json: whether a message that begins with a brace begins no event.
    """

    rules: tuple[Rule, ...]
    held: frozenset[int] = frozenset()
    timeout_ns: int = 2_000_000_000
    max_lines: int = 500
    max_bytes: int = 256 * 1024
    hints: tuple[str, ...] = ()
    spares_json: bool = False

    def native(self) -> dict[str, Any]:
        """Describe it to the native engine."""
        from logflow.regexes import parse_pattern  # noqa: PLC0415 - only where one is configured

        return {
            "rules": [
                (sorted(rule.states), parse_pattern(rule.pattern).write("native"), rule.negate, rule.to)
                for rule in self.rules
            ],
            "hints": parse_pattern("|".join(map(re.escape, self.hints))).write("native") or None,
            "held": sorted(self.held),
            "timeout_ns": self.timeout_ns,
            "max_lines": self.max_lines,
            "max_bytes": self.max_bytes,
            "spares_json": self.spares_json,
        }


def custom(start: str | None, goes_on: str | None, end: str | None, **limits: Any) -> Multiline:
    """Make rules of patterns.

    Without ``start`` every line may begin an event. Without ``goes_on`` all lines go on with it that do not
    begin another. The line that matches ``end`` is the event's last.

    Raises:
        ValueError: there is no pattern.
    """
    if start is None and goes_on is None and end is None:
        raise ValueError("set presets, or one of start, continue and end")
    inside, any_line = frozenset({1}), ""
    rules: list[Rule] = []
    if end is not None:
        # A line may be the first and the last.
        if start is None:
            rules.append(Rule(frozenset({0}), end, END))
        rules.append(Rule(inside, end, END))
    rules.append(Rule(frozenset({0}), any_line if start is None else start, 1))
    if goes_on is not None:
        rules.append(Rule(inside, goes_on, 1))
    elif start is not None:
        rules.append(Rule(inside, start, 1, negate=True))
    else:
        rules.append(Rule(inside, any_line, 1))
    return Multiline(tuple(rules), **limits)


def of_presets(names: Sequence[str], **limits: Any) -> Multiline:
    """Put the rules of several presets together, in the order of ``PRESETS``.

    Raises:
        ValueError: there is no such preset.
    """
    rules: list[Rule] = []
    held: set[int] = set()
    hints: dict[str, None] = {}
    shift = 0
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; there are {', '.join(sorted(PRESETS))}")
    for name, preset in PRESETS.items():
        if name not in names:
            continue
        for rule in preset.rules:
            states = frozenset(state + shift if state else 0 for state in rule.states)
            rules.append(Rule(states, rule.pattern, rule.to + shift if rule.to > 0 else rule.to, rule.negate))
        hints |= dict.fromkeys(preset.hints)
        held |= {state + shift for state in preset.held}
        shift += max(rule.to for rule in preset.rules)
    return Multiline(tuple(rules), frozenset(held), hints=tuple(hints), spares_json=True, **limits)
