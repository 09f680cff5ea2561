r"""Stack traces of languages, as rules of :mod:`logflow.multiline`.

No event begins with a line that begins with ``{``: JSON stays as it is. A trace may come after the log line's
own text (``2026-01-31 ERROR java.lang.IllegalStateException: ...``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

END = -1
"""In place of a state: the event is finished with this line."""


@dataclass(frozen=True)
class Rule:
    """In one of some states, a line that a pattern matches (or does not, if negated) leads to a state."""

    states: frozenset[int]
    pattern: str
    to: int
    negate: bool = False


@dataclass(frozen=True)
class Preset:
    """Rules of one language, words of which one stands in every first line, and states that hold lines."""

    rules: tuple[Rule, ...]
    hints: tuple[str, ...]
    held: frozenset[int] = frozenset()


def _rules(*rules: tuple[Iterable[int], str, int]) -> tuple[Rule, ...]:
    return tuple(Rule(frozenset(states), pattern, to) for states, pattern, to in rules)


_JAVA = Preset(
    _rules(
        # java.lang.Error, my.own.FooException: text, also behind a log line's head
        ([0], r'^[^{\s][^{"]*?(?:Exception|Error|Throwable|Failure)(?:[:;\s]|$)', 1),
        ([0], r"^Exception in thread ", 1),
        # Frames, "... 4 more", suppressed ones, the text of an exception that has several lines
        ([1], r"^[ \t]+\S", 1),
        ([1], r"^(?:Caused by|Suppressed|Wrapped by|nested exception is)[: ]", 1),
        # Where others write as Java does: JavaScript's properties of an error, .NET's rethrown exceptions
        ([1], r"^(?:[\]}]+,?$|--- End of )", 1),
    ),
    ("Exception", "Error", "Throwable", "Failure"),
)
_PYTHON = Preset(
    _rules(
        ([0], r"^(?:[^{\s][^{]*[\s:|])?Traceback \(most recent call last\):\s*$", 1),
        ([0], r"^  \+ Exception Group Traceback \(most recent call last\):\s*$", 5),
        ([5], r"^[ \t]+[|+]", 5),
        ([1, 3], r"^[ \t]+\S?", 1),
        # SomeError: text, and notes below it
        ([1], r"^[A-Za-z_][\w.]*(?:: |:?\s*$|\[)", 2),
        ([2], r"^[ \t]+[|+\S]", 2),
        ([2], r"^\s*$", 3),
        (
            [3, 4],
            (
                r"^(?:During handling of the above exception, another exception occurred:"
                r"|The above exception was the direct cause of the following exception:)\s*$"
            ),
            4,
        ),
        ([4], r"^\s*$", 4),
        ([4], r"^Traceback \(most recent call last\):\s*$", 1),
        ([4], r"^  \+ Exception Group Traceback \(most recent call last\):\s*$", 5),
        ([5], r"^\s*$", 3),
    ),
    ("Traceback (most recent call last):",),
    frozenset({3, 4}),
)
_GO = Preset(
    _rules(
        ([0], r"^(?:[^{\s][^{]*\s)?(?:panic: |fatal error: |http: panic serving )", 1),
        ([0], r"^goroutine [0-9]+(?: [^\[]*)?\[[^\]]+\]:$", 3),
        ([1], r"^(?:[ \t]+panic: |\[signal |panic: )", 1),
        ([1, 2, 4], r"^$", 2),
        ([1, 2], r"^goroutine [0-9]+(?: [^\[]*)?\[[^\]]+\]:$", 3),
        # A function and, below it, its place
        ([3, 4], r"^[^\s(]+\(.*\)$", 3),
        ([3, 4], r"^created by \S+(?: in goroutine [0-9]+)?$", 3),
        ([3, 4], r"^[ \t]+\S+:[0-9]+", 4),
        ([3, 4], r"^\.\.\.(?:additional|[0-9]+) frames elided", 4),
        ([1, 2, 4], r"^exit status [0-9]+$", 4),
        ([2], r"^\[originating from goroutine", 2),
    ),
    ("panic: ", "panic serving ", "fatal error: ", "goroutine "),
    frozenset({2}),
)
_RUBY = Preset(
    _rules(
        ([0], r"^(?:[^{\s][^{]*\s)?[^\s{]\S*:[0-9]+:in [`'][^']+': .*\((?:\w|::)+\)\s*$", 1),
        ([0], r"^[A-Z](?:\w|::)*(?:Error|Exception|Interrupt|NotFound) \(.*\):?\s*$", 1),
        ([0], r"^/?[^\s{:]+\.rb:[0-9]+:in [`']", 1),
        ([1], r"^[ \t]+(?:from |[0-9]+: from )", 1),
        ([1], r"^[ \t]*\S+:[0-9]+:in [`']", 1),
        ([1], r"^[ \t]+\.\.\. [0-9]+ levels\.\.\.", 1),
    ),
    (":in ", "Error (", "Exception (", "Interrupt (", "NotFound ("),
)
_NODE = Preset(
    _rules(
        ([0], r"^(?:Uncaught |\[?)?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?(?::|$)", 2),
        # file.js:12, the line, a mark below it, a blank line
        ([0], r"^(?:node:\S*|(?:file://|/)\S*[jt]s):[0-9]+$", 1),
        ([1], r"^", 3),
        ([3], r"^[ \t]*\^+\s*$", 4),
        ([4], r"^\s*$", 4),
        ([4], r"^(?:Uncaught |\[?)?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?(?::|$)", 2),
        ([2, 5], r"^[ \t]+at ", 2),
        ([2, 5], r"^[ \t]+\[?(?:cause|errors)\]?: ", 2),
        ([2, 5], r"^[ \t]+\S", 2),
        ([2, 5], r"^[ \t]*[\]}]+,?$", 2),
        ([2, 5], r"^\s*$", 5),
        ([5], r"^Node\.js v[0-9]", END),
    ),
    ("Error", "Exception", "node:", "js:", "ts:"),
    frozenset({3, 5}),
)
_DOTNET = Preset(
    _rules(
        (
            [0],
            r"^(?:Unhandled exception[.:] |[^{\s][^{\"]*?\s)?(?:\w+\.)*\w*Exception(?: \(0x[0-9A-Fa-f]+\))?:",
            1,
        ),
        ([1, 2], r"^[ \t]+at ", 2),
        ([1, 2], r"^[ \t]*---> ", 1),
        ([1, 2], r"^[ \t]*--- End of ", 2),
        ([1], r"^[ \t]+\S", 1),
    ),
    ("Exception",),
)
_PHP = Preset(
    _rules(
        ([0], r"^(?:[^{\s][^{]*\s)?(?:PHP )?(?:Fatal error|Warning|Parse error|Notice): ", 1),
        ([0], r"^(?:[^{\s][^{]*\s)?(?:PHP )?(?:Stack trace|Call Stack):\s*$", 2),
        ([1, 2], r"^(?:PHP )?(?:\[stacktrace\]|Stack trace:|Call Stack:)\s*$", 2),
        ([1, 2], r"^(?:PHP )?[ \t]*#?[0-9]+[.:]? ", 2),
        ([1, 2], r"^(?:PHP )?[ \t]+thrown in ", END),
        ([1, 2], r"^\s*$", 3),
        ([3], r"^Next [\w\\]+: ", 1),
    ),
    ("Fatal error: ", "Warning: ", "Parse error: ", "Notice: ", "Stack trace:", "Call Stack:"),
    frozenset({3}),
)
_RUST = Preset(
    _rules(
        ([0], r"^(?:[^{\s][^{]*\s)?thread '[^']*'(?: \([0-9]+\))? panicked at ", 1),
        ([0, 1], r"^stack backtrace:\s*$", 2),
        ([1], r"^note: ", 1),
        ([1, 2], r"^[ \t]+\S", 2),
        ([2], r"^note: Some details are omitted", END),
        (
            [1],
            r"^(?:called |assertion |index out of bounds|attempt to |explicit panic|not yet implemented)",
            1,
        ),
    ),
    ("panicked at ", "stack backtrace:"),
)

PRESETS = {
    "python": _PYTHON,
    "go": _GO,
    "rust": _RUST,
    "php": _PHP,
    "ruby": _RUBY,
    "node": _NODE,
    "java": _JAVA,
    "dotnet": _DOTNET,
}
"""Rules by the name of the language; those whose first lines are the most telling come first."""
