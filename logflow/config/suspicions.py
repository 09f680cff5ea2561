"""What is valid in a configuration but probably not meant: found by ``check`` and at each start."""

from __future__ import annotations

from collections.abc import Iterator

from logflow.config.models import Settings
from logflow.config.options import OutputConfig
from logflow.config.tree import Items, KeyPath, Mapping, Node, Problem, Scalar, child
from logflow.patterns import covers, may_match

_LONG_S = 10.0
"""Senders wait for their receipts so long without a warning."""


def suspicions(root: Mapping, settings: Settings) -> list[Problem]:
    """Find outputs without events or that hold senders back, and routes and tags that lead nowhere."""
    return [
        *_unused_outputs(root), *_gathering_in_memory(root, settings), *_unreached_routes(root),
        *_unrouted_tags(root, settings),
    ]  # fmt: skip


def named_outputs(root: Mapping) -> list[tuple[KeyPath, Scalar]]:
    """The names of outputs that routes give, each with its path."""
    return [
        (("routes", number, "outputs", index), name)
        for number, route in enumerate(_routes(root))
        if isinstance(names := child(route, "outputs"), Items)
        for index, name in enumerate(names.items)
        if isinstance(name, Scalar) and name.value is not None and not name.broken
    ]


def named_chains(root: Mapping) -> list[tuple[KeyPath, Scalar]]:
    """The names of chains of filters that routes and outputs give, each with its path."""
    users: list[tuple[KeyPath, Node]] = [
        (("routes", number), route) for number, route in enumerate(_routes(root))
    ]
    users += [(("outputs", name), output) for name, output in defined(root, "outputs").items()]
    return [
        ((*path, "filters", index, "use"), name)
        for path, user in users
        if isinstance(steps := child(user, "filters"), Items)
        for index, step in enumerate(steps.items)
        if isinstance(name := child(step, "use"), Scalar) and name.value is not None and not name.broken
    ]


def defined(root: Mapping, section: str) -> dict[str, Node]:
    """The components of a section, by name."""
    node = root.items.get(section)
    return node.items if isinstance(node, Mapping) else {}


def _routes(root: Mapping) -> list[Node]:
    routes = root.items.get("routes")
    return routes.items if isinstance(routes, Items) else []


def _unused_outputs(root: Mapping) -> Iterator[Problem]:
    used = {name.text for _, name in named_outputs(root)}
    unrouted = root.items.get("unrouted")
    if isinstance(unrouted, Scalar):
        used.add(unrouted.text)
    for name, output in defined(root, "outputs").items():
        if name not in used:
            yield Problem(output.place, ("outputs", name), "no route uses this output")


def _gathering_in_memory(root: Mapping, settings: Settings) -> Iterator[Problem]:
    """Find outputs for which events gather for long where a crash takes them."""
    for name, output in settings.outputs.items():
        assert isinstance(output, OutputConfig)
        max_wait_s = output.grouping().max_wait
        if output.buffer.type == "memory" and max_wait_s >= _LONG_S:
            text = (
                f"events gather in memory for up to {max_wait_s:g}s, and senders wait as long for receipts; "
                "what cannot be sent or read again is lost with the process: set buffer: {type: disk}"
            )
            yield Problem(defined(root, "outputs")[name].place, ("outputs", name), text)


def _unreached_routes(root: Mapping) -> Iterator[Problem]:
    """Find routes all of whose tags an earlier route keeps."""
    keepers: list[tuple[Node, str]] = []
    for number, route in enumerate(_routes(root)):
        pattern = child(route, "match")
        if not isinstance(pattern, Scalar):
            continue
        for keeper, kept in keepers:
            if covers(kept, pattern.text):
                tags = {"**": "every tag", pattern.text: "the same tags"}.get(kept, "all of its tags")
                text = f"never reached, as the route at {keeper.place} matches {tags}"
                yield Problem(route.place, ("routes", number), text)
                break
        else:
            if _keeps_all(route):
                keepers.append((route, pattern.text))


def _keeps_all(route: Node) -> bool:
    """Whether events that match go nowhere else."""
    goes_on = child(route, "continue")
    return child(route, "where") is None and not (isinstance(goes_on, Scalar) and goes_on.value)


def _unrouted_tags(root: Mapping, settings: Settings) -> Iterator[Problem]:
    patterns = [route.match for route in settings.routes]
    for name, source in settings.sources.items():
        tag = getattr(source, "tag", None)
        node = child(defined(root, "sources")[name], "tag")
        if isinstance(tag, str) and node and not any(may_match(pattern, tag) for pattern in patterns):
            text = f"no route matches the tag {tag!r}; its events would be dropped"
            yield Problem(node.place, ("sources", name, "tag"), text)
