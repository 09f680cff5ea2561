"""What a configuration does with a tag, a file or a record, told step by step."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec

from logflow.batch import Batch
from logflow.component import ComponentConfig
from logflow.config.fields import Use
from logflow.config.loader import Loaded
from logflow.config.tree import Node, child
from logflow.pipeline.build import Pipeline, build
from logflow.pipeline.guard import GuardedFilter, describe
from logflow.pipeline.routes import Route
from logflow.pipeline.staging import StageHost
from logflow.rehearsal.values import effective_values
from logflow.testing.clock import FakeClock

_decode = msgspec.json.Decoder().decode_lines


class Explanation:
    """Explains one configuration; nothing is opened."""

    def __init__(self, loaded: Loaded, time_ns: int) -> None:
        """Build the pipeline, with a clock that stands at ``time_ns``.

        Raises:
            ComponentError: a component cannot be made as configured.
        """
        self._loaded = loaded
        self._pipeline: Pipeline = build(loaded.settings, FakeClock(time_ns))
        self._time_ns = time_ns

    def tags_of(self, path: str) -> dict[str, str]:
        """The tag that each source which reads a file gives to its events, by the source's name."""
        tags = {name: source.tag_of(path) for name, source in self._pipeline.sources.items()}
        return {name: tag for name, tag in tags.items() if tag is not None}

    def of_source(self, name: str) -> list[str]:
        """The source's place and its values."""
        node = self._node("sources", name)
        config = self._loaded.settings.sources[name]
        return [f"source {name} ({config.type}){_at(node)}", *_table(config, node)]

    def of_tag(self, tag: str, record: dict[str, Any] | None) -> Iterator[str]:
        """Go through the routes from top to bottom, with a record if there is one."""
        events = [(self._time_ns, record)] if record is not None else []
        batch = Batch.from_events(tag, events)
        outputs: dict[str, None] = {}
        for index, route in enumerate(self._pipeline.router.routes):
            yield from self._of_route(index, route, batch, outputs)
            if route.matches(tag) and route.final:
                break
            if route.matches(tag) and route.where is not None and not route.onward and batch.count:
                _, batch = route.where.split(batch)
                if not batch.count:
                    break
        else:
            if not outputs:
                yield "no route takes it: its events are dropped as unrouted"
        for name in outputs:
            node = self._node("outputs", name)
            config = self._loaded.settings.outputs[name]
            yield f"output {name} ({config.type}){_at(node)}"
            yield from _table(config, node)

    def _of_route(self, index: int, route: Route, batch: Batch, outputs: dict[str, None]) -> Iterator[str]:
        node = self._node("routes", index)
        head = f"routes[{index}]{_at(node)}: match {route.pattern}"
        if not route.matches(batch.tag):
            yield f"{head}: does not match {batch.tag}"
            return
        taken = batch
        if route.where is not None:
            condition = child(node, "where") if node is not None else None
            text = getattr(condition, "text", "...")
            if batch.count:
                taken, _ = route.where.split(batch)
                yield f"{head} where {text}: {'matches' if taken.count else 'the condition is not fulfilled'}"
                if not taken.count:
                    return
            else:
                yield f"{head} where {text}: matches if the condition is fulfilled"
        else:
            yield f"{head}: matches"
        written = self._loaded.settings.routes[index].filters
        steps = route.chain.steps if route.chain is not None else ()
        left = yield from self._of_steps(steps, written, ("routes", index), [taken], "  ")
        names = [target.output for target in route.targets]
        outputs.update(dict.fromkeys(names))
        yield f"  → {', '.join(names) if names else 'dropped, on purpose'}"
        for target in route.targets:
            if target.chain is not None and (left or not taken.count):
                yield f"  → {target.output}, by its own filters"
                written = getattr(self._loaded.settings.outputs[target.output], "filters", [])
                place = ("outputs", target.output)
                yield from self._of_steps(target.chain.steps, written, place, left, "    ")
        if route.onward:
            yield "  a copy goes on to the routes below"

    def _of_steps(
        self, steps: Sequence[GuardedFilter | StageHost], written: list[ComponentConfig],
        owner: tuple[str | int, ...], batches: list[Batch], indent: str,
    ) -> Generator[str, None, list[Batch]]:  # fmt: skip
        """Pass events through filters; returns what is left of them."""
        events = any(batch.count for batch in batches)
        for step, (label, path) in zip(steps, self._places(written, owner), strict=True):
            head = f"{indent}{label} {step.name}{_at(self._node(*path))}"
            if not events:
                yield head
                continue
            before = self._records(batches)
            try:
                batches = _apply(step, batches)
            except Exception as error:
                yield f"{head}: fails: {describe(error)}"
                continue
            after = self._records(batches)
            yield f"{head}: {_effect(before, after)}"
            if len(before) == len(after) == 1:
                yield from (f"{indent}  {line}" for line in _changes(before[0], after[0]))
            if not after:
                return []
        for record in self._records(batches) if events else []:
            yield f"{indent}= {json.dumps(record, ensure_ascii=False)}"
        return batches

    def _places(
        self, written: list[ComponentConfig], owner: tuple[str | int, ...]
    ) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """How each filter is called, and where it stands, also one of a named chain."""
        for number, config in enumerate(written):
            if not isinstance(config, Use):
                yield f"filters[{number}]", (*owner, "filters", number)
                continue
            for index in range(len(self._loaded.settings.filters[config.use])):
                yield f"filters[{number}] {config.use}[{index}]", ("filters", config.use, index)

    def _records(self, batches: Sequence[Batch]) -> list[dict[str, Any]]:
        to_ndjson = self._pipeline.engine.to_ndjson
        return [
            record for batch in batches for record in _decode(to_ndjson(batch.entries, batch.tag, None, None))
        ]

    def _node(self, *path: str | int) -> Node | None:
        node: Node | None = self._loaded.root
        for part in path:
            node = child(node, part) if node is not None else None
        return node


def _apply(step: GuardedFilter | StageHost, batches: list[Batch]) -> list[Batch]:
    if isinstance(step, StageHost):
        out = [made for batch in batches for made in step.step.apply(batch)]
        return [batch for batch in (*out, *step.step.flush(None)) if batch.count]
    kept = [step.ask(batch) for batch in batches]
    return [batch for batch in kept if batch is not None and batch.count]


def _effect(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    if not after:
        return "drops it"
    if len(after) > 1:
        return f"makes {len(after)} events of it"
    return "lets it pass" if after == before else "changes it"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            yield f"- {key}: {json.dumps(before[key], ensure_ascii=False)}"
        elif key not in before or before[key] != after[key]:
            yield f"{'~' if key in before else '+'} {key}: {json.dumps(after[key], ensure_ascii=False)}"


def _at(node: Node | None) -> str:
    return f" at {node.place}" if node is not None else ""


def _table(config: Any, node: Node | None) -> list[str]:
    values = effective_values(config, node)
    width = max((len(value.path) for value in values), default=0)
    return [f"  {value.path:<{width}}  {value.text}  ({value.origin})" for value in values]
