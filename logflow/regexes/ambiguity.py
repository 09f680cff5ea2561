r"""How long a backtracking matcher may take for a pattern, as a power of the text's length.

A backtracking matcher tries each way in which a pattern can have taken the text so far. So the steps it
takes are bounded by the number of paths through the pattern's automaton, with a state per character::

    (a|ab)*c      a loop that the same text leads around in two ways: the paths double with each round
    ^.*,.*;       each comma may have ended the first loop: as many paths as commas, and each is followed
    x+y           each x may begin the match, and the loop goes on from each: n * n / 2 steps

Exponential growth is found exactly: two different paths with the same text from a state back to it (Weber
and Seidl, "On the degree of ambiguity of finite automata", 1991, criterion EDA). The power is bounded from
above: it is the longest chain of loops where the text that leads from one to the next can also go around in
both. Searching at each place of the text counts as a loop before the pattern.

What may be left out, and choices, have several paths too, but a number that does not grow with the text:
``a?a?a?b``. They are counted as a factor. A repeat up to a number counts as one without a limit.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from logflow.regexes.syntax import Alternation, Concatenation, Group, Look, Node, One, Pattern, Ranges, Repeat

MAX_STATES = 1500
"""Most states of an automaton that is looked at; a larger one counts as exponential."""

_MAX_PAIRS = 200_000
_FOREVER = float("inf")


class Cost(NamedTuple):
    """Steps of a search in a text of ``n`` characters: at most about ``factor * n ** power``."""

    power: float
    factor: int


def cost(pattern: Pattern) -> Cost:
    """Bound what a search for a pattern costs a backtracking matcher."""
    try:
        automaton = _Automaton(pattern.tree)
        loops = automaton.loops()
        if any(automaton.is_ambiguous(loop) for loop in loops):
            return Cost(_FOREVER, 1)
        return Cost(1 + automaton.chain(loops), automaton.factor)
    except _TooLarge:
        return Cost(_FOREVER, 1)


class _TooLarge(Exception):  # noqa: N818, RUF100
    pass


@dataclass(slots=True)
class _Part:
    """A part of a pattern: states that it begins and ends with, and in how many ways it can be empty."""

    first: list[int]
    last: list[int]
    empty: int


class _Automaton:
    """States are the pattern's characters; state 0 is the place before the match."""

    def __init__(self, tree: Node) -> None:
        self._sets: list[Ranges] = [()]
        self._next: list[Counter[int]] = [Counter()]
        self.factor = 1
        whole = self._build(tree)
        # The matcher tries to begin at each place: a loop over any character, if nothing forbids it.
        if not _is_anchored(tree):
            self._sets[0] = ((0, 0x10FFFF),)
            self._next[0][0] = 1
        self._connect([0], whole.first)
        self._masks = _masks(self._sets)
        self._last = whole.last

    def _build(self, node: Node) -> _Part:
        match node:
            case One(ranges):
                if len(self._sets) >= MAX_STATES:
                    raise _TooLarge
                self._sets.append(ranges)
                self._next.append(Counter())
                state = len(self._sets) - 1
                return _Part([state], [state], 0)
            case Look():
                return _Part([], [], 1)
            case Group(_, _, body):
                return self._build(body)
            case Concatenation(parts):
                row = _Part([], [], 1)
                for part in parts:
                    row = self._in_row(row, self._build(part))
                return row
            case Alternation(branches):
                return self._choice([self._build(branch) for branch in branches])
            case Repeat(body, least, most, _):
                return self._repeat(body, least, most)

    def _in_row(self, left: _Part, right: _Part) -> _Part:
        self._connect(left.last, right.first)
        return _Part(
            left.first + right.first * min(left.empty, 1),
            right.last + left.last * min(right.empty, 1),
            min(left.empty, 1) * min(right.empty, 1),
        )

    def _choice(self, parts: list[_Part]) -> _Part:
        # Branches that no character tells apart are all tried.
        seen: list[Ranges] = []
        alike = 1
        for part in parts:
            sets = [self._sets[state] for state in part.first]
            alike += any(_meet(one, other) for one in sets for other in seen) or (part.empty > 0)
            seen += sets
        self.factor = min(self.factor * alike, 1 << 40)
        return _Part(
            [state for part in parts for state in part.first],
            [state for part in parts for state in part.last],
            sum(part.empty for part in parts),
        )

    def _repeat(self, body: Node, least: int, most: int | None) -> _Part:
        if most == 0:
            return _Part([], [], 1)
        row = _Part([], [], 1)
        for _ in range(max(least - 1, 0)):
            row = self._in_row(row, self._build(body))
        part = self._build(body)
        if most not in {least, 1}:
            self._connect(part.last, part.first)
        if least == 0:
            # Whether it is there is tried both ways, where what follows may begin alike.
            self.factor = min(self.factor * 2, 1 << 40) if most == 1 else self.factor
            part.empty = 1
        return self._in_row(row, part)

    def _connect(self, states: Iterable[int], following: list[int]) -> None:
        for state in states:
            self._next[state].update(following)

    def loops(self) -> list[list[int]]:
        """Groups of states that lead to each other, in the order in which they are met."""
        found = _components(self._next)
        return [loop for loop in found if len(loop) > 1 or self._next[loop[0]][loop[0]]]

    def is_ambiguous(self, loop: list[int]) -> bool:
        """Whether two different paths with one text lead from a state of a loop back to it."""
        inside = set(loop)
        steps = {state: [n for n in self._next[state] if n in inside] for state in loop}
        if any(self._next[state][n] > 1 for state in loop for n in steps[state]):
            return True
        forward: dict[tuple[int, int], list[tuple[int, int]]] = {}
        pending = deque((state, state) for state in loop)
        reached = set(pending)
        backward: dict[tuple[int, int], list[tuple[int, int]]] = {}
        while pending:
            pair = pending.popleft()
            forward[pair] = list(self._pairs(steps[pair[0]], steps[pair[1]]))
            for following in forward[pair]:
                backward.setdefault(following, []).append(pair)
                if following not in reached:
                    reached.add(following)
                    pending.append(following)
                    if len(reached) > _MAX_PAIRS:
                        raise _TooLarge
        # Which of the pairs lead back to one and the same state?
        pending = deque((state, state) for state in loop)
        leading = set(pending)
        while pending:
            for before in backward.get(pending.popleft(), ()):
                if before[0] != before[1]:
                    return True
                if before not in leading:
                    leading.add(before)
                    pending.append(before)
        return False

    def _pairs(self, ones: list[int], others: list[int]) -> Iterator[tuple[int, int]]:
        for one in ones:
            for other in others:
                if self._masks[one] & self._masks[other]:
                    yield one, other

    def chain(self, loops: list[list[int]]) -> int:
        """Length of the longest chain of loops that share text; 0 where no two do."""
        alphabets = [self._alphabet(loop) for loop in loops]
        longest = [0] * len(loops)
        # From the last loop to the first: what comes behind a loop is known then.
        for index in reversed(range(len(loops))):
            for later in range(index + 1, len(loops)):
                shared = alphabets[index] & alphabets[later]
                if (
                    longest[later] >= longest[index]
                    and shared
                    and self._leads(loops[index], loops[later], shared)
                ):
                    longest[index] = longest[later] + 1
        return max(longest, default=0)

    def _alphabet(self, loop: list[int]) -> int:
        mask = 0
        for state in loop:
            mask |= self._masks[state]
        return mask

    def _leads(self, loop: list[int], later: list[int], shared: int) -> bool:
        """Whether text of shared characters leads from one loop to another."""
        goal = set(later)
        pending, reached = deque(loop), set(loop)
        while pending:
            for following in self._next[pending.popleft()]:
                if following in reached or not self._masks[following] & shared:
                    continue
                if following in goal:
                    return True
                reached.add(following)
                pending.append(following)
        return False


def _is_anchored(node: Node) -> bool:
    """Whether a match can only begin at the start of the text."""
    match node:
        case Look("start"):
            return True
        case Group(_, _, body):
            return _is_anchored(body)
        case Repeat(body, least, _, _):
            return least > 0 and _is_anchored(body)
        case Concatenation(parts):
            return bool(parts) and _is_anchored(parts[0])
        case Alternation(branches):
            return all(map(_is_anchored, branches))
    return False


def _meet(one: Ranges, other: Ranges) -> bool:
    return any(
        first <= other_last and other_first <= last
        for first, last in one
        for other_first, other_last in other
    )


def _masks(sets: list[Ranges]) -> list[int]:
    """For each set, one bit for each range of characters that no set divides."""
    bounds = sorted({bound for ranges in sets for first, last in ranges for bound in (first, last + 1)})
    places = {bound: index for index, bound in enumerate(bounds)}
    return [sum((1 << places[last + 1]) - (1 << places[first]) for first, last in ranges) for ranges in sets]


def _components(following: list[Counter[int]]) -> list[list[int]]:
    """Strongly connected components, those that lead to others first (Tarjan, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(following)):
        if root in index:
            continue
        work = [(root, iter(following[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            state, steps = work[-1]
            step = next(steps, None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[state])
                if low[state] == index[state]:
                    component: list[int] = []
                    while not component or component[-1] != state:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    found.append(component)
            elif step not in index:
                index[step] = low[step] = len(index)
                stack.append(step)
                on_stack.add(step)
                work.append((step, iter(following[step])))
            elif step in on_stack:
                low[state] = min(low[state], index[step])
    return found[::-1]
