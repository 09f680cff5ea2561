"""Filter ``script``: a user's Python function of a record, or of a batch of events.

::

    def drop_health_checks(record):             # of a record, or of (time, record)
        if record.get("path") == "/healthz":
            return None                         # dropped, and counted
        record["seen"] = True
        return record                           # kept, as it is now

    def with_user(events):                      # with `per: batch`, of [(time, record), ...]
        return [event for event in events if "user" in event[1]]

The time is nanoseconds since the epoch (:class:`logflow.event.EventTime`). The function runs in logflow's
process, with its rights, in one thread at a time for each route. Nobody waits for it longer than ``timeout``;
a function of C that keeps the interpreter's lock, such as a match of ``re``, is beyond that.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, RecordFilter
from logflow.config.fields import Duration
from logflow.config.options import FilterConfig
from logflow.errors import ComponentError
from logflow.event import MAX_TIME_NS, EventTime, Record


def _check_target(value: str) -> str:
    place, colon, name = value.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ValueError(f"{value!r} does not name a function; write place:function")
    return value


Target = Annotated[str, AfterValidator(_check_target)]


class ScriptFilter(RecordFilter):
    """Calls a user's function with each record or batch."""

    class Config(FilterConfig):
        """Options of the filter ``script``."""

        type: Literal["script", "python"] = "script"
        on_error: Literal["keep", "drop", "dead_letter"] = Field(
            "dead_letter",
            description="What becomes of an event for which the function raises, or returns anything but a "
            "dict or None. A function that redacts must not let it pass by failing: it is kept as a dead "
            "letter, and goes through the routes again when it is replayed.",
        )
        timeout: Duration = Field(
            30.0,
            gt=0,
            description="Longest time for a batch of events; then the function has failed for all of them. "
            "Four calls that do not come back, and it is not asked any more.",
        )
        module: Target | None = Field(
            None, description="An importable module and a function in it.", examples=["mypackage.logs:clean"]
        )
        path: Target | None = Field(
            None, description="A file and a function in it.", examples=["/etc/logflow/filters.py:clean"]
        )

        per: Literal["event", "batch"] = Field(
            "event",
            description="What the function is called for: `event`, a record (or time and record); `batch`, a "
            "list of (time, record), of which it returns those to go on with, and never more.",
        )

        @model_validator(mode="after")
        def _check_choice(self) -> ScriptFilter.Config:
            if (self.module is None) == (self.path is None):
                raise ValueError("set either module or path, such as path: /etc/logflow/filters.py:clean")
            return self

    config: ScriptFilter.Config

    def __init__(self, config: ScriptFilter.Config, context: Context) -> None:
        """Load the function.

        Raises:
            ComponentError: it cannot be loaded, or is not a function of one or two arguments.
        """
        super().__init__(config, context)
        target = config.module or config.path or ""
        place, _, name = target.rpartition(":")
        try:
            module = importlib.import_module(place) if config.module else _load_file(Path(place))
            function = getattr(module, name)
        except Exception as error:
            raise ComponentError(
                f"cannot load the filter {target}: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        self._target = target
        self._call = _adapt(function, target, 2 if config.per == "event" else 1)

    def apply(self, batch: Batch) -> Batch | None:
        """Ask the function about the batch, or about each of its events."""
        if self.config.per == "event":
            return super().apply(batch)
        kept = self._call(list(batch.events()))
        if not isinstance(kept, list | tuple):
            raise TypeError(f"{self._target} returned {type(kept).__name__}, not a list of (time, record)")
        return batch.with_events(map(self._event, kept)) if kept else None

    def _event(self, event: Any) -> tuple[int, Record]:
        match event:
            case (int(time), dict(record)) if 0 <= time <= MAX_TIME_NS:
                return time, record
        raise TypeError(
            f"{self._target} returned a list with {type(event).__name__}, not (time, record), in it"
        )

    def filter(self, time: EventTime, record: Record) -> Record | None:
        """Ask the function."""
        result = self._call(time, record)
        if result is None or isinstance(result, dict):
            return result
        raise TypeError(f"{self._target} returned {type(result).__name__}, not a dict or None")


def _adapt(function: Any, target: str, most: int) -> Callable[..., Any]:
    """Make a function of ``most`` arguments, time and record if there are two, of what the user wrote."""
    if not callable(function) or inspect.isclass(function):
        raise ComponentError(f"the filter {target} is not a function")
    if inspect.iscoroutinefunction(function):
        raise ComponentError(f"the filter {target} must not be async: it is called for every record")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:  # written in C, without a signature
        raise ComponentError(f"the filter {target} does not say what it takes: {error}") from error
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if any(p.kind is p.KEYWORD_ONLY for p in needed) or not 1 <= len(needed) <= most:
        takes = "(record) or (time, record)" if most == 2 else "(events), a list of (time, record)"
        raise ComponentError(f"the filter {target} must take {takes}")
    if len(needed) < most:
        return lambda _time, record: function(record)
    return function  # type: ignore[no-any-return]


def _load_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that it hides no other module."""
    name = f"logflow_filter_{path.stem}_{abs(hash(path.absolute())):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
